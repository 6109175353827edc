import swagger, { type SwaggerTransform } from "@fastify/swagger";
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyPluginCallback,
  FastifyPluginOptions,
  FastifySchema,
  FastifyTypeProvider,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import * as z from "zod";

import { invalidRequest } from "../problems.ts";
import { problem } from "./schemas.ts";

/** Types of a route's parts, from its zod schemas. */
export interface ZodTypes extends FastifyTypeProvider {
  validator: this["schema"] extends z.ZodType ? z.output<this["schema"]> : unknown;
}

/** The app, whose routes are typed by their zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypes
>;

/** A plugin that adds routes of one concern. */
export type RoutePlugin<Options extends FastifyPluginOptions = FastifyPluginOptions> = FastifyPluginCallback<
  Options,
  RawServerDefault,
  ZodTypes
>;

/** Checks a part of a request. The error names the field, and what it must be. */
export function compileValidator({ schema }: { schema: FastifySchema }) {
  return (value: unknown) => {
    if (!(schema instanceof z.ZodType)) throw new TypeError("schemas are zod's here");
    const { data, error } = schema.safeParse(value);
    if (error === undefined) return { value: data };
    const [issue] = error.issues;
    return { error: invalidRequest(explain(String(issue?.path[0] ?? ""), issue?.message ?? "")) };
  };
}

const bounds: Readonly<Record<string, string>> = {
  expires_in: "expires_in must be a whole number of seconds from 900 to 3600.",
  filename: "filename must be text of 1 to 255 characters, given once.",
  redirect: "redirect must be true or false.",
  job_ids: "job_ids must be a list of 1 to 100 job ids.",
};

const explain = (field: string, message: string): string =>
  bounds[field] ?? (field === "" ? "The body must be a JSON object with job_ids." : `${field}: ${message}.`);

/** Headers of every answer in the document. */
const headers = {
  "X-Request-Id": {
    type: "string",
    format: "uuid",
    maxLength: 36,
    description: "Name it when you ask for help.",
  },
  "Access-Control-Allow-Origin": {
    type: "string",
    format: "uri",
    maxLength: 255,
    description: "The page's origin, if the deployment allows it.",
  },
  RateLimit: {
    type: "string",
    pattern: "^.*$",
    maxLength: 100,
    description: "What is left of your limit (draft-ietf-httpapi-ratelimit-headers).",
  },
};
const retryAfter = {
  "Retry-After": {
    type: "integer",
    format: "int32",
    minimum: 0,
    maximum: 86_400,
    description: "In seconds.",
  },
};

const problemResponse = (description: string, more = {}) => ({
  description,
  headers: { ...headers, ...more },
  content: { "application/problem+json": { schema: problem } },
});

/** What may go wrong anywhere. */
export const problems = {
  400: problemResponse("The request is not valid; `detail` says which part."),
  401: problemResponse("No bearer token, or not a valid one.", {
    "WWW-Authenticate": { type: "string", pattern: "^Bearer", maxLength: 100, description: "RFC 6750" },
  }),
  429: problemResponse("Too many requests.", retryAfter),
  500: problemResponse("The service failed."),
  503: problemResponse(
    "Storage, or the token issuer, can't be asked. Nobody is let in meanwhile.",
    retryAfter,
  ),
};

export const jobProblems = {
  404: problemResponse("No such job, or not yours: one answer for both."),
  409: problemResponse("The job is yours and has no result yet.", retryAfter),
};

/** A JSON answer. */
export const answer = (schema: z.ZodType, description: string) => ({
  description,
  headers,
  content: { "application/json": { schema } },
});

/** The redirect to a URL, which has no body. */
export const redirect = {
  description: "The URL, which holds as long as asked for.",
  type: "null",
  headers: {
    ...headers,
    Location: {
      type: "string",
      format: "uri",
      maxLength: 4096,
      description: "Follow this by the method that was asked with.",
    },
  },
};

const server = { url: "/", description: "This very deployment, production or test.", "x-internal": false };

const toJsonSchema = (value: unknown): unknown => {
  if (value instanceof z.ZodType) {
    const { $schema: _, ...schema } = z.toJSONSchema(value, { io: "output" });
    return schema;
  }
  if (Array.isArray(value)) return value.map(toJsonSchema);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJsonSchema(inner)]));
};

const transform: SwaggerTransform = ({ schema, url }) => ({
  schema: Object(toJsonSchema(schema)),
  url,
});

/** Puts the routes that are added from now on into the OpenAPI document. */
export async function describeRoutes(app: App): Promise<void> {
  await app.register(swagger, {
    transform,
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "geocrop results",
        version: "1.0.0",
        description:
          "Short-lived, signed URLs for the results of one's own jobs. Ask for one here with your token, then download from it without.",
        contact: { name: "The operators of this geocrop deployment" },
      },
      servers: [server],
      tags: [{ name: "results", description: "Results of jobs." }],
      components: {
        securitySchemes: {
          token: {
            type: "http",
            scheme: "bearer",
            bearerFormat: "JWT",
            description:
              "An access token (RFC 9068) of the deployment's issuer, checked by the rules of RFC8725.",
          },
        },
      },
      security: [{ token: [] }],
    },
  });
}

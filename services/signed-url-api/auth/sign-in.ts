import type { FastifyReply, FastifyRequest } from "fastify";

import { tooManyRequests } from "../problems.ts";
import { createRateLimit, type RateLimit } from "./rate-limit.ts";
import type { Tokens, User } from "./tokens.ts";

/** Who may ask, and how often. */
export interface SignIn {
  /**
   * An `onRequest` hook: decorates the request with its `user`.
   *
   * @throws Problem 401 or 503 for the token, 429 for the limits
   */
  onRequest: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
  /** Counts `cost` more requests against the user's limit. @throws Problem 429 */
  count: (request: FastifyRequest, reply: FastifyReply, cost: number) => void;
}

/** What {@link createSignIn} needs. */
export interface SignInOptions {
  tokens: Tokens;
  /** Requests a minute for each user. */
  perSubject: number;
  /** Requests a minute for each address, whoever asks. */
  perAddress: number;
}

/** The user that {@link SignIn} found. */
export const userOf = (request: FastifyRequest): User => request.getDecorator<User>("user");

export function createSignIn({ tokens, perSubject, perAddress }: SignInOptions): SignIn {
  const addresses = createRateLimit(perAddress);
  const subjects = createRateLimit(perSubject);
  return {
    async onRequest(request, reply) {
      takeFrom(addresses, "address", request.ip, 1, reply);
      const user = await tokens.verify(request.headers.authorization);
      request.setDecorator<User>("user", user);
      takeFrom(subjects, "subject", user.subject, 1, reply);
    },
    count(request, reply, cost) {
      takeFrom(subjects, "subject", userOf(request).subject, cost, reply);
    },
  };
}

/** Counts against a limit, and sends the client what is left of it. */
function takeFrom(limit: RateLimit, name: string, client: string, cost: number, reply: FastifyReply): void {
  const { allowed, remaining, retryAfter } = limit(client, cost);
  reply.header("ratelimit", `"${name}";r=${remaining};t=${retryAfter}`);
  if (!allowed) throw tooManyRequests(retryAfter);
}

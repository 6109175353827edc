import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { credentials, type ServiceError } from "@grpc/grpc-js";
import services from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages, {
  type CreateResponse,
  type DiffResponse,
  type ReadResponse,
  type UpdateResponse,
} from "@pulumi/pulumi/proto/provider_pb.js";

import type { Provider } from "../../../../../sandbox/engine/plugins/provider.ts";
import { serve } from "../../../../../sandbox/engine/plugins/server.ts";
import { decode, encode, type JsonObject } from "../../../../../sandbox/engine/plugins/wire.ts";

/** A provider as the engine sees it: by gRPC. */
export async function connect<Connection>(provider: Provider<Connection>) {
  const { port, stop } = await serve(provider, "1.2.3");
  const client = new services.ResourceProviderClient(`127.0.0.1:${port}`, credentials.createInsecure());
  const urn = (type: string) => `urn:pulumi:dev::geocrop::parent:index:Parent$${type}::name`;

  return {
    client,
    close: () => {
      client.close();
      stop();
    },
    configure: (settings: JsonObject) =>
      answer((done) => client.configure(new messages.ConfigureRequest().setArgs(encode(settings)), done)),
    checkConfig: async (settings: JsonObject) => {
      const request = new messages.CheckRequest().setNews(encode(settings));
      return failuresOf(await answer((done) => client.checkConfig(request, done)));
    },
    /** What is wrong with the inputs, a line each. */
    check: async (type: string, inputs: JsonObject, unknown: readonly string[] = []) => {
      const request = new messages.CheckRequest()
        .setUrn(urn(type))
        .setNews(encode(inputs, new Set(), unknown));
      return failuresOf(await answer((done) => client.check(request, done)));
    },
    create: async (
      type: string,
      inputs: JsonObject,
      {
        isPreview = false,
        secret = [],
        unknown = [],
      }: Partial<{
        isPreview: boolean;
        secret: readonly string[];
        unknown: readonly string[];
      }> = {},
    ) => {
      const request = new messages.CreateRequest()
        .setUrn(urn(type))
        .setProperties(encode(inputs, new Set(secret), unknown))
        .setPreview(isPreview);
      const response = await answer<CreateResponse>((done) => client.create(request, done));
      return { id: response.getId(), ...decode(response.getProperties()) };
    },
    /** Names of the changed properties; those that replace have a "+-" before them. */
    diff: async (
      type: string,
      state: JsonObject,
      oldInputs: JsonObject,
      inputs: JsonObject,
      unknown: readonly string[] = [],
    ) => {
      const request = new messages.DiffRequest()
        .setUrn(urn(type))
        .setOlds(encode(state))
        .setOldInputs(encode(oldInputs))
        .setNews(encode(inputs, new Set(), unknown));
      const response = await answer<DiffResponse>((done) => client.diff(request, done));
      const replacing = response.getReplacesList();
      return response.getDiffsList().map((name) => (replacing.includes(name) ? `+-${name}` : name));
    },
    read: async (type: string, id: string, state: JsonObject = {}, inputs: JsonObject = {}) => {
      const request = new messages.ReadRequest()
        .setId(id)
        .setUrn(urn(type))
        .setProperties(encode(state))
        .setInputs(encode(inputs));
      const response = await answer<ReadResponse>((done) => client.read(request, done));
      return {
        id: response.getId(),
        ...decode(response.getProperties()),
        inputs: decode(response.getInputs()).values,
      };
    },
    update: async (type: string, id: string, state: JsonObject, inputs: JsonObject) => {
      const request = new messages.UpdateRequest()
        .setId(id)
        .setUrn(urn(type))
        .setOlds(encode(state))
        .setNews(encode(inputs));
      const response = await answer<UpdateResponse>((done) => client.update(request, done));
      return decode(response.getProperties()).values;
    },
    remove: (type: string, id: string, state: JsonObject) => {
      const request = new messages.DeleteRequest().setId(id).setUrn(urn(type)).setProperties(encode(state));
      return answer((done) => client.delete(request, done));
    },
  };
}

/** What the official SDK declares for a type: read from the constructor of its class. */
export function declaredBySdk(packageName: string, file: string) {
  const text = readFileSync(
    createRequire(import.meta.url).resolve(`@pulumi/${packageName}/${file}.js`),
    "utf8",
  );
  const names = (pattern: RegExp) =>
    [...text.matchAll(pattern)].flatMap(([, name]) => (name === undefined ? [] : [name]));
  return {
    inputs: names(/resourceInputs\["(\w+)"\] = [^;]*\bargs\?/g),
    computed: names(/resourceInputs\["(\w+)"\] = undefined \/\*out\*\//g),
    secrets: names(/additionalSecretOutputs: \[([^\]]*)\]/g).flatMap((list) => list.match(/\w+/g) ?? []),
  };
}

function failuresOf(response: InstanceType<typeof messages.CheckResponse>): string[] {
  return response.getFailuresList().map((failure) => `${failure.getProperty()}: ${failure.getReason()}`);
}

function answer<Response>(
  call: (done: (error: ServiceError | null, response: Response) => void) => unknown,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });
}

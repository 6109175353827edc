import { Metadata, Server, ServerCredentials, status, type handleUnaryCall } from "@grpc/grpc-js";
import type { IResourceProviderServer } from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import services from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages, { type CheckFailure, type DiffResponse } from "@pulumi/pulumi/proto/provider_pb.js";
import plugin from "@pulumi/pulumi/proto/plugin_pb.js";
import statuses from "@pulumi/pulumi/proto/status_pb.js";
import any from "google-protobuf/google/protobuf/any_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import { z } from "zod";

import { PartlyCreatedError, type Provider, type ResourceType } from "./provider.ts";
import { decode, encode, isEqual, redact, type JsonObject, type Properties } from "./wire.ts";

/** Settings that the engine itself adds to every provider's. */
const engineSettings = new Set(["version", "pluginDownloadURL", "__internal"]);

const { Kind } = messages.PropertyDiff;
const { DiffChanges } = messages.DiffResponse;

/**
 * Serves a provider to the Pulumi engine, on a port of loopback that is free.
 *
 * @param version of the official provider that it stands in for
 * @returns the port, and what stops it
 */
export async function serve<Connection>(
  provider: Provider<Connection>,
  version: string,
): Promise<{ readonly port: number; readonly stop: () => void }> {
  const server = new Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(services.ResourceProviderService, handlers(provider, version));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return { port, stop: () => server.forceShutdown() };
}

/** What the engine calls. It answers "unimplemented" for itself to the rest: functions, components, mappings. */
type Handlers = Pick<
  { [Name in keyof IResourceProviderServer]: IResourceProviderServer[Name] },
  | "handshake"
  | "attach"
  | "cancel"
  | "getPluginInfo"
  | "getSchema"
  | "checkConfig"
  | "diffConfig"
  | "configure"
  | "check"
  | "diff"
  | "create"
  | "read"
  | "update"
  | "delete"
>;

// One short entry for each call of the protocol.
// oxlint-disable-next-line max-lines-per-function
function handlers<Connection>(provider: Provider<Connection>, version: string): Handlers {
  let connection: { readonly value: Connection; readonly settings: Properties } | undefined;

  /** For {@link redact}: errors of a connection may quote what it was made with. */
  const settings = (): Properties[] => (connection === undefined ? [] : [connection.settings]);
  const connected = (): Connection => {
    if (connection === undefined) throw new Error(`the provider ${provider.name} is not configured`);
    return connection.value;
  };
  const typeOf = (urn: string): ResourceType<Connection> => {
    const token = urn.split("::")[2]?.split("$").at(-1) ?? "";
    const type = provider.types[token];
    if (type !== undefined) return type;
    throw new Error(
      `the sandbox's stand-in for the provider ${provider.name} does not know the type ${token}: ` +
        "install the official plugin",
    );
  };

  return {
    handshake: unary(() =>
      new messages.ProviderHandshakeResponse()
        .setAcceptSecrets(true)
        .setAcceptResources(false)
        .setAcceptOutputs(false),
    ),
    attach: unary(() => new empty.Empty()),
    // Every call ends by itself within its own timeout.
    cancel: unary(() => new empty.Empty()),
    getPluginInfo: unary(() => new plugin.PluginInfo().setVersion(version)),
    getSchema: unary(() =>
      new messages.GetSchemaResponse().setSchema(JSON.stringify({ name: provider.name, version })),
    ),

    checkConfig: unary((request) => {
      const sent = decode(request.getNews());
      const failures = problems(provider.settings, sent, engineSettings);
      return new messages.CheckResponse().setInputs(request.getNews()).setFailuresList(failures);
    }),
    // A change of settings never replaces what the provider made: minio 0.17, the only one with settings, has it so.
    diffConfig: unary((request) => {
      const [before, after] = [decode(request.getOlds()), decode(request.getNews())];
      const names = new Set([...Object.keys(before.values), ...Object.keys(after.values), ...after.unknown]);
      const changed = [...names].filter(
        (name) => after.unknown.has(name) || !isEqual(before.values[name], after.values[name]),
      );
      return diffResponse(changed, [], before.values, after.values);
    }),
    configure: unary(async (request) => {
      const sent = decode(request.getArgs());
      const secret = new Set([...sent.secret, ...(provider.secretSettings ?? [])]);
      const known = { ...sent, secret };
      const own = Object.entries(sent.values).filter(([name]) => !engineSettings.has(name));
      connection = await guarded([known], async () => ({
        value: await provider.connect(Object.fromEntries(own)),
        settings: known,
      }));
      return new messages.ConfigureResponse()
        .setAcceptsecrets(true)
        .setAcceptresources(false)
        .setAcceptoutputs(false)
        .setSupportspreview(true);
    }),

    check: unary((request) => {
      const failures = problems(typeOf(request.getUrn()).inputs, decode(request.getNews()));
      return new messages.CheckResponse().setInputs(request.getNews()).setFailuresList(failures);
    }),
    diff: unary((request) =>
      diff(
        typeOf(request.getUrn()),
        decode(request.getOlds()).values,
        decode(request.getOldInputs()).values,
        decode(request.getNews()),
        new Set(request.getIgnorechangesList()),
      ),
    ),
    create: unary(async (request) => {
      const type = typeOf(request.getUrn());
      const inputs = decode(request.getProperties());
      const secret = secretsOf(type, inputs);
      const response = new messages.CreateResponse();
      if (request.getPreview()) {
        const unknown = [...type.computed, ...inputs.unknown];
        return response.setProperties(encode(withDefaults(type, inputs), secret, unknown));
      }
      const all = type.parse(inputs.values);
      return guarded([{ values: all, secret, unknown: new Set() }, ...settings()], async () => {
        try {
          const { id, outputs } = await type.create(all, connected());
          return response.setId(id).setProperties(encode({ ...all, ...outputs }, secret));
        } catch (error) {
          if (!(error instanceof PartlyCreatedError)) throw error;
          const { id, outputs } = error.created;
          throw new InitError(redact(error.message, { ...inputs, secret }, ...settings()), (details) =>
            details.setId(id).setProperties(encode({ ...all, ...outputs }, secret)),
          );
        }
      });
    }),
    read: unary(async (request) => {
      const type = typeOf(request.getUrn());
      const recorded = decode(request.getProperties());
      const inputs = decode(request.getInputs());
      const secret = new Set([...secretsOf(type, recorded), ...secretsOf(type, inputs)]);
      const response = new messages.ReadResponse();
      return guarded([{ ...recorded, secret }, ...settings()], async () => {
        const id = request.getId();
        const live =
          type.read === undefined
            ? { id, outputs: recorded.values }
            : await type.read(id, recorded.values, connected());
        if (live === undefined) return response; // without an id: it is gone
        const state = { ...recorded.values, ...live.outputs };
        return response
          .setId(live.id)
          .setProperties(encode(state, secret))
          .setInputs(encode(inputsOf(type, state, inputs.values), secret));
      });
    }),
    update: unary(async (request) => {
      const type = typeOf(request.getUrn());
      const before = decode(request.getOlds());
      const inputs = decode(request.getNews());
      const secret = secretsOf(type, inputs);
      const kept = Object.entries(before.values).filter(([name]) => type.computed.includes(name));
      const response = new messages.UpdateResponse();
      if (request.getPreview()) {
        const values = { ...Object.fromEntries(kept), ...withDefaults(type, inputs) };
        return response.setProperties(encode(values, secret, inputs.unknown));
      }
      const all = type.parse(inputs.values);
      const secrets = [{ ...before, secret }, { ...inputs, secret }, ...settings()];
      return guarded(secrets, async () => {
        const place = { id: request.getId(), state: before.values };
        const outputs = await type.update(all, place, connected());
        return response.setProperties(encode({ ...Object.fromEntries(kept), ...all, ...outputs }, secret));
      });
    }),
    delete: unary(async (request) => {
      const type = typeOf(request.getUrn());
      const state = decode(request.getProperties());
      const secrets = [{ ...state, secret: secretsOf(type, state) }, ...settings()];
      await guarded(secrets, async () => type.delete?.(request.getId(), state.values, connected()));
      return new empty.Empty();
    }),
  };
}

/** An error of the engine's protocol that tells it to record the resource all the same. */
class InitError extends Error {
  override readonly name = "InitError";
  readonly metadata = new Metadata();

  constructor(
    message: string,
    fill: (
      details: InstanceType<typeof messages.ErrorResourceInitFailed>,
    ) => InstanceType<typeof messages.ErrorResourceInitFailed>,
  ) {
    super(message);
    const packed = new any.Any();
    const details = fill(new messages.ErrorResourceInitFailed().setReasonsList([message]));
    packed.pack(details.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
    const whole = new statuses.Status().setCode(status.UNKNOWN).setMessage(message);
    whole.addDetails(packed);
    // gRPC's own place for structured errors; grpc-js has no function for it.
    this.metadata.add("grpc-status-details-bin", Buffer.from(whole.serializeBinary()));
  }
}

function unary<Request, Response>(
  handle: (request: Request) => Promise<Response> | Response,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const respond = async (): Promise<void> => {
      try {
        callback(null, await handle(call.request));
      } catch (error) {
        const details = error instanceof Error ? error.message : String(error);
        const metadata = error instanceof InitError ? { metadata: error.metadata } : {};
        callback({ code: status.UNKNOWN, details, ...metadata });
      }
    };
    void respond();
  };
}

/** Runs what may fail with somebody else's words, and takes the secrets out of them. */
async function guarded<T>(secrets: readonly Properties[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InitError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(redact(message, ...secrets)); // oxlint-disable-line preserve-caught-error
  }
}

/** What is wrong with inputs, each with the property's name. What is unknown yet is not judged. */
function problems(
  schema: z.ZodObject,
  { values, unknown }: Properties,
  ignored: ReadonlySet<string> = new Set(),
): CheckFailure[] {
  const failure = (property: string, reason: string) =>
    new messages.CheckFailure().setProperty(property).setReason(reason);
  const names = [...Object.keys(values), ...unknown].filter((name) => !ignored.has(name));
  const strange = names.filter((name) => !(name in schema.shape));
  const parsed = Object.entries(schema.shape).flatMap(([name, property]) => {
    if (unknown.has(name)) return [];
    const { error } = z.safeParse(property, values[name]);
    return (error?.issues ?? []).map((issue) =>
      failure([name, ...issue.path].map(String).join("."), issue.message),
    );
  });
  return [
    ...strange.map((name) => failure(name, `the sandbox's stand-in does not know the input "${name}"`)),
    ...parsed,
  ];
}

/** The known inputs with the defaults of those that are not given. */
function withDefaults({ inputs }: ResourceType<never>, { values, unknown }: Properties): JsonObject {
  const filled: JsonObject = {};
  for (const [name, property] of Object.entries(inputs.shape)) {
    const value = unknown.has(name) ? undefined : z.parse(property, values[name]);
    if (value !== undefined) filled[name] = z.json().parse(value);
  }
  return filled;
}

function diff(
  type: ResourceType<never>,
  state: JsonObject,
  oldInputs: JsonObject,
  news: Properties,
  ignored: ReadonlySet<string>,
): DiffResponse {
  const inputs = withDefaults(type, news);
  const hasChanged = (name: string): boolean => {
    if (news.unknown.has(name)) return true;
    const [before, after] = [state[name], inputs[name]];
    if (after === undefined) return oldInputs[name] !== undefined; // it was given, and is not any more
    if (before === undefined) return true;
    return !(type.isSame?.[name]?.(before, after) ?? isEqual(before, after));
  };
  const changed = Object.keys(type.inputs.shape).filter((name) => !ignored.has(name) && hasChanged(name));
  const replacing = changed.filter((name) => type.replaceOnChange.includes(name));
  const expired = news.unknown.size === 0 ? type.expires(state, inputs) : undefined;
  const also = expired === undefined ? [] : [expired];
  return diffResponse([...changed, ...also], [...replacing, ...also], state, { ...state, ...inputs });
}

function diffResponse(
  changed: readonly string[],
  replacing: readonly string[],
  before: JsonObject,
  after: JsonObject,
): DiffResponse {
  const response = new messages.DiffResponse()
    .setChanges(changed.length > 0 ? DiffChanges.DIFF_SOME : DiffChanges.DIFF_NONE)
    .setDiffsList([...changed])
    .setReplacesList([...replacing])
    .setHasdetaileddiff(true);
  const kinds = { add: [Kind.ADD, Kind.ADD_REPLACE], delete: [Kind.DELETE, Kind.DELETE_REPLACE] } as const;
  for (const name of changed) {
    const [inPlace, replace] =
      before[name] === undefined
        ? kinds.add
        : after[name] === undefined
          ? kinds.delete
          : [Kind.UPDATE, Kind.UPDATE_REPLACE];
    const kind = replacing.includes(name) ? replace : inPlace;
    response.getDetaileddiffMap().set(name, new messages.PropertyDiff().setKind(kind));
  }
  return response;
}

function secretsOf(type: ResourceType<never>, { secret }: Properties): Set<string> {
  return new Set([...secret, ...(type.secrets ?? [])]);
}

/** The inputs that a program would have to give for this state. */
function inputsOf(type: ResourceType<never>, state: JsonObject, given: JsonObject): JsonObject {
  const isImport = Object.keys(given).length === 0;
  const names = Object.keys(type.inputs.shape).filter((name) =>
    isImport ? !isEqual(state[name], defaultOf(type, name)) : name in given,
  );
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = state[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function defaultOf({ inputs }: ResourceType<never>, name: string) {
  const property = inputs.shape[name];
  const { data } = property === undefined ? {} : z.safeParse(property, undefined);
  return data === undefined ? undefined : z.json().parse(data);
}

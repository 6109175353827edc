import { matchResources } from "./aliases.ts";
import { diffProperties, isWithin, type PropertyChange } from "./properties.ts";
import { holdsUnknown, type Recording, type Resource } from "../program/recording.ts";
import { replacingPaths } from "./replacement.ts";

export type Operation = "create" | "update" | "replace" | "delete";

/** What becomes of one resource. */
export interface Change {
  readonly operation: Operation;
  /** As the new program declares it, or the old one did when it goes. */
  readonly resource: Resource;
  /** As the old program declared it; undefined when it is created. */
  readonly before: Resource | undefined;
  /** For those that stay. */
  readonly properties: readonly PropertyChange[];
  /** The paths for which it is replaced. */
  readonly replacing: readonly string[];
  /** Inputs whose value is not known until something that is made anew exists. */
  readonly pending: readonly string[];
}

/** An option of the engine's own that changes: it touches nothing that exists, but decides what may be. */
export interface OptionChange {
  readonly option: "protect" | "retainOnDelete" | "provider";
  readonly resource: Resource;
  readonly before: boolean | string;
  readonly after: boolean | string;
}

/** What `pulumi up` would do, as far as the two programs tell. */
export interface Plan {
  /** In the order of the new program, those that go last. */
  readonly changes: readonly Change[];
  readonly options: readonly OptionChange[];
  /** Stack outputs that change. */
  readonly outputs: readonly PropertyChange[];
  readonly unchanged: number;
}

/** Compares what two revisions of a program declare. */
export function planChanges(before: Recording, after: Recording): Plan {
  const old = new Map(before.resources.map((resource) => [resource.urn, resource]));
  const matches = matchResources(after.resources, new Set(old.keys()));
  const former = (urn: string) => old.get(matches.get(urn) ?? "");
  const declared = new Map(after.resources.map((resource) => [resource.urn, resource]));

  const planned = new Map<string, Change>();
  for (const resource of after.resources) {
    const change = changeOf(resource, former(resource.urn), declared.get(resource.provider), planned);
    if (change !== undefined) planned.set(resource.urn, change);
  }
  const kept = new Set(matches.values());
  const gone = before.resources.filter(({ urn }) => !kept.has(urn)).map(deletion);
  return {
    changes: [...planned.values(), ...gone],
    options: after.resources.flatMap((resource) => {
      const previous = former(resource.urn);
      return previous === undefined ? [] : optionChanges(resource, previous, matches);
    }),
    outputs: diffProperties(before.outputs, after.outputs),
    unchanged: after.resources.length - planned.size,
  };
}

function deletion(resource: Resource): Change {
  return { ...nothing, operation: "delete", resource, before: resource };
}

const nothing = { properties: [], replacing: [], pending: [] };

function changeOf(
  resource: Resource,
  before: Resource | undefined,
  provider: Resource | undefined,
  planned: ReadonlyMap<string, Change>,
): Change | undefined {
  if (before === undefined) return { ...nothing, operation: "create", resource, before };
  const properties = diffProperties(before.inputs, resource.inputs).filter(
    ({ path }) => !resource.ignoreChanges.some((ignored) => isWithin(path, ignored)),
  );
  const pending = pendingInputs(resource, planned);
  const providerChange = planned.get(resource.provider);
  const replacing = [
    ...replacingPaths(resource, properties, provider?.inputs ?? {}),
    ...(providerChange?.operation === "replace" ? ["(provider)"] : []),
  ];
  // A provider whose own settings are not known yet cannot compare: the engine then plans an update.
  const isUnasked = providerChange !== undefined && providerChange.pending.length > 0;
  if (replacing.length > 0) return { operation: "replace", resource, before, properties, replacing, pending };
  if (properties.length + pending.length > 0 || isUnasked)
    return { operation: "update", resource, before, properties, replacing, pending };
  return undefined;
}

/** What comes out of a resource that is made anew, and is told only by the server, is not known before that. */
function pendingInputs(resource: Resource, planned: ReadonlyMap<string, Change>): string[] {
  const isMadeAnew = (urn: string) => {
    const operation = planned.get(urn)?.operation;
    return operation === "create" || operation === "replace";
  };
  return Object.keys(resource.inputs).filter((property) => {
    const sources = (resource.propertyDependencies[property] ?? []).filter(isMadeAnew);
    // Of generated values there are stand-ins here; the engine has none yet.
    return holdsUnknown(resource.inputs[property])
      ? sources.length > 0
      : sources.some((urn) => isGenerated(urn));
  });
}

const isGenerated = (urn: string) => /[:$](random|tls):index\//.test(urn);

function optionChanges(
  resource: Resource,
  before: Resource,
  matches: ReadonlyMap<string, string>,
): OptionChange[] {
  const provider = matches.get(resource.provider) ?? resource.provider;
  const values = [
    ["protect", before.protect, resource.protect],
    ["retainOnDelete", before.retainOnDelete, resource.retainOnDelete],
    ["provider", before.provider, provider],
  ] as const;
  return values
    .filter(([, former, now]) => former !== now)
    .map(([option, before, after]) => ({ option, resource, before, after }));
}

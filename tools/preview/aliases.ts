import { urnOf, type Alias, type Resource } from "../program/recording.ts";

/**
 * Finds what each resource was before: itself by its URN, or by one of its aliases, or by a name that it has by way
 * of its parent's alias, as the engine does (pulumi 3.270, pkg/resource/deploy/step_generator.go).
 *
 * @returns the old URN by the new one, for those that were there.
 */
export function matchResources(
  resources: readonly Resource[],
  old: ReadonlySet<string>,
): Map<string, string> {
  const matches = new Map<string, string>();
  const taken = new Set<string>();
  for (const resource of resources) {
    const previous = candidates(resource, matches).find((urn) => old.has(urn) && !taken.has(urn));
    if (previous === undefined) continue;
    matches.set(resource.urn, previous);
    taken.add(previous);
  }
  return matches;
}

function candidates(resource: Resource, matches: ReadonlyMap<string, string>): string[] {
  const own = resource.aliases.map((alias) => aliasUrn(resource, alias));
  const formerParent = matches.get(resource.parent);
  if (formerParent === undefined || formerParent === resource.parent) return [resource.urn, ...own];
  const inherited = [resource.urn, ...own].map((urn) => underParent(urn, resource.parent, formerParent));
  return [resource.urn, ...own, ...inherited];
}

function aliasUrn({ urn, type, name, parent }: Resource, alias: Alias): string {
  if (alias.urn !== undefined) return alias.urn;
  const { stack, project } = partsOf(urn);
  return urnOf(stack, project, alias.parent ?? parent, alias.type ?? type, alias.name ?? name);
}

/** A child that is named after its parent was named after the parent's former name. */
function underParent(urn: string, parent: string, formerParent: string): string {
  const { stack, project, type, name } = partsOf(urn);
  const parentName = partsOf(parent).name;
  const formerName = name.startsWith(parentName)
    ? partsOf(formerParent).name + name.slice(parentName.length)
    : name;
  return urnOf(stack, project, formerParent, type, formerName);
}

function partsOf(urn: string): { stack: string; project: string; type: string; name: string } {
  const [stack = "", project = "", types = "", ...name] = urn.replace(/^urn:pulumi:/, "").split("::");
  return { stack, project, type: types.split("$").at(-1) ?? "", name: name.join("::") };
}

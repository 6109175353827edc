import * as pulumi from "@pulumi/pulumi";

/**
 * A hook that looks at a change before the engine makes it, in previews too, so that a change which cannot be made is
 * refused before anything else is done. It refuses by throwing an Error, whose message the engine shows.
 *
 * Pulumi's mocks know no hooks (@pulumi/pulumi 3.270); there the list is empty.
 *
 * @param name unique in the program, and readable: the engine shows it beside the message.
 */
export function refusal(name: string, check: pulumi.ResourceHookFunction): pulumi.ResourceHook[] {
  const monitor: unknown = pulumi.runtime.getMonitor();
  const knowsHooks = typeof monitor === "object" && monitor !== null && "registerResourceHook" in monitor;
  return knowsHooks ? [new pulumi.ResourceHook(name, check, { onDryRun: true })] : [];
}

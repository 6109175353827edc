import { existsSync } from "node:fs";

import { installPackages } from "../../sandbox/cluster/packages.ts";
import { runner } from "../../sandbox/run.ts";

/** Why a program of a Debian package cannot be had here; undefined where it is there, or can be installed. */
export function cannotHave(program: string): string | undefined {
  const canInstall = process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  return existsSync(program) || canInstall ? undefined : `needs ${program}, or root and apt-get`;
}

/** Installs a Debian package, unless its program is there. */
export async function ensureProgram(program: string, name: string): Promise<void> {
  if (existsSync(program)) return;
  const step = { note: () => undefined, doing: () => undefined };
  await installPackages([name], runner(new AbortController().signal), step);
}

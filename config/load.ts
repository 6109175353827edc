import * as pulumi from "@pulumi/pulumi";

import { ConfigError, parseSettings } from "./parse.ts";
import type { Settings } from "./schema.ts";

/**
 * The running stack's settings.
 *
 * @throws pulumi.RunError, whose message Pulumi shows without a stack trace, with all errors of the configuration.
 */
export function loadSettings(): Settings {
  try {
    return parseSettings(pulumi.runtime.allConfig(), pulumi.getProject());
  } catch (error) {
    throw error instanceof ConfigError ? new pulumi.RunError(error.message) : error;
  }
}

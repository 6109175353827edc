import { type Readable, Writable } from "node:stream";

import { Exec, type KubeConfig, type V1Status } from "@kubernetes/client-node";

export interface PodContainer {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

export interface ExecOptions {
  /** What the command reads. @default nothing */
  readonly input?: Readable;
  /** Gets the output as it comes, instead of having it collected. */
  readonly output?: Writable;
}

/**
 * Runs a command in a container.
 *
 * @returns its standard output; "" where `output` is given.
 * @throws Error with the end of its standard error when it fails.
 */
export async function execInPod(
  cluster: KubeConfig,
  { namespace, pod, container }: PodContainer,
  command: string[],
  { input, output }: ExecOptions = {},
): Promise<string> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(cluster)
      .exec(
        namespace,
        pod,
        container,
        command,
        output ?? collector(stdout),
        collector(stderr),
        input ?? null,
        false,
        resolve,
      )
      .then((connection) => connection.on("error", reject), reject);
  });
  if (status.status !== "Success") {
    const reason = Buffer.concat(stderr).toString("utf8").trim().slice(-300) || status.message;
    throw new Error(`${command[0]} failed in pod ${namespace}/${pod}: ${reason ?? "no reason given"}`);
  }
  return Buffer.concat(stdout).toString("utf8");
}

/** Hands each whole line to `take`; the end of the output ends the last one. */
export function lineSink(take: (line: string) => void): Writable {
  let rest = "";
  return new Writable({
    decodeStrings: true,
    write(chunk: Buffer, _, done) {
      const lines = (rest + chunk.toString("latin1")).split("\n");
      rest = lines.pop() ?? "";
      // A character may lie across two chunks: bytes become text only as whole lines.
      for (const line of lines) take(Buffer.from(line, "latin1").toString("utf8"));
      done();
    },
  });
}

function collector(chunks: Buffer[]): Writable {
  return new Writable({
    write(chunk: Buffer, _, done) {
      chunks.push(chunk);
      done();
    },
  });
}

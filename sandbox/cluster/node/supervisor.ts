/**
 * The node's second process, after a bare init: sets the namespaces up, starts the node's components, starts each
 * again when it ends, and stops them in good order when told to. When it dies, the init ends, and with it the kernel
 * ends every process, mount and interface of the node.
 *
 * Usage: node supervisor.ts PLAN
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { processesIn } from "./cgroups.ts";
import type { Component, Need } from "./components.ts";
import { setUpNamespace } from "./namespace.ts";
import { type ComponentStatus, type Plan, readPlan } from "./plan.ts";

const maxLogBytes = 8 * 1024 * 1024;
const maxBackoffMs = 15_000;
const stableAfterMs = 60_000;

/** Keeps one component running. */
class SupervisedProcess {
  readonly component: Component;
  readonly #log: number;
  readonly #changed: () => void;
  #child: ChildProcess | undefined;
  #stopping = false;
  #restarts = 0;
  #since = new Date();
  #ended: Promise<void> = Promise.resolve();

  constructor(component: Component, logs: string, changed: () => void) {
    this.component = component;
    this.#changed = changed;
    this.#log = openLog(join(logs, `${component.name}.log`));
  }

  get status(): ComponentStatus {
    return {
      name: this.component.name,
      running: this.#child !== undefined,
      restarts: this.#restarts,
      since: this.#since.toISOString(),
    };
  }

  start(): void {
    this.#ended = this.#supervise();
  }

  /** Ends the component for good: politely, then not. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.#child?.kill("SIGTERM");
    const killer = setTimeout(() => this.#child?.kill("SIGKILL"), graceMs);
    await this.#ended;
    clearTimeout(killer);
  }

  async #supervise(): Promise<void> {
    let backoff = 500;
    while (!this.#stopping) {
      if (!(await this.#waitForDependencies())) return;
      const began = Date.now();
      await this.#runOnce();
      if (this.isStopping()) return;
      backoff = Date.now() - began > stableAfterMs ? 500 : Math.min(backoff * 2, maxBackoffMs);
      console.log(
        `${new Date().toISOString()} ${this.component.name} ended; restarting in ${String(backoff)} ms`,
      );
      await sleep(backoff);
      this.#restarts += 1;
    }
  }

  isStopping(): boolean {
    return this.#stopping;
  }

  async #waitForDependencies(): Promise<boolean> {
    for (const need of this.component.needs) {
      while (!(await isListening(need))) {
        if (this.#stopping) return false;
        await sleep(100);
      }
    }
    return !this.#stopping;
  }

  #runOnce(): Promise<void> {
    return new Promise((ended) => {
      const { command, args } = this.component;
      const child = spawn(command, [...args], { stdio: ["ignore", this.#log, this.#log] });
      this.#child = child;
      this.#since = new Date();
      this.#changed();
      const end = (): void => {
        this.#child = undefined;
        this.#since = new Date();
        this.#changed();
        ended();
      };
      child.on("error", (error) => {
        console.log(`${this.component.name}: ${error.message}`);
        end();
      });
      child.on("exit", end);
    });
  }
}

function openLog(path: string): number {
  if (existsSync(path) && statSync(path).size > maxLogBytes) renameSync(path, `${path}.1`);
  return openSync(path, "a", 0o600);
}

function isListening(need: Need): Promise<boolean> {
  return new Promise((settle) => {
    const socket = "socket" in need ? connect(need.socket) : connect(need.port, "127.0.0.1");
    socket.on("connect", () => {
      socket.destroy();
      settle(true);
    });
    socket.on("error", () => settle(false));
  });
}

/** Lets the pods' processes end by themselves: the kubelet, which would do it, is stopped already. */
async function terminatePods(graceMs: number): Promise<void> {
  const deadline = Date.now() + graceMs;
  for (const pid of await processesIn("kubepods")) {
    try {
      process.kill(pid, "SIGTERM");
    } catch {
      // It has ended meanwhile.
    }
  }
  while (Date.now() < deadline && (await processesIn("kubepods")).length > 0) await sleep(100);
}

async function supervise(plan: Plan): Promise<void> {
  mkdirSync(plan.logs, { recursive: true });
  rmSync(plan.statusFile, { force: true });
  const report = (): void => {
    writeFileSync(
      `${plan.statusFile}.part`,
      JSON.stringify(processes.map((supervised) => supervised.status)),
      {
        mode: 0o600,
      },
    );
    renameSync(`${plan.statusFile}.part`, plan.statusFile);
  };
  const processes: SupervisedProcess[] = [];
  for (const component of plan.components)
    processes.push(new SupervisedProcess(component, plan.logs, report));
  for (const supervised of processes) supervised.start();

  await new Promise((stop) => process.once("SIGTERM", stop));
  const stopRequested = Date.now();
  const stop = async (names: readonly string[], graceMs: number): Promise<void> => {
    await Promise.all(
      processes
        .filter((supervised) => names.includes(supervised.component.name))
        .map(async (supervised) => {
          await supervised.stop(graceMs);
          console.log(
            `${new Date().toISOString()} ${supervised.component.name} stopped after ${String(Date.now() - stopRequested)} ms`,
          );
        }),
    );
  };
  // The kubelet goes first, or it would start again what is being stopped; etcd last, when nobody writes any more.
  await stop(["kubelet", "node-agent", "kube-controller-manager", "kube-scheduler", "kube-proxy"], 3_000);
  await terminatePods(8_000);
  await stop(["containerd", "kube-apiserver"], 5_000);
  await stop(["etcd"], 5_000);
}

const [planFile] = process.argv.slice(2);
if (planFile === undefined) throw new Error("usage: node supervisor.ts PLAN");
const plan = await readPlan(planFile);
await setUpNamespace(plan);
await supervise(plan);

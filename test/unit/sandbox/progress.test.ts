import { describe, expect, test } from "vitest";
import { chooseLogs } from "../../../sandbox/logs.ts";
import { elapsed, progressOn, size } from "../../../sandbox/progress.ts";
import { CommandError, lastLines, runner } from "../../../sandbox/run.ts";
import { describe as describeStatus } from "../../../sandbox/status.ts";

describe("progress", () => {
  test("tells each step's number, facts and time", async () => {
    const written: string[] = [];
    const progress = progressOn({ write: (text) => written.push(text) }, 2);
    await progress.step("First", async (step) => step.note("a fact"));
    await expect(
      progress.step("Second", async () => {
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    expect(written.join("")).toBe(
      "[1/2] First\n      a fact\n      done in 0.0 s\n[2/2] Second\n      stopped after 0.0 s\n",
    );
  });

  test("passes on what is going on to a listener", async () => {
    const activities: string[] = [];
    const progress = progressOn({ write: () => undefined }, 2);
    progress.onActivity((text) => activities.push(text));
    await progress.step("First", async (step) => step.doing("a part"));
    expect(activities).toEqual(["[1/2] First", "[1/2] First: a part"]);
  });

  test.each([
    [0, "0.0 s"],
    [9_940, "9.9 s"],
    [9_960, "10 s"],
    [59_700, "1 min 00 s"],
    [185_000, "3 min 05 s"],
  ])("%d ms is %s", (milliseconds, text) => {
    expect(elapsed(milliseconds)).toBe(text);
  });

  test.each([
    [512, "512 B"],
    [3.4 * 1024 ** 2, "3.4 MiB"],
    [12 * 1024 ** 3, "12 GiB"],
    [5000 * 1024 ** 4, "5000 TiB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(size(bytes)).toBe(text);
  });
});

describe("commands", () => {
  const run = runner(new AbortController().signal);

  test("one that fails is told with the end of what it said", async () => {
    const failing = run(process.execPath, ["-e", "console.log('why'); process.exit(3)"]);
    await expect(failing).rejects.toThrow(/failed \(exit code 3\)\nwhy/);
  });

  test("one that is not there is told so", async () => {
    await expect(run("/no/such/command", [])).rejects.toThrow("no such command");
  });

  test("one is ended when the user interrupts, with what it started", async () => {
    const controller = new AbortController();
    const began = Date.now();
    const running = runner(controller.signal)("sh", ["-c", "sleep 60 & wait"]);
    setTimeout(() => controller.abort(new Error("interrupted")), 50);
    await expect(running).rejects.toThrow("interrupted");
    expect(Date.now() - began).toBeLessThan(5_000);
  });

  test("one that must not be cut ends by itself first", async () => {
    const controller = new AbortController();
    const script = "setTimeout(() => console.log('whole'), 300)";
    const lines: string[] = [];
    const running = runner(controller.signal)(process.execPath, ["-e", script], {
      uninterruptible: true,
      onLine: (line) => lines.push(line),
    });
    setTimeout(() => controller.abort(new Error("interrupted")), 50);
    await expect(running).rejects.toThrow("interrupted");
    expect(lines).toEqual(["whole"]);
  });

  test("the tail has no empty lines", () => {
    expect(lastLines("a\n\nb\n \nc\n", 2)).toBe("b\nc");
  });

  test("a failure is an error of its own kind", () => {
    expect(new CommandError("x", "failed", 1, { stdout: "", stderr: "" }, "/log").message).toBe(
      "x: failed\nThe whole log: /log",
    );
  });
});

describe("logs", () => {
  const files = ["kubelet", "etcd", "minio-0/minio", "geocrop-api-1/api"].map((name) => ({
    name,
    path: name,
  }));

  test.each([
    ["etcd", ["etcd"]],
    ["minio", ["minio-0/minio"]],
    ["geocrop-api-1/api", ["geocrop-api-1/api"]],
  ])("%s", (name, chosen) => {
    expect(chooseLogs(files, name).map((file) => file.name)).toEqual(chosen);
  });

  test("a name that fits nothing is answered by those there are", () => {
    expect(() => chooseLogs(files, "mini0")).toThrow("there are: kubelet, etcd, minio-0/minio");
  });
});

describe("status", () => {
  test("a stopped sandbox is told in a few words", () => {
    const text = describeStatus(
      {
        ready: false,
        node: { running: false, ready: false },
        components: [],
        pods: [],
        deployed: false,
        dataBytes: 0,
        cacheBytes: 1024,
      },
      new Date(),
    );
    expect(text).toBe("node        stopped\ndisk        data 0 B, cache 1.0 KiB\nnot ready");
  });

  test("a run that is still building is told, and not called stopped", () => {
    const text = describeStatus(
      {
        ready: false,
        node: { running: false, ready: false },
        components: [],
        pods: [],
        deployed: false,
        run: { pid: 4711, activity: "[3/9] Build: Build 3 of 6: minio" },
        dataBytes: 0,
        cacheBytes: 0,
      },
      new Date(),
    );
    expect(text).toContain("run         under way, process 4711: [3/9] Build: Build 3 of 6: minio\n");
    expect(text).toContain("node        not running\n");
    expect(text).not.toContain("stopped");
  });

  test("what is not ready stands out", () => {
    const text = describeStatus(
      {
        ready: false,
        node: { running: true, ready: true, startedAt: "2026-01-01T00:00:00Z" },
        components: [{ name: "etcd", running: false, restarts: 2, since: "2026-01-01T00:00:00Z" }],
        pods: [{ namespace: "geocrop", name: "minio-0", ready: false, phase: "Pending", restarts: 0 }],
        deployed: true,
        memoryBytes: 1024 ** 3,
        dataBytes: 0,
        cacheBytes: 0,
      },
      new Date("2026-01-01T00:01:00Z"),
    );
    expect(text).toContain("ready, 10.213.77.2, up for 1 min 00 s");
    expect(text).toContain("STOPPED  etcd  (started again 2 times)");
    expect(text).toContain("NOT READY (Pending)  geocrop/minio-0");
    expect(text).toContain("memory      1.0 GiB");
  });
});

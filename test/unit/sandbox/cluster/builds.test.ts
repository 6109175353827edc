import { describe, expect, test } from "vitest";
import { builds, describeBuild } from "../../../../sandbox/cluster/builds.ts";

describe("a build", () => {
  const [, coredns, minio] = builds;

  test("is told with its place among those that are missing, and about how long it takes", () => {
    expect(describeBuild(minio, [coredns, minio], 2)).toBe("Build 2 of 2: minio, about 4 min on 2 cores");
  });

  test.each([
    [1, "about 7 min on 1 core"],
    [8, "about 1 min on 8 cores"],
    [64, "about 1 min on 64 cores"],
  ])("on %d cores takes %s", (cores, estimate) => {
    expect(describeBuild(minio, [minio], cores)).toBe(`Build 1 of 1: minio, ${estimate}`);
  });
});

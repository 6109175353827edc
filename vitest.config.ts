import { defineConfig } from "vitest/config";

/**
 * Three tiers. `unit` needs no root, network, build or server. `integration` starts real servers on
 * loopback. `e2e` brings the sandbox up and works on the live stack, so its files run one after the other.
 */
export default defineConfig({
  test: {
    reporters: ["default", "./test/plain-summary.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          testTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 1_800_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 2_700_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

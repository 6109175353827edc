import type { Reporter, TestModule } from "vitest/node";

/** After vitest's own summary: one plain line, for machines that read the end of a log. */
export default class PlainSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    let broken = 0;
    for (const module of modules) {
      if (module.errors().length > 0) broken += 1;
      for (const { result } of [...module.children.allTests()].map((test) => ({ result: test.result() }))) {
        count[result.state] += 1;
      }
    }
    process.once("exit", () => {
      process.stdout.write(
        `${count.passed} passed, ${count.failed + broken} failed, ${count.skipped + count.pending} skipped\n`,
      );
    });
  }
}

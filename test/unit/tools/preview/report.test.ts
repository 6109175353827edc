import { describe, expect, test } from "vitest";

import { rules } from "../../../../policy/rules/index.ts";
import { renderJson } from "../../../../tools/preview/json.ts";
import { renderMarkdown } from "../../../../tools/preview/markdown.ts";
import { planChanges } from "../../../../tools/preview/plan.ts";
import { secret, type Recording, type Resource } from "../../../../tools/program/recording.ts";
import { exitCodeOf, reportOn, type Report } from "../../../../tools/preview/report.ts";
import { renderText } from "../../../../tools/preview/text.ts";
import { resource } from "../../../support/preview-resource.ts";

const bucketType = "minio:index/s3Bucket:S3Bucket";

const program = (...resources: Resource[]): Recording => ({ resources, outputs: {} });

function report(before: Recording, after: Recording, change: Partial<Report> = {}): Report {
  const particulars = {
    stack: "dev",
    base: "main (1)",
    head: "branch (2)",
    remarks: [],
    violations: [],
    ruleCount: 15,
  };
  return { ...reportOn(planChanges(before, after), particulars), ...change };
}

const forms = { text: (it: Report) => renderText(it, false), markdown: renderMarkdown, json: renderJson };

describe("the exit code", () => {
  const none = program();
  const bucket = program(resource(bucketType, "b", { bucket: "b" }));
  const [rule] = rules;
  const violation = (level: "mandatory" | "advisory") =>
    rule === undefined ? [] : [{ rule, level, title: "S3Bucket b", message: "is open" }];
  test.each([
    ["no change", report(bucket, bucket), 0],
    ["a change", report(none, bucket), 2],
    ["data at risk", report(bucket, none), 3],
    ["another output", report(none, { resources: [], outputs: { url: "x" } }), 2],
    ["an advisory breach alone", report(bucket, bucket, { violations: violation("advisory") }), 0],
    [
      "a mandatory breach, before everything else",
      report(bucket, none, { violations: violation("mandatory") }),
      1,
    ],
  ])("of %s", (_, it, code) => {
    expect(exitCodeOf(it)).toBe(code);
  });
});

describe.each(Object.entries(forms))("the report as %s", (form, render) => {
  test("shows no digest of a secret", () => {
    const type = "kubernetes:core/v1:Secret";
    const holding = (digest: string) => program(resource(type, "s", { data: { key: secret(digest) } }));
    for (const it of [
      report(holding("digest-1"), holding("digest-2")),
      report(program(), holding("digest-1")),
    ]) {
      expect(render(it)).not.toContain("digest-");
    }
    expect(render(report(holding("digest-1"), holding("digest-2")))).toContain("[secret]");
  });

  test("is the same for the same change", () => {
    const before = program(resource(bucketType, "b", { bucket: "b", quota: 1 }));
    const after = program(resource(bucketType, "b", { bucket: "b", quota: 2 }));
    expect(render(report(before, after))).toBe(render(report(before, after)));
    expect(form).not.toBe("");
  });
});

describe("the text", () => {
  test("comes with colour only where that is asked for", () => {
    const it = report(program(), program(resource(bucketType, "b", { bucket: "b" })));
    expect(renderText(it, true)).toContain("\u001B[");
    expect(renderText(it, false)).not.toContain("\u001B[");
  });

  test("lets no value steer the terminal", () => {
    const named = (name: string) => program(resource(bucketType, "b", { bucket: "b", acl: name }));
    const it = report(named("private"), named("\u001B[2Jpublic"));
    expect(renderText(it, false)).not.toContain("\u001B");
  });

  test("says data at risk before everything else", () => {
    const before = program(
      resource(bucketType, "b", { bucket: "b" }),
      resource("kubernetes:core/v1:ConfigMap", "a", {
        metadata: { name: "a" },
        data: { "nginx.conf": "1\n2\n3" },
      }),
    );
    const after = program(
      resource("kubernetes:core/v1:ConfigMap", "a", {
        metadata: { name: "a" },
        data: { "nginx.conf": "1\nx\n3" },
      }),
    );
    expect(renderText(report(before, after), false)).toMatchInlineSnapshot(`
      "Stack dev: main (1) → branch (2)
      1 to replace, 1 to delete, 0 unchanged, DATA AT RISK (1), all 15 policies kept

      Data at risk
        ! S3Bucket b: the bucket is deleted; MinIO refuses while anything is in it, and the update stops there

      Changes
        - S3Bucket b
        ± ConfigMap a
            data["nginx.conf"]:   (cannot change: it is replaced)
          -   2
          +   x
      "
    `);
  });
});

describe("the comment", () => {
  const many = Array.from({ length: 400 }, (_, index) =>
    resource("kubernetes:core/v1:ConfigMap", `map-${index}`, {
      metadata: { name: `map-${index}` },
      data: { text: "x".repeat(300) },
    }),
  );

  test("stays under 60,000 characters, with what is grave and a word on what is left out", () => {
    const before = program(resource(bucketType, "precious", { bucket: "precious" }));
    const comment = renderMarkdown(report(before, program(...many)));
    expect(comment.length).toBeLessThan(60_000);
    expect(comment).toContain("`S3Bucket precious`: the bucket is deleted");
    expect(comment).toMatch(/\*\*\d+ of 401 changes are not shown here:\*\*/);
    expect(comment).toContain("main (1) → branch (2)");
    expect(comment.match(/<details>/g)?.length).toBe(comment.match(/<\/details>/g)?.length);
  });

  test("stays under that even where the grave part alone is too long", () => {
    const buckets = Array.from({ length: 2000 }, (_, index) =>
      resource(bucketType, `b${index}`, { bucket: `b${index}` }),
    );
    expect(renderMarkdown(report(program(...buckets), program())).length).toBeLessThan(60_000);
  });

  test("is no place for markup, mentions or fences of the code under review", () => {
    const named = (name: string) =>
      program(resource(bucketType, "b", { bucket: name, policy: "```\n@everyone\n</details>" }));
    const comment = renderMarkdown(report(program(), named("`</code><img src=x> @team")));
    const outside = comment.replaceAll(/````diff[^]*?\n````/g, "");
    expect(outside).not.toBe(comment);
    for (const markup of ["<img", "@team", "@everyone", "</details>\n+"])
      expect(outside).not.toContain(markup);
  });
});

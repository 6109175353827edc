import { describe, expect, test } from "vitest";
import { parseImageList, splitReference, supersededBy } from "../../../../sandbox/cluster/image-store.ts";

const digest = (character: string): string => `sha256:${character.repeat(64)}`;
const [oldDigest, newDigest, otherDigest] = [digest("a"), digest("b"), digest("c")];

describe("images in the node's store", () => {
  test("the list is read from ctr's table", () => {
    const table = [
      "REF                       TYPE                                       DIGEST     SIZE      PLATFORMS   LABELS ",
      `geocrop.sandbox/minio:dev application/vnd.oci.image.manifest.v1+json ${oldDigest} 1.0 MiB linux/amd64 -      `,
      "",
    ].join("\n");
    expect(parseImageList(table)).toEqual([{ reference: "geocrop.sandbox/minio:dev", digest: oldDigest }]);
  });

  test("a former version goes under all its names, others' images stay", () => {
    const stored = [
      { reference: `geocrop.sandbox/minio@${oldDigest}`, digest: oldDigest },
      { reference: digest("1"), digest: oldDigest },
      { reference: `geocrop.sandbox/minio@${newDigest}`, digest: newDigest },
      { reference: "geocrop.sandbox/minio:dev", digest: newDigest },
      { reference: digest("2"), digest: newDigest },
      { reference: "geocrop.sandbox/probe:dev", digest: otherDigest },
      { reference: "docker.io/library/minio:dev", digest: otherDigest },
      { reference: digest("3"), digest: otherDigest },
    ];
    expect(supersededBy([`geocrop.sandbox/minio@${newDigest}`], [], stored)).toEqual([
      `geocrop.sandbox/minio@${oldDigest}`,
      digest("1"),
    ]);
  });

  test("a former version that a pod names stays", () => {
    const former = `geocrop.sandbox/minio@${oldDigest}`;
    const stored = [{ reference: former, digest: oldDigest }];
    expect(supersededBy([`geocrop.sandbox/minio@${newDigest}`], [former], stored)).toEqual([]);
  });

  test.each(["geocrop.sandbox/minio:dev", "geocrop.sandbox/minio@sha256:abc", newDigest])(
    "%s is no image by digest",
    (reference) => {
      expect(() => splitReference(reference)).toThrow("is no image by digest");
    },
  );
});

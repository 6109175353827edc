import * as pulumi from "@pulumi/pulumi";

/** A Kubernetes Secret's `data`: base64, and marked secret whatever the values were. */
export function secretData(
  values: Record<string, pulumi.Input<string>>,
): pulumi.Output<Record<string, string>> {
  return pulumi.secret(
    pulumi
      .output(values)
      .apply((plain) =>
        Object.fromEntries(
          Object.entries(plain).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
        ),
      ),
  );
}

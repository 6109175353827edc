import { CoreV1Api, type KubeConfig } from "@kubernetes/client-node";

/** A URL that the API gave somebody, as its log tells. The trail tells what was done with it. */
export interface Issue {
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly jobId: string;
  /** The user, by the token's `sub`. */
  readonly subject: string;
  readonly admin: boolean;
  /** The same user as URLs, and so the trail, call him. */
  readonly pseudonym: string;
  readonly issuance: string;
  readonly expiresAt: string;
  readonly address: string;
}

/** The API's log line of an issued URL (services/signed-url-api/routes/url-issuer.ts), or undefined for any other. */
export function issueOf(line: string): Issue | undefined {
  if (!line.includes('"URL issued"')) return undefined;
  try {
    const said: Record<string, unknown> = JSON.parse(line);
    const text = (name: string): string => (typeof said[name] === "string" ? said[name] : "");
    return {
      time: text("time"),
      jobId: text("jobId"),
      subject: text("subject"),
      admin: said["admin"] === true,
      pseudonym: text("x-geocrop-subject"),
      issuance: text("x-geocrop-issuance"),
      expiresAt: text("expiresAt"),
      address: text("address"),
    };
  } catch {
    return undefined;
  }
}

/** For a person to read, in the manner of the trail's lines. */
export function issueLine({ time, jobId, subject, admin, issuance, expiresAt, address }: Issue): string {
  const who = admin ? `${subject}, as an administrator` : subject;
  return `${time.slice(0, 19)}Z  URL  ${issuance}  ${jobId}  given to ${who}  from ${address}  until ${expiresAt}`.replaceAll(
    /\p{C}/gu,
    "?",
  );
}

/** What the API's pods say they issued, oldest first, as far back as the nodes keep their logs. */
export async function readIssues(cluster: KubeConfig, namespace: string): Promise<Issue[]> {
  const core = cluster.makeApiClient(CoreV1Api);
  const labelSelector = "app=geocrop-api,app.kubernetes.io/component=signed-url-api";
  const { items } = await core.listNamespacedPod({ namespace, labelSelector });
  const logs = await Promise.all(
    items.flatMap(({ metadata, status }) => {
      const pod = { namespace, name: metadata?.name ?? "", container: "signed-url-api" };
      const restarted = (status?.containerStatuses?.[0]?.restartCount ?? 0) > 0;
      return [restarted, false]
        .filter((previous, index) => previous || index === 1)
        .map((previous) => core.readNamespacedPodLog({ ...pod, previous }).catch(() => ""));
    }),
  );
  return logs
    .flatMap((log) => log.split("\n"))
    .flatMap((line) => issueOf(line) ?? [])
    .toSorted((a, b) => (a.time < b.time ? -1 : 1));
}

import {
  type KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
  HttpMethod,
} from "@kubernetes/client-node";

/**
 * Server-side apply: creates what is missing, changes what differs, and nothing else; fields that another manager set
 * are taken over.
 *
 * @param fieldManager the name under which the API server notes who set which field.
 * @throws ApiException with the API server's reason.
 * @throws Error when the cluster has no such kind: what defines it is not installed.
 */
export async function applyObjects(
  cluster: KubeConfig,
  objects: readonly KubernetesObject[],
  fieldManager: string,
): Promise<void> {
  const api = cluster.makeApiClient(PlainObjectApi);
  api.useNamespaceOf(cluster);
  for (const object of objects) await api.apply(object, fieldManager);
}

/**
 * Sends objects as they are. KubernetesObjectApi's own `patch` writes them by the client's models, and drops every field
 * that those do not know: `from` of a NetworkPolicy's rule among them (`_from` in the model), which opens the rule to
 * everybody.
 */
class PlainObjectApi extends KubernetesObjectApi {
  useNamespaceOf(cluster: KubeConfig): void {
    this.setDefaultNamespace(cluster);
  }

  async apply(object: KubernetesObject, fieldManager: string): Promise<void> {
    // The path's maker fills in the namespace where there is none.
    const sent = structuredClone(object);
    const path = await this.specUriPath(sent, "patch");
    const request = this.configuration.baseServer.makeRequestContext(path, HttpMethod.PATCH);
    request.setHeaderParam("Accept", "application/json");
    request.setHeaderParam("Content-Type", PatchStrategy.ServerSideApply);
    request.setQueryParam("fieldManager", fieldManager);
    request.setQueryParam("force", "true");
    request.setBody(JSON.stringify(sent));
    await this.requestPromise(request);
  }
}

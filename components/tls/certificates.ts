import * as kubernetes from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

import { certificateFiles, tlsSecretName } from "../../config/names.ts";
import type { Settings } from "../../config/schema.ts";
import { contentHash } from "../kubernetes/content-hash.ts";
import { secretData } from "../kubernetes/secrets.ts";
import type { ServerNames } from "./server-names.ts";

/** Hours of a year; a leaf lives one, the authority ten. */
const year = 365 * 24;

/** Hours before its end at which `pulumi up` renews a certificate. */
const renewBefore = 30 * 24;

export interface CertificatesArgs {
  readonly namespace: pulumi.Input<string>;
  /** Who issues: see the README's table of keys. */
  readonly tls: Settings["tls"];
  readonly servers: readonly ServerNames[];
}

/**
 * One Secret `<server>-tls` for each server, with `tls.crt`, `tls.key` and the authority's `ca.crt`: made by an
 * authority of the stack's own, by cert-manager, or expected to be there already.
 */
export class Certificates extends pulumi.ComponentResource {
  /** The authority's certificate, where the authority is the stack's own. */
  readonly authority: pulumi.Output<string> | undefined;
  /** A digest of it, for the pods that read it only at their start; else empty. */
  readonly authorityHash: pulumi.Output<string>;

  constructor(name: string, args: CertificatesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("geocrop:storage:Certificates", name, {}, opts);
    switch (args.tls.issuer) {
      case "self-signed-ca":
        this.authority = this.#issueSelfSigned(name, args);
        break;
      case "cert-manager":
        this.#requestFromCertManager(name, args, args.tls.issuerRef);
        this.authority = undefined;
        break;
      case "existing-secret":
        this.authority = undefined;
        break;
    }
    this.authorityHash = this.authority?.apply(contentHash) ?? pulumi.output("");
    this.registerOutputs({ authorityHash: this.authorityHash });
  }

  #issueSelfSigned(name: string, args: CertificatesArgs): pulumi.Output<string> {
    const parent = { parent: this };
    const privateKey = (subject: string) =>
      new tls.PrivateKey(`${name}-${subject}-key`, { algorithm: "ECDSA", ecdsaCurve: "P256" }, parent);

    const authorityKey = pulumi.secret(privateKey("ca").privateKeyPem);
    const authority = new tls.SelfSignedCert(
      `${name}-ca`,
      {
        privateKeyPem: authorityKey,
        subject: { commonName: "geocrop storage CA", organization: "geocrop" },
        isCaCertificate: true,
        allowedUses: ["cert_signing", "crl_signing"],
        setSubjectKeyId: true,
        validityPeriodHours: 10 * year,
        earlyRenewalHours: year,
      },
      parent,
    );

    for (const server of args.servers) {
      const key = pulumi.secret(privateKey(server.name).privateKeyPem);
      const request = new tls.CertRequest(
        `${name}-${server.name}-request`,
        {
          privateKeyPem: key,
          subject: { commonName: server.name, organization: "geocrop" },
          dnsNames: [...server.dnsNames],
          ipAddresses: [...server.ipAddresses],
        },
        parent,
      );
      const certificate = new tls.LocallySignedCert(
        `${name}-${server.name}`,
        {
          certRequestPem: request.certRequestPem,
          caPrivateKeyPem: authorityKey,
          caCertPem: authority.certPem,
          allowedUses: ["digital_signature", "server_auth"],
          setSubjectKeyId: true,
          validityPeriodHours: year,
          earlyRenewalHours: renewBefore,
        },
        parent,
      );
      new kubernetes.core.v1.Secret(
        `${name}-${server.name}-tls`,
        {
          metadata: { name: tlsSecretName(server.name), namespace: args.namespace },
          type: "kubernetes.io/tls",
          data: secretData({
            [certificateFiles.certificate]: certificate.certPem,
            [certificateFiles.key]: key,
            [certificateFiles.authority]: authority.certPem,
          }),
        },
        // Another issuer's certificate comes into this Secret, and pods need it until then.
        { parent: this, retainOnDelete: true },
      );
    }
    return authority.certPem;
  }

  #requestFromCertManager(
    name: string,
    args: CertificatesArgs,
    issuerRef: { name: string; kind: string },
  ): void {
    for (const server of args.servers) {
      new kubernetes.apiextensions.CustomResource(
        `${name}-${server.name}`,
        {
          apiVersion: "cert-manager.io/v1",
          kind: "Certificate",
          metadata: { name: server.name, namespace: args.namespace },
          spec: {
            secretName: tlsSecretName(server.name),
            issuerRef: { ...issuerRef, group: "cert-manager.io" },
            commonName: server.name,
            dnsNames: server.dnsNames,
            ipAddresses: server.ipAddresses,
            usages: ["digital signature", "server auth"],
            privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Always" },
            duration: "2160h",
            renewBefore: "720h",
          },
        },
        { parent: this },
      );
    }
  }
}

// For importers that do not name config/names.ts yet.
export { tlsSecretName } from "../../config/names.ts";

import { defaultDownloadLimits, type DownloadLimits } from "../../config/downloads.ts";
import { mountPaths, resultsBucket, servers, tls12Suites } from "../../config/names.ts";

/** Of memory, in bytes: for nginx itself, and for each download under way (measured: 0.3 MiB; bench/downloads.ts). */
const idleMemory = 48 * 1024 * 1024;
const downloadMemory = 384 * 1024;

/** How many downloads at once a pod of so much memory carries, at least one. */
export function downloadsThatFit(memoryBytes: number): number {
  return Math.max(1, Math.floor((memoryBytes - idleMemory) / downloadMemory));
}

/** The settings of the download gateway's nginx. Everything has the place it has in the pod unless stated. */
export interface NginxConfigArgs {
  /** MinIO's Service as `host:port`. The host is also the name its certificate must carry. */
  readonly upstream: string;
  /** The one bucket that is reachable. @default geocrop-results */
  readonly bucket?: string;
  /** @default 8443 */
  readonly port?: number;
  /** Directory with `tls.crt`, `tls.key` and `ca.crt`. @default /etc/geocrop/tls */
  readonly tlsDir?: string;
  /** @default 256 downloads, 500 requests a second */
  readonly limits?: DownloadLimits;
  /** Downloads at once of all addresses together. @default no limit but the workers' 4096 connections each */
  readonly downloadsAtOnce?: number;
  /** Address ranges of proxies before the gateway, whose X-Forwarded-For is believed. @default none */
  readonly trustedProxies?: readonly string[];
  /** Writable directory for the pid and temporary files. @default /tmp */
  readonly tempDir?: string;
  /** Worker processes. Not nginx's `auto`, which counts the node's cores, not the pod's. @default 2 */
  readonly workers?: number;
  /** Where the access log goes: a file that nginx can open. @default /dev/stdout */
  readonly accessLog?: string;
  /** Web origins (`https://host[:port]`) whose pages may read downloads. @default none */
  readonly allowedOrigins?: readonly string[];
}

/**
 * The request headers MinIO gets from the client; nothing else of a request's header is passed on. Host is as the
 * client sent it, since the signature covers it. No `x-amz-*` among them: MinIO obeys some of those although the
 * signature does not cover them (CVE-2026-97731). No Origin: MinIO's own CORS answer allows every origin by default.
 */
const passedHeaders = {
  Host: "$http_host",
  Range: "$passed_range",
  "If-Match": "$http_if_match",
  "If-None-Match": "$http_if_none_match",
  "If-Modified-Since": "$http_if_modified_since",
  "If-Unmodified-Since": "$http_if_unmodified_since",
  "User-Agent": "$http_user_agent",
  // MinIO takes the audit entry's remote address from here. The client's own such header is not passed.
  "X-Forwarded-For": "$remote_addr",
  // Keeps the connection to MinIO open; the body of a GET, if a client sends one, is not passed.
  Connection: '""',
  "Content-Length": '""',
};

/** Without these a URL is not signed in its query. MinIO reads their names case-sensitively, and so does this. */
const signedParameters = [
  "X-Amz-Algorithm=AWS4-HMAC-SHA256",
  "X-Amz-Credential=[^&#]+",
  "X-Amz-Expires=[0-9]+",
  "X-Amz-Signature=[0-9a-f]{64}",
];

/** Fields of the access log. The query is a credential, so it is not among them. */
const logFields = {
  time: "$time_iso8601",
  remote_addr: "$remote_addr",
  method: "$request_method",
  path: "$logged_path",
  status: "$status",
  bytes: "$body_bytes_sent",
  range: "$http_range",
  duration: "$request_time",
  protocol: "$server_protocol",
  tls: "$ssl_protocol",
  user_agent: "$http_user_agent",
  upstream_addr: "$upstream_addr",
  upstream_status: "$upstream_status",
  upstream_connect_time: "$upstream_connect_time",
  upstream_header_time: "$upstream_header_time",
  request_id: "$upstream_http_x_amz_request_id",
};

/** What pages that read Cloud Optimized GeoTIFFs by range need to see of an answer. */
const exposedHeaders = ["Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Last-Modified"];

/**
 * The raw request target that may pass: `/<bucket>/jobs/<id>/<name>` with the parameters of a signature. Segments are
 * what a signer produces (unreserved characters and percent-encoding), none of them empty, `.` or `..`, and no
 * encoded slash, backslash, dot, percent sign or NUL, so that nginx and MinIO can't read two different paths.
 */
function signedTarget(bucket: string): string {
  const segment = String.raw`/(?!\.{1,2}[/?])(?:[A-Za-z0-9._~-]|%(?!00|2[5EFef]|5[Cc])[0-9A-Fa-f]{2})+`;
  const parameters = signedParameters.map((parameter) => `(?=(?:[^#]*&)?${parameter}(?:&|$))`).join("");
  return String.raw`^/${bucket}/jobs(?:${segment}){2,}\?${parameters}[^#]+$`;
}

/**
 * nginx.conf of the download gateway: the only endpoint from outside to MinIO, for signed downloads alone. Tried with
 * nginx 1.22 and meant for all later ones.
 *
 * The request goes on byte for byte as it came (`proxy_pass` without a path), because the signature covers path
 * and query. Whether the signature is right is for MinIO to say.
 */
export function nginxConfig({
  upstream,
  bucket = resultsBucket,
  limits = defaultDownloadLimits,
  downloadsAtOnce,
  trustedProxies = [],
  port = servers.downloads.port,
  tlsDir = mountPaths.tls,
  tempDir = "/tmp",
  workers = 2,
  accessLog = "/dev/stdout",
  allowedOrigins = [],
}: NginxConfigArgs): string {
  return `daemon off;
worker_processes ${workers};
pid ${tempDir}/nginx.pid;
# Start, stop and worker failures. They belong to no request.
error_log stderr notice;

events {
  worker_connections 4096;
}

http {
${accessLogSection(accessLog)}

  client_body_temp_path ${tempDir}/client-body;
  proxy_temp_path ${tempDir}/proxy;
  fastcgi_temp_path ${tempDir}/fastcgi;
  uwsgi_temp_path ${tempDir}/uwsgi;
  scgi_temp_path ${tempDir}/scgi;

  default_type text/plain;
  server_tokens off;
  sendfile off;
  tcp_nodelay on;
  keepalive_timeout 65s;
  client_header_timeout 10s;
  client_body_timeout 10s;
  send_timeout 60s;
  large_client_header_buffers 4 8k;
  client_max_body_size 1;

${signatureMaps(bucket)}

${originMaps(allowedOrigins)}

  # A path with a variable is read at each handshake, so a renewed certificate holds at once, without a reload.
  map "" $tls_dir {
    default ${tlsDir};
  }

${clientLimits(trustedProxies, limits)}

  upstream minio {
    server ${upstream} max_fails=0;
    keepalive 32;
    # Below MinIO's 30 s, or a request could meet a connection that MinIO is just closing.
    keepalive_timeout 20s;
  }

  server {
${tlsSection(port)}

${headerSection}

    location = /healthz {
      access_log off;
      return 200 "ok\\n";
    }

${preflightSection}

    location / {
${admission(limits, downloadsAtOnce)}

${proxySection(upstream, tlsDir)}
    }
  }
}
`;
}

/** One line of JSON a request, without what could be used again: neither query nor nginx's own error lines. */
const accessLogSection = (
  accessLog: string,
) => `  # nginx ends each error of a request with its whole request line and upstream URL, a live signature included, and
  # no setting leaves them out. So these go nowhere; the access log has the status, MinIO's own and the timings.
  error_log /dev/null emerg;

  log_format json escape=json '{${Object.entries(logFields)
    .map(([name, variable]) => `"${name}":"${variable}"`)
    .join(",")}}';
  access_log ${accessLog} json;`;

/** How a signed download is recognised, and what of its request is passed on. */
const signatureMaps = (bucket: string) => `  map $request_uri $signed_download {
    default 0;
    "~${signedTarget(bucket)}" 1;
  }

  # MinIO does not know If-Range: it would send the part of a changed object, and the client would join two objects. So
  # it is asked for the whole object then, and proxy_force_ranges lets nginx cut the part out if the object is the same.
  map $http_if_range $passed_range {
    default "";
    "" $http_range;
  }

  # A chunked upload's mark, with which MinIO can be made to take an unsigned body (GHSA-9c4q-hq6p-c237). It has no
  # business with a download, be it as a header or in the query.
  map "$http_x_amz_content_sha256 $request_uri" $streaming {
    default 0;
    "~*^streaming" 1;
    "~*[?&]x-amz-content-sha256=streaming" 1;
  }`;

/** CORS: which origin an answer names, and the path that the access log shows. */
const originMaps = (
  allowedOrigins: readonly string[],
) => `  # The web origins whose pages may read downloads, each as a whole; no header goes to any other.
  map $http_origin $allowed_origin {
    default "";${allowedOrigins.map((origin) => `\n    "${origin}" $http_origin;`).join("")}
  }
  map $allowed_origin $exposed_headers {
    default "${exposedHeaders.join(", ")}";
    "" "";
  }
  map "$request_method $allowed_origin" $preflight {
    default 0;
    "~^OPTIONS ." 1;
  }

  # Up to the query, even where somebody encoded its question mark.
  map $request_uri $logged_path {
    "~^(?<path>(?:[A-Za-z0-9._~/-]|%(?!2[56]|3[DdFf])[0-9A-Fa-f]{2})*)" $path;
  }`;

/** Who a client is, and what one may take. */
const clientLimits = (
  trustedProxies: readonly string[],
  limits: DownloadLimits,
) => `${trustedProxies.map((range) => `  set_real_ip_from ${range};\n`).join("")}  real_ip_header X-Forwarded-For;
  real_ip_recursive on;

  limit_conn_zone $binary_remote_addr zone=connections:10m;
  limit_req_zone $binary_remote_addr zone=requests:10m rate=${limits.requestsPerSecond}r/s;
  limit_conn_zone $server_port zone=all:1m;
  limit_conn_status 429;
  limit_req_status 429;`;

/** TLS by Mozilla's "intermediate" guidelines. */
const tlsSection = (port: number) => `    listen ${port} ssl http2;

    ssl_certificate $tls_dir/tls.crt;
    ssl_certificate_key $tls_dir/tls.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ${tls12Suites.join(":")};
    ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:tls:10m;
    ssl_session_timeout 1d;
    ssl_session_tickets off;`;

const headerSection = `    add_header Strict-Transport-Security "max-age=63072000" always;
    add_header X-Content-Type-Options nosniff always;
    # The address of a download is a credential, which a page must not pass on.
    add_header Referrer-Policy no-referrer always;

    add_header Vary Origin always;
    add_header Access-Control-Allow-Origin $allowed_origin always;
    add_header Access-Control-Expose-Headers $exposed_headers always;`;

const preflightSection = `    # A browser asks before it sends a Range that is more than simple, or an If-None-Match. Not in the location below,
    # whose rules don't hold for the methods that it denies.
    if ($preflight) {
      return 418;
    }
    error_page 418 = @preflight;
    location @preflight {
      add_header Vary Origin always;
      add_header Access-Control-Allow-Origin $allowed_origin always;
      add_header Access-Control-Allow-Methods "GET, HEAD" always;
      add_header Access-Control-Allow-Headers "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since" always;
      add_header Access-Control-Max-Age 600 always;
      return 204;
    }`;

/** Which requests go on to MinIO. */
const admission = (limits: DownloadLimits, downloadsAtOnce: number | undefined) => `      limit_except GET {
        deny all;
      }
      if ($streaming) {
        return 403 "Uploads do not pass here.\\n";
      }
      if ($signed_download = 0) {
        return 403 "Only signed download URLs pass here.\\n";
      }

      limit_conn connections ${limits.connections};
${downloadsAtOnce === undefined ? "" : `      limit_conn all ${downloadsAtOnce};\n`}      limit_req zone=requests burst=${limits.requestsPerSecond * 2} nodelay;`;

/** How they go on to MinIO. */
const proxySection = (upstream: string, tlsDir: string) => `      proxy_pass https://minio;
      proxy_http_version 1.1;
      proxy_force_ranges on;
      proxy_pass_request_body off;
      proxy_pass_request_headers off;
${Object.entries(passedHeaders)
  .map(([name, value]) => `      proxy_set_header ${name} ${value};`)
  .join("\n")}

      proxy_ssl_verify on;
      proxy_ssl_verify_depth 3;
      proxy_ssl_trusted_certificate ${tlsDir}/ca.crt;
      proxy_ssl_name ${upstream.replace(/:\d+$/, "")};
      proxy_ssl_server_name on;
      proxy_ssl_protocols TLSv1.2 TLSv1.3;

      # Read ahead in memory only, so that a slow client costs a fixed 320 KiB and never the disk.
      proxy_buffer_size 64k;
      proxy_buffers 4 64k;
      proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
      # Handshakes too: on a busy machine many at once take their time, and a MinIO that is away refuses at once.
      proxy_connect_timeout 10s;
      proxy_read_timeout 60s;

      proxy_hide_header Strict-Transport-Security;
      proxy_hide_header X-Content-Type-Options;`;

import type { Http } from '../http/http.ts';
import { dumpBody } from '../http/http.ts';

/** The longest wait for a collector; a pull ends no later for it. */
const PATIENCE_MS = 2000;
const KIND_CLIENT = 3;
const STATUS_ERROR = 2;

/** One step; times in milliseconds since 1970. */
export interface Span {
  readonly name: string;
  /** 16 hex digits. */
  readonly id: string;
  readonly parent?: string | undefined;
  readonly start: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly error?: string | undefined;
}

export interface OtlpPlace {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly service: string;
}

/**
 * Where traces go, by OpenTelemetry's variables; undefined where they name none. Only OTLP over HTTP with JSON is spoken, which
 * every collector takes: the packages of OpenTelemetry would weigh more than all the rest of quayctl's start.
 */
export function otlpPlace(env: Readonly<Record<string, string | undefined>>): OtlpPlace | undefined {
  const traces = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  const base = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const text = traces ?? (base === undefined || base === '' ? '' : `${base.replace(/\/+$/, '')}/v1/traces`);
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || env['OTEL_SDK_DISABLED'] === 'true')
    return undefined;
  const pairs = (env['OTEL_EXPORTER_OTLP_HEADERS'] ?? '').split(',').flatMap((pair) => {
    const [, name, value] = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    return name === undefined || value === undefined ? [] : [[name.toLowerCase(), decoded(value)] as const];
  });
  return { url, headers: Object.fromEntries(pairs), service: env['OTEL_SERVICE_NAME'] ?? 'quayctl' };
}

/** OTLP/HTTP, `ExportTraceServiceRequest` in JSON (opentelemetry-proto, trace.proto). Never throws. */
export async function exportSpans(
  http: Pick<Http, 'request'>,
  { url, headers, service }: OtlpPlace,
  {
    traceId,
    version,
    spans,
  }: { readonly traceId: string; readonly version: string; readonly spans: readonly Span[] },
): Promise<string | undefined> {
  const body = JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: attributesOf({ 'service.name': service, 'service.version': version }) },
        scopeSpans: [
          { scope: { name: 'quayctl', version }, spans: spans.map((span) => spanOf(traceId, span)) },
        ],
      },
    ],
  });
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await http.request(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body,
      signal,
    });
    await dumpBody(answer);
    return answer.statusCode < 300 ? undefined : `${url.host} answers ${answer.statusCode} to a trace`;
  } catch (error) {
    return `no trace was sent: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function spanOf(traceId: string, { name, id, parent, start, end, attributes, error }: Span): object {
  return {
    traceId,
    spanId: id,
    ...(parent === undefined ? {} : { parentSpanId: parent }),
    name,
    kind: KIND_CLIENT,
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(Math.max(start, end)),
    attributes: attributesOf(attributes),
    status: error === undefined ? {} : { code: STATUS_ERROR, message: error },
  };
}

function attributesOf(attributes: Readonly<Record<string, string | number>>): object[] {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value: typeof value === 'string' ? { stringValue: value } : { intValue: String(Math.round(value)) },
  }));
}

/** 64 bits are texts in the JSON of Protocol Buffers. */
function nanoseconds(time: number): string {
  return `${BigInt(Math.round(time * 1000))}000`;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Scope } from '../helpers/processes.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

interface SpanJson {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { key: string; value: { stringValue?: string; intValue?: string } }[];
  readonly status: { code?: number; message?: string };
}

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

/** An OTLP/HTTP collector that keeps what it is sent. */
async function collector(t: Scope) {
  const spans: SpanJson[] = [];
  const headers: Record<string, unknown>[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      headers.push({ ...request.headers, path: request.url });
      type Sent = { resourceSpans: { scopeSpans: { spans: SpanJson[] }[] }[] };
      const { resourceSpans } = JSON.parse(body) as Sent;
      for (const { scopeSpans } of resourceSpans) for (const scope of scopeSpans) spans.push(...scope.spans);
      response.setHeader('content-type', 'application/json').end('{"partialSuccess":{}}');
    });
  }).listen(0, '127.0.0.1');
  t.after(() => void server.close());
  await once(server, 'listening');
  return { spans, headers, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('a pull is a trace: a span for each step and each blob, below TRACEPARENT; a failed one says why', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(50_000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const { spans, headers, url } = await collector(t);
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20secret',
    TRACEPARENT: `00-${TRACE}-${PARENT}-01`,
  };
  const node = await quayctlNode(t);
  const name = `${service.host}/team/app:1.0`;
  const pulled = await node.run(['torrent', 'pull', name], { env });
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.deepEqual([headers[0]?.['path'], headers[0]?.['x-key']], ['/v1/traces', 'a secret']);
  const named = (wanted: string): SpanJson[] => spans.filter((span) => span.name === wanted);
  const [root] = named('pull');
  assert.deepEqual([root?.traceId, root?.parentSpanId, root?.status], [TRACE, PARENT, {}]);
  for (const step of ['resolve', 'plan', 'fetch']) {
    const [span] = named(step);
    assert.equal(span?.parentSpanId, root?.spanId, step);
    assert.ok(BigInt(span?.startTimeUnixNano ?? 0) <= BigInt(span?.endTimeUnixNano ?? 0), step);
  }
  const [fetch] = named('fetch');
  const digests = named('fetch blob').map(({ parentSpanId, attributes }) => {
    assert.equal(parentSpanId, fetch?.spanId);
    return attributes.find(({ key }) => key === 'oci.digest')?.value.stringValue;
  });
  assert.deepEqual(new Set(digests), new Set([image.config.digest, image.layers[0]?.digest]));

  spans.length = 0;
  const failed = await node.run(['torrent', 'pull', `${service.host}/team/none:1.0`], { env });
  assert.equal(failed.code, 4, failed.stderr);
  assert.equal(named('pull')[0]?.status.code, 2);
  assert.ok((named('pull')[0]?.status.message ?? '') !== '');

  const other = await quayctlNode(t);
  const without = { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
  const silent = await other.run(['torrent', 'pull', name], { env: without });
  assert.equal(silent.code, 0, 'a collector that is away is no matter of the pull');
});

import assert from 'node:assert/strict';
import { startHttpFaultProxy, type HttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import type { RunningProcess, Scope } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { parseReceipt, type ReceiptJson } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

/** Images behind a thin pipe, their torrent service, and nodes that pull them. */
export interface PageStage {
  readonly pipe: HttpFaultProxy;
  readonly service: TestService;
  /** Ends the service and starts it again at the same ports. */
  restart(): Promise<void>;
  pull(image: string): Promise<Pull>;
}

export interface Pull {
  readonly process: RunningProcess;
  readonly receipt: () => Promise<ReceiptJson>;
}

export interface PageStageOptions {
  /** Name and tag -> sizes of its layers, bytes. */
  readonly images: Readonly<Record<string, readonly number[]>>;
  readonly bytesPerSecond: number;
}

/** Nodes know the service by the pipe's address, as their registry: so manifests and layers pass through both. */
export async function openPageStage(
  scope: Scope,
  { images, bytesPerSecond }: PageStageOptions,
): Promise<PageStage> {
  const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
  for (const [name, sizes] of Object.entries(images)) {
    const layers = sizes.map((size, at) => randomLayer(size, `${name} ${at}`));
    await layout.addImage({ layers }, name);
  }
  const dataDirectory = await tempDirectory(scope, 'data');
  let target = 'http://127.0.0.1:9';
  const ports = { listen: 0, admin: 0 };
  const start = (): Promise<TestService> =>
    startService(scope, {
      upstream: `oci:${layout.directory}`,
      dataDirectory,
      listen: { host: '127.0.0.1', port: ports.listen },
      admin: { place: { host: '127.0.0.1', port: ports.admin } },
      aliases,
      version: '0.1.0',
    });
  const aliases: string[] = [];
  // The alias of the service is the pipe's address, which is known once both have their ports.
  const first = await start();
  ports.listen = Number(new URL(first.url).port);
  ports.admin = Number(new URL(first.adminUrl ?? '').port);
  target = first.url;
  await first.close();
  const pipe = await startHttpFaultProxy(scope, target);
  aliases.push(pipe.host);
  pipe.link.bytesPerSecond = bytesPerSecond;
  let service = await start();
  const { host } = pipe;
  return {
    pipe,
    get service() {
      return service;
    },
    restart: async () => {
      await service.close();
      service = await start();
    },
    pull: async (image) => {
      const node = await quayctlNode(scope);
      const flags = ['--json', '--seed-after', '5m', '--lower-port', '20000', '--upper-port', '29999'];
      const process = node.start(['torrent', 'pull', `${host}/${image}`, ...flags]);
      return {
        process,
        receipt: async () => {
          const [text] = await process.waitFor(/^\{.*\}$/m, 120_000);
          assert.doesNotMatch(text, /^\{"error"/, process.stderr());
          return parseReceipt(text);
        },
      };
    },
  };
}

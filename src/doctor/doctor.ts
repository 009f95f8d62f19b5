import type { Descriptor } from '../image/descriptor.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import type { Report } from './finding.ts';
import { examineEngines, examineStore } from './machine.ts';
import { examineMirror } from './mirror-settings.ts';
import { examinePeers, measureRegistry } from './peers.ts';
import { examinePort } from './port.ts';
import { examineRegistry } from './registry.ts';
import { examineService, examineTorrent, examineTrackers } from './service.ts';
import type { ImageWorld, MachineWorld } from './world.ts';

/** Why bytes do, or do not, come from peers: what a pull of the image meets, step by step. Nothing is kept. */
export async function examineImage(world: ImageWorld, report: Report, signal: AbortSignal): Promise<void> {
  const image = await examineRegistry(world, report, signal);
  await examineSwarm(world, image, report, signal);
  await examineStore(world, image, report);
  await examineEngines(world, report, signal);
  await examineMirror(world.engineFiles, world.reference.registry, world.http, report, signal);
}

/** The same without an image: this machine, and the torrent service where one is named. */
export async function examineMachine(
  world: MachineWorld,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  if (world.service !== undefined) await examineService(world, world.service, report, signal);
  await examineStore(world, undefined, report);
  await examineEngines(world, report, signal);
  await examineMirror(world.engineFiles, undefined, world.http, report, signal);
}

async function examineSwarm(
  world: ImageWorld,
  image: ResolvedImage | undefined,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const { service, repository, ports } = world;
  // Without a registry that answers there is nobody else to ask but a service that was named.
  const base = service ?? (image === undefined ? undefined : await repository.requester.base(signal));
  if (base === undefined)
    return report('service', 'skipped', 'the registry itself would be asked for torrents');
  const isService = await examineService(world, base, report, signal);
  if (image === undefined) return;
  const blob = largestOf(image);
  if (!isService) {
    if (world.measures) await measureRegistry(world, blob, report, signal);
    return;
  }
  const metainfo = await examineTorrent(world, blob, report, signal);
  if (metainfo !== undefined) {
    await examineTrackers(world, metainfo, ports.lower, report, signal);
    await examinePort(world, metainfo, report, signal);
  }
  if (world.measures) await measureRegistry(world, blob, report, signal);
  if (metainfo !== undefined) await examinePeers(world, blob, metainfo, report, signal);
}

/** What takes longest to come. */
function largestOf({ manifest: { config, layers } }: ResolvedImage): Descriptor {
  return layers.reduce((largest, layer) => (layer.size > largest.size ? layer : largest), config);
}

import type { Descriptor } from '../image/descriptor.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import type { Report } from './finding.ts';
import { examineEngines, examineStore } from './machine.ts';
import { examineMirror } from './mirror-settings.ts';
import { examinePeers, measureRegistry } from './peers.ts';
import { examinePort } from './port.ts';
import { examineRegistry } from './registry.ts';
import { examineService, examineTorrent, examineTrackers } from './service.ts';
import type { ExaminedImage, ExaminedMachine } from './examined.ts';

/** Why bytes do, or do not, come from peers: what a pull of the image meets, step by step. Nothing is kept. */
export async function examineImage(
  examined: ExaminedImage,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const image = await examineRegistry(examined, report, signal);
  await examineSwarm(examined, image, report, signal);
  await examineStore(examined, image, report);
  await examineEngines(examined, report, signal);
  await examineMirror(examined.engineFiles, examined.reference.registry, report, signal);
}

/** The same without an image: this machine, and the torrent service where one is named. */
export async function examineMachine(
  examined: ExaminedMachine,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  if (examined.service !== undefined) await examineService(examined, examined.service, report, signal);
  await examineStore(examined, undefined, report);
  await examineEngines(examined, report, signal);
  await examineMirror(examined.engineFiles, undefined, report, signal);
}

async function examineSwarm(
  examined: ExaminedImage,
  image: ResolvedImage | undefined,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const { service, repository, ports } = examined;
  // Without a registry that answers there is nobody else to ask but a service that was named.
  const base = service ?? (image === undefined ? undefined : await repository.requester.base(signal));
  if (base === undefined)
    return report('service', 'skipped', 'the registry itself would be asked for torrents');
  const isService = await examineService(examined, base, report, signal);
  if (image === undefined) return;
  const blob = largestOf(image);
  if (!isService) {
    if (examined.measures) await measureRegistry(examined, blob, report, signal);
    return;
  }
  const metainfo = await examineTorrent(examined, blob, report, signal);
  if (metainfo !== undefined) {
    await examineTrackers(examined, metainfo, ports.lower, report, signal);
    await examinePort(examined, metainfo, report, signal);
  }
  if (examined.measures) await measureRegistry(examined, blob, report, signal);
  if (metainfo !== undefined) await examinePeers(examined, blob, metainfo, report, signal);
}

/** What takes longest to come. */
function largestOf({ manifest: { config, layers } }: ResolvedImage): Descriptor {
  return layers.reduce((largest, layer) => (layer.size > largest.size ? layer : largest), config);
}

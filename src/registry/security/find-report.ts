import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { formatDuration } from '../../base/units.ts';
import type { Digest } from '../../image/digest.ts';
import { parseManifest, unrunnableReason, type ImageManifest } from '../../image/manifest.ts';
import type { SecurityReport } from '../../security/report.ts';
import type { OpenRepository, RegistryAccess } from '../open-repository.ts';
import type { TorrentService } from '../repository.ts';
import type { ServiceAskerOptions } from '../service-asker.ts';
import type { Clair } from './clair.ts';
import { publicLayers, webSeedLayers } from './layer-places.ts';
import { quayReport } from './quay.ts';
import { serviceReport } from './service-report.ts';

export interface ReportOptions {
  readonly access: RegistryAccess;
  readonly repository: OpenRepository;
  /** Of the repository: `team/app`. */
  readonly name: string;
  /** How the torrent service is asked; the registry itself where none is named. */
  readonly service: ServiceAskerOptions;
  readonly torrents: Pick<TorrentService, 'torrent'>;
  /** `--clair` */
  readonly clair?: Clair | undefined;
  /** How long a report is waited for, milliseconds. */
  readonly waitMs: number;
  /** Somebody is making the report: who, and how far they are. */
  readonly onStep: (message: string) => void;
  /** For `--debug`: the services that are asked, and their answers. */
  readonly onDebug: (message: string) => void;
}

export interface ReportedImage {
  /** In full, for messages. */
  readonly image: string;
  readonly digest: Digest;
  /** Undefined where it is not known yet: it is asked of the registry when Clair has to be shown the layers. */
  readonly manifest: ImageManifest | undefined;
}

/** Somebody who may have a report. */
interface Source {
  readonly name: string;
  readonly ask: (signal: AbortSignal, onStep: (step: string) => void) => Promise<SecurityReport>;
}

/**
 * The security report of the very manifest that is named: by the torrent service, by Clair, by Quay's API. The first
 * that has one gives it.
 * @throws QuayctlError `no-report` that says what each of them answered, or that none did in time; `unsupported` for
 *   what is no image; the signal's reason
 */
export async function findReport(
  options: ReportOptions,
  wanted: ReportedImage,
  signal: AbortSignal,
): Promise<SecurityReport> {
  const { image, digest, manifest } = wanted;
  const reason = manifest === undefined ? undefined : unrunnableReason(manifest);
  if (reason !== undefined) {
    throw new QuayctlError('unsupported', `${image} has no security report: ${reason}`);
  }
  const { waitMs, onStep, onDebug } = options;
  const deadline = AbortSignal.timeout(waitMs);
  const either = AbortSignal.any([signal, deadline]);
  const failures: QuayctlError[] = [];
  let at = '';
  for (const source of sourcesOf(options, wanted)) {
    at = source.name;
    try {
      onDebug(`asking ${source.name} for the security report of ${digest}`);
      return await source.ask(either, (step) => {
        at = `${source.name} (${step})`;
        onStep(`${source.name}: ${step}`);
      });
    } catch (error) {
      signal.throwIfAborted();
      if (deadline.aborted) throw tooLate(image, at, waitMs, failures);
      if (!isQuayctlError(error)) throw error;
      onDebug(error.message);
      failures.push(error);
    }
  }
  throw nobody(image, failures, options.clair !== undefined);
}

function sourcesOf(options: ReportOptions, { digest, manifest }: ReportedImage): readonly Source[] {
  const { service, name, clair, repository, access, torrents } = options;
  const sources: Source[] = [
    {
      name: 'the torrent service',
      ask: (signal, onStep) => serviceReport(service, name, digest, signal, onStep),
    },
  ];
  if (clair !== undefined) {
    const layers = async (signal: AbortSignal) => {
      const { layers: all } = manifest ?? (await manifestOf(repository, digest, signal));
      const places = await publicLayers(access, name, digest, all, signal);
      if (places !== undefined) return places;
      return webSeedLayers(torrents, all, signal).catch((error: unknown) => {
        throw isQuayctlError(error) ? privateImage(error) : error;
      });
    };
    sources.push({
      name: `Clair at ${clair.host}`,
      ask: (signal, onStep) => clair.report({ digest, layers, onStep }, signal),
    });
  }
  const ask: Source['ask'] = (signal, onStep) => quayReport(repository, name, digest, signal, onStep);
  return [...sources, { name: "Quay's API", ask }];
}

async function manifestOf(
  repository: OpenRepository,
  digest: Digest,
  signal: AbortSignal,
): Promise<ImageManifest> {
  const { bytes, descriptor } = await repository.manifest(digest, signal);
  const parsed = parseManifest(bytes, descriptor.mediaType);
  if (parsed.kind === 'manifest') return parsed;
  throw new QuayctlError('no-report', `${digest} is an index, and reports are about one platform`);
}

function privateImage(cause: QuayctlError): QuayctlError {
  const message = 'the image is private, and Clair is never given your credential for it';
  const hint =
    'name a torrent service with --torrent-service: the URLs that it signs let Clair fetch the layers, and nothing else';
  return new QuayctlError('no-report', message, { cause, hint });
}

function tooLate(image: string, at: string, waitMs: number, failures: readonly QuayctlError[]): QuayctlError {
  const message = `no security report of ${image} within ${formatDuration(waitMs)}; the last to be waited for was ${at}`;
  const hint =
    'a first report takes minutes where layers are large: --security-wait 10m waits longer; without --max-severity an image is pulled unchecked';
  return new QuayctlError('no-report', message, { hint, cause: causeOf(failures) });
}

function nobody(image: string, failures: readonly QuayctlError[], hasClair: boolean): QuayctlError {
  const reasons = failures.map(({ message }) => message).join('; ');
  const hint =
    failures.find((each) => each.hint !== undefined)?.hint ??
    (hasClair
      ? undefined
      : '--clair URL asks a Clair; a torrent service that was started with --clair has reports, too');
  const message = `no security report of ${image}: ${reasons}`;
  return new QuayctlError('no-report', message, { hint, cause: causeOf(failures) });
}

function causeOf(failures: readonly QuayctlError[]): unknown {
  return failures.find(({ cause }) => cause !== undefined)?.cause;
}

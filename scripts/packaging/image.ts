import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { certificateBundle, type Libraries } from './debian-libraries.ts';
import type { ReleaseVersion } from './release-version.ts';
import { ReproducibleTar } from './tar.ts';

/** Whom the image's processes run as: nobody whom a host knows. */
const USER = 65_532;
const HOME = '/var/lib/quayctl';
const ETC: Readonly<Record<string, string>> = {
  'etc/passwd': `root:x:0:0:root:/:/sbin/nologin\nquayctl:x:${USER}:${USER}:quayctl:${HOME}:/sbin/nologin\n`,
  'etc/group': `root:x:0:\nquayctl:x:${USER}:\n`,
  'etc/nsswitch.conf': 'hosts: files dns\n',
};
const TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/** What goes into the image of one architecture. */
export interface ImagePart {
  readonly architecture: string;
  /** The single executable. */
  readonly program: string;
  readonly libraries: Libraries;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/**
 * Writes an OCI archive with an index over all parts. `docker load` of any version takes it, too: a `manifest.json`
 * beside the index names the first part, as `docker save` writes it.
 * @param work an empty folder
 * @returns compressed bytes of each part's layers, in their order
 */
export async function makeImage(
  parts: readonly ImagePart[],
  facts: ReleaseVersion,
  licenses: string,
  work: string,
  archive: string,
): Promise<readonly number[]> {
  const blobs = join(work, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const addJson = (mediaType: string, value: unknown): Promise<Descriptor> =>
    addBytes(blobs, mediaType, JSON.stringify(value));
  const tag = facts.version;
  const manifests: (Descriptor & { readonly platform: object })[] = [];
  const compressed: number[] = [];
  const old: object[] = [];
  for (const part of parts) {
    const layers = [
      await addLayer(blobs, (tar) => baseLayer(tar, part.libraries), facts.epoch),
      await addLayer(blobs, (tar) => programLayer(tar, part.program, licenses), facts.epoch),
    ];
    const platform = { architecture: part.architecture, os: 'linux' };
    const config = await addJson(TYPES.config, configOf(platform, layers, part, facts));
    const manifest = await addJson(TYPES.manifest, {
      schemaVersion: 2,
      mediaType: TYPES.manifest,
      config,
      layers: layers.map(({ descriptor }) => descriptor),
      annotations: labels(part, facts),
    });
    manifests.push({ ...manifest, platform });
    compressed.push(layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0));
    const pathOf = ({ digest }: Descriptor): string => `blobs/sha256/${digest.slice('sha256:'.length)}`;
    const Layers = layers.map(({ descriptor }) => pathOf(descriptor));
    old.push({ Config: pathOf(config), RepoTags: [`quayctl:${tag}`], Layers });
  }
  const index = await addJson(TYPES.index, {
    schemaVersion: 2,
    mediaType: TYPES.index,
    manifests,
    annotations: labels(undefined, facts),
  });
  const names = {
    'org.opencontainers.image.ref.name': tag,
    'io.containerd.image.name': `docker.io/library/quayctl:${tag}`,
  };
  await writeArchive(archive, blobs, facts.epoch, {
    'oci-layout': { imageLayoutVersion: '1.0.0' },
    'index.json': {
      schemaVersion: 2,
      mediaType: TYPES.index,
      manifests: [{ ...index, annotations: names }],
    },
    'manifest.json': old.slice(0, 1),
  });
  return compressed;
}

/** Libraries with their licenses, certificates, and the few files of /etc that glibc reads. */
async function baseLayer(tar: ReproducibleTar, libraries: Libraries): Promise<void> {
  const files = libraries.files.filter((path) => !path.endsWith('.crt'));
  const bundle = 'etc/ssl/certs/ca-certificates.crt';
  const others = [...Object.keys(ETC), bundle];
  for (const folder of foldersOf([...files, ...others, 'etc/quayctl/config'])) await tar.directory(folder);
  await tar.directory('tmp', { mode: 0o1777 });
  await tar.directory('var');
  await tar.directory('var/lib');
  await tar.directory(HOME.slice(1), { mode: 0o700, uid: USER, gid: USER });
  for (const path of files) await tar.copy(path, join(libraries.root, path));
  for (const [path, text] of Object.entries(ETC)) await tar.text(path, text);
  await tar.text(bundle, await certificateBundle(libraries));
}

async function programLayer(tar: ReproducibleTar, program: string, licenses: string): Promise<void> {
  const files = ['usr/bin/quayctl', 'usr/share/doc/quayctl/copyright'];
  for (const folder of foldersOf(files)) await tar.directory(folder);
  await tar.large('usr/bin/quayctl', program, 0o755);
  await tar.text('usr/share/doc/quayctl/copyright', licenses);
}

function foldersOf(files: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const file of files)
    for (let folder = dirname(file); folder !== '.'; folder = dirname(folder)) found.add(folder);
  return [...found].toSorted();
}

function labels(part: ImagePart | undefined, { version, commit, epoch }: ReleaseVersion): object {
  const base = part?.libraries.packages.map((each) => `${each.name}=${each.version}`).join(' ');
  return {
    'org.opencontainers.image.title': 'quayctl',
    'org.opencontainers.image.description': 'Pull container images over BitTorrent',
    'org.opencontainers.image.licenses': 'Apache-2.0',
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.created': timeOf(epoch),
    ...(commit === '' ? {} : { 'org.opencontainers.image.revision': commit }),
    ...(base === undefined ? {} : { 'quayctl.debian-packages': base }),
  };
}

function configOf(
  platform: { readonly architecture: string; readonly os: string },
  layers: readonly Layer[],
  part: ImagePart,
  facts: ReleaseVersion,
): object {
  const created = timeOf(facts.epoch);
  const steps = ['glibc, libstdc++ and libgcc of Debian, certificates', 'quayctl'];
  return {
    ...platform,
    created,
    config: {
      User: `${USER}:${USER}`,
      Entrypoint: ['/usr/bin/quayctl'],
      Cmd: ['--help'],
      WorkingDir: HOME,
      Env: [
        'PATH=/usr/bin',
        `HOME=${HOME}`,
        `QUAYCTL_STORE=${HOME}/store`,
        `XDG_DATA_HOME=${HOME}/data`,
        `XDG_STATE_HOME=${HOME}/state`,
        'SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt',
      ],
      Volumes: { [HOME]: {} },
      Labels: labels(part, facts),
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((_, at) => ({ created, created_by: steps[at] })),
  };
}

/** RFC 3339. */
function timeOf(epoch: number): string {
  return new Date(epoch * 1000).toISOString().replace('.000Z', 'Z');
}

interface Layer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
}

async function addLayer(
  blobs: string,
  fill: (tar: ReproducibleTar) => Promise<void>,
  epoch: number,
): Promise<Layer> {
  const tar = new ReproducibleTar(epoch);
  const inner = createHash('sha256');
  const outer = createHash('sha256');
  const partial = join(blobs, 'partial');
  const written = pipeline(
    tar.stream,
    watching(inner),
    createGzip({ level: 9 }),
    watching(outer),
    createWriteStream(partial),
  );
  await Promise.all([fill(tar).then(() => tar.end()), written]);
  const hex = outer.digest('hex');
  const { size } = await stat(partial);
  await rename(partial, join(blobs, hex));
  return {
    descriptor: { mediaType: TYPES.layer, digest: `sha256:${hex}`, size },
    diffId: `sha256:${inner.digest('hex')}`,
  };
}

function watching(hash: ReturnType<typeof createHash>): Transform {
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}

async function addBytes(blobs: string, mediaType: string, text: string): Promise<Descriptor> {
  const bytes = Buffer.from(text);
  const hex = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hex), bytes);
  return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
}

async function writeArchive(
  archive: string,
  blobs: string,
  epoch: number,
  documents: Readonly<Record<string, unknown>>,
): Promise<void> {
  const tar = new ReproducibleTar(epoch);
  const written = pipeline(tar.stream, createWriteStream(archive));
  const fill = async (): Promise<void> => {
    for (const [name, value] of Object.entries(documents)) await tar.text(name, JSON.stringify(value));
    for (const folder of ['blobs', 'blobs/sha256']) await tar.directory(folder);
    for (const hex of (await readdir(blobs)).toSorted())
      await tar.large(`blobs/sha256/${hex}`, join(blobs, hex), 0o644);
    tar.end();
  };
  await Promise.all([fill(), written]);
}

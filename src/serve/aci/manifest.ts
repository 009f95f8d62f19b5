import { QuayctlError } from '../../base/errors.ts';
import { isAcIdentifier } from '../../image/appc-name.ts';
import type { AppcPlatform } from '../../image/appc-platform.ts';
import type { Digest } from '../../image/digest.ts';
import { parseJsonObject, type JsonObject } from '../../image/json.ts';
import { MAX_CONFIG_BYTES, type ImageConfig } from '../../image/manifest.ts';
import { appOf } from './app.ts';

/** What docker2aci writes, and rkt takes. */
const AC_VERSION = '0.8.10';
/** RFC 3339, as rkt wants the annotation `created`. */
const TIME =
  /^(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Which image an ACI is made of, and by which name it is asked for. */
export interface AciIdentity {
  /** Host by which the registry is known: `quay.io`. */
  readonly server: string;
  readonly repository: string;
  readonly tag: string;
  readonly platform: AppcPlatform;
  /** The digest of the platform's manifest. */
  readonly manifest: Digest;
  /** The digest of the image's config, which is Docker's image ID. */
  readonly config: Digest;
}

/**
 * `quay.io/ns/repo`, which is what a fetch by name asks for. It is signed, so it is never changed into something that
 * appc would take: two repositories would come to share a name.
 * @throws QuayctlError `unsupported` where appc has no such name
 */
export function aciName({ server, repository }: Pick<AciIdentity, 'server' | 'repository'>): string {
  const name = `${server}/${repository}`;
  if (isAcIdentifier(name)) return name;
  throw new QuayctlError(
    'unsupported',
    `rkt has no name for ${name}: in its names stand a-z, 0-9 and - . _ ~ /`,
    {
      hint: 'names hold no port: the service wants a name without one (--alias)',
    },
  );
}

/**
 * The image manifest of an ACI (appc spec, "Image Manifest Schema"), from a Docker or OCI config as docker2aci makes
 * it. The same image makes the same bytes.
 * @throws QuayctlError `protocol`, `limit` for a config that is none
 */
export function aciManifest(identity: AciIdentity, config: ImageConfig): Uint8Array {
  const json = parseJsonObject(config.bytes, 'image config', MAX_CONFIG_BYTES);
  const { tag, platform } = identity;
  return Buffer.from(
    JSON.stringify({
      acKind: 'ImageManifest',
      acVersion: AC_VERSION,
      name: aciName(identity),
      labels: nameValues({ version: tag, os: platform.os, arch: platform.arch }),
      app: appOf(json),
      annotations: nameValues(annotationsOf(identity, json)),
    }),
  );
}

function annotationsOf(identity: AciIdentity, json: JsonObject): Readonly<Record<string, string>> {
  const { server, repository, tag, manifest, config } = identity;
  const { Entrypoint, Cmd } = (json['config'] ?? {}) as JsonObject;
  const created = textOf(json['created']);
  return {
    author: textOf(json['author']),
    created: isTime(created) ? created : '',
    'appc.io/docker/originalname': `${server}/${repository}:${tag}`,
    'appc.io/docker/registryurl': server,
    'appc.io/docker/repository': repository,
    'appc.io/docker/imageid': config,
    'appc.io/docker/manifesthash': manifest,
    'appc.io/docker/entrypoint': wordsOf(Entrypoint),
    'appc.io/docker/cmd': wordsOf(Cmd),
    'appc.io/docker/tag': tag,
  };
}

/** JavaScript takes February 30th for March 1st; Go, and so rkt, takes it for an error. */
function isTime(text: string): boolean {
  const [, day = ''] = TIME.exec(text) ?? [];
  const date = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day) && day !== '';
}

/** Empty values are left out. */
function nameValues(of: Readonly<Record<string, string>>): readonly JsonObject[] {
  return Object.entries(of)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => ({ name, value }));
}

function wordsOf(value: unknown): string {
  return Array.isArray(value) && value.length > 0 ? JSON.stringify(value) : '';
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

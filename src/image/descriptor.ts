import { QuayctlError } from '../base/errors.ts';
import { isDigest, parseDigest, type Digest } from './digest.ts';
import { list, object, optionalText, text, type JsonObject } from './json.ts';
import type { Platform } from './platform.ts';

/** What one blob is: type, digest and size in bytes (OCI image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes; a non-negative safe integer. */
  readonly size: number;
  /** URLs of a foreign (non-distributable) layer; http and https only. */
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
}

/** RFC 6838: two names of at most 127 characters and a slash. */
const MAX_MEDIA_TYPE = 255;
/** Real foreign layers have one URL. */
const MAX_URLS = 16;
const MAX_URL = 8192;
/** Build tools write a dozen. */
const MAX_ANNOTATIONS = 1000;
/** `windows`, `10.0.20348.2113`. */
const MAX_PLATFORM_FIELD = 128;

/** What the empty descriptor points at: the two bytes `{}` (OCI image-spec manifest.md). */
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
const EMPTY_DIGEST = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';

/** The defaults of fields that a descriptor leaves out. */
export type DescriptorDefaults = Partial<Pick<Descriptor, 'mediaType' | 'size'>>;

/**
 * A descriptor from parsed JSON. URLs of other schemes than http and https are left out.
 * @param what names it in errors, e.g. `manifest: layer 3`
 * @param defaults for fields that are missing or null, which Go reads as empty
 * @throws QuayctlError `protocol`, `limit`; `unsupported` for a digest other than SHA-256
 */
export function parseDescriptor(value: unknown, what: string, defaults: DescriptorDefaults = {}): Descriptor {
  const json = object(value, what);
  const mediaType =
    optionalText(json['mediaType'], `${what}: mediaType`, MAX_MEDIA_TYPE) ??
    text(defaults.mediaType, `${what}: mediaType`, MAX_MEDIA_TYPE);
  const digest = descriptorDigest(json['digest'], what);
  const size = json['size'] ?? defaults.size;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new QuayctlError('protocol', `${what}: size: not a count of bytes`);
  }
  if (mediaType === EMPTY_TYPE && (digest !== EMPTY_DIGEST || size !== 2)) {
    throw new QuayctlError('protocol', `${what}: of the empty type, but not the empty object`);
  }
  const urls = parseUrls(json['urls'], what);
  const annotations = parseAnnotations(json['annotations'], what);
  const platform = parsePlatformObject(json['platform'], what);
  const artifactType = optionalText(json['artifactType'], `${what}: artifactType`, MAX_MEDIA_TYPE);
  return {
    mediaType,
    digest,
    size,
    ...(urls === undefined ? {} : { urls }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

/** The descriptor as OCI writes it; parses back to the same. */
export function descriptorJson(descriptor: Descriptor): JsonObject {
  const { platform, ...rest } = descriptor;
  if (platform === undefined) return rest;
  const { osVersion, ...named } = platform;
  return { ...rest, platform: osVersion === undefined ? named : { ...named, 'os.version': osVersion } };
}

/** @throws QuayctlError `protocol`, `limit` */
export function parseAnnotations(value: unknown, what: string): Readonly<Record<string, string>> | undefined {
  if (value === undefined || value === null) return undefined;
  const entries = Object.entries(object(value, `${what}: annotations`));
  if (entries.length > MAX_ANNOTATIONS) {
    throw new QuayctlError('limit', `${what}: ${entries.length} annotations, more than ${MAX_ANNOTATIONS}`);
  }
  // Go reads null as the empty text.
  const texts = entries.map(([name, content]): [string, unknown] => [name, content ?? '']);
  if (!texts.every((entry): entry is [string, string] => typeof entry[1] === 'string')) {
    throw new QuayctlError('protocol', `${what}: annotations: not all values are texts`);
  }
  return Object.fromEntries(texts);
}

function descriptorDigest(value: unknown, what: string): Digest {
  if (typeof value === 'string' && isDigest(value)) return value;
  try {
    return parseDigest(text(value, 'digest', 1024));
  } catch (error) {
    if (!(error instanceof QuayctlError)) throw error;
    throw new QuayctlError(error.code, `${what}: ${error.message}`);
  }
}

function parseUrls(value: unknown, what: string): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  const all = list(value, `${what}: urls`, MAX_URLS).map((url) => text(url, `${what}: urls`, MAX_URL));
  const usable = all.filter((url) => /^https?:\/\//i.test(url) && URL.canParse(url));
  return usable.length === 0 ? undefined : usable;
}

function parsePlatformObject(value: unknown, what: string): Platform | undefined {
  if (value === undefined || value === null) return undefined;
  const json = object(value, `${what}: platform`);
  const field = (key: string): string | undefined =>
    optionalText(json[key], `${what}: platform.${key}`, MAX_PLATFORM_FIELD);
  const os = field('os');
  const architecture = field('architecture');
  const variant = field('variant');
  const osVersion = field('os.version');
  if (os === undefined || architecture === undefined) return undefined;
  return {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
  };
}

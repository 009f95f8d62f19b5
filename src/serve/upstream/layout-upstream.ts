import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { digestOf, isDigest, type Digest } from '../../image/digest.ts';
import { blobPath } from '../../image/layout.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../../image/manifest.ts';
import { contentRange, wantedRange } from '../../http-server/range.ts';
import { LayoutFiles } from './layout-files.ts';
import { LayoutContents } from './layout-contents.ts';
import type { Upstream, UpstreamRequest } from '../../upstream/upstream.ts';
import type { AnswerHeaders, UpstreamAnswer } from '../../http-server/request-context.ts';
import type { BlobName } from '../../http-server/path.ts';

/** One read of a file: large enough that hashing is not kept waiting by system calls. */
const READ_BYTES = 1024 * 1024;

type ManifestName = { readonly repository: string; readonly selector: string };

/** An OCI image layout on disk, answered for as a registry would; read anew whenever its index changes. */
export class LayoutUpstream implements Upstream {
  /** A layout has no name of its own in references: only the service's names mean it. */
  readonly hosts: readonly string[] = [];
  readonly #files: LayoutFiles;
  readonly #listing: LayoutContents;
  readonly #warn: (message: string) => void;

  /** @param warn is told of names in the layout that nobody can ask for */
  constructor(directory: string, warn: (message: string) => void) {
    this.#files = new LayoutFiles(directory);
    this.#listing = new LayoutContents(directory, this.#files, warn);
    this.#warn = warn;
  }

  async ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer> {
    signal.throwIfAborted();
    const { resource, method } = request;
    const listing = await this.#listing.current();
    if (resource.kind === 'base') return json(method, 200, {});
    const tags = listing.repositories.get(resource.repository);
    if (tags === undefined) return refusal(method, 'NAME_UNKNOWN', `no repository ${resource.repository}`);
    switch (resource.kind) {
      case 'tags':
        return json(method, 200, { name: resource.repository, tags: [...tags.keys()].sort() });
      case 'manifest':
        return this.#manifest(request, resource, tags, listing.mediaTypes);
      case 'blob':
        return this.#blob(request, resource, signal);
    }
  }

  async #manifest(
    { method, ifNoneMatch }: UpstreamRequest,
    { repository, selector }: ManifestName,
    tags: ReadonlyMap<string, Digest>,
    mediaTypes: ReadonlyMap<Digest, string>,
  ): Promise<UpstreamAnswer> {
    const digest = isDigest(selector) ? selector : tags.get(selector);
    const bytes = digest === undefined ? undefined : await this.#small(digest);
    const mediaType = digest && (mediaTypes.get(digest) ?? (bytes && manifestType(bytes)));
    if (digest === undefined || bytes === undefined || mediaType === undefined) {
      return refusal(method, 'MANIFEST_UNKNOWN', `no manifest ${selector} in ${repository}`);
    }
    const headers = { 'docker-content-digest': digest, etag: `"${digest}"` };
    if (ifNoneMatch === headers.etag) return answer(method, 304, headers, '');
    return answer(method, 200, { ...headers, 'content-type': mediaType }, bytes);
  }

  async #blob(
    { method, range }: UpstreamRequest,
    { digest }: BlobName,
    signal: AbortSignal,
  ): Promise<UpstreamAnswer> {
    const file = await this.#open(digest);
    if (file === undefined) return refusal(method, 'BLOB_UNKNOWN', `no blob ${digest}`);
    const { handle, size } = file;
    const wanted = wantedRange(range, size);
    const headers = { 'docker-content-digest': digest, etag: `"${digest}"`, 'accept-ranges': 'bytes' };
    if (wanted.kind === 'unsatisfiable') {
      await handle.close();
      return answer(method, 416, { ...headers, 'content-range': `bytes */${size}` }, '');
    }
    const { start, end } = wanted.kind === 'part' ? wanted : { start: 0, end: size };
    const found: AnswerHeaders = {
      ...headers,
      'content-type': 'application/octet-stream',
      'content-length': String(end - start),
      ...(wanted.kind === 'part' ? { 'content-range': contentRange(wanted, size) } : {}),
    };
    const status = wanted.kind === 'part' ? 206 : 200;
    if (method === 'HEAD' || start === end) {
      await handle.close();
      return { status, headers: found, body: Readable.from([]) };
    }
    // `end` is inclusive here.
    const body = handle.createReadStream({ start, end: end - 1, highWaterMark: READ_BYTES, signal });
    // A caller that has left already fails the stream before anybody reads it; whoever reads later is told so, too.
    body.on('error', () => undefined);
    return { status, headers: found, body };
  }

  /** A manifest's bytes; undefined where there is none, or its content is not of that digest. */
  async #small(digest: Digest): Promise<Uint8Array | undefined> {
    const bytes = await this.#files.read(blobPath(digest), MAX_MANIFEST_BYTES).catch(absent);
    return bytes !== undefined && digestOf(bytes) === digest ? bytes : undefined;
  }

  /**
   * Opens a blob whose content is known to be of its digest: it is hashed once for each version of the file. Nothing that is
   * reached through a symbolic link counts as there: layouts come from build machines and archives, and a link may lead to
   * any file that the service may read.
   */
  async #open(digest: Digest): Promise<{ handle: FileHandle; size: number } | undefined> {
    const handle = await this.#files.open(blobPath(digest)).catch(absent);
    if (handle === undefined) return undefined;
    try {
      const size = await this.#files.verify(handle, digest);
      if (size !== undefined) return { handle, size };
      this.#warn(`the layout's blob ${digest} is no file of that content: left out`);
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return undefined;
  }
}

function absent(error: unknown): undefined {
  if (isQuayctlError(error, 'limit')) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (['ENOENT', 'ENXIO', 'ELOOP', 'ENOTDIR'].includes(code ?? '')) return undefined;
  throw new QuayctlError('unreachable', `the layout cannot be read: ${code ?? 'unknown error'}`, {
    cause: error,
  });
}

function manifestType(bytes: Uint8Array): string | undefined {
  try {
    return parseManifest(bytes).mediaType;
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}

/** OCI distribution-spec, "Error Codes". */
function refusal(method: 'GET' | 'HEAD', code: string, message: string): UpstreamAnswer {
  return json(method, 404, { errors: [{ code, message }] });
}

function json(method: 'GET' | 'HEAD', status: number, value: unknown): UpstreamAnswer {
  return answer(method, status, { 'content-type': 'application/json' }, JSON.stringify(value));
}

function answer(
  method: 'GET' | 'HEAD',
  status: number,
  headers: AnswerHeaders,
  content: Uint8Array | string,
): UpstreamAnswer {
  const bytes = Buffer.from(content);
  const length = status === 304 ? {} : { 'content-length': String(bytes.length) };
  return {
    status,
    headers: { ...headers, ...length },
    body: Readable.from(method === 'HEAD' ? [] : [bytes]),
  };
}

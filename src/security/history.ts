import { isQuayctlError } from '../base/errors.ts';
import type { Digest } from '../image/digest.ts';
import { list, parseJsonObject } from '../image/json.ts';
import { MAX_CONFIG_BYTES, type ImageManifest } from '../image/manifest.ts';
import { foreignText } from './foreign-text.ts';

/** One entry for each line of a Dockerfile. */
const MAX_HISTORY = 10_000;
const MAX_COMMAND = 300;

/**
 * The step of the image's history that made each layer (OCI image-spec config.md, "history"), as its author wrote it.
 * Empty where config and manifest do not agree on the number of layers: a wrong command would accuse the wrong line.
 */
export function layerCommands(config: Uint8Array, { layers }: ImageManifest): ReadonlyMap<Digest, string> {
  const commands = new Map<Digest, string>();
  const steps = stepsOf(config);
  if (steps.length !== layers.length) return commands;
  for (const [at, { digest }] of layers.entries()) {
    const command = steps[at] ?? '';
    if (command !== '' && !commands.has(digest)) commands.set(digest, command);
  }
  return commands;
}

/** Those that made a layer. */
function stepsOf(config: Uint8Array): readonly string[] {
  try {
    const json = parseJsonObject(config, 'image config', MAX_CONFIG_BYTES);
    return list(json['history'] ?? null, 'image config: history', MAX_HISTORY)
      .map((entry) => Object(entry) as { created_by?: unknown; empty_layer?: unknown })
      .filter((entry) => entry.empty_layer !== true)
      .map((entry) => asWritten(foreignText(entry.created_by, MAX_COMMAND)));
  } catch (error) {
    // The report is worth showing without it.
    if (isQuayctlError(error)) return [];
    throw error;
  }
}

/** Without what builders add: `/bin/sh -c #(nop) ADD ...`, `/bin/sh -c apt-get ...`, `... # buildkit`. */
function asWritten(command: string): string {
  const plain = command.replace(/ # buildkit$/, '');
  if (/^\/bin\/sh -c #\(nop\) +/.test(plain)) return plain.replace(/^\/bin\/sh -c #\(nop\) +/, '');
  return plain.replace(/^(?:RUN )?\/bin\/sh -c /, 'RUN ');
}

import { QuayctlError } from '../../base/errors.ts';
import { formatAppcName, type AppcName } from '../../image/appc-name.ts';
import { list, object, parseJsonObject, type JsonObject } from '../../image/json.ts';
import { questionFailure } from './failures.ts';
import type { RktProgram } from './program.ts';

const MAX_MANIFEST_BYTES = 8 * 1024 * 1024;
const MAX_LABELS = 1000;

/**
 * A fetch by name has rkt compare what came with what was asked for; a fetch of a file has not, so it is done here: the
 * name, and every label that was asked for.
 * @throws QuayctlError `verification`, `engine`
 */
export async function demandSameImage(
  rkt: RktProgram,
  id: string,
  wanted: AppcName,
  signal: AbortSignal,
): Promise<void> {
  const answer = await rkt.run(['image', 'cat-manifest', '--pretty-print=false', id], signal);
  if (answer.exitCode !== 0) throw questionFailure('image cat-manifest', answer);
  const manifest = parseJsonObject(Buffer.from(answer.stdout), 'ACI manifest', MAX_MANIFEST_BYTES);
  const reason = differenceOf(manifest, wanted);
  if (reason === undefined) return;
  throw new QuayctlError('verification', `what came is not ${formatAppcName(wanted)}: ${reason}`);
}

function differenceOf(manifest: JsonObject, { name, labels: wanted }: AppcName): string | undefined {
  if (manifest['name'] !== name) return `its name is ${JSON.stringify(manifest['name'])}`;
  const labels = new Map(
    list(manifest['labels'] ?? null, 'ACI manifest: labels', MAX_LABELS).map((label) => {
      const { name: key, value } = object(label, 'ACI manifest: label');
      return [key, value];
    }),
  );
  const wrong = Object.entries(wanted).find(([label, value]) => labels.get(label) !== value);
  return (
    wrong && `its label ${wrong[0]} is ${JSON.stringify(labels.get(wrong[0]) ?? null)}, not "${wrong[1]}"`
  );
}

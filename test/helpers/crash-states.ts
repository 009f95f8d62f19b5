import { createHash } from 'node:crypto';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Node, RecordedChange } from './crash-recorder.ts';
import type { Random } from './fuzz.ts';

/** What a disk may hold after a power cut: paths to contents. */
export type DiskState = ReadonlyMap<string, Buffer | 'directory' | { readonly target: string }>;

/** How much of a change that nothing had made durable reached the disk. */
type Fate = 'whole' | 'lost' | 'half' | 'zeros';

/** Of the changes before a crash so many of the latest are each lost alone, and each kept alone. */
const SINGLED_OUT = 12;
const RANDOM_STATES = 6;

/**
 * The states that a crash after any of `changes` may leave, as POSIX has it: what an fsync covered is there; of the
 * rest each change may be there, or not, whatever its order; a write may be there in part, or as zeros where only the
 * file's size came through. All of them would be too many: none, all, each one lost, each one alone, each write torn,
 * and some at random.
 */
export function* crashStates(
  base: readonly RecordedChange[],
  changes: readonly RecordedChange[],
  random: Random,
): Generator<{ readonly after: number; readonly state: DiskState }> {
  const seen = new Set<string>();
  for (let after = 0; after <= changes.length; after++) {
    const done = changes.slice(0, after);
    // At `after` itself the fsync may not have come back yet.
    const open = done.filter(({ durableFrom }) => durableFrom >= after);
    for (const fates of choices(open, random)) {
      const state = stateOf([...base, ...done], fates);
      const key = fingerprint(state);
      if (seen.has(key)) continue;
      seen.add(key);
      yield { after, state };
    }
  }
}

function* choices(
  open: readonly RecordedChange[],
  random: Random,
): Generator<ReadonlyMap<RecordedChange, Fate>> {
  const all = (fate: Fate): Map<RecordedChange, Fate> => new Map(open.map((each) => [each, fate]));
  yield all('whole');
  yield all('lost');
  for (const each of open.slice(-SINGLED_OUT)) {
    yield all('whole').set(each, 'lost');
    yield all('lost').set(each, 'whole');
    if (each.change.kind !== 'write') continue;
    yield all('whole').set(each, 'half');
    yield all('whole').set(each, 'zeros');
  }
  for (let count = 0; count < RANDOM_STATES; count++) {
    yield new Map(
      open.map((each) => [each, random.pick(['whole', 'whole', 'lost', 'lost', 'half', 'zeros'])]),
    );
  }
}

function stateOf(changes: readonly RecordedChange[], fates: ReadonlyMap<RecordedChange, Fate>): DiskState {
  const names = new Map<string, Node>();
  const files = new Map<number, Buffer>();
  for (const recorded of changes) {
    const fate = fates.get(recorded) ?? 'whole';
    const { change } = recorded;
    if (change.kind === 'write') files.set(change.file, written(files.get(change.file), change, fate));
    else if (fate === 'lost') continue;
    else if (change.kind === 'truncate') files.set(change.file, resized(files.get(change.file), change.size));
    else if (change.kind === 'unlink') names.delete(change.path);
    else {
      if (change.kind === 'rename') names.delete(change.from);
      names.set(change.path, change.node);
    }
  }
  const isReachable = (path: string): boolean =>
    dirname(path) === '.' || (names.has(dirname(path)) && isReachable(dirname(path)));
  const reachable = [...names].filter(([path]) => isReachable(path));
  return new Map(
    reachable.map(([path, node]) => [
      path,
      typeof node === 'number' ? (files.get(node) ?? Buffer.alloc(0)) : node,
    ]),
  );
}

function written(
  before: Buffer | undefined,
  { at, bytes }: { readonly at: number; readonly bytes: Buffer },
  fate: Fate,
): Buffer {
  if (fate === 'lost') return before ?? Buffer.alloc(0);
  const length = fate === 'half' ? bytes.length >> 1 : bytes.length;
  const content = resized(before, Math.max(before?.length ?? 0, at + length));
  if (fate !== 'zeros') bytes.copy(content, at, 0, length);
  return content;
}

function resized(before: Buffer | undefined, size: number): Buffer {
  const content = Buffer.alloc(size);
  before?.copy(content, 0, 0, Math.min(size, before.length));
  return content;
}

function fingerprint(state: DiskState): string {
  const hash = createHash('sha1');
  for (const [path, node] of [...state].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${path}\0`).update(node instanceof Buffer ? node : JSON.stringify(node));
  }
  return hash.digest('hex');
}

/** Makes a state real in an empty directory. `edit` may change a file on its way. */
export async function putOnDisk(
  state: DiskState,
  directory: string,
  edit: (path: string, content: Buffer) => Buffer = (_, content) => content,
): Promise<void> {
  for (const [path, node] of [...state].toSorted(([a], [b]) => a.length - b.length)) {
    const place = join(directory, path);
    if (node === 'directory') await mkdir(place, { mode: 0o700 });
    else if ('target' in node) await symlink(node.target, place);
    else await writeFile(place, edit(path, node), { mode: 0o600 });
  }
}

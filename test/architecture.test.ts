import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

/** Rooms from the ground up; a room imports only from rooms on lines above its own (docs/architecture.md). */
const FLOORS = [
  ['base'],
  ['http', 'image', 'metainfo', 'tar'],
  ['http-server', 'credentials', 'store', 'layers', 'security'],
  ['image-output', 'admin'],
  ['registry', 'swarm', 'engines'],
  ['blobs', 'upstream'],
  ['pull'],
  ['serve'],
  ['mirror'],
  ['doctor'],
  ['cli'],
];

/** The rooms inside `swarm`, likewise. What lies in `swarm` itself puts them together. */
const SWARM_FLOORS = [
  ['wire'],
  ['admission'],
  ['pieces'],
  ['peers'],
  ['exchange'],
  ['claims'],
  ['registry'],
  ['tracker'],
];

/** Types of `swarm` itself that its rooms know: what a client may ask of it. */
const SWARM_TYPES = ['swarm/swarm-client.ts', 'swarm/swarm-context.ts'];

/** The one word that both vocabularies share: a torrent of ours says which blob it carries. */
const SHARED = new Map([['metainfo', 'image/digest.ts']]);

/** Pure rooms may hash and handle bytes, nothing more. */
const PURE_ROOMS = ['image', 'metainfo', 'security'];
const PURE_BUILTINS = ['node:assert', 'node:buffer', 'node:crypto', 'node:path', 'node:util'];

/** Each costs 0.1 s and more to load; `--help` must not pay for it. */
const HEAVY = [
  'webtorrent',
  'undici',
  'dockerode',
  'bittorrent-tracker',
  'bittorrent-protocol',
  'keytar',
  'cli-progress',
  'tar-stream',
  'openpgp',
  'htmlparser2',
];

interface Import {
  readonly specifier: string;
  readonly kind: 'static' | 'type' | 'dynamic';
}

interface Source {
  /** From src, e.g. `image/digest.ts`. */
  readonly path: string;
  readonly code: string;
  readonly imports: readonly Import[];
}

const SRC = join(import.meta.dirname, '../src');
const sources = new Map(readSources().map((source) => [source.path, source]));

test('every file of src lies in a room', () => {
  const rooms = FLOORS.flat();
  for (const path of sources.keys()) assert.ok(rooms.includes(roomOf(path)), path);
});

test('a room imports only from itself and from the rooms above it', () => {
  const wrong = edges().filter(({ from, to }) => {
    const [here, there] = [roomOf(from), roomOf(to)];
    return here !== there && floorOf(there) >= floorOf(here) && SHARED.get(here) !== to;
  });
  assert.deepEqual(wrong.map(shown), []);
});

test('no import leads out of src or to a file that is not there', () => {
  assert.deepEqual(
    edges()
      .filter(({ to }) => !sources.has(to))
      .map(shown),
    [],
  );
});

test('inside swarm, too', () => {
  const isInRoom = (path: string): boolean => path.startsWith('swarm/') && path.split('/').length > 2;
  const wrong = edges().filter(({ from, to }) => {
    if (!isInRoom(from) || roomOf(to) !== 'swarm') return false;
    if (!isInRoom(to)) return !SWARM_TYPES.includes(to);
    const [here, there] = [innerRoomOf(from), innerRoomOf(to)];
    return here !== there && floorOf(there, SWARM_FLOORS) >= floorOf(here, SWARM_FLOORS);
  });
  assert.deepEqual(wrong.map(shown), []);
  const rooms = [...sources.keys()].filter(isInRoom).map(innerRoomOf);
  assert.deepEqual([...new Set(rooms)].toSorted(), SWARM_FLOORS.flat().toSorted());
});

test('no cycle of imports, of types neither', () => {
  const next = Map.groupBy(edges(), ({ from }) => from);
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    assert.ok(!trail.includes(path), `cycle: ${[...trail.slice(trail.indexOf(path)), path].join(' -> ')}`);
    if (done.has(path)) return;
    for (const { to } of next.get(path) ?? []) visit(to, [...trail, path]);
    done.add(path);
  };
  for (const path of sources.keys()) visit(path, []);
});

test('image, metainfo and security do no input or output', () => {
  const wrong = [...sources.values()]
    .filter(({ path }) => PURE_ROOMS.includes(roomOf(path)))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => isBuiltin(specifier) && !PURE_BUILTINS.includes(specifier))
        .map(({ specifier }) => `${path} imports ${specifier}`),
    );
  assert.deepEqual(wrong, []);
});

test('process and console are used in cli only', () => {
  const wrong = [...sources.values()]
    .filter(({ path }) => roomOf(path) !== 'cli')
    .filter(
      ({ code, imports }) =>
        /(?<![\w$.'"`])(?:process|console)\s*\.\s*\w/.test(code) ||
        imports.some(({ specifier }) => /^node:(?:process|console)$/.test(specifier)),
    )
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
});

test('builtins are imported with node:, files with their extension', () => {
  const wrong = [...sources.values()].flatMap(({ path, imports }) =>
    imports
      .filter(({ specifier }) =>
        specifier.startsWith('.')
          ? !/\.(?:ts|json)$/.test(specifier)
          : isBuiltin(specifier) && !specifier.startsWith('node:'),
      )
      .map(({ specifier }) => `${path} imports ${specifier}`),
  );
  assert.deepEqual(wrong, []);
});

test('--help and --version load no heavy library', () => {
  const reached = new Set<string>();
  const libraries: string[] = [];
  const visit = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const { specifier, kind } of sources.get(path)?.imports ?? []) {
      if (kind !== 'static') continue;
      if (specifier.startsWith('.')) visit(resolved(path, specifier));
      else if (HEAVY.some((name) => specifier === name || specifier.startsWith(`${name}/`))) {
        libraries.push(`${path} imports ${specifier}`);
      }
    }
  };
  visit('cli/main.ts');
  assert.ok(reached.size > 1, 'src/cli/main.ts imports something');
  assert.deepEqual(libraries, []);
});

test('src knows nothing of the tests', () => {
  const wrong = [...sources.values()]
    .filter(({ imports }) =>
      imports.some(({ specifier }) => /(^|\/)test\//.test(specifier) || specifier === 'node:test'),
    )
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
});

function readSources(): Source[] {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return files.map((path) => {
    const code = withoutComments(readFileSync(join(SRC, path), 'utf8'));
    return { path, code, imports: importsOf(code) };
  });
}

function importsOf(code: string): Import[] {
  const fromClauses = code.matchAll(
    /^[ \t]*(?:import|export)(\s+type)?(?:\s+[\w$*{][^'";]*?\sfrom)?\s*['"]([^'"]+)['"]/gm,
  );
  const dynamic = code.matchAll(/(typeof\s+)?\bimport\(\s*['"]([^'"]+)['"]/g);
  return [
    ...[...fromClauses].map(([, type, specifier = '']) => ({
      specifier,
      kind: type === undefined ? ('static' as const) : ('type' as const),
    })),
    ...[...dynamic].map(([, type, specifier = '']) => ({
      specifier,
      kind: type === undefined ? ('dynamic' as const) : ('type' as const),
    })),
  ];
}

/** Comments out, strings kept: `//` inside a string is no comment. */
function withoutComments(code: string): string {
  return code.replace(
    /('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|(?<![\\[])\/\/.*/g,
    (_, text: string | undefined) => text ?? '',
  );
}

function edges(): { from: string; to: string; kind: Import['kind'] }[] {
  return [...sources.values()].flatMap(({ path, imports }) =>
    imports
      .filter(({ specifier }) => specifier.startsWith('.') && specifier.endsWith('.ts'))
      .map(({ specifier, kind }) => ({ from: path, to: resolved(path, specifier), kind })),
  );
}

function resolved(from: string, specifier: string): string {
  return relative(SRC, resolve(SRC, dirname(from), specifier));
}

const shown = ({ from, to }: { from: string; to: string }): string => `${from} imports ${to}`;
const roomOf = (path: string): string => path.split('/')[0] ?? '';
const innerRoomOf = (path: string): string => path.split('/')[1] ?? '';
const floorOf = (room: string, floors = FLOORS): number => floors.findIndex((rooms) => rooms.includes(room));

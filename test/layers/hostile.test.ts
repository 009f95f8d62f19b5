import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { isQuayctlError } from '../../src/base/errors.ts';
import { Budget } from '../../src/layers/budget.ts';
import { LayerTree } from '../../src/layers/layer-tree.ts';
import { MergedTree } from '../../src/layers/merged-tree.ts';
import { overlay } from '../../src/layers/overlay.ts';
import { emptyTree, walk } from '../../src/layers/tree.ts';
import { fileEntry, PLAIN_DIRECTORY, type EntryType } from '../../src/tar/entry.ts';
import { checksum } from '../../src/tar/header.ts';
import { formatEntry } from '../../src/tar/writer.ts';
import { Random } from '../helpers/fuzz.ts';
import { merge, tarOf, type Brief } from './trees.ts';

const refused =
  (code: string, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isQuayctlError(error), String(error));
    assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message);
    return true;
  };

const ENTRIES: readonly { what: string; entries: readonly Brief[]; message: RegExp }[] = [
  { what: 'a whiteout of the directory above', entries: [{ path: 'a/.wh...' }], message: /whiteout of ".."/ },
  { what: 'a whiteout of nothing', entries: [{ path: '.wh.' }], message: /whiteout of ""/ },
  {
    what: 'a hard link to a file of the machine',
    entries: [{ path: 'a', type: 'hardlink', linkPath: '/etc/passwd' }],
    message: /"a" is a hard link to "etc\/passwd", which is not there/,
  },
  {
    what: 'a hard link that climbs out of the image',
    entries: [{ path: 'a', type: 'hardlink', linkPath: '../etc/passwd' }],
    message: /not there/,
  },
  {
    what: 'a hard link through a symbolic link out of the image',
    entries: [
      { path: 'l', type: 'symlink', linkPath: '../../etc' },
      { path: 'a', type: 'hardlink', linkPath: 'l/passwd' },
    ],
    message: /not there/,
  },
  {
    what: 'a hard link to itself',
    entries: [
      { path: 'a', text: 'a' },
      { path: 'a', type: 'hardlink', linkPath: 'a' },
    ],
    message: /not there/,
  },
  {
    what: 'a hard link to what comes later',
    entries: [{ path: 'a', type: 'hardlink', linkPath: 'b' }, { path: 'b' }],
    message: /not there/,
  },
  {
    what: 'a hard link to a directory',
    entries: [
      { path: 'd', type: 'directory' },
      { path: 'a', type: 'hardlink', linkPath: 'd' },
    ],
    message: /is a directory/,
  },
  {
    what: 'a file under a file',
    entries: [{ path: 'a', text: 'a' }, { path: 'a/b' }],
    message: /"a" is none/,
  },
  { what: 'a name of more than 255 bytes', entries: [{ path: 'n'.repeat(256) }], message: /more than 255/ },
  {
    what: 'a path of more than 4095 bytes',
    entries: [{ path: 'n/'.repeat(3000) }],
    message: /longer than 4095/,
  },
];

for (const { what, entries, message } of ENTRIES) {
  test(`${what} is refused`, async () => {
    await assert.rejects(async () => merge(await tarOf(entries)), refused('protocol', message));
  });
}

/** A header with some bytes changed, its sum made right. */
function altered(change: (block: Buffer) => void, path = 'file', size = 0): Buffer {
  const block = Buffer.from(formatEntry({ ...fileEntry(path, new Uint8Array()).header, size }));
  change(block);
  block.write(`${checksum(block, 0).toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

const END = Buffer.alloc(1024);
const pax = (...records: string[]): Buffer => {
  const body = records.map((record) => paxRecord(record)).join('');
  const front = altered((block) => block.write('x', 156), 'pax', Buffer.byteLength(body, 'latin1'));
  return Buffer.concat([
    front,
    Buffer.alloc(Math.ceil(body.length / 512) * 512).fill(Buffer.from(body, 'latin1'), 0, body.length),
  ]);
};
function paxRecord(record: string): string {
  const rest = ` ${record}\n`;
  let length = rest.length;
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
  return `${length}${rest}`;
}

const BYTES: readonly { what: string; tar: Buffer; code: string; message: RegExp }[] = [
  {
    what: 'a wrong checksum',
    tar: Buffer.concat([Buffer.alloc(512, 'x'), END]),
    code: 'protocol',
    message: /damaged|not octal/,
  },
  {
    what: 'half a header',
    tar: Buffer.alloc(300, 'x'),
    code: 'protocol',
    message: /ends inside of a header/,
  },
  {
    what: 'half a file',
    tar: altered(() => undefined, 'f', 1000),
    code: 'protocol',
    message: /ends inside of a file/,
  },
  {
    what: 'a negative size',
    tar: altered((block) => block.fill(0xff, 124, 136)),
    code: 'protocol',
    message: /negative/,
  },
  {
    what: 'a size beyond all numbers',
    tar: altered((block) => block.fill(0x7f, 125, 136).writeUInt8(0x80, 124)),
    code: 'protocol',
    message: /out of all bounds/,
  },
  {
    what: 'a sparse file of GNU',
    tar: altered((block) => block.write('S', 156)),
    code: 'unsupported',
    message: /sparse/,
  },
  ...(
    [
      [
        'that is longer than the file',
        ['GNU.sparse.map=0,20', 'GNU.sparse.numblocks=1', 'GNU.sparse.size=10'],
      ],
      ['whose pieces overlap', ['GNU.sparse.map=5,5,0,5', 'GNU.sparse.numblocks=2', 'GNU.sparse.size=10']],
      ['of half a piece', ['GNU.sparse.map=5', 'GNU.sparse.numblocks=1', 'GNU.sparse.size=10']],
      ['of another count', ['GNU.sparse.map=0,0', 'GNU.sparse.numblocks=2', 'GNU.sparse.size=10']],
      ['that is no number', ['GNU.sparse.map=0,-1', 'GNU.sparse.numblocks=1', 'GNU.sparse.size=10']],
      ['that is not there', ['GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.realsize=10']],
      [
        'for more bytes than there are',
        ['GNU.sparse.map=0,10', 'GNU.sparse.numblocks=1', 'GNU.sparse.size=10'],
      ],
      [
        'of a size beyond all numbers',
        ['GNU.sparse.map=0,0', 'GNU.sparse.numblocks=1', `GNU.sparse.size=${'9'.repeat(18)}`],
      ],
      ['in the wrong order', ['GNU.sparse.numbytes=1', 'GNU.sparse.offset=0']],
    ] as const
  ).map(([what, records]) => ({
    what: `a sparse file with a map ${what}`,
    tar: Buffer.concat([pax(...records), altered(() => undefined)]),
    code: 'protocol',
    message: /sparse file|malformed/,
  })),
  {
    what: 'a volume header',
    tar: altered((block) => block.write('V', 156)),
    code: 'unsupported',
    message: /type "V"/,
  },
  {
    what: 'a pax header of 2 MiB',
    tar: altered((block) => block.write('x', 156), 'p', 2 * 1024 * 1024),
    code: 'limit',
    message: /2097152 bytes/,
  },
  {
    what: 'a pax record of another length',
    tar: Buffer.concat([
      altered((block) => block.write('x', 156), 'p', 9),
      Buffer.alloc(512).fill('99 path=a', 0, 9),
    ]),
    code: 'protocol',
    message: /malformed/,
  },
  {
    what: 'a pax path with a NUL',
    tar: Buffer.concat([pax('path=a\0b'), altered(() => undefined)]),
    code: 'protocol',
    message: /NUL/,
  },
  {
    what: 'an attribute of more than 64 KiB',
    tar: Buffer.concat([pax(`SCHILY.xattr.user.a=${'x'.repeat(70_000)}`), altered(() => undefined)]),
    code: 'protocol',
    message: /attribute/,
  },
  {
    what: 'gzip that breaks off',
    tar: gzipSync(
      Buffer.concat([altered(() => undefined, 'f', 100_000), Buffer.alloc(100_352), END]),
    ).subarray(0, 100),
    code: 'verification',
    message: /cut short/,
  },
  {
    what: 'zstd that is damaged',
    tar: zstdCompressSync(Buffer.alloc(100_000)).fill(7, 8),
    code: 'verification',
    message: /compression is damaged/,
  },
];

for (const { what, tar, code, message } of BYTES) {
  test(`${what} is refused`, async () => {
    await assert.rejects(() => merge(tar), refused(code, message));
  });
}

test('an empty layer, and one without an end mark, are layers', async () => {
  assert.equal(
    (
      await merge(
        Buffer.alloc(0),
        END,
        altered(() => undefined),
      )
    ).length,
    2,
  );
});

test('a bomb of names is refused while it is read', async () => {
  // Each header makes 1,990 directories on the way.
  const many = await tarOf(
    Array.from({ length: 1050 }, (_, at) => ({ path: `${at}/${'d/'.repeat(1990)}x` })),
  );
  await assert.rejects(() => merge(many), refused('limit', /more than 2000000 entries/));
});

/** A layer's tree without a tar, which would take longer to write than to read. */
function treeOf(entries: Iterable<Brief>): LayerTree {
  const tree = new LayerTree(0, emptyTree(), new Budget());
  let at = 0;
  for (const { text: _, ...header } of entries) {
    tree.add({ ...PLAIN_DIRECTORY, type: 'file', ...header }, at++);
  }
  return tree;
}

function* linksTo(linkPath: string, count: number): Generator<Brief> {
  for (let at = 0; at < count; at++) {
    const xattrs = new Map([[`user.${at % 3}`, Buffer.from('2')]]);
    yield { path: `l${at}`, type: 'hardlink', linkPath, uid: at, xattrs };
  }
}

test('a file of as many hard links as Linux allows keeps what they set once, not for each', async () => {
  const symlink: Brief = { path: 'target', type: 'symlink', linkPath: 'x' };
  const { root } = treeOf([symlink, ...linksTo('target', 65_000)]);
  const tree = new MergedTree(
    root,
    () => assert.fail('nothing is to be read'),
    () => undefined,
  );
  let names = 0;
  for await (const { header } of tree.entries()) {
    if (header.path === '') continue;
    names++;
    assert.deepEqual([header.uid, [...header.xattrs.keys()]], [64_999, ['user.0', 'user.1', 'user.2']]);
  }
  assert.equal(names, 65_001);
});

test('more links than a file can have are refused, and attributes that each of many links would repeat', () => {
  assert.throws(
    () => treeOf([{ path: 'f' }, ...linksTo('f', 65_001)]),
    refused('protocol', /more than 65000/),
  );
  const xattrs = new Map([['user.a', Buffer.alloc(60_000)]]);
  assert.throws(() => treeOf([{ path: 'f', xattrs }, ...linksTo('f', 3000)]), refused('limit', /attributes/));
});

test('a directory may have more entries than a call has arguments', () => {
  const below = function* (type: EntryType): Generator<Brief> {
    for (let at = 0; at < 200_000; at++) yield { path: `d/${at}`, type };
  };
  const merged = emptyTree();
  for (const type of ['directory', 'directory', 'file'] as const) overlay(merged, treeOf(below(type)).root);
  assert.equal([...walk(merged)].length, 200_002);
});

const GIB = 1024 ** 3;

test('layers that unpack to more than a thousand times their size are refused', async () => {
  const zeros = zstdCompressSync(Buffer.alloc(GIB / 64));
  const header = altered((block) => block.write((2 * GIB).toString(8).padStart(11, '0'), 124), 'bomb');
  const bomb = Buffer.concat([zstdCompressSync(header), ...Array.from({ length: 129 }, () => zeros)]);
  await assert.rejects(() => merge(bomb), refused('limit', /more than 1000 times their size/));
  const records = [
    'GNU.sparse.map=',
    'GNU.sparse.major=0',
    'GNU.sparse.minor=1',
    'GNU.sparse.numblocks=0',
    `GNU.sparse.size=${2 * GIB}`,
  ];
  const sparse = Buffer.concat([pax(...records), altered(() => undefined), END]);
  await assert.rejects(() => merge(sparse), refused('limit', /more than 1000 times their size/));
});

test('whatever bytes are changed in a tar, it is read or refused, and nothing else', async (t) => {
  const long = 'n'.repeat(150);
  const tar = await tarOf([
    { path: 'd', type: 'directory' },
    { path: `d/${long}`, text: 'text', xattrs: new Map([['user.a', Buffer.from('b')]]), mtime: -1n },
    { path: 'l', type: 'hardlink', linkPath: `d/${long}` },
  ]);
  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 2000; round++) {
    // One bit, everywhere in turn, then more at random.
    const changed = round < tar.length / 4 ? flipped(tar, round * 4) : Buffer.from(random.mutate(tar));
    await merge(changed).catch((error: unknown) => {
      assert.ok(isQuayctlError(error), `FUZZ_SEED=${seed} round ${round}: ${String(error)}`);
    });
  }
});

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ (1 << (at % 7));
  return changed;
}

import { execFileSync } from 'node:child_process';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { oddLayer, type OddLayer } from '../helpers/odd-images.ts';
import {
  file,
  folder,
  GNU,
  hardLink,
  oddTar,
  padded,
  symbolicLink,
  type OddEntry,
} from '../helpers/odd-tar.ts';

/** Layers as some writer out there makes them, and the files of the squashed image. */
export interface LayerCase {
  readonly row: string;
  readonly name: string;
  readonly source: string;
  readonly layers: () => readonly OddLayer[];
  /**
   * Of some paths what is there: content of files, `-> target` of symbolic links, `/` for directories, `= path` for a
   * hard link to that file, undefined where nothing may be. Or what the refusal says.
   */
  readonly right: Readonly<Record<string, string | undefined>> | RegExp;
}

const LONG = `${'long/'.repeat(30)}name`;
/** @param high what stands above the 32 bits; with it for fields of 12 bytes */
const base256 = (value: number, high = 0): Buffer => {
  const bytes = Buffer.alloc(high === 0 ? 8 : 12);
  bytes.writeUInt32BE(value, bytes.length - 4);
  if (high > 0) bytes.writeUInt32BE(high, bytes.length - 8);
  bytes[0] = 0x80;
  return bytes;
};
const opaque = (name: string): OddEntry => file(`${name}/.wh..wh..opq`, '');
const gone = (name: string): OddEntry => file(name.replace(/[^/]+$/, '.wh.$&'), '');

function cases(
  row: string,
  source: string,
  rows: readonly (readonly [
    string,
    readonly OddEntry[] | readonly (readonly OddEntry[])[],
    LayerCase['right'],
  ])[],
): LayerCase[] {
  return rows.map(([name, given, right]) => {
    const stacks = (Array.isArray(given[0]) ? given : [given]) as readonly (readonly OddEntry[])[];
    return { row, name, source, right, layers: () => stacks.map((entries) => oddLayer(oddTar(entries))) };
  });
}

/** Cases of one tar; `pack` makes the blob of it. */
function packed(
  row: string,
  source: string,
  suffix: string,
  rows: readonly (readonly [string, (tar: Buffer) => Buffer, LayerCase['right']?])[],
): LayerCase[] {
  const entries = [
    folder('bin'),
    file('bin/x', '#!/bin/sh\n'),
    folder('etc'),
    file('etc/passwd', 'root:x:0:0\n'),
  ];
  const whole = { 'bin/x': '#!/bin/sh\n', 'etc/passwd': 'root:x:0:0\n' };
  return rows.map(([name, pack, right = whole]) => ({
    row,
    name,
    source,
    right,
    layers: () => {
      const tar = oddTar(entries);
      const mediaType = `application/vnd.oci.image.layer.v1.tar${suffix}`;
      return [oddLayer(tar, { blob: pack(tar), mediaType })];
    },
  }));
}

/** Each part in a frame or member of its own; `at` says where the parts begin. */
const inParts = (tar: Buffer, at: readonly number[], pack: (part: Buffer) => Buffer): Buffer =>
  Buffer.concat([0, ...at].map((from, index) => pack(tar.subarray(from, at[index] ?? tar.length))));
/** bin, bin/x, etc, etc/passwd: where each entry of the tar above begins. */
const ENTRIES = [512, 1536, 2048, 3072];
const skippable = Buffer.concat([Buffer.from('502a4d1808000000', 'hex'), Buffer.alloc(8, 's')]);
const member = (part: Buffer): Buffer => gzipSync(part);

/** GNU's form of sparse files in pax, version 1.0: the map stands before the data. */
const sparse10 = (name: string, size: number, at: number, data: string): OddEntry => ({
  name: `GNUSparseFile.0/${name}`,
  content: Buffer.concat([padded(Buffer.from(`1\n${at}\n${data.length}\n`)), Buffer.from(data)]),
  pax: {
    'GNU.sparse.major': '1',
    'GNU.sparse.minor': '0',
    'GNU.sparse.name': name,
    'GNU.sparse.realsize': String(size),
  },
});
const sparse01 = (name: string, size: number, at: number, data: string): OddEntry => ({
  name,
  content: data,
  pax: {
    'GNU.sparse.size': String(size),
    'GNU.sparse.numblocks': '1',
    'GNU.sparse.map': `${at},${data.length}`,
  },
});

const piped =
  (program: string) =>
  (tar: Buffer): Buffer =>
    execFileSync(program, ['-c'], { input: tar });

export const LAYERS: readonly LayerCase[] = [
  ...packed('E1', 'facebook/zstd#3255, nodejs/node#64741, composefs-rs#383, podman#20917', '+zstd', [
    ['zstd in two frames, cut anywhere', (tar) => inParts(tar, [700], zstdCompressSync)],
    ['zstd in a frame for each entry', (tar) => inParts(tar, ENTRIES, zstdCompressSync)],
    ['zstd, a skippable frame first', (tar) => Buffer.concat([skippable, zstdCompressSync(tar)])],
    ['zstd, a skippable frame last', (tar) => Buffer.concat([zstdCompressSync(tar), skippable])],
    [
      'zstd, skippable frames between',
      (tar) => inParts(tar, ENTRIES, (part) => Buffer.concat([zstdCompressSync(part), skippable])),
    ],
    [
      'zstd in many frames, one byte each at the end',
      (tar) => inParts(tar, [tar.length - 3, tar.length - 2, tar.length - 1], zstdCompressSync),
    ],
    ['zstd, cut within a frame', (tar) => zstdCompressSync(tar).subarray(0, -6), /./],
  ]),
  ...packed('E2', 'awslabs/soci-snapshotter#1871, madler/pigz#76', '+gzip', [
    ['gzip of many members', (tar) => inParts(tar, ENTRIES, member)],
    [
      'gzip with empty members',
      (tar) => Buffer.concat([member(Buffer.alloc(0)), member(tar), member(Buffer.alloc(0))]),
    ],
    ['zeros behind gzip', (tar) => Buffer.concat([member(tar), Buffer.alloc(1000)])],
    [
      'junk behind gzip',
      (tar) => Buffer.concat([member(tar), Buffer.alloc(1000, 'junk')]),
      /gzip|compress|header/i,
    ],
    ['gzip cut before its trailer', (tar) => member(tar).subarray(0, -8), /./],
    ['gzip cut in its trailer', (tar) => member(tar).subarray(0, -3), /./],
  ]),
  ...packed('E11', 'writers of many makers', '', [
    ['a tar in bzip2', piped('bzip2')],
    ['a tar in xz', piped('xz')],
  ]),
  ...cases('E3', 'moby/go-archive#99, hpc/charliecloud#1280', [
    [
      'absolute hard link (kaniko)',
      [folder('usr'), file('usr/perlbug', 'perl'), hardLink('usr/perlthanks', '/usr/perlbug')],
      { 'usr/perlthanks': '= usr/perlbug' },
    ],
    ['an entry for / itself', [folder(''), file('a')], { a: 'a' }],
    ['absolute names', [folder('/etc'), file('/etc/a', 'a')], { 'etc/a': 'a' }],
  ]),
  ...cases('E4', 'containerd/containerd#2458', [
    [
      'a hard link to a symbolic link',
      [file('a', 'content'), symbolicLink('b', 'a'), hardLink('c', 'b')],
      { c: '= b' },
    ],
  ]),
  ...cases('E5', 'apple/container#1797', [
    [
      'a hard link whose folder has no entry',
      [file('a', 'content'), hardLink('no/where/b', 'a')],
      { 'no/where/b': '= a' },
    ],
  ]),
  ...cases('E6', 'bazel-contrib/rules_oci#857, rules_distroless#53', [
    [
      'the lower layer has lib -> usr/lib, the upper writes lib/b',
      [
        [folder('usr'), folder('usr/lib'), file('usr/lib/a', '1'), symbolicLink('lib', 'usr/lib')],
        [file('lib/b', '2')],
      ],
      { 'lib/b': '2' },
    ],
  ]),
  ...cases('E7', 'goldmann/docker-squash#104', [
    [
      'an entry below a symbolic link of the same layer',
      [folder('usr'), folder('usr/lib'), symbolicLink('lib', 'usr/lib'), file('lib/b', '2')],
      { 'usr/lib/b': '2', lib: '-> usr/lib' },
    ],
    [
      'an entry below an absolute symbolic link of the same layer',
      [folder('usr'), folder('usr/lib'), symbolicLink('lib', '/usr/lib'), file('lib/b', '2')],
      { 'usr/lib/b': '2', lib: '-> /usr/lib' },
    ],
    [
      'a hard link target below a symbolic link of the same layer',
      [
        folder('usr'),
        folder('usr/lib'),
        file('usr/lib/a', '1'),
        symbolicLink('lib', 'usr/lib'),
        hardLink('z', 'lib/a'),
      ],
      { z: '= usr/lib/a' },
    ],
  ]),
  ...cases('E8', 'opencontainers/image-spec#733, containers/storage#1091, aquaproj/aqua#5001', [
    ['a sparse file, pax 1.0', [sparse10('sparse', 12, 4, 'data')], { sparse: '\0\0\0\0data\0\0\0\0' }],
    ['a sparse file, pax 0.1', [sparse01('sparse', 12, 4, 'data')], { sparse: '\0\0\0\0data\0\0\0\0' }],
  ]),
  ...cases('E9', 'goldmann/docker-squash#116, #124, edera-dev/ocirender#25', [
    [
      'a file becomes a directory',
      [[file('a', '1')], [folder('a'), file('a/b', '2')]],
      { a: '/', 'a/b': '2' },
    ],
    [
      'a directory becomes a file',
      [[folder('a'), file('a/b', '2')], [file('a', '1')]],
      { a: '1', 'a/b': undefined },
    ],
    [
      'a directory becomes a symbolic link',
      [[folder('a'), file('a/b')], [symbolicLink('a', 'c')]],
      { a: '-> c', 'a/b': undefined },
    ],
    ['a symbolic link becomes a file', [[symbolicLink('a', 'c')], [file('a', '1')]], { a: '1' }],
    [
      'a whiteout of what is not there',
      [[file('a')], [gone('nothing')]],
      { a: 'a', nothing: undefined, '.wh.nothing': undefined },
    ],
    ['a whiteout that is a directory', [[file('a'), file('b')], [folder('.wh.a')]], { a: undefined, b: 'b' }],
    [
      'opaque before files',
      [
        [folder('d'), file('d/old')],
        [folder('d'), opaque('d'), file('d/new')],
      ],
      { 'd/old': undefined, 'd/new': 'd/new' },
    ],
    [
      'opaque after files',
      [
        [folder('d'), file('d/old')],
        [folder('d'), file('d/new'), opaque('d')],
      ],
      { 'd/old': undefined, 'd/new': 'd/new' },
    ],
    [
      "AUFS's own names",
      [[file('a')], [folder('.wh..wh.plnk'), file('.wh..wh.aufs', '')]],
      { a: 'a', '.wh..wh.aufs': undefined, '.wh..wh.plnk': undefined },
    ],
  ]),
  ...cases('E10', 'writers of many makers', [
    ['a global pax header', [{ ...file('a'), global: { comment: 'git' } }], { a: 'a' }],
    ['unknown pax keys', [{ ...file('a'), pax: { 'VENDOR.key': 'x' } }], { a: 'a' }],
    ['a pax path', [{ name: 'short', content: 'x', pax: { path: LONG } }], { [LONG]: 'x', short: undefined }],
    [
      'a pax size over the header',
      [{ name: 'a', content: 'abc', size: 0, pax: { size: '3' } }, file('b')],
      { a: 'abc', b: 'b' },
    ],
    [
      'two pax headers before one entry',
      [{ ...file('x'), pax: { path: 'a' } }].flatMap((entry) => [
        { name: 'pax', type: 'x', content: '11 path=no\n' },
        entry,
      ]),
      { a: 'x', no: undefined, x: undefined },
    ],
    [
      'binary values and LIBARCHIVE.xattr',
      [
        {
          ...file('a'),
          pax: {
            'SCHILY.xattr.user.bin': Buffer.from([0, 0xff, 0x0a, 0x3d, 0]),
            'LIBARCHIVE.xattr.user.b64': 'AP8=',
          },
        },
        file('b'),
      ],
      { a: 'a', b: 'b' },
    ],
    [
      'a name in latin-1',
      [folder('d'), { name: Buffer.from('d/caf\xe9', 'latin1'), content: 'x' }, file('b')],
      { d: '/', b: 'b' },
    ],
    ['a time of 2^33', [{ ...file('a'), mtime: base256(0, 2) }], { a: 'a' }],
    [
      'devices and a named pipe',
      [
        folder('dev'),
        { name: 'dev/null', type: '3', major: 1, minor: 3 },
        { name: 'dev/loop0', type: '4', major: 7, minor: 0 },
        { name: 'dev/pipe', type: '6' },
        file('a'),
      ],
      { dev: '/', a: 'a' },
    ],
    [
      "GNU's long name",
      [
        { name: '././@LongLink', type: 'L', magic: GNU, content: `${LONG}\0` },
        { name: 'short', content: 'x', magic: GNU },
      ],
      { [LONG]: 'x', short: undefined },
    ],
    ['v7: no magic', [{ ...file('a'), magic: Buffer.alloc(8), type: '\0' }], { a: 'a' }],
    ['a time in spaces', [{ ...file('a'), mtime: Buffer.alloc(12, ' ') }], { a: 'a' }],
    ['a negative time', [{ ...file('a'), mtime: Buffer.alloc(12, 0xff) }], { a: 'a' }],
  ]),
  {
    row: 'E10',
    name: 'no blocks of zeros at the end',
    source: 'writers of many makers',
    layers: () => [oddLayer(oddTar([file('a')], Buffer.alloc(0)))],
    right: { a: 'a' },
  },
  {
    row: 'E10',
    name: 'data behind the blocks of zeros',
    source: 'writers of many makers',
    layers: () => [
      oddLayer(oddTar([file('a')], Buffer.concat([Buffer.alloc(1024), Buffer.alloc(4096, 'x')]))),
    ],
    right: { a: 'a' },
  },
  ...cases('E11', 'writers of many makers', [
    [
      'an owner of 2^32 - 1',
      [{ ...file('a'), uid: base256(0xffff_ffff), gid: base256(0xffff_ffff) }],
      { a: 'a' },
    ],
    ['.. that stays inside', [folder('d'), folder('d/e'), file('d/e/../a', 'a')], { 'd/a': 'a' }],
    ['.. that leads above the root stays below it, as in Docker', [file('../a', 'a')], { a: 'a' }],
    [
      'junk behind the NUL of a number',
      [{ ...file('a'), uid: Buffer.from('0000\0xyz', 'latin1') }],
      { a: 'a' },
    ],
    ['a device major over 4095', [{ name: 'dev', type: '3', major: 5000, minor: 1 }, file('a')], { a: 'a' }],
  ]),
  {
    row: 'E11',
    name: 'the last file is not padded',
    source: 'writers of many makers',
    layers: () => {
      const tar = oddTar([file('a', 'abc')], Buffer.alloc(0));
      return [oddLayer(tar.subarray(0, 512 + 3))];
    },
    right: { a: 'abc' },
  },
  ...cases('E12', 'writers of many makers', [
    ['the same name twice', [file('a', '1'), file('a', '2')], { a: '2' }],
    ['a hard link before its target', [hardLink('b', 'a'), file('a')], /./],
    ["GNU's volume header", [{ name: 'volume', type: 'V', magic: GNU }, file('a')], /./],
  ]),
];

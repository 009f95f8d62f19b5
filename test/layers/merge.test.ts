import assert from 'node:assert/strict';
import { test } from 'node:test';
import { merge, shownBy, tarOf, type Brief } from './trees.ts';

const dir = (path: string): Brief => ({ path, type: 'directory' });
const link = (path: string, linkPath: string): Brief => ({ path, type: 'hardlink', linkPath });
const symlink = (path: string, linkPath: string): Brief => ({ path, type: 'symlink', linkPath });
const file = (path: string, text: string): Brief => ({ path, text });
const BASE = [
  dir('d'),
  file('d/x', 'x'),
  file('d/y', 'y'),
  dir('d/sub'),
  file('d/sub/z', 'z'),
  file('f', 'f'),
];

/** What upper layers make of BASE. */
const CASES: readonly { what: string; layers: readonly (readonly Brief[])[]; shown: readonly string[] }[] = [
  {
    what: 'a whiteout takes a file away',
    layers: [[file('d/.wh.x', '')]],
    shown: ['d/', 'd/sub/', 'd/y=y', 'd/sub/z=z', 'f=f'],
  },
  { what: 'a whiteout takes a directory and all in it', layers: [[file('.wh.d', '')]], shown: ['f=f'] },
  {
    what: 'a whiteout of nothing is nothing',
    layers: [[file('.wh.nothing', ''), file('.wh.f', '')]],
    shown: ['d/', 'd/sub/', 'd/x=x', 'd/y=y', 'd/sub/z=z'],
  },
  {
    what: 'an opaque directory shows its own alone, wherever the mark stands',
    layers: [[dir('d'), file('d/new', 'n'), file('d/.wh..wh..opq', '')]],
    shown: ['d/', 'f=f', 'd/new=n'],
  },
  {
    what: 'an opaque directory in the other spelling',
    layers: [[{ ...dir('d'), xattrs: new Map([['trusted.overlay.opaque', Buffer.from('y')]]) }]],
    shown: ['d/', 'f=f'],
  },
  {
    what: 'a whiteout in the other spelling',
    layers: [[{ path: 'd', type: 'char-device', device: { major: 0, minor: 0 } }]],
    shown: ['f=f'],
  },
  {
    what: 'a whiteout hides what is below, not what its own layer brings',
    layers: [[file('.wh.d', ''), dir('d'), file('d/new', 'n')]],
    shown: ['d/', 'f=f', 'd/new=n'],
  },
  {
    what: 'a file replaces a directory, and a directory that file',
    layers: [[file('d', 'now a file')], [dir('d'), file('d/again', 'a')]],
    shown: ['d/', 'f=f', 'd/again=a'],
  },
  {
    what: 'what is under an opaque root is gone',
    layers: [[file('.wh..wh..opq', ''), file('only', 'o')]],
    shown: ['only=o'],
  },
  {
    what: 'what is said twice is as it was said last',
    layers: [[file('f', 'first'), file('f', 'second'), dir('f2'), file('f2', 'file')]],
    shown: ['d/', 'd/sub/', 'd/x=x', 'd/y=y', 'd/sub/z=z', 'f=second', 'f2=file'],
  },
  {
    what: 'a hard link outlives its target',
    layers: [[file('a', 'a'), link('b', 'a')], [file('.wh.a', '')]],
    shown: ['d/', 'd/sub/', 'd/x=x', 'd/y=y', 'd/sub/z=z', 'f=f', 'b=a'],
  },
  {
    what: 'a hard link keeps what its target was',
    layers: [[file('a', 'a'), link('b', 'a'), link('c', 'b')], [file('a', 'new')]],
    shown: ['d/', 'd/sub/', 'd/x=x', 'd/y=y', 'd/sub/z=z', 'f=f', 'b=a', 'a=new', 'c=>b'],
  },
  {
    what: 'a hard link into a layer below is one more name',
    layers: [[link('g', 'f')]],
    shown: ['d/', 'd/sub/', 'd/x=x', 'd/y=y', 'd/sub/z=z', 'f=f', 'g=>f'],
  },
  {
    what: 'a hard link to a symbolic link',
    layers: [[file('.wh.d', ''), symlink('s', '/f'), link('t', 's')]],
    shown: ['f=f', 's->/f', 't=>s'],
  },
  {
    what: 'a directory that nobody speaks of is made',
    layers: [[file('.wh.d', ''), file('p/q/r', 'r')]],
    shown: ['p/', 'p/q/', 'f=f', 'p/q/r=r'],
  },
  {
    what: 'marks of AUFS are left out',
    layers: [[file('.wh.d', ''), dir('.wh..wh.plnk'), file('.wh..wh.aufs', '')]],
    shown: ['f=f'],
  },
  {
    what: 'a path from the root, and one with dots, are the path',
    layers: [[file('.wh.d', ''), file('/abs', 'a'), file('./dot//two', 't')]],
    shown: ['dot/', 'f=f', 'abs=a', 'dot/two=t'],
  },
];

for (const { what, layers, shown } of CASES) {
  test(what, async () => {
    assert.deepEqual(await shownBy(BASE, ...layers), shown);
  });
}

const headerOf = async (path: string, ...layers: readonly (readonly Brief[])[]) => {
  const merged = await merge(...(await Promise.all(layers.map(tarOf))));
  return merged.find(({ header }) => header.path === path)?.header;
};

test('a directory that is made on the way to a file keeps what the layer below says of it', async () => {
  const header = await headerOf('d', [{ ...dir('d'), mode: 0o1777, uid: 7 }], [file('d/new', 'n')]);
  assert.deepEqual([header?.mode, header?.uid], [0o1777, 7]);
});

test('a hard link sets owner, mode and attributes of its file, as extracting it does', async () => {
  const xattrs = new Map([
    ['security.capability', Buffer.from('c')],
    ['user.a', Buffer.from('1')],
  ]);
  const entries = [
    { ...file('a', 'a'), xattrs },
    { ...link('b', 'a'), mode: 0o700, uid: 5, xattrs: new Map([['user.b', Buffer.from('2')]]) },
  ];
  for (const path of ['a', 'b']) {
    const header = await headerOf(path, entries);
    assert.deepEqual(
      [header?.mode, header?.uid, [...(header?.xattrs.keys() ?? [])]],
      [0o700, 5, ['user.a', 'user.b']],
    );
  }
});

test('notes of overlayfs do not come out', async () => {
  const xattrs = new Map([
    ['trusted.overlay.redirect', Buffer.from('/x')],
    ['user.a', Buffer.from('1')],
  ]);
  assert.deepEqual(
    [...((await headerOf('f', [{ ...file('f', ''), xattrs }]))?.xattrs.keys() ?? [])],
    ['user.a'],
  );
});

test('the same layers make the same order: directories, files as they lie, links', async () => {
  const layers = [
    [file('z', '1'), file('a', '2'), symlink('0', 'z'), dir('m')],
    [file('k', '3'), link('b', 'k')],
  ];
  assert.deepEqual(await shownBy(...layers), ['m/', 'z=1', 'a=2', 'b=3', '0->z', 'k=>b']);
});

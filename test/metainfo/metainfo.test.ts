import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import { digestOf } from '../../src/image/digest.ts';
import { encodeBencode, type BInput } from '../../src/metainfo/bencode.ts';
import { parseInfoHash } from '../../src/metainfo/info-hash.ts';
import {
  buildInfo,
  decodeTorrent,
  encodeTorrent,
  withoutSecrets,
  type Metainfo,
} from '../../src/metainfo/metainfo.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';

const KI = 1024;
const NAME = 'ab'.repeat(32);
const DIGEST = digestOf(Buffer.from('blob'));
const IMAGE_ID = `sha512-${'0f'.repeat(32)}`;
const TRACKER = 'https://service.example/announce?jwt=s3cret.t0ken';
const SECOND = 'udp://joe:s3cret@tracker.example:6969/announce';
const SEED = 'https://service.example/seed/blob?signature=s3cret';
const INFO = {
  length: 600 * KI,
  name: NAME,
  'piece length': 512 * KI,
  pieces: Buffer.alloc(40, 7),
  private: 1,
};

function ours(): Uint8Array {
  const infoBytes = buildInfo({ name: NAME, length: INFO.length, pieces: INFO.pieces });
  return encodeTorrent(infoBytes, {
    announce: [TRACKER, SECOND],
    urlList: [SEED],
    createdBy: 'quayctl',
    creationDate: 1_700_000_000,
    digest: DIGEST,
    imageId: IMAGE_ID,
  });
}

function torrent(info: Record<string, BInput>, more: Record<string, BInput> = {}): Uint8Array {
  return encodeBencode({ info, ...more });
}

test('the info dictionary is exactly that of the protocol', () => {
  const info = Buffer.from(buildInfo({ name: NAME, length: INFO.length, pieces: INFO.pieces })).toString(
    'latin1',
  );
  const pieces = '\x07'.repeat(40);
  assert.equal(
    info,
    `d6:lengthi614400e4:name64:${NAME}12:piece lengthi524288e6:pieces40:${pieces}7:privatei1ee`,
  );
});

test('hashes that do not fit the length are a bug, told at once', () => {
  assert.throws(
    () => buildInfo({ name: NAME, length: INFO.length, pieces: Buffer.alloc(20) }),
    (error) => isQuayctlError(error, 'internal'),
  );
});

function announceUrls({ trackers }: Metainfo): string[] {
  return trackers.map(({ announceUrl }) => announceUrl);
}

test('a torrent of ours reads back whole', () => {
  const metainfo = decodeTorrent(ours());
  assert.equal(metainfo.name, NAME);
  assert.deepEqual(metainfo.geometry, { length: INFO.length, pieceLength: 512 * KI, pieceCount: 2 });
  assert.deepEqual(Buffer.from(metainfo.pieces), INFO.pieces);
  assert.equal(metainfo.private, true);
  assert.deepEqual(announceUrls(metainfo), [TRACKER, SECOND]);
  assert.deepEqual(metainfo.urlList, [SEED]);
  assert.equal(metainfo.digest, DIGEST);
  assert.equal(metainfo.imageId, IMAGE_ID);
  assert.deepEqual(Buffer.from(metainfo.infoBytes), Buffer.from(encodeBencode(INFO)));
});

test('what is kept on disk has the same info hash, tracker and digest, and no secret', () => {
  const [full, kept] = [ours(), withoutSecrets(ours())];
  assert.doesNotMatch(Buffer.from(kept).toString('latin1'), /s3cret|t0ken|jwt|signature/);
  const [before, after] = [decodeTorrent(full), decodeTorrent(kept)];
  assert.equal(after.infoHash, before.infoHash);
  assert.equal(after.digest, DIGEST);
  assert.equal(after.imageId, IMAGE_ID);
  assert.deepEqual(announceUrls(after), [
    'https://service.example/announce',
    'udp://tracker.example:6969/announce',
  ]);
  assert.deepEqual(after.urlList, []);
});

test('unknown fields and other makers are read', () => {
  const foreign = torrent(
    { ...INFO, source: 'somewhere', private: 0 },
    {
      comment: 'x',
      encoding: 'UTF-8',
      announce: TRACKER,
      'announce-list': [[TRACKER, SECOND], [], [SECOND]],
      'url-list': '',
    },
  );
  const metainfo = decodeTorrent(foreign);
  assert.equal(metainfo.private, false);
  assert.deepEqual(announceUrls(metainfo), [TRACKER, SECOND]);
  assert.deepEqual(metainfo.urlList, []);
  assert.equal(metainfo.digest, undefined);
  assert.deepEqual(decodeTorrent(torrent(INFO, { 'url-list': SEED })).urlList, [SEED]);
  assert.deepEqual(decodeTorrent(torrent(INFO, { 'url-list': ['ftp://x/', SEED, SEED] })).urlList, [SEED]);
  assert.deepEqual(decodeTorrent(torrent(INFO)).trackers, []);
  const small = { ...INFO, length: 16 * KI + 1, 'piece length': 16 * KI };
  assert.equal(decodeTorrent(torrent(small)).geometry.pieceCount, 2);
});

describe('what is refused', () => {
  const without = (key: string): Record<string, BInput> => {
    const info: Record<string, BInput> = { ...INFO };
    delete info[key];
    return info;
  };
  const announce = (url: BInput): Uint8Array => torrent(INFO, { announce: url });
  const table: [string, Uint8Array, ErrorCode][] = [
    ['nothing', Buffer.from(''), 'protocol'],
    ['a web page', Buffer.from('<html>'), 'protocol'],
    ['a list', encodeBencode([]), 'protocol'],
    ['no info', encodeBencode({ announce: TRACKER }), 'protocol'],
    ['info that is a text', encodeBencode({ info: 'x' }), 'protocol'],
    ['no length', torrent(without('length')), 'protocol'],
    ['length 0', torrent({ ...INFO, length: 0, pieces: '' }), 'protocol'],
    ['a negative length', torrent({ ...INFO, length: -5 }), 'protocol'],
    ['a length that is a text', torrent({ ...INFO, length: '600' }), 'protocol'],
    ['no piece length', torrent(without('piece length')), 'protocol'],
    ['piece length 0', torrent({ ...INFO, 'piece length': 0 }), 'protocol'],
    ['a piece length of no power of two', torrent({ ...INFO, 'piece length': 500_000 }), 'protocol'],
    [
      'pieces of 8 KiB',
      torrent({ ...INFO, length: 1, 'piece length': 8 * KI, pieces: Buffer.alloc(20) }),
      'protocol',
    ],
    ['pieces of 32 MiB', torrent({ ...INFO, 'piece length': 2 ** 25, pieces: Buffer.alloc(20) }), 'protocol'],
    ['no pieces', torrent(without('pieces')), 'protocol'],
    ['half a hash', torrent({ ...INFO, pieces: Buffer.alloc(39) }), 'protocol'],
    ['a hash too few', torrent({ ...INFO, pieces: Buffer.alloc(20) }), 'protocol'],
    ['a hash too many', torrent({ ...INFO, pieces: Buffer.alloc(60) }), 'protocol'],
    ['pieces that are a list', torrent({ ...INFO, pieces: [] }), 'protocol'],
    ['no name', torrent(without('name')), 'protocol'],
    ['an empty name', torrent({ ...INFO, name: '' }), 'protocol'],
    ['a name without end', torrent({ ...INFO, name: 'x'.repeat(256) }), 'protocol'],
    ['a path for a name', torrent({ ...INFO, name: '../../etc/passwd' }), 'protocol'],
    ['a Windows path for a name', torrent({ ...INFO, name: 'a\\b' }), 'protocol'],
    ['.. for a name', torrent({ ...INFO, name: '..' }), 'protocol'],
    ['a name that ends early', torrent({ ...INFO, name: 'a\0b' }), 'protocol'],
    ['a name that is no UTF-8', torrent({ ...INFO, name: Buffer.from([0xff]) }), 'protocol'],
    ['several files', torrent({ ...without('length'), files: [{ length: 1, path: ['x'] }] }), 'protocol'],
    ['one file and several', torrent({ ...INFO, files: [] }), 'protocol'],
    ['version 2', torrent({ ...INFO, 'meta version': 2, 'file tree': {} }), 'protocol'],
    ['a hybrid', torrent({ ...INFO, 'file tree': {} }), 'protocol'],
    ['a tracker that is a number', announce(7), 'protocol'],
    ['a file for a tracker', announce('file:///etc/passwd'), 'protocol'],
    ['a script for a tracker', announce('javascript:alert(1)'), 'protocol'],
    ['a tracker with a line break', announce('http://a/\r\nX: y'), 'protocol'],
    ['a tracker without a host', announce('http://'), 'protocol'],
    ['an empty tracker', announce(''), 'protocol'],
    ['a tracker without end', announce(`http://a/${'x'.repeat(9000)}`), 'protocol'],
    [
      'too many trackers',
      torrent(INFO, { 'announce-list': [Array.from({ length: 51 }, (_, at) => `http://a/${at}`)] }),
      'limit',
    ],
    ['a tracker list that is a text', torrent(INFO, { 'announce-list': TRACKER }), 'protocol'],
    ['a tracker list that is flat', torrent(INFO, { 'announce-list': [TRACKER] }), 'protocol'],
    ['web seeds that are a number', torrent(INFO, { 'url-list': 7 }), 'protocol'],
    ['too many web seeds', torrent(INFO, { 'url-list': Array<string>(51).fill(SEED) }), 'limit'],
    ['quayctl that is a text', torrent(INFO, { quayctl: DIGEST }), 'protocol'],
    ['a digest that is none', torrent(INFO, { quayctl: { digest: 'x' } }), 'protocol'],
    [
      'an image ID that is none',
      torrent(INFO, { quayctl: { imageID: `sha512-${'0f'.repeat(64)}` } }),
      'protocol',
    ],
    ['sha512', torrent(INFO, { quayctl: { digest: `sha512:${'a'.repeat(128)}` } }), 'unsupported'],
    ['unsorted keys', Buffer.from('d4:infod4:name1:x6:lengthi1eee'), 'protocol'],
    ['a nesting bomb', Buffer.from(`d4:info${'d1:a'.repeat(100_000)}`), 'limit'],
    ['more than 16 MiB', Buffer.alloc(16 * KI * KI + 1), 'limit'],
  ];
  for (const [what, bytes, code] of table) {
    test(what, () => {
      assert.throws(
        () => decodeTorrent(bytes),
        (error) => {
          assert.ok(isQuayctlError(error, code), String(error));
          assert.ok(error.message.length < 300);
          assert.doesNotMatch(error.message, /https?:|s3cret/);
          return true;
        },
      );
    });
  }
});

test('an info hash is 40 hexadecimal digits', () => {
  assert.equal(
    parseInfoHash('ABCDEF0123456789abcdef0123456789abcdef01'),
    'abcdef0123456789abcdef0123456789abcdef01',
  );
  for (const wrong of ['', 'abc', 'g'.repeat(40), 'a'.repeat(41), `${'a'.repeat(40)}\n`]) {
    assert.throws(
      () => parseInfoHash(wrong),
      (error) => isQuayctlError(error, 'protocol'),
    );
  }
});

describe('independent tools read the same in a torrent of ours', () => {
  test('transmission', { skip: skipWithout('transmission-show') }, async (t) => {
    const said = await output('transmission-show', await written(t));
    assert.match(said, new RegExp(`Hash(?: v1)?: ${decodeTorrent(ours()).infoHash}`));
    assert.match(said, /Private torrent/);
    assert.match(said, /Piece Count: 2/);
  });

  test('libtorrent', { skip: skipWithout('python3-libtorrent') }, async (t) => {
    const script =
      'import sys, libtorrent\n' +
      'info = libtorrent.torrent_info(sys.argv[1])\n' +
      'print(info.info_hash(), info.name(), info.total_size(), info.piece_length(), info.num_pieces(), info.priv())';
    const said = await output('/usr/bin/python3', '-c', script, await written(t));
    const { infoHash, geometry } = decodeTorrent(ours());
    const { length, pieceLength, pieceCount } = geometry;
    assert.equal(said.trim(), `${infoHash} ${NAME} ${length} ${pieceLength} ${pieceCount} True`);
  });
});

async function written(t: TestContext): Promise<string> {
  const file = join(await tempDirectory(t, 'metainfo'), 'ours.torrent');
  await writeFile(file, ours());
  return file;
}

async function output(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args);
  return stdout;
}

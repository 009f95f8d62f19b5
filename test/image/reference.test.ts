import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { QuayctlError } from '../../src/base/errors.ts';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import {
  familiarName,
  formatReference,
  parseImageReference,
  repositoryName,
} from '../../src/image/reference.ts';
import { neverBreaks, type Random } from '../helpers/fuzz.ts';

const F64 = 'f'.repeat(64);
const SHA256 = `sha256:${F64}`;
const HEX = '1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a';

function refusal(text: string): QuayctlError {
  try {
    const { registry, repository } = parseImageReference(text);
    assert.fail(`${text} parsed as ${registry} ${repository}`);
  } catch (error) {
    if (isQuayctlError(error)) return error;
    throw error;
  }
}

describe('names are normalised as Docker does it', () => {
  // text, registry, repository, familiar name: from distribution/reference normalize_test.go
  const table: [string, string, string, string][] = [
    ['ubuntu', 'docker.io', 'library/ubuntu', 'ubuntu'],
    ['library/ubuntu', 'docker.io', 'library/ubuntu', 'ubuntu'],
    ['docker.io/ubuntu', 'docker.io', 'library/ubuntu', 'ubuntu'],
    ['docker.io/library/ubuntu', 'docker.io', 'library/ubuntu', 'ubuntu'],
    ['index.docker.io/ubuntu', 'docker.io', 'library/ubuntu', 'ubuntu'],
    ['index.docker.io/library/ubuntu', 'docker.io', 'library/ubuntu', 'ubuntu'],
    ['index.docker.io/fooo/bar', 'docker.io', 'fooo/bar', 'fooo/bar'],
    ['docker.io/library/foo/bar', 'docker.io', 'library/foo/bar', 'library/foo/bar'],
    ['store/foo/bar', 'docker.io', 'store/foo/bar', 'store/foo/bar'],
    ['other/library', 'docker.io', 'other/library', 'other/library'],
    ['ubuntu-12.04-base', 'docker.io', 'library/ubuntu-12.04-base', 'ubuntu-12.04-base'],
    ['dbcc1', 'docker.io', 'library/dbcc1', 'dbcc1'],
    [
      '127.0.0.1:8000/private/moonbase',
      '127.0.0.1:8000',
      'private/moonbase',
      '127.0.0.1:8000/private/moonbase',
    ],
    ['127.0.0.1:8000/privatebase', '127.0.0.1:8000', 'privatebase', '127.0.0.1:8000/privatebase'],
    ['example.com/library/debian', 'example.com', 'library/debian', 'example.com/library/debian'],
    ['example.com:8000/privatebase', 'example.com:8000', 'privatebase', 'example.com:8000/privatebase'],
    ['test-com:8080/foo', 'test-com:8080', 'foo', 'test-com:8080/foo'],
    ['test_com/foo', 'docker.io', 'test_com/foo', 'test_com/foo'],
    ['xn--n3h.com:18080/foo', 'xn--n3h.com:18080', 'foo', 'xn--n3h.com:18080/foo'],
    ['localhost/foo', 'localhost', 'foo', 'localhost/foo'],
    ['localhost:5000/foo/bar', 'localhost:5000', 'foo/bar', 'localhost:5000/foo/bar'],
    ['localhost', 'docker.io', 'library/localhost', 'localhost'],
    ['Foo/bar', 'Foo', 'bar', 'Foo/bar'],
    ['FOO/bar', 'FOO', 'bar', 'FOO/bar'],
    ['192.168.0.1', 'docker.io', 'library/192.168.0.1', '192.168.0.1'],
    ['[fc00::1]:5000/docker', '[fc00::1]:5000', 'docker', '[fc00::1]:5000/docker'],
    ['[2001:db8::1]/repo', '[2001:db8::1]', 'repo', '[2001:db8::1]/repo'],
    [
      '[fc00:1:2:3:4:5:6:7]:5000/library/debian',
      '[fc00:1:2:3:4:5:6:7]:5000',
      'library/debian',
      '[fc00:1:2:3:4:5:6:7]:5000/library/debian',
    ],
    [`docker.io/${HEX}`, 'docker.io', `library/${HEX}`, HEX],
    ['docker---rules/docker', 'docker.io', 'docker---rules/docker', 'docker---rules/docker'],
    ['dock__er/docker', 'docker.io', 'dock__er/docker', 'dock__er/docker'],
    ['d/docker', 'docker.io', 'd/docker', 'd/docker'],
    [
      'b.gcr.io/test.example.com/my-app',
      'b.gcr.io',
      'test.example.com/my-app',
      'b.gcr.io/test.example.com/my-app',
    ],
    [
      'registry.io/foo/project--id.module--name.ver---sion--name',
      'registry.io',
      'foo/project--id.module--name.ver---sion--name',
      'registry.io/foo/project--id.module--name.ver---sion--name',
    ],
  ];
  for (const [text, registry, repository, familiar] of table) {
    test(text, () => {
      const reference = parseImageReference(text);
      assert.deepEqual(reference, { registry, repository, tag: 'latest' });
      assert.equal(repositoryName(reference), `${registry}/${repository}`);
      assert.equal(formatReference(reference), `${registry}/${repository}:latest`);
      assert.equal(familiarName(reference), `${familiar}:latest`);
    });
  }
});

describe('tags and digests', () => {
  // text, registry, repository, tag, digest: from distribution/reference reference_test.go and regexp_test.go
  const table: [string, string, string, string | undefined, string | undefined][] = [
    ['test.com:tag', 'docker.io', 'library/test.com', 'tag', undefined],
    ['test.com:5000', 'docker.io', 'library/test.com', '5000', undefined],
    ['foo_bar.com:8080', 'docker.io', 'library/foo_bar.com', '8080', undefined],
    ['foo/foo_bar.com:8080', 'docker.io', 'foo/foo_bar.com', '8080', undefined],
    ['192.168.1.1:5000/repo:5050', '192.168.1.1:5000', 'repo', '5050', undefined],
    ['lowercase:Uppercase', 'docker.io', 'library/lowercase', 'Uppercase', undefined],
    ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com', 'myimage', 'xn--n3h.com', undefined],
    [`test:5000/repo@${SHA256}`, 'test:5000', 'repo', undefined, SHA256],
    [`test:5000/repo:tag@${SHA256}`, 'test:5000', 'repo', 'tag', SHA256],
    [`[2001:db8::1]:5000/repo:tag@${SHA256}`, '[2001:db8::1]:5000', 'repo', 'tag', SHA256],
    [`redis@${SHA256}`, 'docker.io', 'library/redis', undefined, SHA256],
    [`busybox:latest@${SHA256}`, 'docker.io', 'library/busybox', 'latest', SHA256],
    [`localhost:8080@${SHA256}`, 'docker.io', 'library/localhost', '8080', SHA256],
    [`x:${'t'.repeat(128)}`, 'docker.io', 'library/x', 't'.repeat(128), undefined],
    ['x:_underscore.first-', 'docker.io', 'library/x', '_underscore.first-', undefined],
    [
      `${'a/'.repeat(127)}a:tag-puts-this-over-max`,
      'docker.io',
      `${'a/'.repeat(127)}a`,
      'tag-puts-this-over-max',
      undefined,
    ],
  ];
  for (const [text, registry, repository, tag, digest] of table) {
    test(text, () => {
      const reference = parseImageReference(text);
      const { tag: parsedTag, digest: parsedDigest } = reference;
      assert.deepEqual(
        [reference.registry, reference.repository, parsedTag, parsedDigest],
        [registry, repository, tag, digest],
      );
      assert.deepEqual(parseImageReference(formatReference(reference)), reference);
      assert.deepEqual(parseImageReference(familiarName(reference)), reference);
    });
  }

  test('docker.io stays in the familiar name where another image would be meant without it', () => {
    for (const name of [
      'docker.io/localhost/app',
      'docker.io/docker.io/x',
      'docker.io/index.docker.io/x',
      'docker.io/quay.io/x',
    ]) {
      const reference = parseImageReference(name);
      assert.equal(familiarName(reference), `${name}:latest`);
      assert.deepEqual(parseImageReference(familiarName(reference)), reference);
    }
  });

  test('tag and digest both stand in both names', () => {
    const reference = parseImageReference(`busybox:1@${SHA256}`);
    assert.equal(formatReference(reference), `docker.io/library/busybox:1@${SHA256}`);
    assert.equal(familiarName(reference), `busybox:1@${SHA256}`);
  });
});

describe('what is no reference is a usage error', () => {
  // from the same three tables of distribution/reference, and our own below the line
  const table = [
    '',
    ':justtag',
    `@${SHA256}`,
    'repo@sha256:ffffffffffffffffffffffffffffffffff',
    'Uppercase:tag',
    'test:5000/Uppercase/lowercase:tag',
    `${'a/'.repeat(128)}a:tag`,
    'aa/asdf$$^/aa',
    '[2001:db8::1]',
    '[2001:db8::1]:5000',
    '[2001:db8::1]:tag',
    '[fe80::1%eth0]:5000/repo',
    '[fe80::1%@invalidzone]:5000/repo',
    'https://github.com/docker/docker',
    'docker/Docker',
    '-docker',
    '-docker/docker',
    '-docker.io/docker/docker',
    'docker///docker',
    'docker.io/docker/Docker',
    'docker.io/docker///docker',
    'fc00::1:5000/debian',
    '[2001:db8:3:4::192.0.2.33]:5000/debian',
    HEX,
    'docker-/docker',
    '-docker-/docker',
    '____/____',
    '_docker/_docker',
    'dock..er/docker',
    'dock_.er/docker',
    'dock-.er/docker',
    'docker/',
    `${'this_is_too_long_'.repeat(16)}/docker`,
    'test.com:http/x',
    'ab-.com/x',
    'ab.-com/x',
    '[fd00:1:2::3]75050/x',
    '[fd00:1:2::3]::75050/x',
    'a/a/a/a/',
    'a//a/a',
    'foo.com/',
    'foo_bar.com:8080/app',
    'registry.com:8080/myapp@sha256:badbadbadbad',
    'registry.com:8080/myapp:invalid~tag',
    'registry.com:8080/myapp@bad',
    'do__cker:8080/docker',
    'Foo/FarB',
    // ---
    ' ubuntu',
    'ubuntu ',
    'ubuntu\n',
    'ubuntu:',
    'ubuntu@',
    'ubuntu:a:b',
    `ubuntu@${SHA256}@${SHA256}`,
    `x:${'t'.repeat(129)}`,
    `x@sha256:${'F'.repeat(64)}`,
    `x@SHA256:${F64}`,
    `x@sha256:${F64}0`,
    'x:.dot',
    'x:-dash',
    'x:ü',
    'ü',
    'x/ü',
    'é.com/x',
    'localhost:99999/x',
    '[:::]/x',
    '[fd00123123123]:1/x',
    '999.1.1.1/x',
    '../x',
    'x/../y',
    'x\0y',
    'a'.repeat(5000),
    'ubuntu 22.04',
    '/ubuntu',
    '//ubuntu',
    '[::1/x',
    '::1/x',
    'user:secret@host/x',
    `docker.io/${'a'.repeat(256)}`,
  ];
  for (const text of table) {
    test(JSON.stringify(text.slice(0, 60)), () => {
      assert.equal(refusal(text).code, 'usage' satisfies ErrorCode);
      assert.ok(refusal(text).message.length < 600);
    });
  }
});

test('a digest by another algorithm is grammar, and refused as unsupported', () => {
  for (const digest of [
    `sha512:${'f'.repeat(128)}`,
    `sha384:${'f'.repeat(96)}`,
    `invaliddigest:${F64}`,
    `blake3:${F64}`,
  ]) {
    assert.equal(refusal(`xn--7o8h.com/myimage:tag@${digest}`).code, 'unsupported');
  }
});

test('the error says what to do', () => {
  assert.match(refusal('docker/Docker').message, /must be lower-case/);
  assert.equal(refusal('docker/Docker').hint, 'did you mean docker/docker?');
  for (const [text, meant] of [
    ['Foo/Bar:X', 'foo/bar:X'],
    ['quay.io/Team/App:1.0', 'quay.io/team/app:1.0'],
    ['[::1]:5000/App', '[::1]:5000/app'],
    [`docker.io/library/Ubuntu@sha256:${HEX}`, `docker.io/library/ubuntu@sha256:${HEX}`],
  ]) {
    assert.equal(refusal(text ?? '').hint, `did you mean ${meant}?`);
  }
  assert.match(refusal('https://quay.io/x').hint ?? '', /without https/);
  assert.match(refusal(HEX).hint ?? '', new RegExp(`NAME@sha256:${HEX}`));
});

test('a password that somebody put in front of the host is not repeated', () => {
  for (const text of [
    'joe:hunter2@quay.io/x',
    'https://joe:hunter2@quay.io/x',
    'joe:hunter2@quay.io/X@y/z',
  ]) {
    assert.doesNotMatch(refusal(text).message, /hunter2/);
    assert.doesNotMatch(refusal(text).hint ?? '', /hunter2/);
  }
});

test('any text parses or is refused, and what parses comes back from its names', async (t) => {
  const atoms = [
    'a',
    'z9',
    'A',
    '-',
    '--',
    '_',
    '__',
    '.',
    '..',
    '/',
    ':',
    '@',
    '[',
    ']',
    '::1',
    'localhost',
    'docker.io',
    'library/',
    'sha256:',
    'sha512:',
    F64,
    '5000',
    ' ',
    '\n',
    '\0',
    'ü',
    '%',
    '~',
    'index.docker.io',
    'latest',
    'x'.repeat(130),
  ];
  const make = (random: Random): string =>
    Array.from({ length: 1 + random.below(10) }, () => random.pick(atoms)).join('');
  let parsed = 0;
  await neverBreaks(t, make, (text) => {
    const reference = parseImageReference(text);
    parsed++;
    assert.deepEqual(parseImageReference(formatReference(reference)), reference);
    assert.deepEqual(parseImageReference(familiarName(reference)), reference);
  });
  assert.ok(parsed > 100, `only ${parsed} of the texts were references`);
});

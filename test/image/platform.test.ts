import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestOf } from '../../src/image/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.ts';
import {
  choosePlatform,
  formatPlatform,
  normalizePlatform,
  parsePlatform,
  type Platform,
} from '../../src/image/platform.ts';

/** An entry whose platform is spelled `os/arch[/variant]`, taken as it is; the digest is of the spelling. */
function entry(spelled: string, more: Partial<Descriptor> = {}): Descriptor {
  const [os = '', architecture = '', variant] = spelled.split('/');
  const platform: Platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  return { mediaType: OCI_MANIFEST, digest: digestOf(Buffer.from(spelled)), size: 7, platform, ...more };
}

function chosen(entries: readonly Descriptor[], wanted: string): string {
  const { platform } = choosePlatform(entries, parsePlatform(wanted));
  return platform === undefined ? 'unnamed' : formatPlatform(platform);
}

describe('one spelling for each platform', () => {
  const table: [string, string][] = [
    ['linux/amd64', 'linux/amd64'],
    ['Linux/x86_64', 'linux/amd64'],
    ['linux/x86-64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/i386', 'linux/386'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9.0', 'linux/arm64/v9'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/armv7l', 'linux/arm/v7'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['macos/arm64', 'darwin/arm64'],
    ['linux/riscv64', 'linux/riscv64'],
    ['linux/s390x', 'linux/s390x'],
  ];
  for (const [spelled, expected] of table) {
    test(`${spelled} is ${expected}`, () => {
      assert.equal(formatPlatform(parsePlatform(spelled)), expected);
      assert.deepEqual(normalizePlatform(parsePlatform(spelled)), parsePlatform(expected));
    });
  }

  for (const wrong of [
    '',
    'linux',
    'linux/',
    '/amd64',
    'linux//v7',
    'a/b/c/d',
    'linux/amd64 ',
    'linux/*',
    'x'.repeat(70) + '/y',
  ]) {
    test(`${JSON.stringify(wrong.slice(0, 20))} is a usage error`, () => {
      assert.throws(
        () => parsePlatform(wrong),
        (error) => isQuayctlError(error, 'usage'),
      );
    });
  }
});

describe('what runs on what', () => {
  // wanted, what runs (best first), what does not: from containerd/platforms compare_test.go, TestOnly
  const table: [string, string[], string[]][] = [
    [
      'linux/amd64',
      ['linux/amd64', 'linux/386'],
      ['linux/amd64/v2', 'linux/arm/v7', 'linux/arm64', 'windows/amd64', 'windows/arm'],
    ],
    [
      'linux/amd64/v2',
      ['linux/amd64/v2', 'linux/amd64/v1', 'linux/386'],
      ['linux/amd64/v3', 'linux/amd64/v4', 'linux/arm64'],
    ],
    [
      'linux/amd64/v4',
      ['linux/amd64/v4', 'linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386'],
      ['linux/arm64'],
    ],
    ['linux/386', ['linux/386'], ['linux/amd64', 'linux/arm/v7']],
    [
      'linux/arm/v8',
      ['linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'],
      ['linux/arm/v4', 'linux/arm64'],
    ],
    [
      'linux/arm/v7',
      ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'],
      ['linux/arm/v4', 'linux/arm/v8', 'linux/arm64', 'windows/arm'],
    ],
    ['linux/arm/v7', ['linux/arm', 'linux/arm/v6'], []],
    ['linux/arm/v6', ['linux/arm/v6', 'linux/arm/v5'], ['linux/arm', 'linux/arm/v7', 'linux/arm/v8']],
    ['linux/arm/v5', ['linux/arm/v5'], ['linux/arm', 'linux/arm/v4', 'linux/arm/v6']],
    ['linux/arm/v4', ['linux/arm/v4'], ['linux/arm/v5']],
    [
      'linux/arm64',
      ['linux/arm64/v8', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'],
      ['linux/arm/v4', 'linux/arm/v9', 'linux/arm64/v9', 'linux/amd64'],
    ],
    [
      'linux/arm64/v8.1',
      ['linux/arm64/v8.1', 'linux/arm64', 'linux/arm'],
      ['linux/arm64/v8.2', 'linux/arm64/v9'],
    ],
    [
      'linux/arm64/v9',
      [
        'linux/arm64/v9.0',
        'linux/arm64/v8.5',
        'linux/arm64/v8.4',
        'linux/arm64/v8.1',
        'linux/arm64',
        'linux/arm/v8',
      ],
      ['linux/arm64/v8.6', 'linux/arm/v4'],
    ],
    ['linux/riscv64', ['linux/riscv64'], ['linux/amd64']],
  ];
  for (const [wanted, runs, not] of table) {
    test(wanted, () => {
      for (let from = 0; from < runs.length; from++) {
        // Backwards, so that the best is not just the first.
        const left = runs.slice(from).reverse();
        assert.equal(
          chosen(
            [...not, ...left].map((spelled) => entry(spelled)),
            wanted,
          ),
          runs[from],
        );
      }
      assert.throws(
        () =>
          chosen(
            not.map((spelled) => entry(spelled)),
            wanted,
          ),
        (error) => isQuayctlError(error, 'not-found'),
      );
    });
  }
});

describe('attestations, nested indexes, Windows', () => {
  test('attestations are never taken, by their platform or by their annotation', () => {
    const marked = entry('linux/amd64', {
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    });
    const entries = [entry('unknown/unknown'), marked, entry('linux/arm64')];
    assert.throws(() => chosen(entries, 'linux/amd64'), /there is linux\/arm64$/);
  });

  test('an index of attestations alone holds no image', () => {
    assert.throws(() => chosen([entry('unknown/unknown')], 'linux/amd64'), /holds no image at all/);
    assert.throws(() => chosen([], 'linux/amd64'), /holds no image at all/);
  });

  test('an entry without a platform is taken only when none fits, a nested index first', () => {
    const bare = (mediaType: string): Descriptor => ({
      mediaType,
      digest: digestOf(Buffer.from(mediaType)),
      size: 1,
    });
    const [manifest, nested] = [bare(OCI_MANIFEST), bare(OCI_INDEX)];
    assert.equal(
      choosePlatform([manifest, nested, entry('linux/amd64')], parsePlatform('linux/amd64')).platform?.os,
      'linux',
    );
    assert.equal(
      choosePlatform([manifest, nested, entry('linux/s390x')], parsePlatform('linux/amd64')),
      nested,
    );
    assert.equal(choosePlatform([manifest], parsePlatform('linux/amd64')), manifest);
  });

  test('the error lists what is there, each once and not endlessly', () => {
    const many = Array.from({ length: 500 }, (_, at) => entry(`linux/made-up-${at % 250}`));
    assert.throws(
      () => chosen(many, 'linux/amd64'),
      (error) => {
        assert.ok(isQuayctlError(error, 'not-found'));
        assert.match(error.message, /linux\/made-up-19 and 230 more$/);
        return true;
      },
    );
  });

  const windows = (osVersion: string): Descriptor =>
    entry('windows/amd64', { platform: { os: 'windows', architecture: 'amd64', osVersion } });
  // host, entries, chosen
  const table: [string | undefined, string[], string | undefined][] = [
    ['10.0.17763.99', ['10.0.20348.1', '10.0.17763.2'], '10.0.17763.2'],
    ['10.0.20348.9', ['10.0.17763.2', '10.0.20348.1'], '10.0.20348.1'],
    ['10.0.26100.1', ['10.0.17763.2', '10.0.20348.1', '10.0.25398.7'], '10.0.25398.7'],
    ['10.0.17763.99', ['10.0.20348.1'], undefined],
    ['6.1.20348.1', ['10.0.20348.1'], undefined],
    [undefined, ['10.0.17763.2', '10.0.20348.1'], '10.0.20348.1'],
  ];
  for (const [host, versions, expected] of table) {
    test(`Windows ${host ?? 'of unknown version'} among ${versions.join(', ')}`, () => {
      const wanted: Platform = {
        os: 'windows',
        architecture: 'amd64',
        ...(host === undefined ? {} : { osVersion: host }),
      };
      const choose = (): Descriptor => choosePlatform(versions.map(windows), wanted);
      if (expected === undefined) assert.throws(choose, (error) => isQuayctlError(error, 'not-found'));
      else assert.equal(choose().platform?.osVersion, expected);
    });
  }
});

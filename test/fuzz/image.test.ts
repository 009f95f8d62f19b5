import assert from 'node:assert/strict';
import { parseDuration, parseSize } from '../../src/base/units.ts';
import { parseImageConfig } from '../../src/image/config.ts';
import { descriptorJson, parseDescriptor } from '../../src/image/descriptor.ts';
import { checkLayoutFile, parseLayoutIndex } from '../../src/image/layout.ts';
import { parseManifest, unrunnableReason } from '../../src/image/manifest.ts';
import { choosePlatform, formatPlatform, parsePlatform } from '../../src/image/platform.ts';
import { familiarName, formatReference, parseImageReference } from '../../src/image/reference.ts';
import { fuzzParsers, JSON_PIECES } from '../helpers/corpus.ts';

fuzzParsers({
  'image references': {
    corpus: 'references',
    pieces: ['/', ':', '@', 'sha256:', '[', ']', '%', '..', 'A', '\u00fc', 'localhost/', 'docker.io/'],
    codes: ['usage', 'unsupported'],
    parse: (bytes) => {
      const reference = parseImageReference(bytes.toString('latin1'));
      assert.deepEqual(parseImageReference(formatReference(reference)), reference);
      assert.deepEqual(parseImageReference(familiarName(reference)), reference);
    },
  },
  platforms: {
    corpus: 'platforms',
    pieces: ['/', 'v', '8', '.', 'arm', 'windows'],
    codes: ['usage'],
    parse: (bytes) => {
      const platform = parsePlatform(bytes.toString('latin1'));
      assert.deepEqual(parsePlatform(formatPlatform(platform)), platform);
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      assert.equal(choosePlatform([{ mediaType, platform }], platform).platform, platform);
    },
  },
  'durations and sizes': {
    corpus: 'units',
    pieces: ['9', '.', 's', 'm', 'k', 'i', 'e', ' '],
    codes: ['usage'],
    parse: (bytes) => {
      const text = bytes.toString('latin1');
      assert.ok(Number.isSafeInteger(/[a-z]$/.test(text) ? parseDuration(text) : parseSize(text)));
    },
  },
  manifests: {
    corpus: 'manifests',
    pieces: [...JSON_PIECES, '"layers":', '"manifests":[],', '"schemaVersion":2,', '"urls":["http://a"],'],
    codes: ['limit', 'protocol', 'unsupported'],
    parse: (bytes) => {
      const parsed = parseManifest(bytes);
      if (parsed.kind === 'manifest') unrunnableReason(parsed);
      const parts = parsed.kind === 'index' ? parsed.manifests : [parsed.config, ...parsed.layers];
      for (const part of parts) assert.deepEqual(parseDescriptor(descriptorJson(part), 'again'), part);
    },
  },
  'image configs': {
    corpus: 'configs',
    pieces: [...JSON_PIECES, '"rootfs":', '"diff_ids":', '"layers"', '"os":"linux",'],
    codes: ['limit', 'protocol', 'unsupported'],
    parse: (bytes) => parseImageConfig(bytes),
  },
  'index.json of a layout': {
    corpus: 'manifests',
    pieces: JSON_PIECES,
    codes: ['limit', 'protocol', 'unsupported'],
    parse: (bytes) => parseLayoutIndex(bytes),
  },
  'oci-layout': {
    corpus: 'oci-layouts',
    pieces: [...JSON_PIECES, '2.0.0'],
    codes: ['limit', 'protocol', 'unsupported'],
    parse: (bytes) => checkLayoutFile(bytes),
  },
});

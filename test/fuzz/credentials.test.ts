import assert from 'node:assert/strict';
import { findInAuths, parseAuthFile } from '../../src/credentials/auth-file.ts';
import { parseHelperAnswer } from '../../src/credentials/credential-helper.ts';
import { canonicalRegistry } from '../../src/credentials/registry-name.ts';
import { credentialFor, parseRktFile } from '../../src/credentials/rkt-auth.ts';
import { fuzzParsers, JSON_PIECES } from '../helpers/corpus.ts';

const REGISTRIES = ['docker.io', 'quay.io', 'ghcr.io', 'r.example:5000'];

fuzzParsers({
  'config.json and auth.json': {
    corpus: 'docker-config',
    pieces: [...JSON_PIECES, '"auth":"', '"__proto__":', 'dTpw', '"quay.io":', '\\u0000'],
    codes: ['credentials'],
    parse: (bytes) => {
      const file = parseAuthFile('config.json', bytes.toString('utf8'));
      for (const registry of REGISTRIES) {
        const credential = findInAuths(file, registry, 'ns/app', { anyNamespace: true });
        if (credential?.kind === 'basic') assert.notEqual(credential.username, '');
      }
    },
  },
  'auth.d of rkt': {
    corpus: 'rkt',
    pieces: [...JSON_PIECES, '"domains":', '"dockerAuth"', '"credentials":', '"aws"'],
    codes: ['credentials'],
    parse: (bytes) => {
      const entry = parseRktFile('auth.d/x.json', bytes.toString('utf8'));
      for (const registry of REGISTRIES) credentialFor([entry], registry);
    },
  },
  'answers of credential helpers': {
    corpus: 'helper-answers',
    pieces: [...JSON_PIECES, '"Secret":', '"Username":', '<token>'],
    codes: ['credentials'],
    parse: (bytes) => parseHelperAnswer('docker-credential-x', 'quay.io', bytes.toString('utf8')),
  },
  'names of registries': {
    corpus: 'references',
    pieces: ['https://', '/v1/', '@', '#', '%', ':'],
    codes: [],
    parse: (bytes) => {
      const name = canonicalRegistry(bytes.toString('latin1'));
      if (name !== undefined) assert.equal(canonicalRegistry(name), name);
    },
  },
});

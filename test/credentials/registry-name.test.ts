import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalRegistry, helperServer } from '../../src/credentials/registry-name.ts';

const NAMES: Readonly<Record<string, string | undefined>> = {
  'docker.io': 'docker.io',
  'index.docker.io': 'docker.io',
  'registry-1.docker.io': 'docker.io',
  'https://index.docker.io/v1/': 'docker.io',
  'https://registry-1.docker.io/v2/': 'docker.io',
  'quay.io': 'quay.io',
  'Quay.IO': 'quay.io',
  'https://quay.io': 'quay.io',
  'https://quay.io/v1/': 'quay.io',
  'http://localhost:5000/v2': 'localhost:5000',
  'quay.io/v1/': 'quay.io',
  'https://host.example/artifactory/api/docker': 'host.example',
  'host.example:443': 'host.example:443',
  '127.0.0.1:5000': '127.0.0.1:5000',
  '[::1]:5000': '[::1]:5000',
  // namespaces are podman's keys, not hosts
  'quay.io/ns': undefined,
  'quay.io/ns/repo': undefined,
  'evil.example/docker.io': undefined,
  'docker.io.evil.example': 'docker.io.evil.example',
  'https://me:s3cret@quay.io': undefined,
  'quay.io:99999': undefined,
  'quay.io?x': undefined,
  'ftp://quay.io': undefined,
  'quay io': undefined,
  '': undefined,
  '/': undefined,
};

for (const [key, registry] of Object.entries(NAMES)) {
  test(`${JSON.stringify(key)} names ${registry ?? 'no registry'}`, () => {
    assert.equal(canonicalRegistry(key), registry);
  });
}

test('helpers are asked for Docker Hub by the name that Docker uses', () => {
  assert.equal(helperServer('docker.io'), 'https://index.docker.io/v1/');
  assert.equal(helperServer('quay.io:5000'), 'quay.io:5000');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopback } from '../../src/base/ip-address.ts';
import { proxyFor } from '../../src/http/proxy.ts';

const P = 'http://proxy.test:3128';

test('which proxy a URL takes', () => {
  const rows: [url: string, env: Record<string, string>, proxy: string | undefined][] = [
    ['https://quay.io/', {}, undefined],
    ['https://quay.io/', { HTTPS_PROXY: P }, P],
    ['https://quay.io/', { https_proxy: P }, P],
    ['https://quay.io/', { HTTPS_PROXY: '', https_proxy: P }, P],
    ['https://quay.io/', { HTTP_PROXY: P }, undefined],
    ['http://quay.io/', { HTTP_PROXY: P }, P],
    ['http://quay.io/', { HTTPS_PROXY: P }, undefined],
    ['https://quay.io/', { HTTPS_PROXY: 'proxy.test:3128' }, P],
    ['http://127.0.0.1:5000/', { HTTP_PROXY: P }, undefined],
    ['http://[::1]:5000/', { HTTP_PROXY: P }, undefined],
    ['http://localhost/', { HTTP_PROXY: P }, undefined],
    ['https://quay.io/', { HTTPS_PROXY: P, NO_PROXY: '*' }, undefined],
    ['https://quay.io/', { HTTPS_PROXY: P, NO_PROXY: 'QUAY.io' }, undefined],
    ['https://quay.io./', { HTTPS_PROXY: P, NO_PROXY: 'quay.io' }, undefined],
    ['https://cdn.quay.io/', { HTTPS_PROXY: P, NO_PROXY: 'x, quay.io' }, undefined],
    ['https://cdn.quay.io/', { HTTPS_PROXY: P, no_proxy: '.quay.io' }, undefined],
    ['https://cdn.quay.io/', { HTTPS_PROXY: P, no_proxy: '*.quay.io' }, undefined],
    ['https://quay.io/', { HTTPS_PROXY: P, NO_PROXY: '.quay.io' }, P],
    ['https://notquay.io/', { HTTPS_PROXY: P, NO_PROXY: 'quay.io' }, P],
    ['https://quay.io:8443/', { HTTPS_PROXY: P, NO_PROXY: 'quay.io:8443' }, undefined],
    ['https://quay.io/', { HTTPS_PROXY: P, NO_PROXY: 'quay.io:443' }, undefined],
    ['https://quay.io/', { HTTPS_PROXY: P, NO_PROXY: 'quay.io:8443' }, P],
    ['http://10.1.2.3/', { HTTP_PROXY: P, NO_PROXY: '10.0.0.0/8' }, undefined],
    ['http://11.1.2.3/', { HTTP_PROXY: P, NO_PROXY: '10.0.0.0/8' }, P],
    ['http://10.1.2.3/', { HTTP_PROXY: P, NO_PROXY: '10.0.0.0/99' }, P],
    ['http://10.1.2.3/', { HTTP_PROXY: P, NO_PROXY: '3' }, P],
    ['http://10.1.2.3:80/', { HTTP_PROXY: P, NO_PROXY: '10.1.2.3:80' }, undefined],
    ['http://[fd00::1]/', { HTTP_PROXY: P, NO_PROXY: 'fd00::/8' }, undefined],
    ['http://[fd00::1]/', { HTTP_PROXY: P, NO_PROXY: 'fd00::1' }, undefined],
    ['http://[fd00::1]:81/', { HTTP_PROXY: P, NO_PROXY: '[fd00::1]:81' }, undefined],
    ['http://[fd00::1]/', { HTTP_PROXY: P, NO_PROXY: '10.0.0.0/8' }, P],
  ];
  for (const [url, env, proxy] of rows) {
    const got = proxyFor(new URL(url), env)?.origin;
    assert.equal(got, proxy, `${url} ${JSON.stringify(env)}`);
  }
});

test('a proxy that is no URL is named by its variable, its text is not shown', () => {
  for (const value of ['http://user:se cret@[', 'ftp://user:secret@proxy', '::::']) {
    assert.throws(
      () => proxyFor(new URL('https://quay.io/'), { HTTPS_PROXY: value }),
      (error: Error) => {
        assert.match(error.message, /^HTTPS_PROXY: not the URL of a proxy/);
        assert.doesNotMatch(error.message, /cret/);
        return true;
      },
    );
  }
});

test('loopback, and what only looks like it', () => {
  for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '127.9.9.9', '::1', '[::1]', 'localhost.']) {
    assert.ok(isLoopback(host), host);
  }
  for (const host of [
    'a.localhost',
    'localhost.evil.test',
    '127.0.0.1.evil.test',
    '128.0.0.1',
    '::2',
    '0.0.0.0',
    'notlocalhost',
    '',
  ]) {
    assert.ok(!isLoopback(host), host);
  }
});

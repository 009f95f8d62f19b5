import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../src/registry/challenge.ts';

type Row = [field: string, challenges: [scheme: string, params: Record<string, string>][]];

const rows: Row[] = [
  ['', []],
  [' , ,', []],
  ['Basic realm="Registry Realm"', [['basic', { realm: 'Registry Realm' }]]],
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/ubuntu:pull,push"',
    [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:library/ubuntu:pull,push',
        },
      ],
    ],
  ],
  ['BEARER Realm = "a" , SERVICE=b', [['bearer', { realm: 'a', service: 'b' }]]],
  [
    'Negotiate, Basic realm=x',
    [
      ['negotiate', {}],
      ['basic', { realm: 'x' }],
    ],
  ],
  [
    'Negotiate a87421000492aa8==, Bearer realm="r"',
    [
      ['negotiate', {}],
      ['bearer', { realm: 'r' }],
    ],
  ],
  [
    'Basic realm="a", Bearer realm="b", charset="UTF-8"',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b', charset: 'UTF-8' }],
    ],
  ],
  // RFC 9110 section 11.6.1
  [
    'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
    [
      ['basic', { realm: 'simple' }],
      ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
    ],
  ],
  ['Bearer ,, realm="a"', [['bearer', { realm: 'a' }]]],
  ['Bearer realm="first", realm="second"', [['bearer', { realm: 'first' }]]],
  ['Bearer realm="", service=x', [['bearer', { realm: '', service: 'x' }]]],
  ['Bearer __proto__="x"', [['bearer', { ['__proto__']: 'x' }]]],
  // What comes before the mistake counts, what it stands in does not.
  ['Basic realm="a", Bearer realm="never closed', [['basic', { realm: 'a' }]]],
  ['Bearer realm=', [['bearer', {}]]],
  ['Bearer realm="a" service="b"', []],
  ['"quoted"', []],
  ['Bearer realm="a\\', []],
  ['=,=,=', []],
];

test('challenges as RFC 9110 and registries write them', () => {
  for (const [field, expected] of rows) {
    const got = parseChallenges(field).map(({ scheme, params }) => [scheme, [...params]]);
    assert.deepEqual(
      got,
      expected.map(([scheme, params]) => [scheme, Object.entries(params)]),
      field,
    );
  }
});

test('challenges are bounded', () => {
  assert.equal(parseChallenges('Basic, '.repeat(10_000)).length, 16);
  const many = Array.from({ length: 1000 }, (_, at) => `p${at}=1`).join(',');
  assert.deepEqual(parseChallenges(`Bearer ${many}`), []);
  assert.deepEqual(parseChallenges(`Bearer realm="${'\\"'.repeat(100_000)}"`), []);
});

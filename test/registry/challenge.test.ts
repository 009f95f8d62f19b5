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
  // A mistake costs itself: what stands before and behind it counts.
  [
    'Basic realm="a", Bearer realm="never closed',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'never closed' }],
    ],
  ],
  ['Bearer realm=', [['bearer', { realm: '' }]]],
  ['Bearer realm="a" service="b"', [['bearer', { realm: 'a', service: 'b' }]]],
  ['Bearer realm="a";service="b"', [['bearer', { realm: 'a', service: 'b' }]]],
  ['Basic realm=/', [['basic', { realm: '/' }]]],
  ['Basic realm=Two Words', [['basic', { realm: 'Two' }]]],
  [
    'Basic realm=Two Words, Bearer realm="b"',
    [
      ['basic', { realm: 'Two' }],
      ['bearer', { realm: 'b' }],
    ],
  ],
  [
    'Basic realm=a Bearer realm="b"',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b' }],
    ],
  ],
  [
    'Bearer realm="https://t/token",service=host:5000,scope=repository:a/b:pull,push,charset=x',
    [
      [
        'bearer',
        { realm: 'https://t/token', service: 'host:5000', scope: 'repository:a/b:pull', charset: 'x' },
      ],
    ],
  ],
  [
    'Bearer realm=https://t/token?a=b,service=s',
    [['bearer', { realm: 'https://t/token?a=b', service: 's' }]],
  ],
  [
    'Bearer error=invalid_token,error_description=The access token expired, realm="r"',
    [['bearer', { error: 'invalid_token', error_description: 'The', realm: 'r' }]],
  ],
  ['Bearer service=,realm="r"', [['bearer', { service: '', realm: 'r' }]]],
  [
    'Digest realm=, nonce, Bearer realm="r"',
    [
      ['digest', { realm: '' }],
      ['bearer', { realm: 'r' }],
    ],
  ],
  [
    'Digest ((( , Bearer realm="r"',
    [
      ['digest', {}],
      ['bearer', { realm: 'r' }],
    ],
  ],
  ['Bearer realm : "r", service="s"', [['bearer', { service: 's' }]]],
  [
    'NTLM, Basic realm="b"',
    [
      ['ntlm', {}],
      ['basic', { realm: 'b' }],
    ],
  ],
  ['realm="nobody\'s"', []],
  ['"quoted"', []],
  ['Bearer realm="a\\', [['bearer', { realm: 'a' }]]],
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
  assert.equal(parseChallenges(`Bearer ${many}`)[0]?.params.size, 32);
  const [long] = parseChallenges(`Bearer realm="${'\\"'.repeat(100_000)}"`);
  assert.ok((long?.params.get('realm') ?? '').length < 8192);
});

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { DockerRefusal, explain } from '../../src/engines/docker-api/failures.ts';
import { firstMissingLayer } from '../../src/engines/docker/graph-archive.ts';
import { readMessages, type DockerMessage } from '../../src/engines/docker-api/messages.ts';

const ENDPOINT = { kind: 'socket', path: '/var/run/docker.sock' } as const;

const WORDS = {
  title: 'Docker',
  variable: 'DOCKER_HOST',
  start: 'sudo systemctl start docker',
  log: 'sudo journalctl -u docker',
  makeRoom: 'docker image prune',
  access: 'join the docker group, or use sudo',
};

async function read(...chunks: readonly (string | Buffer)[]): Promise<DockerMessage[]> {
  const messages: DockerMessage[] = [];
  const bytes = chunks.map((chunk) => Buffer.from(chunk as string));
  await readMessages(Readable.from(bytes), (message) => messages.push(message));
  return messages;
}

test('messages are read however they are cut', async () => {
  const text = '{"stream":"Loaded image: café:1\\n"}\r\n\n{"status":"sha256:1"}';
  const whole = [{ stream: 'Loaded image: café:1\n' }, { status: 'sha256:1' }];
  assert.deepEqual(await read(text), whole);
  const bytes = Buffer.from(text);
  assert.deepEqual(await read(...Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))), whole);
  assert.deepEqual(await read(), []);
});

const REFUSALS: [answer: string, message: string][] = [
  ['{"errorDetail":{"message":"no space"},"error":"other"}\n', 'no space'],
  ['{"error":"short"}\n{"stream":"Loaded image"}\n', 'short'],
  ['{"error":"first"}\n{"error":"second"}\n', 'first'],
  ['{"error":{"odd":1}}\n', 'an error without a text'],
];

for (const [answer, message] of REFUSALS) {
  test(`${answer.trim()} is a refusal`, async () => {
    await assert.rejects(
      read(answer),
      (error) => error instanceof DockerRefusal && error.message === message,
    );
  });
}

for (const [what, answer] of [
  ['HTML', '<html>'],
  ['a number', '7\n'],
  ['null', 'null\n'],
  ['a line without end', 'x'.repeat(3 * 1024 * 1024)],
] as const) {
  test(`${what} is no message`, async () => {
    const chunks = answer.match(/[^]{1,65536}/g) ?? [];
    await assert.rejects(
      read(...chunks),
      (error) => isQuayctlError(error, 'engine') && error.message.length < 400,
    );
  });
}

test('a refusal names the first missing layer only where it is one of ours', () => {
  const open = 'open /var/lib/docker/tmp/docker-import-017/';
  for (const [text, at] of [
    [`${open}L0003.tar: no such file or directory`, 3],
    [`${open}L0999.tar: no such file or directory`, 999],
    [`${open}layer.tar: no such file or directory`, undefined],
    [`${open}L0003.tar: permission denied`, undefined],
    ['no space left on device', undefined],
  ] as const) {
    assert.equal(firstMissingLayer(text), at, text);
  }
});

test('what went wrong is told with what to do', () => {
  const system = (code: string): Error => Object.assign(new Error(code), { code });
  const cases: [error: unknown, code: string, hint: RegExp][] = [
    [system('EACCES'), 'engine', /docker group.*sudo/],
    [system('ENOENT'), 'engine', /DOCKER_HOST/],
    [system('ECONNREFUSED'), 'engine', /start/],
    [system('ENOTFOUND'), 'engine', /DOCKER_HOST/],
    [system('DEPTH_ZERO_SELF_SIGNED_CERT'), 'engine', /DOCKER_CERT_PATH/],
    [system('ECONNRESET'), 'engine', /journalctl/],
    [new DockerRefusal('write /x: no space left on device', 200), 'engine', /prune/],
    [
      new DockerRefusal('invalid diffID for layer 1: expected "a", got "b"', 200),
      'verification',
      /push it again/,
    ],
  ];
  for (const [error, code, hint] of cases) {
    const told = explain(error, 'loading x', ENDPOINT, WORDS, new AbortController().signal);
    assert.equal(told.code, code);
    assert.match(told.hint ?? '', hint);
    assert.equal(told.cause, error);
  }
});

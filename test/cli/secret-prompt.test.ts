import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { ask } from '../../src/cli/secret-prompt.ts';

const never = new AbortController().signal;

/** A terminal without the terminal: says whether it shows keys. */
class TestKeyboard extends PassThrough {
  readonly isTTY = true;
  raw = false;

  setRawMode(raw: boolean): void {
    this.raw = raw;
  }
}

const TYPED: readonly (readonly [name: string, keys: readonly (string | Buffer)[], answer: string])[] = [
  ['a line ended by Return', ['s3cret\r'], 's3cret'],
  ['a line ended by a newline', ['s3cret\n'], 's3cret'],
  ['one key at a time', Array.from('s3cret\r'), 's3cret'],
  ['corrections', ['s3x\x7fcrext\b\b\bet\r'], 's3cret'],
  ['more corrections than keys', ['\x7f\x7fab\r'], 'ab'],
  ['a fresh start', ['wrong\x15right\r'], 'right'],
  ['spaces at the ends, which are part of a password', [' a b \r'], ' a b '],
  ['arrow keys, which are not', ['a\x1b[Db\x1bOHc\x1b[3~\r'], 'abc'],
  ['control keys, which are not', ['a\x00\x01\tb\r'], 'ab'],
  [
    'characters beyond ASCII, cut anywhere',
    [...Buffer.from('pä🔑\r')].map((byte) => Buffer.of(byte)),
    'pä🔑',
  ],
  ['a corrected emoji', ['a🔑\x7fb\r'], 'ab'],
];

for (const [name, keys, answer] of TYPED) {
  test(`a hidden question takes ${name}`, async () => {
    const keyboard = new TestKeyboard();
    let written = '';
    const asked = ask('Password: ', true, keyboard, (text) => (written += text), never);
    assert.equal(keyboard.raw, true);
    for (const key of keys) keyboard.write(key);
    assert.equal(await asked, answer);
    assert.equal(keyboard.raw, false);
    assert.equal(written, 'Password: \n');
  });
}

test('what is typed ahead answers the next question', async () => {
  const keyboard = new TestKeyboard();
  keyboard.write('me\ns3cret\n');
  assert.equal(await ask('Username: ', false, keyboard, () => {}, never), 'me');
  assert.equal(await ask('Password: ', true, keyboard, () => {}, never), 's3cret');
});

const ENDS: readonly (readonly [name: string, end: (keyboard: TestKeyboard) => void, code: string])[] = [
  ['Ctrl-C', (keyboard) => keyboard.write('s3\x03'), 'interrupted'],
  ['Ctrl-D', (keyboard) => keyboard.write('s3\x04'), 'usage'],
  ['the end of the input', (keyboard) => keyboard.end('s3'), 'usage'],
];

for (const [name, end, code] of ENDS) {
  test(`${name} ends a hidden question with ${code}, the terminal as before`, async () => {
    const keyboard = new TestKeyboard();
    const asked = ask('Password: ', true, keyboard, () => {}, never);
    end(keyboard);
    await assert.rejects(asked, { code });
    assert.equal(keyboard.raw, false);
  });
}

test('a signal ends a hidden question with its reason, the terminal as before', async () => {
  const keyboard = new TestKeyboard();
  const controller = new AbortController();
  const reason = new Error('SIGTERM');
  const asked = ask('Password: ', true, keyboard, () => {}, controller.signal);
  controller.abort(reason);
  await assert.rejects(asked, reason);
  assert.equal(keyboard.raw, false);
  assert.equal(keyboard.listenerCount('data'), 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redact } from '../../src/base/redact.ts';
import { neverBreaks } from '../helpers/fuzz.ts';

const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';

test('secrets go, the rest stays', () => {
  const rows: [text: string, shown: string][] = [
    ['no secret here', 'no secret here'],
    ['https://quay.io/v2/team/app/manifests/1.0', 'https://quay.io/v2/team/app/manifests/1.0'],
    ['https://ada:hunter2@quay.io/v2/', 'https://[redacted]@quay.io/v2/'],
    ['https://hunter2@quay.io/', 'https://[redacted]@quay.io/'],
    ['docker://ada:hunter2@h/x and http://b:hunter2@c', 'docker://[redacted]@h/x and http://[redacted]@c'],
    [`http://t:1/announce?jwt=${JWT}`, 'http://t:1/announce?jwt=[redacted]'],
    ['GET /announce?jwt=abcdefgh&port=1', 'GET /announce?jwt=[redacted]&port=1'],
    [
      'https://s3.test/b/x?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2&n=1',
      'https://s3.test/b/x?X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]&n=1',
    ],
    ['https://h.test/x?sv=hunter2&sig=hunter2#hunter2', 'https://h.test/x?sv=[redacted]&sig=[redacted]'],
    ['https://h.test/x?hunter2', 'https://h.test/x?[redacted]'],
    ['https://h.test/c1/t?ns=quay.io&wait=5', 'https://h.test/c1/t?ns=quay.io&wait=5'],
    ['Authorization: Basic YWRhOmh1bnRlcjI=', 'Authorization: Basic [redacted]'],
    ['authorization: bearer hunter2hunter2', 'authorization: bearer [redacted]'],
    ['{"authorization":"Basic YWRh"}', '{"authorization":"Basic [redacted]"}'],
    ['Authorization: hunter2', 'Authorization: [redacted]'],
    [`token ${JWT} end`, 'token [redacted] end'],
    [
      '{"token":"hunter2","access_token": "hunter2", "expires_in":3}',
      '{"token":"[redacted]","access_token": "[redacted]", "expires_in":3}',
    ],
    ['password=hunter2 user=ada', 'password=[redacted] user=ada'],
    ['refresh_token=hunter2&service=x', 'refresh_token=[redacted]&service=x'],
    ['the Basic idea, a bearer bond', 'the Basic idea, a bearer bond'],
  ];
  for (const [text, shown] of rows) assert.equal(redact(text), shown);
});

test('once redacted, nothing more is found; long texts take no time', async (t) => {
  const pieces = ['://', '@', '?', '=', 'Basic ', 'eyJ', '.', 'https://a:b@c/d?e=f'].map((text) =>
    Buffer.from(text),
  );
  await neverBreaks(
    t,
    (random) => random.mutate(Buffer.from(`https://u:p@h/x?sig=y Bearer ${JWT}`), pieces),
    (bytes) => {
      const once = redact(Buffer.from(bytes).toString('latin1'));
      assert.equal(redact(once), once);
    },
  );
  for (const piece of ['https://', 'a:', '@', 'eyJaaaaaaa.', 'Basic ', 'http://a?', 'x=', '?']) {
    const started = performance.now();
    redact(piece.repeat(100_000 / piece.length));
    assert.ok(performance.now() - started < 1000, piece);
  }
});

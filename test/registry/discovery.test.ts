import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAppcName } from '../../src/image/appc-name.ts';
import { discoveryTags } from '../../src/registry/discovery/meta-tags.ts';
import { renderTemplate } from '../../src/registry/discovery/template.ts';
import { neverBreaks } from '../helpers/fuzz.ts';

const TAG = '<meta name="ac-discovery" content="quay.io https://quay.io/{name}.{ext}">';
const READ = { kind: 'image', prefix: 'quay.io', template: 'https://quay.io/{name}.{ext}' };

const PAGES: readonly (readonly [what: string, html: string])[] = [
  ['in the head', `<!doctype html><html><head>${TAG}</head><body>x</body></html>`],
  ['in the body', `<html><body><p>x${TAG}</p></body></html>`],
  ['alone', TAG],
  ['closed', TAG.replace('>', ' />')],
  ['in capitals', '<META NAME="ac-discovery" CONTENT="quay.io https://quay.io/{name}.{ext}">'],
  ['in single quotes', TAG.replaceAll('"', "'")],
  ['turned round', '<meta content="quay.io https://quay.io/{name}.{ext}" name=ac-discovery>'],
  ['with space around', TAG.replace('quay.io h', ' quay.io   h').replace('}">', '} ">')],
  ['with entities', TAG.replace('https:', 'https&#58;')],
  ['behind a broken tag', `<div <p class="${TAG.replaceAll('"', "'")}">${TAG}`],
];

for (const [what, html] of PAGES) {
  test(`discovery tag ${what}`, () => assert.deepEqual(discoveryTags(html), [READ]));
}

const EMPTY: readonly (readonly [what: string, html: string])[] = [
  ['nothing', ''],
  ['text', 'ac-discovery quay.io https://quay.io/'],
  ['another tag', TAG.replace('ac-discovery', 'description')],
  ['a tag without a template', '<meta name="ac-discovery" content="quay.io">'],
  ['a tag with three words', '<meta name="ac-discovery" content="quay.io https://x y">'],
  ['a comment', `<!-- ${TAG} -->`],
  ['a script', `<script>${TAG}</script>`],
  ['an endless script', `<script>${TAG}`],
  ['a title', `<title>${TAG}</title>`],
  ['a tag that is cut off', TAG.slice(0, -1)],
  ['a content as long as a book', TAG.replace('{name}', 'x'.repeat(10_000))],
];

for (const [what, html] of EMPTY) {
  test(`no discovery tag: ${what}`, () => assert.deepEqual(discoveryTags(html), []));
}

test('keys and images are told apart, in the order of the page', () => {
  const keys = '<meta name="ac-discovery-pubkeys" content="quay.io https://quay.io/key">';
  const found = discoveryTags(`${keys}${TAG}${TAG}`);
  assert.deepEqual(found, [{ kind: 'keys', prefix: 'quay.io', template: 'https://quay.io/key' }, READ, READ]);
});

test('a page of a megabyte that was made to take long does not', () => {
  const size = 1024 * 1024;
  const bombs = [
    '<',
    '<a>',
    '<svg>',
    '<a b=c ',
    '<meta name="',
    '&amp',
    '<!--',
    '</',
    TAG,
    '<title>',
    '<a b="',
  ];
  for (const bomb of bombs) {
    const started = performance.now();
    const { length } = discoveryTags(bomb.repeat(size / bomb.length));
    assert.ok(length <= 1000, bomb);
    assert.ok(performance.now() - started < 2000, `${bomb}: ${performance.now() - started} ms`);
  }
});

test('whatever a page is, it has tags or none', async (t) => {
  const seeds = [...PAGES, ...EMPTY].map(([, html]) => Buffer.from(html.slice(0, 300)));
  await neverBreaks(
    t,
    (random) => Buffer.from(random.mutate(random.pick(seeds), seeds)).toString('latin1'),
    (html) => void discoveryTags(html),
    { rounds: 5000 },
  );
});

const TEMPLATES: readonly (readonly [template: string, name: string, image: string | undefined])[] = [
  ['https://h/{name}/{version}.{ext}', 'quay.io/a:1', 'https://h/quay.io/a/1.aci'],
  ['https://h/{name}/{version}.{ext}', 'quay.io/a', 'https://h/quay.io/a/latest.aci'],
  ['https://h/{os}/{arch}/{ext}', 'quay.io/a,os=linux,arch=amd64', 'https://h/linux/amd64/aci'],
  ['https://h/{channel}', 'quay.io/a,channel=beta', 'https://h/beta'],
  ['https://h/{channel}', 'quay.io/a', undefined],
  ['https://h/{}', 'quay.io/a', undefined],
  ['https://h/{version}', 'quay.io/a:{name}', undefined],
  ['https://h/{version}', 'quay.io/a:$&', 'https://h/$&'],
  ['http://h/{name}', 'quay.io/a', 'http://h/quay.io/a'],
  ['ftp://h/{name}', 'quay.io/a', undefined],
  ['file:///etc/passwd', 'quay.io/a', undefined],
  ['https://u:p@h/{name}', 'quay.io/a', undefined],
  ['/{name}', 'quay.io/a', undefined],
];

for (const [template, name, image] of TEMPLATES) {
  test(`template ${template} for ${name}`, () => {
    const place = renderTemplate(template, parseAppcName(name));
    assert.equal(place?.image.href, image);
    if (template.includes('{ext}')) assert.match(place?.signature.href ?? '', /aci\.asc$/);
  });
}

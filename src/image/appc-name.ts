import { QuayctlError } from '../base/errors.ts';
import { APPC_ARCHITECTURES, appcArchitectureFor, isAppcArchitecture } from './appc-platform.ts';

/** The name of an App Container Image, as rkt takes it: `quay.io/ns/repo:1.0,channel=alpha`. */
export interface AppcName {
  /** An AC identifier: `quay.io/ns/repo`. */
  readonly name: string;
  /** As the user gave them; `version` is what stands after the colon. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Long before a URL made of it becomes one that servers refuse. */
const MAX_LENGTH = 1024;
const MAX_LABELS = 32;
/**
 * What rkt takes for an AC identifier: it looks at the characters and at both ends (appc schema,
 * types/acidentifier.go), and not for runs of separators, which the published pattern forbids and Docker's names have.
 */
const IDENTIFIER = /^[a-z0-9](?:[-._~/a-z0-9]*[a-z0-9])?$/;
/** Components that would lead elsewhere in a URL, or nowhere. */
const NO_COMPONENTS = new Set(['', '.', '..']);
/** Goes into URLs as it is: no spaces, no control characters. */
const LABEL_VALUE = /^[\x21-\x7e]+$/;
const HINT = 'expected NAME[:VERSION][,LABEL=VALUE]..., as in quay.io/ns/repo:1.0,channel=alpha';

/** True for an AC identifier, the form of names and label names: what rkt takes. */
export function isAcIdentifier(text: string): boolean {
  return IDENTIFIER.test(text);
}

/**
 * appc's `NewAppFromString`: at most one colon, right after the name; then labels, each once. Names hold no port.
 * @throws QuayctlError `usage`
 */
export function parseAppcName(text: string): AppcName {
  if (text.length > MAX_LENGTH) throw refuse(text, `longer than ${MAX_LENGTH} characters`);
  if (text.includes('://')) throw refuse(text, 'it has a scheme');
  if (text.includes('@')) throw refuse(text, 'an appc image is not named by a digest');
  const [first = '', ...pairs] = text.split(',');
  const [name = '', ...versions] = first.split(':');
  if (versions.length > 1 || versions[0]?.includes('/') === true) {
    throw refuse(text, 'a colon stands only before the version; names hold no port');
  }
  checkName(text, name);
  if (pairs.length > MAX_LABELS) throw refuse(text, `more than ${MAX_LABELS} labels`);
  const labels = new Map<string, string>();
  for (const version of versions) labels.set('version', checkValue(text, 'version', version));
  for (const pair of pairs) {
    const [label, value] = splitPair(text, pair);
    if (labels.has(label)) throw refuse(text, `label ${show(label)} has two values`);
    labels.set(label, value);
  }
  checkPlatform(text, labels);
  return { name, labels: Object.fromEntries(labels) };
}

/** rkt looks at these before it asks anybody, too. */
function checkPlatform(text: string, labels: ReadonlyMap<string, string>): void {
  const [os, arch] = [labels.get('os'), labels.get('arch')];
  if (os !== undefined && os !== 'linux') throw refuse(text, 'rkt runs images for os=linux alone');
  if (arch === undefined || isAppcArchitecture(arch)) return;
  const word = appcArchitectureFor(arch);
  const hint =
    word === undefined ? `arch is one of ${APPC_ARCHITECTURES.join(', ')}` : `did you mean arch=${word}?`;
  throw refuse(text, `rkt knows no arch=${arch}`, hint);
}

/** Parses back to the same. */
export function formatAppcName({ name, labels: { version, ...labels } }: AppcName): string {
  const pairs = Object.entries(labels).map(([label, value]) => `,${label}=${value}`);
  return name + (version === undefined ? '' : `:${version}`) + pairs.join('');
}

/** The host, which is asked where the image is, and what stands behind it: empty for a host alone. */
export function splitAppcName({ name }: AppcName): { host: string; path: string } {
  const at = name.indexOf('/');
  return at < 0 ? { host: name, path: '' } : { host: name.slice(0, at), path: name.slice(at + 1) };
}

function checkName(text: string, name: string): void {
  if (name === '') throw refuse(text, 'it has no name');
  if (name.toLowerCase() !== name) {
    const hint = isAcIdentifier(name.toLowerCase()) ? `did you mean ${name.toLowerCase()}?` : HINT;
    throw refuse(text, 'the name must be lower-case', hint);
  }
  const isPath = !name.split('/').some((component) => NO_COMPONENTS.has(component));
  if (isAcIdentifier(name) && isPath && URL.canParse(`https://${name}`)) return;
  throw refuse(text, 'in the name stand a-z and 0-9, between them - . _ ~ or /');
}

function splitPair(text: string, pair: string): [label: string, value: string] {
  const at = pair.indexOf('=');
  if (at < 0) throw refuse(text, `label ${show(pair)} has no value`);
  const label = pair.slice(0, at);
  if (!isAcIdentifier(label) || label === 'name') throw refuse(text, `${show(label)} is not a label`);
  return [label, checkValue(text, label, pair.slice(at + 1))];
}

function checkValue(text: string, label: string, value: string): string {
  if (value === '') throw refuse(text, `${label} is empty`);
  if (!LABEL_VALUE.test(value) || value.includes(':')) {
    throw refuse(text, `${label} holds a space, a colon, or a character outside ASCII`);
  }
  return value;
}

function refuse(text: string, reason: string, hint = HINT): QuayctlError {
  return new QuayctlError('usage', `not an appc image name: ${show(text)}: ${reason}`, { hint });
}

/** A user may have pasted `user:password@host/...`: what stands before an @ is not repeated. */
function show(text: string): string {
  const shown = text.replace(/^([a-z]+:\/\/)?[^/]*@(?=[^/]*\/)/i, '$1***@');
  return JSON.stringify(shown.length > 100 ? `${shown.slice(0, 100)}…` : shown);
}

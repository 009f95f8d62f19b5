/** Longer versions are compared by their beginning. */
const MAX_LENGTH = 256;

/**
 * Compares versions as dpkg does (Debian Policy section 5.6.12): epoch, then runs of digits as numbers and the rest
 * with `~` before everything. For the versions of other systems that is good enough to find the later of two fixes.
 * @returns below, equal to or above zero
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)];
  const length = Math.max(left.length, right.length);
  for (let at = 0; at < length; at++) {
    const difference = compareRuns(left[at] ?? '', right[at] ?? '', at % 2 === 1);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Epoch first as a number, then runs of non-digits and digits by turns. */
function split(version: string): readonly string[] {
  const text = version.slice(0, MAX_LENGTH).replace(/^v(?=\d)/i, '');
  const [, epoch = '0', rest = ''] = /^(?:(\d+):)?(.*)$/s.exec(text) ?? [];
  const runs = [...rest.matchAll(/(\D*)(\d*)/g)].flatMap(([, other = '', digits = '']) => [other, digits]);
  return ['', epoch, ...runs];
}

function compareRuns(a: string, b: string, isNumber: boolean): number {
  if (isNumber) {
    const [left, right] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
    return left.length - right.length || (left === right ? 0 : left < right ? -1 : 1);
  }
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    const difference = weight(a[at]) - weight(b[at]);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** `~` sorts before the end, the end before letters, letters before everything else. */
function weight(character: string | undefined): number {
  if (character === '~') return -1;
  if (character === undefined) return 0;
  const code = character.charCodeAt(0);
  return /[a-z]/i.test(character) ? code : code + 0x1_0000;
}

/**
 * Text for a terminal or a log, with every control character (Unicode Cc, C1 included) and every invisible format character
 * (Cf: right-to-left overrides, zero-width marks) written out as `\u001b`. What registries, trackers and layers say must not
 * move the cursor, hide words or forge lines. Line feeds and tabs stay; JSON stays the same JSON.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (found) =>
    found === '\n' || found === '\t' ? found : escaped(found),
  );
}

/** As `printable`, on one line. */
export function printableLine(text: string): string {
  return printable(text.replace(/\s*\n\s*/g, ' '));
}

function escaped(text: string): string {
  // By UTF-16 unit, as in JSON.
  return Array.from({ length: text.length }, (_, at) => unit(text.charCodeAt(at))).join('');
}

function unit(code: number): string {
  return `\\u${code.toString(16).padStart(4, '0')}`;
}

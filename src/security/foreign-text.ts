/**
 * Text of a report as it may be shown on a terminal: without control characters, escape sequences and characters that
 * reorder or hide others, on one line, and at most `max` characters long.
 * @returns the empty string for what is no text
 */
export function foreignText(value: unknown, max: number): string {
  if (typeof value !== 'string') return '';
  // What is cut off is not looked at: descriptions may be as long as the report itself.
  const text = value
    .slice(0, 4 * max)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\s]+/gu, ' ')
    .trim();
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}

/** The http and https URLs of a space-separated list, at most ten. Anything else is no link that may be followed. */
export function foreignLinks(value: unknown): readonly string[] {
  if (typeof value !== 'string') return [];
  const words = value.slice(0, MAX_LIST).split(/\s+/);
  // Half a link leads elsewhere.
  const whole = value.length > MAX_LIST ? words.slice(0, -1) : words;
  const links = whole
    .filter((word) => word.length <= MAX_LINK && /^https?:\/\//i.test(word))
    .map((word) => URL.parse(word))
    .filter((url) => url !== null && url.username === '' && url.password === '')
    .map((url) => url?.href ?? '')
    // A character may be nine once it is encoded.
    .filter((href) => href.length <= MAX_LINK);
  return [...new Set(links)].slice(0, MAX_LINKS);
}

const MAX_LINK = 500;
const MAX_LINKS = 10;
/** As many as are taken, with a space behind each. */
const MAX_LIST = MAX_LINKS * (MAX_LINK + 1);

import { Parser } from 'htmlparser2';

/** One `<meta name="ac-discovery" content="PREFIX TEMPLATE">` (appc spec, "App Container Image Discovery"). */
export interface DiscoveryTag {
  readonly kind: 'image' | 'keys';
  /** Of image names, as plain text. */
  readonly prefix: string;
  /** A URL, with `{name}` and the like in it for `image`. */
  readonly template: string;
}

/** Tags that are read of one page, which may list every namespace of a host. */
const MAX_TAGS = 1000;
/** As long as a URL may be, and a name. */
const MAX_CONTENT = 4096;
/** No page is nested so deeply, and the parser's work grows with the square of it. */
const MAX_DEPTH = 1000;
const KINDS: Readonly<Record<string, DiscoveryTag['kind']>> = {
  'ac-discovery': 'image',
  'ac-discovery-pubkeys': 'keys',
};

/**
 * The discovery tags of a page, in its order, wherever they stand in it; whatever else the page is. Read as rkt reads
 * it: names know no case, quotes may be missing, content of scripts and comments is none.
 */
export function discoveryTags(html: string): readonly DiscoveryTag[] {
  const tags: DiscoveryTag[] = [];
  let depth = 0;
  const parser = new Parser({
    onopentag(element, { name = '', content = '' }) {
      if (++depth > MAX_DEPTH) return parser.reset();
      const kind = element === 'meta' ? KINDS[name] : undefined;
      if (kind === undefined || content.length > MAX_CONTENT) return;
      const [, prefix, template] = /^\s*(\S+)\s+(\S+)\s*$/.exec(content) ?? [];
      if (prefix === undefined || template === undefined) return;
      tags.push({ kind, prefix, template });
      if (tags.length === MAX_TAGS) parser.reset();
    },
    onclosetag: () => void depth--,
  });
  parser.end(html);
  return tags;
}

/** Writes docs/limits.md from the constants of the source; with --check, only says whether the two agree. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';

const ROOT = join(import.meta.dirname, '..');
const DOCUMENT = join(ROOT, 'docs/limits.md');

const INTRODUCTION = `# Limits

The constants that an operator may meet, with their reasons. \`scripts/limits\` writes this text from the source, and a test
compares the two, so the values are those of this version. A limit is changed by an option where its row names one, and in the
source otherwise.

A **site** is one IPv4 address, or the /64 network of an IPv6 address: what one household or one NAT has. 1 MiB is 1,048,576 bytes.
`;

/** Constants by what they are about, then by file below src. Their docstrings say what is limited, and why. */
const SECTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'Images and pulls': {
    'image/manifest.ts': 'MAX_MANIFEST_BYTES MAX_CONFIG_BYTES MAX_LAYERS MAX_INDEX_ENTRIES',
    'image/json.ts': 'MAX_DEPTH MAX_VALUES',
    'blobs/transfer.ts': 'SMALL_BLOB_BYTES SMALL_BLOB_MS',
    'blobs/torrent-finder.ts': 'MAX_HASH_WAIT_SECONDS MAX_HASH_WAIT_SHARE',
    'blobs/download-queue.ts': 'MAX_RUNNING',
    'cli/hook.ts': 'HOOK_MS',
    'pull/seed-store.ts': 'RETRY_MS',
    'pull/squashed-source.ts': 'MAX_SILENCE_MS',
    'engines/docker-api/daemon-facts.ts': 'CONTACT_MS',
    'engines/docker-api/wait-for-daemon.ts': 'COMEBACK_MS',
    'engines/docker/temporary-images.ts': 'STALE_SECONDS',
  },
  'The store': {
    'store/gc.ts': 'DEFAULT_SHARE STALE_MS',
    'store/index-file.ts': 'MAX_ENTRIES',
    'store/local-store.ts': 'INDEX_PATIENCE_MS',
    'store/leases.ts': 'SILENCE_MS FORSAKEN_MS',
    'store/remembered-facts.ts': 'SILENT_MS',
  },
  'Registries and credentials': {
    'http/http.ts': 'CONNECT_TIMEOUT_MS HEADERS_TIMEOUT_MS STALL_TIMEOUT_MS MAX_HEADER_BYTES',
    'http/minimum-rate.ts': 'SLOWEST PATIENCE_MS',
    'registry/resuming.ts': 'BESIDE_PEERS ONLY_SOURCE MAX_FRUITLESS FRUITLESS_MS',
    'registry/requester.ts': 'MAX_REDIRECTS',
    'registry/retry-after.ts': 'ATTEMPTS LONGEST_RETRY_AFTER_MS',
    'registry/token.ts': 'MAX_TOKEN LONGEST_LIFE_SECONDS',
    'registry/aci-source.ts': 'MAX_SIGNATURE_BYTES SIGNATURE_MS',
    'registry/discovery/discover.ts': 'MAX_PAGE_BYTES MAX_PAGE_MS',
    'credentials/bounded-file.ts': 'MAX_FILE_BYTES',
    'credentials/credential-helper.ts': 'TIME_LIMIT_MS',
    'credentials/keychain.ts': 'FIND_LIMIT_MS CHANGE_LIMIT_MS',
  },
  'Torrents and peers': {
    'metainfo/metainfo.ts': 'MAX_TORRENT_BYTES',
    'metainfo/addresses.ts': 'MAX_TRACKERS MAX_WEB_SEEDS',
    'metainfo/bencode.ts': 'MAX_DEPTH MAX_VALUES',
    'metainfo/geometry.ts': 'SMALLEST_PIECE LARGEST_PIECE AIMED_PIECES',
    'swarm/open-swarm-client.ts': 'DEFAULT_DIALS_PER_SECOND CACHE_BYTES ANNOUNCES_AT_ONCE',
    'swarm/tracker/announcer.ts': 'ANSWER_TIMEOUT_MS',
    'swarm/registry/reachability.ts': 'DEFAULT_WAIT_FOR_PEERS_MS',
    'swarm/peers/connections.ts': 'MAX_CONNECTIONS MAX_INCOMING',
    'swarm/peers/peer-listener.ts': 'MAX_INCOMING MAX_PER_SITE MAX_STRANGERS_PER_SITE HANDSHAKE_TIMEOUT_MS',
    'swarm/peers/dialer.ts': 'CONNECT_TIMEOUT_MS',
    'swarm/peers/dial-limits.ts': 'MAX_FAILURES FIRST_PAUSE_MS',
    'swarm/wire/message-reader.ts': 'MAX_MESSAGE MAX_BLOCK',
    'swarm/wire/connection-limits.ts':
      'MAX_SILENCE_MS MESSAGE_LIMIT MAX_EXTENDED_HANDSHAKES MAX_EXTENDED_HANDSHAKE',
    'swarm/wire/send-buffer.ts': 'MAX_UNSENT',
    'swarm/exchange/uploads.ts': 'MAX_REQUESTS MAX_REFUSED',
    'swarm/claims/claim-book.ts': 'MAX_CLAIMS',
  },
  'The torrent service': {
    'http-server/server.ts':
      'CONNECTIONS MAX_HEADER_BYTES HEADERS_TIMEOUT_MS HANDSHAKE_TIMEOUT_MS IDLE_TIMEOUT_MS GRACE_MS',
    'http-server/router.ts': 'UNDER_WAY HELD',
    'http-server/reader-rate.ts': 'SLOWEST',
    'http-server/one-at-a-time.ts': 'MOST_WAITING MOST_WAITING_IN_ALL',
    'serve/routes/waiting.ts': 'MAX_WAIT_SECONDS LONGEST_HOLD_MS',
    'serve/routes/password-guesses.ts': 'WINDOW_MS MOST_OF_USER MOST_OF_SITE',
    'serve/routes/reachable-route.ts': 'DIALS REQUESTS UNDER_WAY DIAL_MS',
    'serve/torrent-service.ts': 'START_TIMEOUT_MS MANIFEST_BYTES',
    'serve/upstream/turns-at-upstream.ts': 'LIMITS',
    'serve/upstream/layout-contents.ts': 'MAX_ENTRIES MAX_LAYOUT_BYTES',
    'upstream/permission.ts': 'FRESH_MS DEFAULT_GRACE_MS PATIENCE_MS MAX_ANSWERS',
    'serve/options.ts': 'DEFAULT_TOKEN_TTL_SECONDS MAX_TOKEN_TTL_SECONDS',
    'serve/tokens/announce-tokens.ts': 'STOPPED_GRACE_SECONDS',
    'serve/tokens/signing-key.ts': 'NOTICE_SECONDS KEEP_SECONDS MAX_KEYS',
    'serve/torrents/hashing.ts': 'LIMITS GONE_MS',
    'serve/derived/derived-images.ts': 'LIMITS LEAST_DEADLINE_MS',
    'serve/derived/derived-store.ts': 'SHARE_OF_DISK RESERVE_OF_DISK CLEANING',
    'serve/manifests/manifest-cache.ts': 'LIMITS',
    'layers/budget.ts': 'MAX_NAMES MAX_ATTRIBUTE_BYTES MAX_PLAIN_BYTES MAX_RATIO',
  },
  'The mirror': {
    'mirror/mirror.ts': 'READERS',
    'mirror/mirror-context.ts': 'ANSWER_MS',
    'mirror/arriving.ts': 'REFUSED_MS LOOK_AHEAD_LAYERS LOOK_AHEAD_BYTES',
    'mirror/known-manifests.ts': 'MAX_BYTES',
    'cli/mirror.ts': 'LINGER_MS',
    'cli/watchdog.ts': 'STILL_SECONDS',
  },
  'The tracker': {
    'serve/tracker/tracker.ts':
      'SHORTEST_INTERVAL_SECONDS LONGEST_INTERVAL_SECONDS DEFAULT_PEERS MAX_PEERS ANNOUNCE_LIMIT MAX_PEERS_IN_ALL',
    'serve/tracker/peer-list.ts': 'MAX_PEERS MAX_PEERS_PER_SITE MAX_PEERS_PER_SUBJECT',
  },
  'Security reports': {
    'security/report.ts': 'MAX_REPORT_BYTES MAX_PACKAGES MAX_VULNERABILITIES',
    'serve/security/image-reports.ts': 'LIMITS LONGEST_WORK_MS',
    'serve/security/kept-images.ts': 'MAX_IMAGES KEPT_MS',
    'serve/observe/observer.ts':
      'MAX_SWARMS MAX_NODES MAX_MEMBERS OPEN_SECONDS WATCHED_SECONDS UNWATCHED_SECONDS REPORTS_PER_SECOND',
    'serve/routes/report-route.ts': 'REPORT_LIMIT',
    'blobs/layer-reporter.ts': 'FIRST_MS',
    'serve/security/report-watch.ts': 'MAX_PENDING MAX_CHANGES LONGEST_RETRY_MS',
  },
};

/** How the fields of limits that are objects are called in the document. */
const FIELDS: Readonly<Record<string, string>> = {
  most: 'in all',
  mostEach: 'of one site',
  atOnce: 'at once',
  atOnceEach: 'of one site',
  spare: 'more for sites that have waited',
  spareAfterMs: '',
  perSecond: 'per second',
  burst: 'at once',
  headersTimeoutMs: 'to answer',
  stallTimeoutMs: 'without a byte',
  maxNames: 'names',
  maxBytes: '',
  maxAgeMs: '',
};

/** @throws Error for a constant that is not there, has no docstring, or is not made of numbers */
export async function limitsDocument(): Promise<string> {
  const sections: string[] = [];
  for (const [title, files] of Object.entries(SECTIONS)) {
    const rows: string[] = [];
    for (const [file, names] of Object.entries(files)) {
      const source = await readFile(join(ROOT, 'src', file), 'utf8');
      for (const name of names.split(' ')) {
        const { meaning, value } = readConstant(source, name, file);
        rows.push(`| ${meaning} | ${value} | \`${name}\` | \`src/${file}\` |`);
      }
    }
    sections.push(
      `## ${title}\n\n| limit | value | constant | where |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`,
    );
  }
  const text = [INTRODUCTION, ...sections].join('\n');
  return format(text, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT });
}

function readConstant(source: string, name: string, file: string): { meaning: string; value: string } {
  const found = new RegExp(
    String.raw`/\*\*((?:(?!\*/)[^])*)\*/\n(?:export )?const ${name}\b[^=]*= ([^;]*);`,
  ).exec(source);
  if (found === null) throw new Error(`src/${file}: no ${name} with a docstring`);
  const [, comment = '', expression = ''] = found;
  const meaning = comment
    .replaceAll(/\s*\n \*\s*/g, ' ')
    .replaceAll('|', String.raw`\|`)
    .trim();
  const value = expression.startsWith('{')
    ? objectValue(expression, name)
    : shown(number(expression, name), name, meaning);
  return { meaning, value };
}

/** @param name of the constant: `MANIFEST_BYTES` says what its fields count */
function objectValue(expression: string, name: string): string {
  const fields = [...expression.matchAll(/(\w+): ([^,{}]+)/g)].filter(([, key = '']) => key !== 'what');
  return fields
    .map(([, key = '', value = '']) => {
      if (FIELDS[key] === undefined) throw new Error(`a field without a name: ${key}`);
      const unit = /(?:Ms|Bytes)$/.test(key) ? key : name;
      return `${shown(number(value, key), unit, '')} ${FIELDS[key]}`.trim();
    })
    .join(', ');
}

/** A number, or a product, quotient or power of numbers. */
function number(expression: string, name: string): number {
  const plain = expression.replaceAll('_', '').trim();
  if (!/^[\d.]+(?: (?:\*\*?|\/) [\d.]+)*$/.test(plain))
    throw new Error(`${name} is not made of numbers: ${expression}`);
  const powers = plain.replaceAll(/([\d.]+) \*\* ([\d.]+)/g, (_, base, exponent) =>
    String(Number(base) ** Number(exponent)),
  );
  const [first = '', ...rest] = powers.split(/ (?=[*/])/);
  return rest.reduce((value, part) => {
    const other = Number(part.slice(2));
    return part.startsWith('*') ? value * other : value / other;
  }, Number(first));
}

function shown(value: number, name: string, meaning: string): string {
  if (/(?:_MS|Ms)$/.test(name)) return duration(value / 1000);
  if (name.endsWith('_SECONDS')) return duration(value);
  if (/(?:SHARE|_OF_DISK)/.test(name)) return `${value * 100} %`;
  const isBytes = /bytes/i.test(name) || /\bbytes(?:\.|:| per second|$)/i.test(meaning.split('. ')[0] ?? '');
  return isBytes ? bytes(value) : value.toLocaleString('en');
}

function duration(seconds: number): string {
  const units = [
    ['days', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const;
  const [unit, size] = units.find(
    ([, each]) => seconds >= each && seconds % each === 0 && seconds / each > 1,
  ) ?? ['s', 1];
  return seconds === 3600
    ? '1 h'
    : seconds === 86_400
      ? '1 day'
      : seconds < 1
        ? `${seconds * 1000} ms`
        : `${seconds / size} ${unit}`;
}

function bytes(count: number): string {
  const units = [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const;
  const [unit, size] = units.find(([, each]) => count >= each && count % each === 0) ?? ['bytes', 1];
  return `${(count / size).toLocaleString('en')} ${unit}`;
}

if (import.meta.main) {
  const text = await limitsDocument();
  if (!process.argv.includes('--check')) await writeFile(DOCUMENT, text);
  else if (text !== (await readFile(DOCUMENT, 'utf8'))) {
    console.error('docs/limits.md is not what the source says: node scripts/limits.ts writes it');
    process.exitCode = 1;
  }
}

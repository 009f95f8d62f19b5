import { request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { formatBytes } from '../base/units.ts';
import type { NodeRow, Page, Status, Sums, SwarmRow } from '../admin/status.ts';
import { adminToken } from './admin-flags.ts';
import { httpUrl } from './flags.ts';
import { printableLine } from './printable.ts';
import type { Session } from './session.ts';

/** `serve`'s admin listener, else the mirror's. */
const DEFAULT_PLACES = ['http://127.0.0.1:7072', 'http://127.0.0.1:7073'];
const EVERY_MS = 2000;
const ANSWER_MS = 10_000;
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** Rows of swarms and of nodes. */
const MAX_ROWS = 30;
const CLEAR = '\u001b[H\u001b[2J\u001b[3J';

export interface RawStatusFlags {
  readonly admin?: string;
  readonly adminTokenFile?: string;
  readonly watch?: boolean;
  readonly json?: boolean;
}

interface Answer {
  readonly status: Status;
  readonly swarms: Page<SwarmRow>;
  readonly nodes: Page<NodeRow>;
}

/** `quayctl status`: what the page of an admin listener shows, on a terminal. @throws QuayctlError `unreachable`, `usage` */
export async function runStatus(flags: RawStatusFlags, session: Session): Promise<void> {
  const { terminal, signal } = session;
  const token = flags.adminTokenFile === undefined ? undefined : await adminToken(flags.adminTokenFile);
  const places = flags.admin === undefined ? DEFAULT_PLACES : [flags.admin];
  const show = (answer: Answer): string =>
    flags.json === true ? `${JSON.stringify(answer)}\n` : `${textOf(answer)}\n`;
  if (flags.watch !== true) return terminal.out(show(await askFirst(places, token)));
  while (!signal.aborted) {
    const text = await askFirst(places, token).then(show, (error: unknown) => {
      if (!isQuayctlError(error, 'unreachable')) throw error;
      return `${error.message}\n`;
    });
    terminal.out(terminal.interactive && flags.json !== true ? CLEAR + text : text);
    await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function askFirst(places: readonly string[], token: string | undefined): Promise<Answer> {
  let failure: unknown;
  for (const place of places) {
    try {
      const ask = async <T>(path: string): Promise<T> => (await get(place, `/api/v1/${path}`, token)) as T;
      return {
        status: await ask<Status>('status'),
        swarms: await ask<Page<SwarmRow>>(`swarms?limit=${MAX_ROWS}`),
        nodes: await ask<Page<NodeRow>>(`nodes?limit=${MAX_ROWS}`),
      };
    } catch (error) {
      if (!isQuayctlError(error, 'unreachable')) throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/** @throws QuayctlError `unreachable`, `unauthorized`, `protocol`, `usage` */
async function get(place: string, path: string, token: string | undefined): Promise<unknown> {
  const [, socketPath] = /^unix:(.+)$/.exec(place) ?? [];
  const base = socketPath === undefined ? httpUrl('--admin', place) : new URL('http://localhost');
  if (base.protocol !== 'http:') throw new QuayctlError('usage', '--admin: http://HOST:PORT or unix:PATH');
  const asking = request({
    ...(socketPath === undefined
      ? { host: base.hostname.replace(/^\[|\]$/g, ''), port: base.port }
      : { socketPath }),
    path: `${base.pathname.replace(/\/+$/, '')}${path}`,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    asking.once('response', resolve).once('error', reject).end();
  }).catch((cause: unknown) => {
    throw new QuayctlError('unreachable', `nobody answers at ${place}`, {
      cause,
      hint: 'start `quayctl serve` or `quayctl mirror`, or name their --admin-listen with --admin',
    });
  });
  const text = await bodyOf(answer, place);
  if (answer.statusCode === 401) {
    throw new QuayctlError('unauthorized', `${place} wants the token of its --admin-token-file`, {
      hint: 'give the same file here: --admin-token-file FILE',
    });
  }
  if (answer.statusCode !== 200) {
    throw new QuayctlError(
      'protocol',
      `${place} answers ${answer.statusCode ?? 0}: no admin listener of quayctl`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new QuayctlError('protocol', `${place} answers with something else than JSON`, { cause });
  }
}

async function bodyOf(answer: IncomingMessage, place: string): Promise<string> {
  let text = '';
  answer.setEncoding('utf8');
  for await (const chunk of answer as AsyncIterable<string>) {
    text += chunk;
    if (text.length > MAX_ANSWER_BYTES) throw new QuayctlError('limit', `${place}: the answer does not end`);
  }
  return text;
}

function textOf({ status, swarms, nodes }: Answer): string {
  const { day, total, now, upstreams } = status;
  const lines = [
    `${status.role === 'mirror' ? 'mirror of' : 'in front of'} ${upstreams.join(', ')}`,
    `${formatBytes(day.fromPeers)} saved in 24 hours${shareWords(day)}`,
    `${formatBytes(total.fromPeers)} since ${new Date(total.since).toISOString().slice(0, 10)}${shareWords(total)}`,
    `${now.swarms} swarms, ${now.nodes} nodes; ${now.leeches} layers are being pulled, at ${formatBytes(now.rate)}/s`,
    ...(status.tracker === 'external'
      ? ['external tracker: nodes are known by their requests and reports alone']
      : []),
    ...status.work.map(
      ({ what, name, size, read }) => `${what} ${name}: ${percent(read / size)} of ${formatBytes(size)}`,
    ),
    '',
    ...table(
      ['IMAGE', 'LAYER', 'SIZE', 'DONE', 'SEEDS', 'PULLING', 'RATE', 'PEERS', 'LAST NODE'],
      swarms.rows.map(swarmCells),
    ),
    ...moreThan(swarms),
    '',
    ...table(
      ['NODE', 'DOES', 'RECEIVED', 'PEERS', 'GIVEN', 'RATE', 'REACHABLE', 'VERSION'],
      nodes.rows.map(nodeCells),
    ),
    ...moreThan(nodes),
    ...status.troubles
      .slice(0, 5)
      .map(({ message, count }) => `! ${message}${count > 1 ? ` (${count} times)` : ''}`),
  ];
  return lines.map(printableLine).join('\n').trimEnd();
}

function swarmCells(row: SwarmRow): string[] {
  const { repository, tags, digest, size, seeds, leeches, medianDone, rate, etaSeconds } = row;
  const image = `${repository === '' ? '?' : repository}${tags.length === 0 ? '' : `:${tags.join(',')}`}`;
  const last = leeches === 0 ? '' : etaSeconds === undefined ? 'waiting' : `in ${Math.ceil(etaSeconds)} s`;
  return [
    ...[image, digest.replace(/^(\w+:)(.{12}).*/, '$1$2'), formatBytes(size)],
    leeches === 0 ? (seeds === 0 ? '-' : 'all') : percent(medianDone),
    ...[String(seeds), String(leeches), rate === 0 ? '-' : `${formatBytes(rate)}/s`, share(row), last],
  ];
}

function nodeCells(row: NodeRow): string[] {
  const { address, port, pulls, holds, isHere, given, rate, reachable, version = '' } = row;
  const does = !isHere
    ? 'has left'
    : [pulls > 0 && `pulls ${pulls}`, holds > 0 && `seeds ${holds}`].filter(Boolean).join(', ');
  const shown = address.includes(':') && port !== undefined ? `[${address}]` : address;
  return [
    ...[
      port === undefined ? address : `${shown}:${port}`,
      does,
      formatBytes(row.fromPeers + row.fromRegistry),
    ],
    ...[share(row), formatBytes(given), rate === 0 ? '-' : `${formatBytes(rate)}/s`, reachable, version],
  ];
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const all = [heads, ...rows];
  const widths = heads.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function moreThan({ total, rows }: Page<unknown>): string[] {
  return total > rows.length ? [`... and ${total - rows.length} more`] : [];
}

function share({ fromPeers, fromRegistry }: Sums): string {
  return fromPeers + fromRegistry === 0 ? '-' : percent(fromPeers / (fromPeers + fromRegistry));
}

function shareWords(sums: Sums): string {
  const received = sums.fromPeers + sums.fromRegistry;
  return received === 0 ? '' : `, ${share(sums)} of ${formatBytes(received)} came from peers`;
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}

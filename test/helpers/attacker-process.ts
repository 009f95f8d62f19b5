// What a hostile client of `quayctl serve` does, in a neighbour's network namespace (test/helpers/neighbour.ts):
//   attacker-process.ts KIND URL [ADDRESSES]      the rest of what it needs comes as JSON on stdin
// It prints `ready` once everything is sent, and stays until it is killed. Nothing that it opens is closed, unless the
// attack is to leave.
import { connect, type Socket } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

/** What an attack is given. */
export interface AttackOptions {
  readonly url: string;
  /** Paths to ask for, one after the other, again from the first. */
  readonly paths: readonly string[];
  /** Addresses to come from, in turns. */
  readonly from: readonly string[];
  readonly connections: number;
  /** Requests written to each connection at once. */
  readonly requests: number;
  readonly headers?: string;
}

const ATTACKS = { abandon, drip, flood, halves, open };
export type Attack = keyof typeof ATTACKS;

const kind = process.argv[2] as Attack;
const options = (await json(process.stdin)) as AttackOptions;
let asked = 0;
const counts = { sent: 0, answered: 0, ended: 0, statuses: {} as Record<string, number> };
await ATTACKS[kind]();
process.stdout.write('ready\n');
setInterval(() => process.stdout.write(`counts ${JSON.stringify(counts)}\n`), 500);

/** Asks, and is gone before the answer. */
async function abandon(): Promise<void> {
  await each(async (socket) => {
    await write(socket, requests());
    await delay(50);
    socket.destroy();
  });
}

/** Pipelined requests, nothing of whose answers is read. */
async function flood(): Promise<void> {
  await each(async (socket) => {
    socket.pause();
    await write(socket, requests());
  });
}

/** Asks once and reads twenty bytes a second. */
async function drip(): Promise<void> {
  await each(async (socket) => {
    socket.pause();
    await write(socket, requests());
    setInterval(() => void socket.read(20), 1000);
  });
}

/** Begins a request and never ends it, a header every second. */
async function halves(): Promise<void> {
  await each(async (socket) => {
    await write(socket, `GET ${options.paths[0] ?? '/'} HTTP/1.1\r\nHost: x\r\n`);
    setInterval(() => socket.write('X: y\r\n'), 1000);
  });
}

/** Connections that say nothing. */
async function open(): Promise<void> {
  await each(() => Promise.resolve());
}

async function each(work: (socket: Socket) => Promise<void>): Promise<void> {
  const { url, from, connections } = options;
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const all = Array.from({ length: connections }, async (_, at) => {
    const localAddress = from[at % from.length];
    // Not all in one moment: the kernel's queue of new connections is not what is attacked.
    await delay(Math.floor(at / 100) * 20);
    const socket = connect({ host, port: Number(port), ...(localAddress ? { localAddress } : {}) });
    socket.on('error', () => undefined);
    socket.on('close', () => counts.ended++);
    socket.on('data', (bytes: Buffer) => {
      for (const [, status = ''] of bytes.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
        counts.answered++;
        counts.statuses[status] = (counts.statuses[status] ?? 0) + 1;
      }
    });
    await Promise.race([new Promise((done) => socket.once('connect', done)), delay(5000)]);
    await work(socket);
  });
  await Promise.all(all);
}

function requests(): string {
  const { paths, requests: count, headers = '' } = options;
  return Array.from({ length: count }, () => {
    const path = paths[asked++ % paths.length] ?? '/';
    return `GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;
  }).join('');
}

/** Until it is with the kernel, or a second has gone: a server that stops reading is what is wanted. */
async function write(socket: Socket, text: string): Promise<void> {
  counts.sent += 1;
  await Promise.race([new Promise((done) => socket.write(text, done)), delay(1000)]);
}

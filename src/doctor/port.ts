import { createServer, type AddressInfo, type Server } from 'node:net';
import { isQuayctlError } from '../base/errors.ts';
import type { Metainfo } from '../metainfo/metainfo.ts';
import { reportFailure, type Report } from './finding.ts';
import type { ExaminedImage } from './examined.ts';

/** Until the service's connection has come through this machine's own queues. Milliseconds. */
const ARRIVAL_MS = 500;

/**
 * Whether other nodes can connect to this one: the service tries it, once. The connection must come to this very process,
 * since behind a NAT the port may be another machine's.
 */
export async function examinePort(
  { torrents, ports }: ExaminedImage,
  { trackers }: Metainfo,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const range = `${ports.lower}-${ports.upper}/tcp`;
  const opened = await openFirst(ports);
  if (opened === undefined) {
    const hint = 'is a seed running here? --lower-port and --upper-port name other ports';
    return report('port', 'warning', `no port of ${range} is free`, hint);
  }
  const { server, port, hasArrived } = opened;
  try {
    const jwt = trackers.find(({ token }) => token !== undefined)?.token?.jwt;
    if (jwt === undefined)
      return report(
        'port',
        'skipped',
        `${port}/tcp is free; the service gives no token to have it tried with`,
      );
    const answer = await torrents.connectBack(port, jwt, signal);
    if (answer === undefined) {
      const why = 'from the torrent service it cannot be tried (it is on this machine, or is an older one)';
      return report('port', 'skipped', `${port}/tcp is free; ${why}`);
    }
    const place = `${answer.address.includes(':') ? `[${answer.address}]` : answer.address}:${port}`;
    const hint = `other nodes cannot connect to this one: open ${range} in the firewalls, or forward it through the NAT`;
    if (!answer.isReachable)
      return report('port', 'warning', `${place} is not reached from outside: ${answer.reason}`, hint);
    if (await hasArrived()) report('port', 'ok', `${place} is reached from outside`);
    else report('port', 'warning', `another machine answers at ${place}`, hint);
  } catch (error) {
    if (isQuayctlError(error, 'rate-limited')) report('port', 'skipped', error.message);
    else reportFailure(report, 'port', error, 'warning');
  } finally {
    server.close();
  }
}

interface OpenPort {
  readonly server: Server;
  readonly port: number;
  /** Whether somebody has connected by now, or does so within a moment. */
  readonly hasArrived: () => Promise<boolean>;
}

async function openFirst({ lower, upper }: ExaminedImage['ports']): Promise<OpenPort | undefined> {
  for (let port = lower; port <= upper; port++) {
    const server = createServer();
    const isOpen = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, () => resolve(true));
    });
    if (!isOpen) continue;
    const came = new Promise<boolean>((resolve) => {
      server.on('connection', (socket) => {
        socket.on('error', () => undefined);
        socket.destroy();
        resolve(true);
      });
    });
    const hasArrived = (): Promise<boolean> => Promise.race([came, after(ARRIVAL_MS)]);
    return { server, port: (server.address() as AddressInfo).port, hasArrived };
  }
  return undefined;
}

function after(ms: number): Promise<boolean> {
  return new Promise((resolve) => setTimeout(resolve, ms, false));
}

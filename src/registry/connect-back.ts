import { isIP } from 'node:net';
import { QuayctlError } from '../base/errors.ts';
import { dumpBody, readBody, type HttpAnswer } from '../http/http.ts';
import type { ConnectBack } from './repository.ts';

/** An address, a port and a reason. */
const MAX_ANSWER_BYTES = 4096;
const REASONS = ['refused', 'no answer', 'no route'];

/**
 * The answer to `POST /c1/reachable` (docs/protocol.md, "Connecting back").
 * @returns undefined where the service does not connect back to this machine
 * @throws QuayctlError `rate-limited`, `unreachable` for 5xx, `protocol`, `limit`
 */
export async function readConnectBack(
  answer: HttpAnswer,
  base: URL,
  signal: AbortSignal,
): Promise<ConnectBack | undefined> {
  const { statusCode: status } = answer;
  if (status === 200) {
    const bound = { maxBytes: MAX_ANSWER_BYTES, url: base, what: 'its answer', signal };
    return parseConnectBack(await readBody(answer, bound), base);
  }
  await dumpBody(answer);
  if (status === 403 || status === 404 || status === 405) return undefined;
  if (status === 429) {
    throw new QuayctlError(
      'rate-limited',
      `${base.host} has connected back to this site within the last minute`,
    );
  }
  const code = status >= 500 ? 'unreachable' : 'protocol';
  throw new QuayctlError(code, `${base.host} answers ${status} when it is to connect back`);
}

/** @throws QuayctlError `protocol` */
export function parseConnectBack(bytes: Buffer, base: URL): ConnectBack {
  let json: Record<string, unknown> = {};
  try {
    json = Object(JSON.parse(bytes.toString('utf8'))) as Record<string, unknown>;
  } catch {
    // No JSON says as little as another.
  }
  const { address, reachable, reason } = json;
  if (typeof address !== 'string' || isIP(address) === 0 || typeof reachable !== 'boolean')
    throw new QuayctlError('protocol', `${base.host} does not say whether it has connected back`);
  if (reachable) return { address, isReachable: true };
  const known = REASONS.find((each) => each === reason) ?? 'not reached';
  return { address, isReachable: false, reason: known };
}

import { refuse, type RequestContext } from './request-context.ts';

/**
 * The JSON object that a request carries. Answers 413 or 400 itself where it is longer, or none.
 * @param maxBytes of the body
 * @returns undefined where the exchange is over
 */
export async function readJsonBody(
  exchange: RequestContext,
  maxBytes: number,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  // What is left of a body that is refused is not waited for.
  const headers = { connection: 'close' };
  try {
    for await (const chunk of exchange.request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) {
        refuse(exchange, 413, 'SIZE_INVALID', `the body has more than ${maxBytes} bytes`, headers);
        return undefined;
      }
      chunks.push(chunk);
    }
  } catch {
    // The client has left, or did not send what it announced.
    exchange.response.destroy();
    return undefined;
  }
  const value = parse(Buffer.concat(chunks));
  if (value === undefined) refuse(exchange, 400, 'UNSUPPORTED', 'the body is no JSON object', headers);
  return value;
}

function parse(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

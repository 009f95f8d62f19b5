import { QuayctlError } from '../base/errors.ts';
import type { RequestContext } from './request-context.ts';

/** The body of a request, in memory. @throws QuayctlError `limit` past `maxBytes` */
export async function readRequestBody({ request }: RequestContext, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) {
      throw new QuayctlError('limit', `the body has more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

import { isQuayctlError } from '../base/errors.ts';
import { passThrough } from '../http-server/request-context.ts';
import type { Resource } from '../http-server/path.ts';
import { discard } from '../upstream/upstream.ts';
import { ANSWER_MS, type MirrorRequest } from './mirror-context.ts';
import { handOn, refuseSilent } from './refusals.ts';

/** What is neither manifest nor blob: the registry's own answer. */
export async function passOn(
  request: MirrorRequest,
  wanted: Extract<Resource, { readonly kind: 'base' | 'tags' }>,
): Promise<void> {
  const { exchange, registry, form, authorization } = request;
  const { method, query } = exchange;
  const passed = new URLSearchParams([...query].filter(([name]) => name !== 'ns'));
  const signal = AbortSignal.any([exchange.signal, AbortSignal.timeout(ANSWER_MS)]);
  try {
    const question = { method, resource: wanted, authorization, query: passed.toString() };
    const answer = await registry.door(form).upstream.ask(question, signal);
    if (answer.status === 200) return await passThrough(exchange, answer);
    discard(answer);
    return handOn(request, answer.status, answer.headers);
  } catch (error) {
    exchange.signal.throwIfAborted();
    if (exchange.response.headersSent || (!signal.aborted && !isQuayctlError(error, 'unreachable')))
      throw error;
    return refuseSilent(request);
  }
}

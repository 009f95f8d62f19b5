import { createHmac } from 'node:crypto';
import { QuayctlError } from '../../base/errors.ts';
import { dumpBody, type Http } from '../../http/http.ts';
import type { KeptImage, PendingNews } from './kept-images.ts';

export interface WebhookOptions {
  /** The operator's own; may hold a secret, so only its host is ever shown. */
  readonly url: URL;
  /** What the receiver checks the signature with. */
  readonly key: Uint8Array;
  readonly http: Http;
}

const ANSWER_MS = 30_000;

/** Sends news of one image to the operator's URL, signed. */
export class Webhook {
  readonly #options: WebhookOptions;

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  get host(): string {
    return this.#options.url.host;
  }

  /**
   * One attempt. The signature is that of WebSub (W3C Recommendation, section 7.1) under GitHub's name, which receivers
   * know: HMAC-SHA-256 of the body in hex.
   * @throws QuayctlError `unreachable` for any answer but 2xx; the signal's reason
   */
  async send(image: KeptImage, news: PendingNews, signal: AbortSignal): Promise<void> {
    const { url, key, http } = this.#options;
    const body = JSON.stringify({
      schemaVersion: 1,
      event: 'vulnerabilities-changed',
      id: news.id,
      time: news.time,
      repository: image.repository,
      tags: image.tags,
      digest: image.digest,
      total: news.total,
      changes: news.changes,
    });
    const signature = createHmac('sha256', key).update(body).digest('hex');
    const answer = await http.request(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'quayctl',
        'x-quayctl-delivery': news.id,
        'x-hub-signature-256': `sha256=${signature}`,
      },
      body,
      headersTimeoutMs: ANSWER_MS,
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
    });
    await dumpBody(answer);
    const { statusCode: status } = answer;
    if (status >= 200 && status < 300) return;
    throw new QuayctlError('unreachable', `the webhook at ${url.host} answers ${status}`);
  }
}

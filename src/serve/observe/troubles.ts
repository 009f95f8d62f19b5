import { redact } from '../../base/redact.ts';
import { shortDigest } from '../../image/digest.ts';
import type { Trouble } from '../../admin/status.ts';
import type { ServeEvent } from '../events.ts';

const MAX_TROUBLES = 30;
const MAX_LENGTH = 400;

/** What went wrong lately, in words. */
export class Troubles {
  /** The latest at the end. */
  readonly #byMessage = new Map<string, Trouble>();

  readonly listener = (event: ServeEvent): void => {
    const message = messageOf(event);
    if (message !== undefined) this.add(message);
  };

  add(message: string, lastAt = Date.now()): void {
    const text = redact(message).slice(0, MAX_LENGTH);
    const count = (this.#byMessage.get(text)?.count ?? 0) + 1;
    this.#byMessage.delete(text);
    this.#byMessage.set(text, { message: text, count, lastAt });
    const [oldest] = this.#byMessage.keys();
    if (this.#byMessage.size > MAX_TROUBLES && oldest !== undefined) this.#byMessage.delete(oldest);
  }

  /** The latest first. */
  get list(): readonly Trouble[] {
    return [...this.#byMessage.values()].toReversed();
  }
}

function messageOf(event: ServeEvent): string | undefined {
  switch (event.kind) {
    case 'warning':
      return event.message;
    case 'hashing-failed':
      return `${shortDigest(event.digest)} could not be hashed, so nodes pull it from the registry alone: ${event.reason}`;
    case 'deriving-failed':
      return `the squashed image or ACI of ${shortDigest(event.digest)} could not be made: ${event.reason}`;
    case 'report-failed':
      return `no security report of ${event.repository} ${shortDigest(event.digest)}: ${event.reason}`;
    case 'notify-failed':
      return `the webhook did not take what changed in ${event.repository}: ${event.reason}`;
    default:
      return undefined;
  }
}

/** `piece` of BEP 3, the message that carries a block. */
const PIECE = 7;
/** Length and id; of a `piece` also its index and offset. */
const LENGTH_BYTES = 4;
const HEAD_BYTES = LENGTH_BYTES + 1;
const PIECE_HEAD_BYTES = HEAD_BYTES + 8;
/**
 * The length of a message besides blocks, bytes: a bitfield of 400,000 pieces fits. A longer one ends the connection.
 */
const MAX_MESSAGE = 64 * 1024;
/** The grain in which a piece is asked for, bytes (BEP 3). */
export const BLOCK = 2 ** 14;
/**
 * The longest block that this node asks for and gives, bytes. Larger blocks between nodes that announce them mean
 * fewer messages.
 */
export const MAX_BLOCK = 256 * 1024;

/** Where a block that is arriving goes; no target: it is read and thrown away. */
export interface Filling {
  target: Uint8Array | undefined;
}

export interface MessageEvents {
  /** A block begins. Its target may be taken away while it arrives. */
  readonly onBlock: (index: number, offset: number, length: number) => Filling;
  /** Its last byte is here. */
  readonly onFilled: (index: number, offset: number, length: number, filling: Filling) => void;
  /** Any other message, whole: id, then payload. None for a keep-alive. */
  readonly onMessage: (message: Uint8Array) => void;
  /** Longer than anything honest: nothing is read any more. */
  readonly onTooLong: () => void;
}

/** Something longer than its head, under way. */
interface Arrival {
  readonly length: number;
  filled: number;
  readonly filling: Filling;
  readonly onFilled: () => void;
}

/**
 * Cuts what a peer sends into messages (BEP 3). Blocks go straight to their place in their piece, one copy from the
 * socket's chunk, however the chunks are cut; what is no block is small and handed over whole.
 */
export class MessageReader {
  readonly #events: MessageEvents;
  readonly #head = new Uint8Array(PIECE_HEAD_BYTES);
  readonly #view = new DataView(this.#head.buffer);
  #headFilled = 0;
  #arrival: Arrival | undefined;
  #ended = false;

  constructor(events: MessageEvents) {
    this.#events = events;
  }

  /** Nothing more is read, not even of the chunk that is being read. */
  end(): void {
    this.#ended = true;
    if (this.#arrival !== undefined) this.#arrival.filling.target = undefined;
  }

  read(chunk: Uint8Array): void {
    let rest = chunk;
    while (rest.length > 0 && !this.#ended) {
      rest = this.#arrival === undefined ? this.#readHead(rest) : this.#fill(this.#arrival, rest);
    }
  }

  /** @returns what lies behind the bytes that were taken */
  #readHead(bytes: Uint8Array): Uint8Array {
    const part = bytes.subarray(0, this.#headSize - this.#headFilled);
    this.#head.set(part, this.#headFilled);
    this.#headFilled += part.length;
    const rest = bytes.subarray(part.length);
    if (this.#headFilled < this.#headSize) return rest;
    const length = this.#view.getUint32(0);
    this.#headFilled = 0;
    if (length === 0) return rest;
    if (this.#isBlock(length)) return this.#begin(length - 9, rest);
    if (length > MAX_MESSAGE) return this.#tooLong(rest);
    return this.#beginMessage(length, rest);
  }

  /** As far as it is known by now: the length says whether there is an id, the id whether more belongs to the head. */
  get #headSize(): number {
    if (this.#headFilled < LENGTH_BYTES) return LENGTH_BYTES;
    const length = this.#view.getUint32(0);
    if (length === 0) return LENGTH_BYTES;
    if (this.#headFilled < HEAD_BYTES) return HEAD_BYTES;
    return this.#isBlock(length) ? PIECE_HEAD_BYTES : HEAD_BYTES;
  }

  #isBlock(length: number): boolean {
    return this.#head[LENGTH_BYTES] === PIECE && length >= PIECE_HEAD_BYTES - LENGTH_BYTES;
  }

  #begin(length: number, rest: Uint8Array): Uint8Array {
    if (length > MAX_BLOCK) return this.#tooLong(rest);
    const [index, offset] = [this.#view.getUint32(5), this.#view.getUint32(9)];
    const filling = this.#events.onBlock(index, offset, length);
    return this.#arrive(length, filling, rest, () => {
      this.#events.onFilled(index, offset, length, filling);
    });
  }

  #beginMessage(length: number, rest: Uint8Array): Uint8Array {
    const message = new Uint8Array(length);
    message[0] = this.#head[LENGTH_BYTES] ?? 0;
    const filling = { target: message.subarray(1) };
    return this.#arrive(length - 1, filling, rest, () => this.#events.onMessage(message));
  }

  #arrive(length: number, filling: Filling, rest: Uint8Array, onFilled: () => void): Uint8Array {
    this.#arrival = { length, filled: 0, filling, onFilled };
    return this.#fill(this.#arrival, rest);
  }

  #fill(arrival: Arrival, bytes: Uint8Array): Uint8Array {
    const part = bytes.subarray(0, arrival.length - arrival.filled);
    arrival.filling.target?.set(part, arrival.filled);
    arrival.filled += part.length;
    if (arrival.filled === arrival.length) {
      this.#arrival = undefined;
      arrival.onFilled();
    }
    return bytes.subarray(part.length);
  }

  #tooLong(rest: Uint8Array): Uint8Array {
    this.end();
    this.#events.onTooLong();
    return rest;
  }
}

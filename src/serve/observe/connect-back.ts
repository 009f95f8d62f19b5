import { connect } from 'node:net';
import type { Observer } from './observer.ts';
import type { ObservedNode } from './observed.ts';

/** A node is tried again after so long. */
const AGAIN_MS = 5 * 60_000;
/** Nodes that are tried at one time. */
const AT_ONCE = 16;
const TIMEOUT_MS = 2000;

/**
 * Whether nodes accept connections at the ports that they name: a TCP connection that is closed at once. Nodes are tried
 * only while somebody looks, and only at the address from which they came.
 */
export class ConnectBack {
  readonly #observer: Observer;
  readonly #trying = new Set<ObservedNode>();

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  /** Begins to try those that are due. */
  look(): void {
    const now = Date.now();
    for (const node of this.#observer.untried(AT_ONCE - this.#trying.size, now - AGAIN_MS)) {
      node.triedAt = now;
      this.#trying.add(node);
      void tryConnection(node).then((isReachable) => {
        node.reachable = isReachable ? 'yes' : 'no';
        this.#trying.delete(node);
      });
    }
  }
}

function tryConnection({ address: host, port }: ObservedNode): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, timeout: TIMEOUT_MS });
  const end = (isReachable: boolean) => (): void => {
    resolve(isReachable);
    socket.destroy();
  };
  socket.once('connect', end(true)).once('error', end(false)).once('timeout', end(false));
  return promise;
}

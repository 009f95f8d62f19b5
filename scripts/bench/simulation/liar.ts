import { SimNode, type World } from './sim-node.ts';

const AGAIN_MS = 1000;
const CLAIMS = 16;

/** A peer that claims random pieces, its own and what it says to have heard, and never has one. */
export function addLiar(world: World, id: string, rate: number): void {
  const { clock, random, pieceCount, tracker } = world;
  const node = new SimNode(world, { id, up: rate, down: rate, idle: true });
  const pieces = (): number[] => Array.from({ length: CLAIMS }, () => random.below(pieceCount));
  const lie = (): void => {
    for (const other of node.remotes.keys()) {
      const handlers = other.remotes.get(node)?.handlers;
      handlers?.onMessage({ kind: 'fetching', pieces: pieces() });
      const claims = pieces().map((index) => ({ index, tag: random.below(2 ** 31) }));
      handlers?.onMessage({ kind: 'relayed', claims });
    }
    clock.after(AGAIN_MS, lie);
  };
  tracker.announce(node, () => {});
  clock.after(AGAIN_MS, lie);
}

/**
 * A swarm behind a thin gateway, in virtual time. What decides is the program's own code: FetchCoordinator with its FetchPolicy
 * and ClaimBook. What surrounds it is a model:
 * - The gateway is shared by all responses on their way, none faster than its node's link, in parts that are drawn
 *   anew for each request (log-normal, sigma 0.7: as unequal as flows of TCP are); each request waits `delayMs` first;
 *   a response that is broken off still brings 96 KiB.
 * - A LAN link sends chunks of 128 KiB (a quarter of a small piece) in the order of their requests, in each direction;
 *   the switch has no limit. A node asks each peer for at most 4 chunks at a time (of a slow or new one: 1), of begun pieces
 *   first, then of the rarest; what a peer owes for 1.5 s may be asked of another.
 * - A node that has a piece tells its peers after 8 ms, which are served at once, without choking.
 * - Messages take 2 to 4 ms, a connection 20 to 35 ms; the tracker answers 1,500 announces a second and names 50 peers.
 * - A process starts for `startupMs`; processors and disks cost nothing after that.
 */
import { Random } from '../../../test/helpers/fuzz.ts';
import { pieceGeometry, pieceSpan } from '../../../src/metainfo/geometry.ts';
import { Gateway } from './gateway.ts';
import { addLiar } from './liar.ts';
import { SimNode, type World } from './sim-node.ts';
import { SimTracker } from './sim-tracker.ts';
import { VirtualClock } from './virtual-clock.ts';

const CHUNKS = 4;
const NOTICED_MS = 50;
/** Until a machine that is silent is given up by its peers. */
const SILENT_MS = 10_000;
/** A simulation that runs so long does not end. */
const MOST_MS = 3_600_000;

/** Rates in bytes per millisecond, times in milliseconds. */
export interface SimulationOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly blobBytes: number;
  readonly gatewayRate: number;
  readonly lanRate: number;
  readonly delayMs: number;
  readonly startupMs: number;
  /** When each node starts. */
  readonly startAt: (node: number, random: Random) => number;
  /** How many have a link of `slowRate`. */
  readonly slowNodes: number;
  readonly slowRate: number;
  /** Die at a random moment of the first half of the bound, every second without a word. */
  readonly deaths: number;
  /** Claim what they never fetch. */
  readonly liars: number;
  /** Have everything from the beginning, and give no more than `seedRate`. */
  readonly seeds: number;
  readonly seedRate: number;
  readonly lostClaims: number;
  readonly wantedPeers: number;
  readonly fetchers?: number;
  /** So many ask one holder of a piece at a time; 0: all at once, as the program does. */
  readonly turns: number;
}

export interface SimulationResult {
  /** From the first start to the last node's end, slow nodes not counted; and what no swarm could undercut. */
  readonly makespanMs: number;
  readonly boundMs: number;
  readonly gatewayBytes: number;
  /** Nodes that lived and did not end. */
  readonly unfinished: number;
  /** Until the last slow node's end; undefined without any. */
  readonly slowMs: number | undefined;
  readonly nodeMs: readonly number[];
  /** What the tracker got in each second. */
  readonly announces: readonly number[];
}

export function simulate(options: SimulationOptions): SimulationResult {
  const random = new Random(options.seed);
  const clock = new VirtualClock();
  const geometry = pieceGeometry(options.blobBytes);
  const ends = new Map<SimNode, number>();
  const awaited = new Set<SimNode>();
  const world: World = {
    clock,
    random,
    gateway: new Gateway(clock, random, options.gatewayRate),
    tracker: new SimTracker(clock, random, options.wantedPeers),
    pieceCount: geometry.pieceCount,
    pieceBytes: (index) => {
      const { start, end } = pieceSpan(geometry, index);
      return end - start;
    },
    chunkBytes: geometry.pieceLength / CHUNKS,
    delayMs: options.delayMs,
    lostClaims: options.lostClaims,
    fetchers: options.fetchers,
    turns: options.turns,
    onDone: (node) => {
      ends.set(node, clock.now);
      awaited.delete(node);
    },
  };
  const startAt = Array.from({ length: options.nodes }, (_, node) => options.startAt(node, random));
  const nodes = startAt.map((at, index) => {
    const rate = index < options.slowNodes ? options.slowRate : options.lanRate;
    const node = new SimNode(world, { id: peerId(random), up: rate, down: rate });
    clock.after(at + options.startupMs, () => node.start());
    return node;
  });
  for (let seed = 0; seed < options.seeds; seed++) {
    new SimNode(world, {
      id: peerId(random),
      up: options.seedRate,
      down: options.lanRate,
      seed: true,
    }).start();
  }
  for (let liar = 0; liar < options.liars; liar++) addLiar(world, peerId(random), options.lanRate);
  const bound = boundOf(options, startAt);
  const dying = new Set(nodes.slice(options.slowNodes, options.slowNodes + options.deaths));
  [...dying].forEach((node, index) => {
    const at = options.startupMs + random.below(Math.max(1, bound / 2));
    clock.after(at, () => node.die(index % 2 === 0 ? NOTICED_MS : SILENT_MS));
  });
  const begun = new Map(nodes.map((node, at) => [node, startAt[at]]));
  const living = nodes.filter((node) => !dying.has(node));
  living.forEach((node) => awaited.add(node));
  while (awaited.size > 0 && clock.now < MOST_MS && clock.step());
  const fast = living.slice(options.slowNodes);
  const slow = living.slice(0, options.slowNodes);
  const last = (some: readonly SimNode[]): number =>
    Math.max(...some.map((node) => ends.get(node) ?? MOST_MS));
  return {
    makespanMs: last(fast),
    boundMs: bound,
    gatewayBytes: world.gateway.bytes,
    unfinished: living.filter((node) => !ends.has(node)).length,
    slowMs: slow.length === 0 ? undefined : last(slow),
    announces: world.tracker.seconds,
    nodeMs: living.map((node) => (ends.get(node) ?? MOST_MS) - (begun.get(node) ?? 0)),
  };
}

/** The blob once through the gateway; into each link; and out of all links that often. */
function boundOf(options: SimulationOptions, startAt: readonly number[]): number {
  const { blobBytes, gatewayRate, lanRate, nodes, slowNodes, slowRate } = options;
  const fast = startAt.slice(slowNodes);
  const uploads = gatewayRate + (nodes - slowNodes) * lanRate + slowNodes * slowRate;
  const first = Math.min(...startAt);
  return Math.max(
    first + blobBytes / gatewayRate,
    Math.max(...fast) + blobBytes / lanRate,
    (fast.length * blobBytes) / uploads,
  );
}

function peerId(random: Random): string {
  return `-QC0100-${Array.from({ length: 12 }, () => String.fromCharCode(97 + random.below(26))).join('')}`;
}

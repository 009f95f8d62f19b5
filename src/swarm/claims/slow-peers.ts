/** What came since the last look, and what is to be had. Bytes, milliseconds. */
export interface Supply {
  readonly ms: number;
  readonly fromPeers: number;
  /** Connected peers: of each a block may be on its way, which is counted when it is whole. */
  readonly peers: number;
  /** Pieces are open at the registry. */
  readonly isAsking: boolean;
  /** What the registry gave while it was giving, and for how long that was. */
  readonly delivered: { readonly bytes: number; readonly ms: number };
  /** What peers have and this node lacks. */
  readonly backlog: number;
  /** What of that none but complete peers have, so that all who miss something wait for those. */
  readonly unspread: number;
  /** What other nodes fetched from the registry. */
  readonly fetchedByOthers: number;
  /** This node is one of those that fetch for all. */
  readonly fetcher: boolean;
  /** Connected nodes that miss pieces, this one included: so many would share the way to the registry. */
  readonly nodes: number;
  /** No more than this may come in all, bytes per millisecond (`--download-rate`). */
  readonly most: number;
}

/**
 * What of that which peers have the registry is asked for, too: nothing; one piece, to learn how fast it is; as much as
 * it brings; nothing more for a moment, while what is on its way still comes.
 */
export type Help = 'none' | 'probe' | 'fill' | 'hold';

/** For each node that would share the way to the registry, peers are watched for so long before it helps. Milliseconds. */
const WATCH_MS = 250;
/** A backlog for which peers need less than this is left to them; for each such node, too. Milliseconds. */
const PATIENCE_MS = 500;
const MOST_MS = 20_000;
/** The same where all wait for complete peers: the nodes that fetch for all decide as one. */
const SWARM_WATCH_MS = 500;
const SWARM_PATIENCE_MS = 1500;
/** The registry is faster than peers when it brings so many times as much. */
const FASTER = 1.1;
/** The same where others miss pieces, too: what is fetched twice is missing to them. */
const FASTER_AMONG_OTHERS = 1.5;
/** This node's own link, or limit, is full when the registry's help brings less than this in all. */
const GAINED = 1.1;
/** With less than this part of the limit, it is not peers who are slow. */
const LIMITED = 0.85;
/** Help is judged after this, and looked at once more after the second, then after twice as long, ... Milliseconds. */
const JUDGE_MS = 1000;
const CHECK_MS = 4000;
/** How long peers alone are measured then; what is on its way from the registry has to end first, within the other. */
const ALONE_MS = 250;
const DRAIN_MS = 2000;
/** Peers that bring less than this part of what the registry does are not held up by it: nothing to be looked at. */
const NEGLIGIBLE = 1 / 8;
/** A probe that brings nothing ends. Milliseconds. */
const PROBE_MS = 3000;
/** What is known of the registry is believed so long, and so long it rests where it was of no use; then twice as long. */
const TRUST_MS = 30_000;
const MOST_DOUBLINGS = 6;
/** What peers bring is taken over this time, then half of it is forgotten. Milliseconds. */
const MEMORY_MS = 4000;
/** What may be on its way of each peer, and of all, before it is counted. Bytes. */
const BLOCK = 128 * 1024;
const MOST_UNDER_WAY = 1024 * 1024;
/** Time over which rates are taken, milliseconds. */
const SPAN_MS = 400;

/**
 * Whether peers bring less than the registry alone would, so that a pull is never slower than without them. Peers are
 * watched first; where they need long for what they have and the registry's rate is not known, one piece is taken to
 * learn it. Behind a link that is slow itself the registry is never the faster one, and takes from what peers bring.
 */
export class SlowPeers {
  #help: Help = 'none';
  /** In this state, milliseconds. */
  #ms = 0;
  /** Until it is looked at once more, milliseconds of helping; how long the next time is. */
  #untilCheck = CHECK_MS;
  #check = CHECK_MS;
  #restMs = 0;
  #failures = 0;
  /** From peers, without the registry. */
  #aloneBytes = 0;
  #aloneMs = 0;
  #underWay = 0;
  readonly #peers = new Mean();
  readonly #registry = new Mean();
  readonly #others = new Mean();
  /** What is compared is what the whole swarm gets. */
  #isForAll = false;
  #registryAge = Infinity;
  #probed = 0;
  #backlog = 0;

  get help(): Help {
    return this.#help;
  }

  /** What the registry brings to this node, bytes per millisecond; undefined: not known. */
  get registryRate(): number | undefined {
    return this.#registryAge < TRUST_MS * this.#growth ? this.#registry.value : undefined;
  }

  /** Pieces that complete peers alone have are fetched as if nobody had them. */
  get fetchesUnspread(): boolean {
    return this.#isForAll && (this.#help === 'fill' || this.#help === 'hold');
  }

  /** The rate that peers have to be slower than. */
  get #rate(): number | undefined {
    const own = this.registryRate;
    return own === undefined || !this.#isForAll ? own : own + this.#others.value;
  }

  get #growth(): number {
    return 2 ** Math.min(this.#failures, MOST_DOUBLINGS);
  }

  /** What peers alone bring at most, bytes per millisecond. */
  get #alone(): number {
    return (this.#aloneBytes + this.#underWay) / Math.max(1, this.#aloneMs);
  }

  observe(supply: Supply): void {
    const { ms, delivered } = supply;
    this.#underWay = Math.min(MOST_UNDER_WAY, Math.max(2, supply.peers) * BLOCK);
    this.#ms += ms;
    this.#restMs -= ms;
    this.#registryAge += ms;
    if (delivered.ms > 0) {
      if (this.#registryAge > TRUST_MS) this.#registry.clear();
      this.#registry.add(delivered.bytes / delivered.ms, delivered.ms);
      this.#registryAge = 0;
    }
    this.#others.add(supply.fetchedByOthers / ms, ms);
    const begins = this.#backlog === 0;
    this.#backlog = supply.backlog;
    // What came before there was something to be had says nothing.
    if (begins || supply.backlog === 0) return this.#enter('none');
    switch (this.#help) {
      case 'none':
        return this.#watch(supply);
      case 'probe':
        return this.#learn(supply);
      case 'fill':
        return this.#judge(supply);
      case 'hold':
        return this.#compare(supply);
    }
  }

  #watch(supply: Supply): void {
    const { ms, fromPeers, isAsking, backlog, unspread, nodes, most, fetcher } = supply;
    // Pieces that nobody has come first.
    if (isAsking) return this.#enter('none');
    this.#addAlone(fromPeers, ms);
    const alone = this.#alone;
    if (this.#restMs > 0 || alone > most * LIMITED) return;
    const isSlowForAll =
      nodes > 1 && fetcher && this.#ms >= SWARM_WATCH_MS && unspread > alone * SWARM_PATIENCE_MS;
    const isSlow = this.#ms >= perNode(WATCH_MS, nodes) && backlog > alone * perNode(PATIENCE_MS, nodes);
    if (!isSlow && !isSlowForAll) return;
    this.#isForAll = isSlowForAll;
    const rate = this.#rate;
    if (rate === undefined) this.#enter('probe');
    else if (rate > alone * this.#faster(nodes)) this.#enter('fill');
  }

  #faster(nodes: number): number {
    return nodes > 1 && !this.#isForAll ? FASTER_AMONG_OTHERS : FASTER;
  }

  #learn({ delivered, isAsking, nodes }: Supply): void {
    this.#probed += delivered.bytes;
    const rate = this.#rate;
    if (this.#probed > 0 && !isAsking && rate !== undefined) {
      if (rate > this.#alone * this.#faster(nodes)) return this.#enter('fill');
      this.#failures++;
      return this.#enter('none');
    }
    if (this.#ms > PROBE_MS) this.#rest();
  }

  #judge({ ms, fromPeers, unspread }: Supply): void {
    if (this.#isForAll && unspread === 0) return this.#enter('none');
    this.#peers.add(fromPeers / ms, ms);
    const [own, rate] = [this.registryRate ?? 0, this.#rate ?? 0];
    // What others fetched comes from them.
    const peers = this.#peers.value - (rate - own);
    if (this.#ms < JUDGE_MS) return;
    if (peers > rate * FASTER) return this.#enter('none');
    if (this.#peers.value + own < this.#alone * GAINED) return this.#rest();
    if (peers < rate * NEGLIGIBLE) return;
    this.#untilCheck -= ms;
    if (this.#untilCheck <= 0 && !this.#isForAll) this.#enter('hold');
  }

  #compare({ ms, fromPeers, isAsking }: Supply): void {
    if (isAsking && this.#ms < DRAIN_MS) {
      this.#clearAlone();
      return;
    }
    this.#addAlone(fromPeers, ms);
    if (this.#aloneMs < ALONE_MS) return;
    const [alone, rate] = [this.#alone, this.#rate ?? 0];
    if (rate <= alone * FASTER) return this.#enter('none');
    if (this.#peers.value + rate < alone * GAINED) return this.#rest();
    this.#check *= 2;
    this.#untilCheck = this.#check;
    this.#enter('fill');
  }

  #addAlone(bytes: number, ms: number): void {
    this.#aloneBytes += bytes;
    this.#aloneMs += ms;
    if (this.#aloneMs < MEMORY_MS) return;
    this.#aloneBytes /= 2;
    this.#aloneMs /= 2;
  }

  #clearAlone(): void {
    this.#aloneBytes = 0;
    this.#aloneMs = 0;
  }

  /** It was of no use. */
  #rest(): void {
    this.#restMs = TRUST_MS * this.#growth;
    this.#failures++;
    this.#enter('none');
  }

  #enter(help: Help): void {
    this.#help = help;
    this.#ms = 0;
    this.#probed = 0;
    this.#peers.clear();
    if (help === 'probe') this.#others.clear();
    if (help === 'none' || help === 'hold') this.#clearAlone();
  }
}

function perNode(ms: number, nodes: number): number {
  return Math.min(ms * nodes, MOST_MS);
}

/** The average over the whole time at first, later over the newest part of it. */
class Mean {
  value = 0;
  ms = 0;

  add(value: number, ms: number): void {
    this.ms += ms;
    this.value += Math.min(1, ms / Math.min(this.ms, SPAN_MS)) * (value - this.value);
  }

  clear(): void {
    this.value = 0;
    this.ms = 0;
  }
}

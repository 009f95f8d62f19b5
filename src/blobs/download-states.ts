/**
 * How one blob is obtained, as a table: in each state something is done, what comes of it is an event, and the table
 * says which state follows. `blobs/transfer.ts` does the work; a test walks through every row.
 */
export const TRANSITIONS = {
  /** Looks at what is here and at the rules. */
  begin: { whole: 'commit', small: 'registry-first', large: 'find', 'peers-only': 'find-peers' },

  /** Asks the torrent service; briefly waits for a service that is still hashing. */
  find: { torrent: 'swarm', later: 'registry-until-hashed', none: 'registry' },
  /** Peers, with the registry as one of them. `unusable`: its torrent or its peers lead nowhere. */
  swarm: { whole: 'commit', unusable: 'registry' },
  /** The registry alone. */
  registry: { whole: 'commit' },
  /** The registry alone, until the service has the piece hashes; the swarm keeps what is here by then. */
  'registry-until-hashed': { whole: 'commit', hashed: 'swarm' },

  /** Small blobs: a swarm costs more than it saves, so it is only tried where the registry does not deliver. */
  'registry-first': { whole: 'commit', slow: 'find-if-slow', unavailable: 'find-if-gone' },
  'find-if-slow': { torrent: 'swarm', none: 'registry' },
  'find-if-gone': { torrent: 'swarm', none: 'failed' },

  /** `--skip-web-seed`: waits for the torrent for as long as the service hashes. */
  'find-peers': { torrent: 'peers', none: 'failed' },
  /** Peers alone. */
  peers: { whole: 'commit' },

  /** Checks size and SHA-256. `doubtful`: wrong, but the registry may be asked for all of it once more. */
  commit: { verified: 'done', doubtful: 'registry-again', wrong: 'failed' },
  /** Throws everything away and asks the registry alone. */
  'registry-again': { whole: 'commit-again' },
  /** `unasked`: the registry gave wrong bytes twice, and nobody has asked for a torrent yet. */
  'commit-again': { verified: 'done', unasked: 'find-if-wrong', wrong: 'failed' },
  /** What the registry has is damaged; other nodes may have it as it was. */
  'find-if-wrong': { torrent: 'peers-if-wrong', none: 'failed' },
  'peers-if-wrong': { whole: 'commit-last', nobody: 'failed' },
  'commit-last': { verified: 'done', wrong: 'failed' },
} as const satisfies Record<string, Record<string, string>>;

/** A state in which something is done. */
export type WorkingState = keyof typeof TRANSITIONS;
export type DownloadState = WorkingState | 'done' | 'failed';

/** What may come of the work of a state; any of it may also fail. */
export type EventOf<State extends WorkingState> = (keyof (typeof TRANSITIONS)[State] & string) | 'failed';

/** The row of the table. @throws TypeError for an event that the state does not know */
export function nextState(
  state: WorkingState,
  event: { [State in WorkingState]: EventOf<State> }[WorkingState],
): DownloadState {
  if (event === 'failed') return 'failed';
  const row: Readonly<Record<string, DownloadState>> = TRANSITIONS[state];
  const next = row[event];
  if (next === undefined) throw new TypeError(`a download in state ${state} cannot meet ${event}`);
  return next;
}

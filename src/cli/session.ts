import type { Keyboard } from './secret-prompt.ts';

/** Where a run talks: stdout is data, stderr is talk. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** stderr is a terminal that can redraw. */
  readonly interactive: boolean;
  readonly stderr: NodeJS.WriteStream;
  readonly stdin: Keyboard;
}

/** What a command knows of the process it runs in. */
export interface Session {
  readonly version: string;
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** What configuration files and the environment say, by the names of environment variables. */
  readonly settings: ReadonlyMap<string, { readonly value: string; readonly from: string }>;
  /** The effective user; undefined on systems that have none. */
  readonly uid: number | undefined;
  readonly signal: AbortSignal;
  /** Adds a handler for SIGHUP, which ends the program where nobody handles it. @returns takes it away */
  readonly onHangup: (handler: () => void) => () => void;
  /** For a command that has given its data and ends with another exit code than 0 nevertheless. */
  readonly exitWith: (code: number) => void;
}

/** `$XDG_CACHE_HOME/quayctl` and the like (XDG Base Directory Specification). */
export function xdgDirectory(session: Session, variable: string, fallback: string): string {
  const base = session.env[variable];
  // The specification has relative paths ignored.
  return `${base?.startsWith('/') === true ? base : `${session.home}/${fallback}`}/quayctl`;
}

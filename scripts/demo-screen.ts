export interface NodeProgress {
  readonly name: string;
  /** Bytes on the node's disk. */
  readonly received: number;
  /** Undefined while the size of the image is not known. */
  readonly total: number | undefined;
  /** Undefined where nobody but the node itself counts. */
  readonly fromRegistry: number | undefined;
  readonly done: boolean;
}

const BAR_WIDTH = 32;
/** Where the bytes come from is told from this width on. */
const ORIGIN_COLUMNS = 70;
/** Of a log, and of a terminal that does not say. */
const DEFAULT_COLUMNS = 80;
const PLAIN_EVERY_MS = 2000;

/** One bar a node, redrawn in place on a terminal; else a line now and then. */
export class Screen {
  readonly #tty = process.stdout.isTTY;
  #drawn = 0;
  #told = 0;

  get #columns(): number {
    return this.#tty ? process.stdout.columns : DEFAULT_COLUMNS;
  }

  say(text = ''): void {
    process.stdout.write(`${text}\n`);
    this.#drawn = 0;
  }

  draw(nodes: readonly NodeProgress[], last = false): void {
    const lines = nodes.map((node) => progressLine(node, this.#columns));
    if (this.#tty) {
      const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`;
      process.stdout.write(up + lines.map((line) => `\x1b[2K${line}\n`).join(''));
      this.#drawn = lines.length;
    } else if (last || Date.now() - this.#told > PLAIN_EVERY_MS) {
      this.#told = Date.now();
      process.stdout.write(`${lines.join('\n')}\n`);
    }
  }
}

/** One row of the terminal, whatever its width: a line that wraps could not be redrawn in place. */
function progressLine(node: NodeProgress, columns: number): string {
  const { name, received, total, fromRegistry, done } = node;
  const share = done ? 1 : total === undefined ? 0 : Math.min(1, received / total);
  const percent = total === undefined && !done ? '    ' : `${Math.floor(share * 100)} %`.padStart(5);
  const fromPeers = Math.max(0, received - (fromRegistry ?? 0));
  const origin =
    fromRegistry === undefined || columns < ORIGIN_COLUMNS
      ? ''
      : `  pipe ${megabytes(fromRegistry)}  peers ${megabytes(fromPeers)}`;
  const [before, after] = [`  ${name}  `, ` ${percent} ${megabytes(received)}${origin}`];
  const width = Math.max(0, Math.min(BAR_WIDTH, columns - 1 - before.length - after.length));
  const full = Math.round(share * width);
  return `${before}${'█'.repeat(full)}${'░'.repeat(width - full)}${after}`.slice(0, Math.max(0, columns - 1));
}

export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('   ');
  const [head = [], ...body] = rows;
  return [line(head), widths.map((width) => '─'.repeat(width)).join('───'), ...body.map(line)].map(
    (text) => `  ${text}`,
  );
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1).padStart(5)} MB`;
}

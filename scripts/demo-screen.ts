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
const PLAIN_EVERY_MS = 2000;

/** One bar a node, redrawn in place on a terminal; else a line now and then. */
export class Screen {
  readonly #tty = process.stdout.isTTY;
  #drawn = 0;
  #told = 0;

  say(text = ''): void {
    process.stdout.write(`${text}\n`);
    this.#drawn = 0;
  }

  draw(nodes: readonly NodeProgress[], last = false): void {
    const lines = nodes.map(progressLine);
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

function progressLine({ name, received, total, fromRegistry, done }: NodeProgress): string {
  const share = done ? 1 : total === undefined ? 0 : Math.min(1, received / total);
  const full = Math.round(share * BAR_WIDTH);
  const bar = '█'.repeat(full) + '░'.repeat(BAR_WIDTH - full);
  const percent = total === undefined && !done ? '    ' : `${Math.floor(share * 100)} %`.padStart(5);
  const origin =
    fromRegistry === undefined
      ? ''
      : `   through the pipe ${megabytes(fromRegistry)}, from peers ${megabytes(Math.max(0, received - fromRegistry))}`;
  return `  ${name}  ${bar} ${percent} ${megabytes(received)}${origin}`;
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

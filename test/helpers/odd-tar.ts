/**
 * An entry of a tar as some program out there writes it. Numbers are written in octal, or as the very bytes given;
 * `pax` records come in a header of their own before it, `global` ones in a global header.
 */
export interface OddEntry {
  readonly name: string | Buffer;
  /** typeflag; default: `5` for names that end in a slash, else `0`. */
  readonly type?: string;
  readonly content?: Buffer | string;
  readonly linkname?: string;
  readonly mode?: number;
  readonly uid?: number | Buffer;
  readonly gid?: number | Buffer;
  readonly mtime?: number | Buffer;
  readonly size?: number | Buffer;
  readonly major?: number | Buffer;
  readonly minor?: number | Buffer;
  readonly pax?: PaxRecords;
  readonly global?: PaxRecords;
  /** Bytes 257 to 264; default that of POSIX. */
  readonly magic?: Buffer;
  /** Changes the finished header before its checksum is made. */
  readonly patch?: (header: Buffer) => void;
}

type PaxRecords = Readonly<Record<string, string | Buffer>>;

const BLOCK = 512;
const POSIX = Buffer.from('ustar\x0000');
export const GNU = Buffer.from('ustar  \0');
const MTIME = 1_600_000_000;

/** @param end what stands behind the last entry; default: the two blocks of zeros */
export function oddTar(entries: readonly OddEntry[], end: Buffer = Buffer.alloc(2 * BLOCK)): Buffer {
  return Buffer.concat([...entries.flatMap(blocksOf), end]);
}

export const folder = (name: string): OddEntry => ({ name: `${name}/`, mode: 0o755 });
export const file = (name: string, content: Buffer | string = name): OddEntry => ({ name, content });
export const symbolicLink = (name: string, linkname: string): OddEntry => ({ name, type: '2', linkname });
export const hardLink = (name: string, linkname: string): OddEntry => ({ name, type: '1', linkname });

function blocksOf(entry: OddEntry): Buffer[] {
  const { pax, global, content = '' } = entry;
  const body = Buffer.from(content as Buffer);
  return [
    ...(global === undefined ? [] : blocksOf({ name: 'global', type: 'g', content: paxOf(global) })),
    ...(pax === undefined ? [] : blocksOf({ name: 'pax', type: 'x', content: paxOf(pax) })),
    headerOf(entry, body.length),
    padded(body),
  ];
}

function headerOf(entry: OddEntry, length: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const name = Buffer.from(entry.name as Buffer);
  const type = entry.type ?? (name.at(-1) === 0x2f ? '5' : '0');
  name.copy(header, 0, 0, 100);
  number(header, 100, 8, entry.mode ?? 0o644);
  number(header, 108, 8, entry.uid ?? 0);
  number(header, 116, 8, entry.gid ?? 0);
  number(header, 124, 12, entry.size ?? length);
  number(header, 136, 12, entry.mtime ?? MTIME);
  header.fill(' ', 148, 156);
  header.write(type, 156, 1, 'latin1');
  header.write(entry.linkname ?? '', 157, 100, 'utf8');
  (entry.magic ?? POSIX).copy(header, 257);
  number(header, 329, 8, entry.major ?? 0);
  number(header, 337, 8, entry.minor ?? 0);
  entry.patch?.(header);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return header;
}

function number(header: Buffer, at: number, width: number, value: number | Buffer): void {
  if (typeof value !== 'number') return void value.copy(header, at, 0, width);
  header.write(value.toString(8).padStart(width - 1, '0'), at, width - 1, 'latin1');
}

/** "LENGTH KEY=VALUE\n", the length counting itself. */
function paxOf(records: PaxRecords): Buffer {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as Buffer), Buffer.from('\n')]);
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
    return Buffer.concat([Buffer.from(String(length)), rest]);
  });
  return Buffer.concat(lines);
}

/** To whole blocks. */
export function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (BLOCK - 1))]);
}

import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { AdminOptions } from '../admin/admin-listener.ts';
import { QuayctlError } from '../base/errors.ts';
import type { ListenPlace } from '../http-server/server.ts';
import { hostAndPort } from './flags.ts';

export interface RawAdminFlags {
  readonly adminListen?: string;
  readonly adminTokenFile?: string;
}

/** @returns undefined for `none` @throws QuayctlError `usage` */
export async function adminOptions(
  { adminListen, adminTokenFile }: RawAdminFlags,
  defaultPlace: string,
): Promise<(AdminOptions & { readonly isDefault: boolean }) | undefined> {
  if (adminListen === 'none') return undefined;
  const place = listenPlace('--admin-listen', adminListen ?? defaultPlace);
  const token = adminTokenFile === undefined ? undefined : await adminToken(adminTokenFile);
  return { place, token, isDefault: adminListen === undefined };
}

/** `HOST:PORT` or `unix:PATH`. @throws QuayctlError `usage` */
export function listenPlace(flag: string, text: string): ListenPlace {
  const [, path] = /^unix:(.+)$/.exec(text) ?? [];
  return path === undefined ? hostAndPort(flag, text) : { path: resolve(path) };
}

/** What the file of `--admin-token-file` holds: secret. @throws QuayctlError `usage` */
export async function adminToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new QuayctlError('usage', `--admin-token-file: cannot read ${path}`, { cause });
  });
  const token = text.trim();
  if (!/^[\x21-\x7e]{16,4096}$/.test(token)) {
    throw new QuayctlError('usage', `--admin-token-file: ${path} holds no token of 16 characters or more`);
  }
  return token;
}

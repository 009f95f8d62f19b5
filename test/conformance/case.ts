import { randomBytes } from 'node:crypto';
import { oddImage, oddLayer, type OddImage, type OddImageOptions } from '../helpers/odd-images.ts';
import { startOddRegistry, type OddRegistry, type OddRegistryOptions } from '../helpers/odd-registry.ts';
import { PASSWORD, USER } from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import type { Scope } from '../helpers/processes.ts';

/** One thing that some registry, image or tracker out there does, and what is right to do with it. */
export interface Case {
  /** A letter for the subject and a number; cases of one report share it. */
  readonly row: string;
  readonly name: string;
  /** Where it was reported. */
  readonly source?: string;
  readonly right: Right;
  /** Default: an OCI layout, which takes whatever verifies; Docker unpacks. */
  readonly into?: 'docker';
  readonly set: (scope: Scope) => Promise<Input>;
}

/** Pulled, every digest as it should be; or refused with this exit code, and words that tell the reason. */
export type Right = 'pulled' | { readonly exit: number; readonly says: RegExp };

/** What is pulled, and the home of whoever pulls. */
export interface Input {
  readonly reference: string;
  /** Its manifest's digest is compared with the receipt's, where it is given. */
  readonly image?: Pick<OddImage, 'digest'>;
  /** Docker's config.json: its text or its value. */
  readonly docker?: unknown;
  /** podman's auth.json. */
  readonly podman?: unknown;
  /** Programs by the end of their name (docker-credential-NAME), as shell scripts. */
  readonly helpers?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Added to quayctl's. */
  readonly flags?: readonly string[];
  /** What is true afterwards, besides. @throws AssertionError */
  readonly check?: (pulled: Pulled) => void | Promise<void>;
}

export interface Pulled {
  /** The OCI layout that was written. */
  readonly layout: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Bytes that no other case has, so that an engine which has seen the others must load them. */
export const salt = (bytes = 200): ReturnType<typeof file> =>
  file(`salt/${randomBytes(4).toString('hex')}`, randomBytes(bytes));

export function simple(options: OddImageOptions = {}): OddImage {
  const format = options.format ?? 'oci';
  const tars = [oddTar([file('bin/x', '#!/bin/sh\n'), salt(2000)]), oddTar([salt(2000)])];
  return oddImage(
    tars.map((tar) => oddLayer(tar, { format })),
    options,
  );
}

export const entry = { auth: Buffer.from(`${USER}:${PASSWORD}`).toString('base64') };
export const login = (host: string): object => ({ auths: { [host]: entry } });

/** A registry with one image; with `auth`, the credential lies in Docker's config.json. */
export async function oddInput(
  scope: Scope,
  options: OddRegistryOptions = {},
  { image = simple(), ...more }: Partial<Omit<Input, 'image'>> & { readonly image?: OddImage } = {},
): Promise<Input & { readonly registry: OddRegistry }> {
  const registry = await startOddRegistry(scope, options);
  const reference = registry.put('team/app', '1', image);
  const docker = options.auth === undefined ? {} : login(registry.host);
  return { reference, image, registry, docker, ...more };
}

type Row = Omit<Case, 'row' | 'source' | 'right'> & { readonly right?: Right };

/** Cases of one row; right is what the row says, unless a case says otherwise. */
export function row(id: string, source: string, right: Right, cases: readonly Row[]): Case[] {
  return cases.map((each) => ({ row: id, source, right, ...each }));
}

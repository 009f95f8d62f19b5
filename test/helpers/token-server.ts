import { createSign, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { makeCertificate, type TestCertificate } from './certificate.ts';
import type { Scope } from './processes.ts';
import type { RegistryAuth } from './registry.ts';

const SERVICE = 'registry.test';
const ISSUER = 'quayctl tests';

export interface TokenServerOptions {
  /** Name to password. */
  readonly users: Readonly<Record<string, string>>;
  /** Refresh tokens that are good. */
  readonly identityTokens?: readonly string[];
  /** Whether those without a name may pull. */
  readonly anonymousPull?: boolean;
}

export interface TokenServer {
  readonly realm: string;
  /** For `startRegistry`: distribution verifies our tokens by the certificate in their header (x5c). */
  readonly auth: RegistryAuth & { readonly kind: 'token' };
  /** Seconds that tokens made from now on are good for, as told and as signed. */
  life: { told: number | undefined; signed: number };
  /** Milliseconds that its clock is ahead. */
  clockAheadMs: number;
  /** `GET scope user`, `POST scope`, in order. */
  readonly requests: string[];
  /** Authorization for tests that push. */
  authorization(scope: string): string;
}

/** A token server of distribution's specification (docs/spec/auth/token.md, oauth.md), RS256. */
export async function startTokenServer(scope: Scope, options: TokenServerOptions): Promise<TokenServer> {
  const certificate = await makeCertificate(scope);
  const requests: string[] = [];
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const realm = `http://127.0.0.1:${port}/token`;

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', realm);
    const form = request.method === 'POST' ? new URLSearchParams(await bodyOf(request)) : url.searchParams;
    const wanted = form.get('scope') ?? '';
    const user = request.method === 'POST' ? '(identity)' : userOf(request);
    requests.push([request.method, wanted, user].filter((part) => part !== '').join(' '));
    const isKnown =
      request.method === 'POST'
        ? (options.identityTokens ?? []).includes(form.get('refresh_token') ?? '')
        : isUser(request, options) || (user === '' && options.anonymousPull === true);
    if (!isKnown || form.get('service') !== SERVICE) {
      response.writeHead(401, { 'content-type': 'application/json' });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}');
      return;
    }
    const now = Date.now() + tokenServer.clockAheadMs;
    response.setHeader('date', new Date(now).toUTCString());
    const token = sign(certificate, wanted, tokenServer.life.signed, now);
    const told = tokenServer.life.told === undefined ? {} : { expires_in: tokenServer.life.told };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(request.method === 'POST' ? { access_token: token, ...told } : { token, ...told }),
    );
  };

  const tokenServer: TokenServer = {
    realm,
    auth: {
      kind: 'token',
      realm,
      service: SERVICE,
      issuer: ISSUER,
      rootCertBundle: certificate.certificate,
    },
    life: { told: 300, signed: 300 },
    clockAheadMs: 0,
    requests,
    authorization: (wanted) => `Bearer ${sign(certificate, wanted, 300)}`,
  };
  return tokenServer;
}

function userOf({ headers }: IncomingMessage): string {
  return credentialOf(headers.authorization).split(':', 1)[0] ?? '';
}

function isUser({ headers }: IncomingMessage, { users }: TokenServerOptions): boolean {
  const [, user = '', password] = /^([^:]*):(.*)$/s.exec(credentialOf(headers.authorization)) ?? [];
  return Object.hasOwn(users, user) && users[user] === password;
}

function credentialOf(authorization = ''): string {
  return Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString();
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** `repository:team/app:pull,push` and the like, space-separated. */
function accessOf(scopes: string): object[] {
  return scopes
    .split(' ')
    .filter((scope) => scope !== '')
    .map((scope) => {
      const [type, name, actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',') };
    });
}

function sign(
  { certificatePem, keyPem }: TestCertificate,
  scopes: string,
  seconds: number,
  nowMs = Date.now(),
): string {
  const now = Math.floor(nowMs / 1000);
  const x5c = [certificatePem.replace(/-----[A-Z ]+-----|\s/g, '')];
  const claims = {
    iss: ISSUER,
    aud: SERVICE,
    sub: 'test',
    // distribution lets a token live a minute longer than it says.
    exp: now + seconds,
    nbf: now - 120,
    iat: now,
    jti: randomUUID(),
    access: accessOf(scopes),
  };
  const signed = [{ typ: 'JWT', alg: 'RS256', x5c }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${signed}.${createSign('RSA-SHA256').update(signed).sign(keyPem, 'base64url')}`;
}

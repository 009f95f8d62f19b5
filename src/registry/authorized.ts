import type { HttpAnswer } from '../http/http.ts';
import type { Authorizer } from './authorizer.ts';

/** What is looked at of an answer. */
export type AnswerHead = Pick<HttpAnswer, 'statusCode' | 'headers'>;

/** How one request to a registry is made, whatever carries it. */
export interface AuthorizedRequest<Answer> {
  /** Of the request, which names the host whose challenges are believed. */
  readonly url: URL;
  /** Sends it with a value of Authorization, or without. */
  readonly send: (authorization: string | undefined) => Promise<Answer>;
  readonly head: (answer: Answer) => AnswerHead;
  /** An answer that is not wanted any more. */
  readonly drop: (answer: Answer) => Promise<void>;
  /** Asks `/v2/`, where every registry says how it wants to be asked; undefined where nothing comes of it. */
  readonly ping?: () => Promise<AnswerHead | undefined>;
  readonly signal: AbortSignal;
}

export interface AuthorizedAnswer<Answer> {
  readonly answer: Answer;
  /** What was shown for it: secret. */
  readonly authorization: string | undefined;
}

/** No challenge yet, then a challenge, then an expired token: the third 401 is final. */
const MAX_CHALLENGES = 2;
/**
 * What registries answer to a request without a token in place of a 401 with a challenge: Artifactory and GitHub hide
 * that something exists (404), others refuse (403) or call the request wrong (400).
 */
const HIDDEN_CHALLENGES = new Set([400, 401, 403, 404]);

/**
 * Sends a request and answers the registry's challenges. A refusal is not believed before the registry has been asked,
 * at `/v2/`, how it wants to be asked: docker, podman and skopeo begin there.
 * @throws what `send` throws, and what fetching a token throws
 */
export async function sendAuthorized<Answer>(
  authorizer: Authorizer,
  { url, send, head, drop, ping, signal }: AuthorizedRequest<Answer>,
): Promise<AuthorizedAnswer<Answer>> {
  let pinged = ping === undefined;
  for (let challenges = 0; ;) {
    const authorization = await authorizer.header(url, signal);
    const answer = await send(authorization);
    const { statusCode } = head(answer);
    const mayLearn = statusCode === 401 && challenges < MAX_CHALLENGES;
    if (mayLearn && authorizer.handleChallenge(url, head(answer), authorization)) {
      challenges++;
    } else if (!pinged && authorization === undefined && HIDDEN_CHALLENGES.has(statusCode)) {
      pinged = true;
      const challenge = await ping?.();
      const isAsked = challenge?.statusCode === 401 && authorizer.handleChallenge(url, challenge, undefined);
      if (!isAsked || (await authorizer.header(url, signal)) === undefined) return { answer, authorization };
    } else return { answer, authorization };
    await drop(answer);
  }
}

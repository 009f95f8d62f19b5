import { platformOfAppc } from '../../image/appc-platform.ts';
import { ACI_NOTES, aciRecipe, type AciRequestName } from '../aci/aci-recipe.ts';
import { aciName } from '../aci/manifest.ts';
import type { AciSigner } from '../aci/signer.ts';
import type { Recipe } from '../derived/recipe.ts';
import type { SourceResolver } from '../derived/resolve-source.ts';
import type { ImageName } from '../derived/source-blobs.ts';
import { refuse, send, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { isRepository, isTag } from '../../http-server/path.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { readableImage } from './asked-image.ts';
import { admitsNamespace, refuseUnknownPath } from './quay-api.ts';
import { claimantsOf } from '../claimants.ts';
import { answerDerived, progressOf, waitForJob, type DerivedAnswerOptions } from './derived-answer.ts';
import { NOT_STORED, sendProgress, waitFor, waitSilently } from './waiting.ts';

export interface AciRouteOptions extends DerivedAnswerOptions {
  /** What callers mean, and may read. */
  readonly resolver: SourceResolver;
  readonly signer: AciSigner;
  /** By which callers may mean this upstream; only these become names of ACIs. */
  readonly names: UpstreamNames;
}

interface AciQuestion extends AciRequestName {
  readonly kind: 'aci' | 'aci.asc';
}

/** `/c1/aci/SERVER/REPO/TAG/aci/OS/ARCH/`, and `.../aci.asc/OS/ARCH/` for its signature */
export function aciRoute(options: AciRouteOptions): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const question = questionOf(exchange.components);
    if (question === undefined) return refuseUnknownPath(exchange);
    // Before Authorization is read: a credential for another registry must not reach this upstream.
    if (!options.names.includes(question.server)) {
      const reason = `this service stands in front of another registry than ${question.server}`;
      return refuse(exchange, 404, 'NAME_UNKNOWN', reason, NOT_STORED);
    }
    if (!admitsNamespace(options.names, exchange)) return;
    // Throws where appc has no such name, before the registry is asked for anything.
    aciName(question);
    await answer(options, exchange, question);
  };
}

async function answer(
  options: AciRouteOptions,
  exchange: RequestContext,
  question: AciQuestion,
): Promise<void> {
  const { repository, tag, platform } = question;
  const asked = { repository, selector: tag, platform: platformOfAppc(platform) };
  const image = await readableImage(options.resolver, exchange, asked);
  if (image === undefined) return;
  const recipe = aciRecipe(question, options.signer, await options.signer.fingerprint());
  if (question.kind === 'aci.asc') return answerSignature(options, exchange, image, recipe);
  await answerDerived(options, exchange, {
    image,
    recipe,
    mediaType: 'application/octet-stream',
    fileName: `${aciName(question).replaceAll('/', '-')}-${tag}.aci`,
    isSilent: true,
  });
}

/**
 * rkt asks for the signature first, and takes one 202 for it and no more. Behind a balancer each of its requests may
 * come to another replica that has to make the image itself, so the answer is held back until it is made, but for
 * clients that say how long they wait (`?wait=`).
 */
async function answerSignature(
  { derived, secret }: AciRouteOptions,
  exchange: RequestContext,
  image: ImageName,
  recipe: Recipe,
): Promise<void> {
  const { authorization } = exchange.request.headers;
  const caller = { authorization, claimants: claimantsOf(exchange, secret) };
  const found = await derived.image(image, recipe, caller);
  const wait = exchange.query.has('wait') ? waitFor : waitSilently;
  const file = 'done' in found ? await waitForJob(found, exchange, wait) : found;
  if (file === undefined) {
    if ('done' in found) sendProgress(exchange, progressOf(found));
    return;
  }
  const headers = { ...NOT_STORED, 'content-type': 'application/pgp-signature' };
  send(exchange, 200, headers, file.notes[ACI_NOTES.signature] ?? '');
}

/** Parsed from the right: a repository may have any number of components, `aci` among them. */
function questionOf(components: readonly string[]): AciQuestion | undefined {
  const parts = components.at(-1) === '' ? components.slice(0, -1) : components;
  const [server = '', ...rest] = parts.slice(2, -4);
  const [tag = '', kind, os = '', arch = ''] = parts.slice(-4);
  const repository = rest.join('/');
  const platform = { os, arch };
  if (kind !== 'aci' && kind !== 'aci.asc') return undefined;
  if (!isRepository(repository) || !isTag(tag) || platformOfAppc(platform) === undefined) return undefined;
  return { server: server.toLowerCase(), repository, tag, platform, kind };
}

import type { AppcName } from '../../image/appc-name.ts';

/** Where an ACI and its signature lie. */
export interface AciPlace {
  readonly image: URL;
  /** Detached, `.aci.asc`. */
  readonly signature: URL;
}

/**
 * A template of a discovery tag filled in as rkt does it: every value as it is, `latest` where no version is asked for.
 * @returns undefined where something in braces is left, or no http(s) URL comes out
 */
export function renderTemplate(template: string, { name, labels }: AppcName): AciPlace | undefined {
  const values = Object.entries({ name, version: 'latest', ...labels });
  const filled = values.reduce((text, [key, value]) => text.replaceAll(`{${key}}`, () => value), template);
  const image = urlOf(filled.replaceAll('{ext}', 'aci'));
  const signature = urlOf(filled.replaceAll('{ext}', 'aci.asc'));
  return image === undefined || signature === undefined ? undefined : { image, signature };
}

function urlOf(text: string): URL | undefined {
  const url = /\{.*?\}/.test(text) ? null : URL.parse(text);
  const isUsable =
    url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
  return isUsable ? url : undefined;
}

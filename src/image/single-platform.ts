import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import type { RunnableImage } from './manifest.ts';
import { choosePlatform, formatPlatform, type Platform } from './platform.ts';
import { formatReference } from './reference.ts';

/** Whether an image's config says that it runs there. Old builders left out what they did not know. */
export function runsOnPlatform({ config }: Pick<RunnableImage, 'config'>, wanted: Platform): boolean {
  const { os, architecture, variant } = config;
  if (architecture === '') return true;
  const { variant: wantedVariant, ...plain } = wanted;
  const asked = variant === undefined || wantedVariant === undefined ? plain : wanted;
  const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  try {
    choosePlatform([{ platform, mediaType: '' }], asked);
    return true;
  } catch (error) {
    if (isQuayctlError(error, 'not-found')) return false;
    throw error;
  }
}

/**
 * An image without an index is for one platform. Whoever names another by `--platform` would get what he did not
 * ask for. @throws QuayctlError `not-found`
 */
export function assertPlatform(image: RunnableImage, wanted: Platform): void {
  if (image.index !== undefined || runsOnPlatform(image, wanted)) return;
  throw new QuayctlError(
    'not-found',
    `${formatReference(image.reference)} is not there for ${formatPlatform(wanted)}; it is an image for ` +
      `${formatPlatform(image.config)} alone`,
    { hint: 'without --platform it is pulled as it is' },
  );
}

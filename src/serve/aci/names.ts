/** An AC name (appc spec, "AC Name Type"): lower-case letters, digits, single hyphens between them. */
export function acName(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
}

/** The name, or with `-1`, `-2`, ... behind it the first that is not taken yet; it is then. */
export function unused(name: string, taken: Set<string>): string {
  let candidate = name;
  for (let count = 1; taken.has(candidate); count++) candidate = `${name}-${count}`;
  taken.add(candidate);
  return candidate;
}

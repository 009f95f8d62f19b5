import type { LayerSpec } from '../helpers/layers.ts';

/** A layer with dpkg's list of installed packages, which is all that Clair looks at in a Debian. */
export function statusLayer(packages: Readonly<Record<string, string>>): LayerSpec {
  const entries = Object.entries(packages).map(
    ([name, version]) =>
      `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\n`,
  );
  return { entries: [{ name: 'var/lib/dpkg/status', content: entries.join('\n') }] };
}

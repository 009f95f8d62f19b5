import type { JsonObject } from '../../image/json.ts';
import { acName, unused } from './names.ts';

/** rkt refuses an app without user and group; root is what Docker takes where none is named. */
const ROOT = '0';

/** The `app` of an ACI (appc spec, "Image Manifest Schema") from what a Docker or OCI config says of running it. */
export function appOf(json: JsonObject): JsonObject {
  const config = recordOf(json['config']);
  const exec = [...textsOf(config['Entrypoint']), ...textsOf(config['Cmd'])];
  const directory = config['WorkingDir'];
  return {
    exec: exec.length > 0 ? exec : null,
    ...ownerOf(config['User']),
    ...(typeof directory === 'string' && directory !== '' ? { workingDirectory: absolute(directory) } : {}),
    ...present('environment', environmentOf(config['Env'])),
    ...present('mountPoints', mountPointsOf(config['Volumes'])),
    ...present('ports', portsOf(config['ExposedPorts'])),
  };
}

/** `u:g`; of `u` alone the group is u as well, as docker2aci has it. */
function ownerOf(value: unknown): { user: string; group: string } {
  const [user = '', group = ''] = typeof value === 'string' ? value.split(':', 2) : [];
  const owner = user === '' ? ROOT : user;
  return { user: owner, group: group === '' ? owner : group };
}

/** Docker takes a relative one from the root; rkt takes none. */
function absolute(directory: string): string {
  return directory.startsWith('/') ? directory : `/${directory}`;
}

/** What rkt takes for the name of a variable (appc schema, types/environment.go). */
const VARIABLE = /^[A-Za-z_][A-Za-z_0-9.-]*$/;

/**
 * Entries without `=`, or with a name that only Docker takes, go away, and of two with one name the first: rkt refuses
 * the whole image for each.
 */
function environmentOf(value: unknown): readonly JsonObject[] {
  const variables = new Map<string, string>();
  for (const entry of textsOf(value)) {
    const at = entry.indexOf('=');
    const name = entry.slice(0, Math.max(0, at));
    if (VARIABLE.test(name)) variables.set(name, entry.slice(at + 1));
  }
  return [...variables].map(([name, text]) => ({ name, value: text }));
}

/** `/data/x_y` is `volume-data-x-y`. */
function mountPointsOf(value: unknown): readonly JsonObject[] {
  const taken = new Set<string>();
  return Object.keys(recordOf(value))
    .toSorted()
    .map((path) => ({ name: unused(acName(`volume/${path}`), taken), path }))
    .toSorted(byName);
}

/** `80/tcp` is `80-tcp`; what appc has no word for (sctp) goes away. */
function portsOf(value: unknown): readonly JsonObject[] {
  return Object.keys(recordOf(value))
    .flatMap((text) => {
      const [, digits, protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text.toLowerCase()) ?? [];
      const port = Number(digits);
      if (!(port >= 1 && port <= 65_535)) return [];
      return [{ name: `${port}-${protocol}`, protocol, port, count: 1, socketActivated: false }];
    })
    .filter(({ name }, at, all) => all.findIndex((other) => other.name === name) === at)
    .toSorted(byName);
}

function byName({ name: one }: { name: string }, { name: other }: { name: string }): number {
  return one < other ? -1 : 1;
}

function present(field: string, values: readonly JsonObject[]): JsonObject {
  return values.length === 0 ? {} : { [field]: values };
}

function recordOf(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}

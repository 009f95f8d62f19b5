import { DOCKER_HUB } from '../../image/docker-hub.ts';
import { certificateFile } from './certificate-file.ts';
import { editDaemonJson, objectOf } from './daemon-json.ts';
import { textOf } from './edit.ts';
import { hostsChange } from './plan-hosts.ts';
import { CERTIFICATE_PATH, type EnginePlan, type Planning } from './settings-request.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';
const CERTS_DIRECTORY = '/etc/docker/certs.d';
/** The first that reads hosts.toml with the containerd image store. */
const HOSTS_SINCE = 28;
/** Ports below it are root's. */
const FIRST_FREE_PORT = 1024;

/** Docker 28 and newer with the containerd store reads hosts.toml at every pull; others know mirrors of Docker Hub alone. */
export async function dockerPlan(planning: Planning): Promise<EnginePlan> {
  const { request, disk, facts } = planning;
  const { registries, certificate } = request;
  const daemon = await facts.docker();
  const file = await disk.read(DAEMON_JSON);
  const features = objectOf(file === undefined ? '{}' : textOf(file.bytes))?.['features'];
  const isByFile = (features as Record<string, unknown> | undefined)?.['containerd-snapshotter'] === true;
  const notes =
    daemon === undefined
      ? [`docker: the daemon does not answer; its image store is taken from ${DAEMON_JSON}`]
      : [];
  const readsHosts =
    daemon === undefined ? isByFile : daemon.hasContainerdStore && daemon.major >= HOSTS_SINCE;
  if (!readsHosts) return graphDriverPlan(planning, notes);
  const changes = certificate === undefined ? [] : [certificateFile(CERTIFICATE_PATH, certificate)];
  // Without `resolve` Docker asks the registry itself what a tag is, with the user's login, which it does not show a mirror.
  for (const registry of registries) {
    const form = { capabilities: ['pull'], mayHaveSecret: true } as const;
    changes.push(await hostsChange(registry, [CERTS_DIRECTORY], form, planning));
  }
  return { changes, notes, missing: [] };
}

function graphDriverPlan({ request, facts }: Planning, notes: readonly string[]): EnginePlan {
  const { registries, host, certificate } = request;
  const others = registries.filter((registry) => registry !== DOCKER_HUB);
  const missing = others.map(
    (registry) =>
      `docker: this Docker has mirrors for Docker Hub alone, not for ${registry}: quayctl docker torrent pull, or ` +
      'Docker 28 and newer with the containerd image store ("features": {"containerd-snapshotter": true})',
  );
  if (!registries.includes(DOCKER_HUB)) return { changes: [], notes, missing };
  if (facts.dockerdHasMirrorFlag) {
    const why =
      'docker: dockerd runs with --registry-mirror, beside which it takes no registry-mirrors from daemon.json';
    return {
      changes: [],
      notes,
      missing: [...missing, `${why}: add --registry-mirror=https://${host} there`],
    };
  }
  const url = `${certificate === undefined ? 'http' : 'https'}://${host}`;
  const port = Number(/\d+$/.exec(host)?.[0]);
  const takesAny =
    `docker: dockerd takes any certificate from loopback, so whoever may bind port ${port} while the mirror is down ` +
    'is believed: a port below 1024 (--listen 127.0.0.1:771, for both) is root’s';
  return {
    changes: [
      {
        path: DAEMON_JSON,
        mode: 0o644,
        edit: (before) => editDaemonJson(before === undefined ? undefined : textOf(before.bytes), url),
      },
    ],
    notes: port < FIRST_FREE_PORT ? notes : [...notes, takesAny],
    missing,
    reload: 'dockerd',
  };
}

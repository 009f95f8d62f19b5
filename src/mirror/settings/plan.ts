import { basename, dirname } from 'node:path';
import { containerdPlan } from './plan-containerd.ts';
import { dockerPlan } from './plan-docker.ts';
import { k3sPlan, podmanPlan } from './plan-podman.ts';
import type { SettingsDisk } from './settings-disk.ts';
import { ENGINE_NAMES, type EnginePlan, type MirroredEngine, type Planning } from './settings-request.ts';

export function planFor(engine: MirroredEngine, planning: Planning): Promise<EnginePlan> {
  switch (engine) {
    case 'containerd':
      return containerdPlan(planning);
    case 'docker':
      return dockerPlan(planning);
    case 'podman':
    case 'crio':
      return podmanPlan(engine, planning);
    case 'k3s':
      return k3sPlan(planning);
  }
}

/** Where each engine leaves a trace of itself. */
const TRACES: { readonly [Engine in MirroredEngine]: readonly string[] } = {
  containerd: ['/run/containerd/containerd.sock', '/etc/containerd/config.toml'],
  docker: ['/run/docker.sock', '/var/run/docker.sock', '/etc/docker/daemon.json'],
  podman: ['/etc/containers/registries.conf', '/etc/containers/policy.json'],
  crio: ['/etc/crio'],
  k3s: ['/etc/rancher'],
};

/** The engines that seem to be on this machine. */
export async function enginesHere(disk: SettingsDisk): Promise<MirroredEngine[]> {
  const here: MirroredEngine[] = [];
  for (const engine of ENGINE_NAMES) {
    for (const path of TRACES[engine]) {
      if (!(await disk.list(dirname(path))).includes(basename(path))) continue;
      here.push(engine);
      break;
    }
  }
  return here;
}

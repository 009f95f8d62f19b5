import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { mustRun, run } from '../helpers/processes.ts';
import { engineProgram, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';

const CHART = join(import.meta.dirname, '../../scripts/deploy/chart');
const SCHEMAS = join(import.meta.dirname, '../fixtures/kubernetes/{{.ResourceKind}}{{.KindSuffix}}.json');
/** A values file here, `NAME.values.yaml`, and what the chart makes of it, `NAME.yaml`. UPDATE=1 writes the latter anew. */
const CASES = join(import.meta.dirname, '../fixtures/chart');
/** A helm that `go install` built takes itself for that of an old cluster. */
const KUBERNETES = ['--kube-version', '1.36.3'];
const MINIMAL = [
  '--set',
  'mirror.registries={registry.example.com}',
  '--set',
  'serve.upstream=https://registry.example.com',
];

interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: { readonly template: { readonly spec: PodSpec } };
}
interface PodSpec {
  readonly hostNetwork?: boolean;
  readonly automountServiceAccountToken: boolean;
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly securityContext: {
      readonly readOnlyRootFilesystem: boolean;
      readonly allowPrivilegeEscalation: boolean;
      readonly capabilities: { readonly drop: readonly string[] };
    };
  }[];
}

describe('the Helm chart', { skip: skipWithout('go:helm', 'go:kubeconform') }, () => {
  async function template(...values: readonly string[]): Promise<string> {
    return mustRun(engineProgram('helm'), [
      'template',
      ...KUBERNETES,
      'edge',
      CHART,
      '--namespace',
      'pulls',
      ...values,
    ]);
  }

  async function refused(values: readonly string[]): Promise<string> {
    const ended = await run(engineProgram('helm'), ['template', ...KUBERNETES, 'edge', CHART, ...values]);
    assert.notEqual(ended.code, 0);
    return ended.stderr;
  }

  function objects(rendered: string): KubernetesObject[] {
    return parseAllDocuments(rendered)
      .map((document) => document.toJS() as KubernetesObject | null)
      .filter((each) => each !== null);
  }

  test('helm lint finds nothing', async () => {
    const said = await mustRun(engineProgram('helm'), ['lint', '--strict', CHART, ...MINIMAL]);
    assert.match(said, /0 chart\(s\) failed/);
  });

  test('what it makes of each of our values files is as it was, and right by the strict schemas of Kubernetes', async (t) => {
    const files = (await readdir(CASES)).filter((file) => file.endsWith('.values.yaml'));
    assert.ok(files.length >= 3);
    const folder = await tempDirectory(t, 'chart');
    for (const file of files) {
      const rendered = withoutSecrets(await template('--values', join(CASES, file)));
      const golden = join(CASES, file.replace('.values', ''));
      if (process.env['UPDATE'] === '1') await writeFile(golden, rendered);
      assert.equal(rendered, await readFile(golden, 'utf8'), file);
      const place = join(folder, file);
      await writeFile(place, rendered);
      await mustRun(engineProgram('kubeconform'), ['-strict', '-schema-location', SCHEMAS, place]);
    }
  });

  test('the example of values is taken', async () => {
    const example = join(import.meta.dirname, '../../scripts/deploy/examples/kubernetes-values.yaml');
    const kinds = objects(await template('--values', example)).map(({ kind }) => kind);
    assert.ok(kinds.includes('DaemonSet') && kinds.includes('Deployment'));
  });

  test('a misspelt field would be found', async (t) => {
    const folder = await tempDirectory(t, 'chart');
    const rendered = (await template(...MINIMAL)).replace('hostNetwork:', 'hostNetwrok:');
    await writeFile(join(folder, 'wrong.yaml'), rendered);
    const place = join(folder, 'wrong.yaml');
    const ended = await run(engineProgram('kubeconform'), ['-strict', '-schema-location', SCHEMAS, place]);
    assert.equal(ended.code, 1);
    assert.match(ended.stdout, /hostNetwrok/);
  });

  test('no pod has a privilege, a right at the API server or a writable root', async () => {
    const all = objects(await template(...MINIMAL, '--set', 'monitoring.podMonitor.enabled=true'));
    const pods = all.filter(({ kind }) => kind === 'DaemonSet' || kind === 'Deployment');
    assert.equal(pods.length, 2);
    for (const { spec } of pods) {
      assert.equal(spec.template.spec.automountServiceAccountToken, false);
      for (const { securityContext } of spec.template.spec.containers) {
        assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] });
        assert.equal(securityContext.readOnlyRootFilesystem, true);
        assert.equal(securityContext.allowPrivilegeEscalation, false);
      }
    }
    assert.ok(all.every(({ kind }) => !kind.includes('Role') && kind !== 'ServiceAccount'));
  });

  test('every flag that it gives is one of ours', async () => {
    const quayctl = join(import.meta.dirname, '../../bin/quayctl');
    const values = ['--values', join(CASES, 'everything.values.yaml')];
    const all = objects(await template(...values)).filter(
      ({ kind }) => kind === 'DaemonSet' || kind === 'Deployment',
    );
    for (const { spec } of all) {
      const args = spec.template.spec.containers[0]?.args ?? [];
      const help = await mustRun(quayctl, [args[0] ?? '', '--help']);
      const flags = args.slice(1).map((argument) => argument.split('=')[0] ?? '');
      for (const flag of flags)
        assert.match(help, new RegExp(`^ +${flag}\\b`, 'm'), `quayctl ${args[0]} ${flag}`);
    }
  });

  test('what is missing or wrong is said with the value to set', async () => {
    assert.match(await refused([]), /mirror\.registries names the registries/);
    assert.match(
      await refused(['--set', 'mirror.registries={registry.example.com}']),
      /set serve\.upstream .* or mirror\.torrentService/,
    );
    assert.match(await refused([...MINIMAL, '--set', 'serve.replicas=2']), /serve\.secretsSecret/);
    assert.match(await refused([...MINIMAL, '--set', 'mirror.registry=x']), /registry/);
    assert.match(await refused([...MINIMAL, '--set', 'mirror.peerPorts.lower=0']), /minimum/);
  });
});

/** Keys, certificates and tokens are new each time. */
function withoutSecrets(rendered: string): string {
  return rendered.replaceAll(/^( {2}(?:ca\.crt|tls\.crt|tls\.key|token): )[A-Za-z0-9+/=]+$/gm, '$1c2VjcmV0');
}

/**
 * Writes the strict JSON schemas of the kinds that the Helm chart uses, for kubeconform, out of Kubernetes' own OpenAPI
 * description and the custom resources of Prometheus' operator, both as their Go modules carry them. Needs Go; its output is
 * kept in the tree, so that tests need no download.
 *   node scripts/kubernetes-schemas.ts
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KUBERNETES = 'k8s.io/kubernetes@v1.36.3';
const OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const FOLDER = join(import.meta.dirname, '../test/fixtures/kubernetes');

/** Names in Kubernetes' description, by the file that kubeconform asks for: kind, group and version in lower case. */
const KINDS = {
  'configmap-v1': 'io.k8s.api.core.v1.ConfigMap',
  'daemonset-apps-v1': 'io.k8s.api.apps.v1.DaemonSet',
  'deployment-apps-v1': 'io.k8s.api.apps.v1.Deployment',
  'persistentvolumeclaim-v1': 'io.k8s.api.core.v1.PersistentVolumeClaim',
  'pod-v1': 'io.k8s.api.core.v1.Pod',
  'secret-v1': 'io.k8s.api.core.v1.Secret',
  'service-v1': 'io.k8s.api.core.v1.Service',
};
const CUSTOM = {
  'podmonitor-monitoring-v1': 'podmonitors-crd.json',
  'prometheusrule-monitoring-v1': 'prometheusrules-crd.json',
};

interface Schema {
  readonly [key: string]: unknown;
}
interface CustomResource {
  readonly spec: { readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[] };
}

function moduleFolder(name: string): string {
  const said = execFileSync('go', ['mod', 'download', '-json', name], { cwd: '/', encoding: 'utf8' });
  return (JSON.parse(said) as { Dir: string }).Dir;
}

/** Without prose and extensions; an object with named properties takes no others, so that a misspelt one is found. */
function strict(schema: unknown, found: (name: string) => void): unknown {
  if (Array.isArray(schema)) return schema.map((part) => strict(part, found));
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(([key, value]) => {
    return !(key.startsWith('x-kubernetes') || (key === 'description' && typeof value === 'string'));
  });
  const result = Object.fromEntries(entries.map(([key, value]) => [key, strict(value, found)]));
  // an integer or a string, which the description writes as a string of this format
  if (result['format'] === 'int-or-string' || 'x-kubernetes-int-or-string' in schema) {
    delete result['format'];
    delete result['anyOf'];
    result['type'] = ['integer', 'string'];
  }
  if ('properties' in result && !('x-kubernetes-preserve-unknown-fields' in schema)) {
    result['additionalProperties'] = false;
  }
  const reference = result['$ref'];
  if (typeof reference === 'string') found(reference.slice('#/definitions/'.length));
  return result;
}

function withDefinitions(name: string, all: Readonly<Record<string, Schema>>): Schema {
  const definitions: Record<string, unknown> = {};
  const wanted = [name];
  for (let next = wanted.pop(); next !== undefined; next = wanted.pop()) {
    if (next in definitions) continue;
    let schema = strict(all[next], (other) => wanted.push(other));
    // the description calls a quantity (`64Mi`, or a number) a string
    if (next.endsWith('.Quantity')) schema = { type: ['string', 'number'] };
    if (next.endsWith('.IntOrString')) schema = { type: ['string', 'integer'] };
    definitions[next] = schema;
  }
  return { $ref: `#/definitions/${name}`, definitions };
}

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
const description = JSON.parse(
  readFileSync(join(moduleFolder(KUBERNETES), 'api/openapi-spec/swagger.json'), 'utf8'),
) as { definitions: Record<string, Schema> };
for (const [file, name] of Object.entries(KINDS)) {
  writeFileSync(
    join(FOLDER, `${file}.json`),
    `${JSON.stringify(withDefinitions(name, description.definitions))}\n`,
  );
}
const operator = join(moduleFolder(OPERATOR), 'jsonnet/prometheus-operator');
for (const [file, source] of Object.entries(CUSTOM)) {
  const custom = JSON.parse(readFileSync(join(operator, source), 'utf8')) as CustomResource;
  const schema = strict(custom.spec.versions[0]?.schema.openAPIV3Schema, () => {});
  // `metadata` is any object in a custom resource's own schema
  const open = schema as { properties: { metadata: unknown } };
  open.properties.metadata = { type: 'object' };
  writeFileSync(join(FOLDER, `${file}.json`), `${JSON.stringify(schema)}\n`);
}

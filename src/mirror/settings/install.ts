import { isQuayctlError } from '../../base/errors.ts';
import { apply, prepare, takeBack, type Applied } from './apply.ts';
import { planFor } from './plan.ts';
import { sha256, type SettingsDisk } from './settings-disk.ts';
import type { RecordedFile, SettingsRecord } from './settings-record.ts';
import type { EnginePlan, MirroredEngine, Planning } from './settings-request.ts';

/** What was done, or would be. */
export interface InstallReport {
  readonly files: readonly Applied[];
  readonly notes: readonly string[];
  /** Why an engine does not ask the mirror yet. */
  readonly missing: readonly string[];
  readonly reload: ReadonlySet<NonNullable<EnginePlan['reload']>>;
}

/**
 * Writes the settings of each engine; where those of one cannot be written, none of that engine's are.
 * @param isDry nothing is written
 * @throws the error of a system call; what was written until then is on record, but for the engine that failed
 */
export async function installSettings(
  engines: readonly MirroredEngine[],
  planning: Planning,
  isDry: boolean,
): Promise<InstallReport> {
  const { disk, record } = planning;
  const files = new Map<string, Applied>();
  const notes: string[] = [];
  const missing: string[] = [];
  const reload = new Set<NonNullable<EnginePlan['reload']>>();
  for (const engine of engines) {
    try {
      const plan = await planFor(engine, planning);
      notes.push(...plan.notes);
      missing.push(...plan.missing);
      const prepared = [];
      for (const change of plan.changes) prepared.push(await prepare(change, disk, record));
      const applied = isDry
        ? prepared.map(({ file, found, content }): Applied => {
            const isThere = found?.bytes.equals(content) === true && record.find(file.path) !== undefined;
            return { path: file.path, kind: isThere ? 'unchanged' : 'written' };
          })
        : await apply(prepared, disk, record);
      for (const each of applied) if (!files.has(each.path)) files.set(each.path, each);
      const isChanged = applied.some(({ kind }) => kind === 'written');
      if (plan.reload !== undefined && isChanged) reload.add(plan.reload);
    } catch (error) {
      if (!isQuayctlError(error, 'unsupported', 'limit')) throw error;
      missing.push(`${engine}: ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}`);
    }
  }
  return { files: [...files.values()], notes: [...new Set(notes)], missing, reload };
}

/** Takes back whatever install wrote, the last first. */
export async function uninstallSettings(
  disk: SettingsDisk,
  record: SettingsRecord,
  isDry: boolean,
): Promise<readonly Applied[]> {
  if (isDry) return record.files.toReversed().map(({ path }): Applied => ({ path, kind: 'restored' }));
  const files: Applied[] = [];
  for (const { path } of record.files.toReversed()) files.push(await takeBack(path, disk, record));
  if (record.files.length === 0) await record.clear();
  return files;
}

/** What is left of what install wrote. */
export interface SettingsState {
  readonly path: string;
  /** `edited`: our part is as it was, the rest of the file is not. */
  readonly state: 'in force' | 'edited' | 'not there';
}

export async function settingsStates(
  disk: SettingsDisk,
  record: SettingsRecord,
): Promise<readonly SettingsState[]> {
  const states: SettingsState[] = [];
  for (const file of record.files) states.push({ path: file.path, state: await stateOf(file, disk) });
  return states;
}

async function stateOf({ path, ours }: RecordedFile, disk: SettingsDisk): Promise<SettingsState['state']> {
  const found = await disk.read(path);
  if (found === undefined) return 'not there';
  if (ours.some(({ after }) => after === sha256(found.bytes))) return 'in force';
  return ours.some(({ inserted }) => found.bytes.includes(inserted)) ? 'edited' : 'not there';
}

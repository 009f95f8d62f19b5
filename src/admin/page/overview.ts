import type { Status, Sums } from '../status.ts';
import { byId, h, update } from './dom.ts';
import { bytes, bytesInParts, counted, date, peerShare, percent, rate } from './format.ts';

/** What was saved, and what is going on now. */
export class Overview {
  #status: Status | undefined;
  #overAll = false;

  constructor() {
    const [day, all] = [byId('over-day'), byId('over-all')];
    const choose = (overAll: boolean) => (): void => {
      this.#overAll = overAll;
      day.setAttribute('aria-pressed', String(!overAll));
      all.setAttribute('aria-pressed', String(overAll));
      if (this.#status !== undefined) this.#showSaved(this.#status);
    };
    day.addEventListener('click', choose(false));
    all.addEventListener('click', choose(true));
  }

  show(status: Status): void {
    this.#status = status;
    this.#showSaved(status);
    byId('upstream').textContent =
      status.role === 'mirror' ? `mirror of ${status.upstreams.join(', ')}` : status.upstreams.join(', ');
    byId('over-all').textContent = `since ${date(status.total.since)}`;
    const { now } = status;
    const tiles = [
      tile(
        'Swarms',
        now.swarms.toLocaleString('en'),
        now.swarms === 0 ? 'nobody is in one' : 'with nodes in them',
      ),
      tile(status.role === 'mirror' ? 'Peers' : 'Nodes', now.nodes.toLocaleString('en'), nodesWords(status)),
      tile('Pulling', now.leeches.toLocaleString('en'), counted(now.leeches, 'layer')),
      tile('Rate', rate(now.rate), 'all nodes together'),
    ];
    update(byId('now'), h('dl', { id: 'now', class: 'tiles' }, ...tiles));
    update(byId('notices'), h('section', { id: 'notices' }, ...notices(status)));
    byId('source').textContent = sourceWords(status);
    document.title = now.leeches > 0 ? `${rate(now.rate)} – quayctl` : 'quayctl';
  }

  #showSaved(status: Status): void {
    const sums = this.#overAll ? status.total : status.day;
    const { fromPeers, fromRegistry } = sums;
    const share = peerShare(sums);
    const [number, unit] = bytesInParts(fromPeers);
    const saved = byId('saved');
    const isEmpty = share === undefined;
    update(
      saved,
      isEmpty
        ? h('span', { id: 'saved' }, 'Nothing yet')
        : h('span', { id: 'saved' }, number, h('span', { class: 'unit' }, unit)),
    );
    byId('page').dataset['state'] = isEmpty ? 'empty' : 'full';
    byId('saved-words').textContent = savedWords(sums, share);
    const [peers, registry] = byId('split').children;
    if (peers instanceof HTMLElement && registry instanceof HTMLElement) {
      peers.style.width = `${(share ?? 0) * 100}%`;
      registry.style.width = isEmpty ? '0' : `${(1 - share) * 100}%`;
    }
    const rows = [
      h('div', {}, h('dt', {}, 'Nodes received'), h('dd', {}, bytes(fromPeers + fromRegistry))),
      h('div', { class: 'peers' }, h('dt', {}, 'from peers'), h('dd', {}, bytes(fromPeers))),
      h('div', { class: 'registry' }, h('dt', {}, 'from the registry'), h('dd', {}, bytes(fromRegistry))),
    ];
    update(byId('sums'), h('dl', { id: 'sums', class: 'sums' }, ...rows));
  }
}

function savedWords({ fromPeers, fromRegistry }: Sums, share: number | undefined): string {
  if (share === undefined) return 'Nodes report here what they pull, as soon as they do.';
  if (fromPeers === 0)
    return 'Every byte came from the registry so far: a second node would take them from the first.';
  if (fromRegistry === 0) return 'Every byte came from peers.';
  const times = (fromPeers + fromRegistry) / fromRegistry;
  const factor = times >= 10 ? Math.round(times).toString() : times.toFixed(1);
  return `${percent(share)} of what nodes received came from peers. Without them the registry would have given ${factor} times as much.`;
}

function tile(name: string, value: string, words: string): HTMLElement {
  return h(
    'div',
    { 'data-key': name },
    h('dt', {}, name),
    h('dd', {}, value),
    h('dd', { class: 'small' }, words),
  );
}

function nodesWords({ now }: Status): string {
  if (now.nodes === 0) return 'none is here';
  return `${counted(now.seeds, 'copy', 'copies')} seeded`;
}

function notices(status: Status): HTMLElement[] {
  const found: string[] = [];
  if (status.tracker === 'external') {
    found.push(
      'An external tracker is used. Nodes are known by their requests for torrents and their reports alone: seeds are not seen any more a minute after their pull.',
    );
  }
  if (status.isPartial)
    found.push('There are more swarms or nodes than are followed here; sums count all of them.');
  return found.map((text) => h('p', { class: 'notice' }, text));
}

function sourceWords({ role, version, startedAt }: Status): string {
  const from =
    role === 'mirror'
      ? 'Numbers are this node’s own.'
      : 'Numbers are what nodes report, byte for byte as in their receipts; nodes with --no-report and layers below 1 MiB are not in them.';
  return `${from} quayctl ${version}, running since ${new Date(startedAt).toLocaleString()}. The same as JSON: /api/v1/status.`;
}

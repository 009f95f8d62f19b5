import type { Page, SwarmDetail, SwarmRow } from '../status.ts';
import { bar, byId, h, update } from './dom.ts';
import { ago, bytes, counted, peerShare, percent, rate, seconds, shortDigest } from './format.ts';
import { drawWaves, wave } from './wave.ts';

const KINDS: Readonly<Record<SwarmRow['kind'], string>> = {
  layer: '',
  squashed: 'squashed image',
  aci: 'ACI',
};

/** Swarms by image; one of them may be open. */
export class Swarms {
  /** Of the one that is open. */
  #open: string | undefined;
  #page: Page<SwarmRow> | undefined;
  #detail: SwarmDetail | undefined;
  #isMirror = false;
  readonly #onOpen: (id: string | undefined) => void;

  /** @param onOpen told which swarm is to be followed */
  constructor(onOpen: (id: string | undefined) => void) {
    this.#onOpen = onOpen;
    this.#open = /^#swarm=([0-9a-f]+)$/.exec(location.hash)?.[1];
    byId('swarm-list').addEventListener('click', (event) => {
      const row = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-swarm]') : null;
      if (row !== null && getSelection()?.isCollapsed !== false) this.#toggle(row.dataset['swarm'] ?? '');
    });
    addEventListener('resize', () => drawWaves(byId('swarm-list')));
  }

  get open(): string | undefined {
    return this.#open;
  }

  show(page: Page<SwarmRow>): void {
    this.#page = page;
    this.#render();
  }

  showDetail(detail: SwarmDetail | null): void {
    this.#detail = detail ?? undefined;
    this.#render();
  }

  set isMirror(isMirror: boolean) {
    this.#isMirror = isMirror;
  }

  #toggle(id: string): void {
    this.#open = this.#open === id ? undefined : id;
    this.#detail = undefined;
    history.replaceState(null, '', this.#open === undefined ? '#' : `#swarm=${this.#open}`);
    this.#onOpen(this.#open);
    this.#render();
  }

  #render(): void {
    if (this.#page === undefined) return;
    const { rows, total } = this.#page;
    byId('swarms-count').textContent =
      total > rows.length ? `${rows.length} of ${total.toLocaleString('en')}` : total.toLocaleString('en');
    const list = byId('swarm-list');
    update(list, h('div', { id: 'swarm-list' }, rows.length === 0 ? this.#nothing() : this.#table(rows)));
    drawWaves(list);
  }

  #nothing(): HTMLElement {
    const isFiltered = document.querySelector<HTMLInputElement>('#filter')?.value !== '';
    if (isFiltered) return h('p', { class: 'empty' }, 'No swarm matches the filter.');
    return h(
      'div',
      { class: 'empty' },
      h('p', {}, 'No layer has been asked for yet.'),
      h(
        'p',
        { class: 'small' },
        this.#isMirror ? 'It begins with the first pull of an engine on this machine.' : 'On a node:',
      ),
      this.#isMirror
        ? undefined
        : h('code', {}, `quayctl pull HOST/IMAGE --torrent-service http://THIS-HOST:PORT`),
    );
  }

  #table(rows: readonly SwarmRow[]): HTMLElement {
    const heads = ['Layer', 'Done', 'Nodes', 'Rate', 'From peers', 'Last node'];
    return h(
      'table',
      { class: 'swarms' },
      h('caption', { class: 'unseen' }, 'Swarms by image'),
      h('thead', {}, h('tr', {}, ...heads.map((text) => h('th', { scope: 'col' }, text)))),
      ...byImage(rows).map(([name, group]) => this.#group(name, group)),
    );
  }

  #group(name: string, rows: readonly SwarmRow[]): HTMLElement {
    const [first] = rows;
    const sums = {
      fromPeers: rows.reduce((sum, row) => sum + row.fromPeers, 0),
      fromRegistry: rows.reduce((sum, row) => sum + row.fromRegistry, 0),
    };
    const tags = first?.tags ?? [];
    const image = h(
      'tr',
      { class: 'image', 'data-key': 'image' },
      h(
        'th',
        { colspan: 6, scope: 'colgroup' },
        h(
          'span',
          { class: 'repository' },
          first?.repository === '' ? 'unknown repository' : (first?.repository ?? ''),
        ),
        ...tags.map((tag) => h('span', { class: 'tag' }, tag)),
        h('span', { class: 'small' }, `${counted(rows.length, 'layer')}, ${bytes(sums.fromPeers)} saved`),
      ),
    );
    return h('tbody', { 'data-key': name }, image, ...rows.flatMap((row) => this.#rows(row)));
  }

  #rows(row: SwarmRow): HTMLElement[] {
    const isOpen = row.id === this.#open;
    const share = peerShare(row);
    const name = h(
      'button',
      {
        type: 'button',
        class: 'opener',
        'aria-expanded': String(isOpen),
        'aria-controls': `swarm-${row.id}`,
      },
      h('span', { class: 'digest' }, shortDigest(row.digest)),
    );
    const kind = KINDS[row.kind];
    const nodes = row.seeds + row.leeches;
    const cells = [
      h(
        'td',
        { class: 'name' },
        name,
        h('span', { class: 'small' }, `${bytes(row.size)}${kind === '' ? '' : `, ${kind}`}`),
      ),
      h('td', { class: 'done' }, doneOf(row)),
      h(
        'td',
        { class: 'nodes', 'data-label': 'nodes' },
        nodes === 0
          ? h('span', { class: 'small' }, 'nobody')
          : h('span', {}, `${row.seeds} done, ${row.leeches} pulling`),
      ),
      h('td', { class: 'number', 'data-label': 'rate' }, rate(row.rate)),
      h(
        'td',
        { class: 'share', 'data-label': 'from peers' },
        share === undefined
          ? h('span', { class: 'small' }, '–')
          : h(
              'span',
              { class: 'pair' },
              bar(share, `${percent(share)} from peers`, 'peers'),
              h('span', {}, percent(share)),
            ),
      ),
      h('td', { class: 'number', 'data-label': 'last node' }, lastOf(row)),
    ];
    const line = h(
      'tr',
      { 'data-key': row.id, 'data-swarm': row.id, class: isOpen ? 'layer open' : 'layer' },
      ...cells,
    );
    if (!isOpen) return [line];
    const detail =
      this.#detail?.id === row.id ? wave(this.#detail) : h('p', { class: 'empty' }, 'Asking its nodes…');
    const id = `swarm-${row.id}`;
    return [line, h('tr', { 'data-key': id, class: 'detail' }, h('td', { colspan: 6, id }, detail))];
  }
}

function doneOf(row: SwarmRow): HTMLElement {
  if (row.leeches === 0) {
    const text = row.seeds === 0 ? 'idle' : 'all have it';
    return h('span', { class: row.seeds === 0 ? 'small' : 'state good' }, text);
  }
  const words = `median ${percent(row.medianDone)}`;
  return h(
    'span',
    { class: 'pair' },
    bar(row.medianDone, words, 'here'),
    h('span', { title: words }, percent(row.medianDone)),
  );
}

function lastOf({ leeches, etaSeconds, seenAt }: SwarmRow): string {
  if (leeches === 0) return ago(seenAt, Date.now());
  return etaSeconds === undefined ? 'waiting' : `in ${seconds(etaSeconds)}`;
}

/** Layers of one image beside each other, in the order in which the first of each came. */
function byImage(rows: readonly SwarmRow[]): [string, SwarmRow[]][] {
  const groups = new Map<string, SwarmRow[]>();
  for (const row of rows) {
    const name = JSON.stringify([row.repository, row.tags]);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [row]);
    else group.push(row);
  }
  return [...groups];
}

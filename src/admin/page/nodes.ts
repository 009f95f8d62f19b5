import type { NodeRow, Page, Status } from '../status.ts';
import { bar, byId, h, update } from './dom.ts';
import { ago, bytes, peerShare, percent, rate } from './format.ts';

const REACHABLE: Readonly<Record<NodeRow['reachable'], readonly [mark: string, words: string]>> = {
  yes: ['good', 'reachable'],
  no: ['bad', 'not reachable'],
  unknown: ['', ''],
};

export function showNodes({ rows, total }: Page<NodeRow>, role: Status['role'] | undefined): void {
  byId('nodes-count').textContent =
    total > rows.length ? `${rows.length} of ${total.toLocaleString('en')}` : total.toLocaleString('en');
  const empty =
    role === 'mirror'
      ? 'No peer is connected.'
      : 'No node is known. One is seen as soon as it asks for a torrent and announces.';
  const list = rows.length === 0 ? h('p', { class: 'empty' }, empty) : table(rows);
  update(byId('node-list'), h('div', { id: 'node-list' }, list));
}

function table(rows: readonly NodeRow[]): HTMLElement {
  const heads = ['Node', 'Does', 'Received', 'From peers', 'Given', 'Rate', 'Seen'];
  return h(
    'table',
    { class: 'nodes' },
    h('caption', { class: 'unseen' }, 'Nodes'),
    h('thead', {}, h('tr', {}, ...heads.map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, ...rows.map(row)),
  );
}

function row(node: NodeRow): HTMLElement {
  const share = peerShare(node);
  const [mark, words] = REACHABLE[node.reachable];
  const address = node.address.includes(':') ? `[${node.address}]` : node.address;
  const about = [words, node.version].filter((text) => text !== '' && text !== undefined).join(', ');
  return h(
    'tr',
    { 'data-key': node.id, class: node.isHere ? '' : 'gone' },
    h(
      'th',
      { scope: 'row', class: 'name' },
      h(
        'span',
        { class: `address ${mark}` },
        node.port === undefined ? node.address : `${address}:${node.port}`,
      ),
      h('span', { class: 'small' }, about),
    ),
    h('td', { class: 'does' }, doing(node), h('span', { class: 'small' }, node.names.join(', '))),
    h('td', { class: 'number', 'data-label': 'received' }, bytes(node.fromPeers + node.fromRegistry)),
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
    h('td', { class: 'number', 'data-label': 'given' }, bytes(node.given)),
    h('td', { class: 'number', 'data-label': 'rate' }, rate(node.rate)),
    h('td', { class: 'number', 'data-label': 'seen' }, ago(node.seenAt, Date.now())),
  );
}

function doing({ pulls, holds, isHere }: NodeRow): HTMLElement {
  if (!isHere) return h('span', { class: 'state' }, 'has left');
  if (pulls === 0) return h('span', { class: 'state good' }, `seeds ${holds}`);
  return h(
    'span',
    { class: 'state busy' },
    holds === 0 ? `pulls ${pulls}` : `pulls ${pulls}, seeds ${holds}`,
  );
}

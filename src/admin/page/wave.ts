import type { MemberRow, SwarmDetail } from '../status.ts';
import { bar, h } from './dom.ts';
import { bytes, counted, peerShare, percent, rate } from './format.ts';

const HEIGHT = 14;
/** What is known of a piece of a node. */
const MISSING = 0;
const HERE = 1;
const FETCHING = 2;
const CLAIMED = 3;

/** A row for each node of a swarm, with a picture of its pieces: one sees the wave go through. */
export function wave({ members, pieces }: SwarmDetail): HTMLElement {
  if (members.length === 0) {
    return h('p', { class: 'empty' }, 'Nobody is in this swarm now.');
  }
  const rows = members.map((member) => memberRow(member, pieces));
  const legend = h(
    'p',
    { class: 'legend' },
    h('span', { class: 'key here' }, 'here'),
    h('span', { class: 'key fetching' }, 'on its way from peers'),
    h('span', { class: 'key registry' }, 'taken from the registry'),
    h('span', {}, `${counted(pieces, 'piece')} of ${counted(members.length, 'node')}`),
  );
  return h('div', { class: 'wave' }, legend, h('ul', { class: 'members' }, ...rows));
}

function memberRow(member: MemberRow, pieces: number): HTMLElement {
  const share = peerShare(member);
  const words = member.isSeed
    ? 'has everything'
    : `${percent(member.done)}${member.rate > 0 ? `, ${rate(member.rate)}` : ''}`;
  const from = share === undefined ? '' : `${percent(share)} from peers`;
  return h(
    'li',
    { 'data-key': `${member.node} ${member.have === undefined}` },
    h('span', { class: 'who' }, member.address),
    picture(member, pieces, `${member.address}: ${words}`),
    h('span', { class: 'how' }, words),
    h('span', { class: 'small', title: `${bytes(member.fromPeers)} from peers` }, from),
  );
}

function picture(member: MemberRow, pieces: number, label: string): HTMLElement {
  const states = statesOf(member, pieces);
  if (states === undefined) return bar(member.done, label, 'here');
  const canvas = h('canvas', { role: 'img', 'aria-label': label, height: HEIGHT });
  // Drawn anew for each report; what is drawn lies in the element that stays.
  canvas.dataset['states'] = states.join('');
  return canvas;
}

/** Undefined until the node has told. */
function statesOf(
  { have, fetching = [], claimed = [], isSeed }: MemberRow,
  pieces: number,
): number[] | undefined {
  if (isSeed) return undefined;
  if (have === undefined) return undefined;
  const bits = Uint8Array.from(atob(have), (character) => character.charCodeAt(0));
  const states = Array.from({ length: pieces }, (_, at) => ((bits[at >> 3] ?? 0) >> (7 - (at & 7))) & 1);
  for (const at of fetching) if (states[at] === MISSING) states[at] = FETCHING;
  for (const at of claimed) if (states[at] !== HERE) states[at] = CLAIMED;
  return states;
}

/** Draws the pictures below an element. */
export function drawWaves(place: Element): void {
  const style = getComputedStyle(document.documentElement);
  const colors = ['missing', 'here', 'fetching', 'registry'].map((name) =>
    style.getPropertyValue(`--${name}`).trim(),
  );
  for (const canvas of place.querySelectorAll('canvas')) draw(canvas, colors);
}

function draw(canvas: HTMLCanvasElement, colors: readonly string[]): void {
  const states = canvas.dataset['states'] ?? '';
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const height = Math.round(HEIGHT * devicePixelRatio);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext('2d');
  if (context === null) return;
  const step = width / states.length;
  const gap = step >= 4 ? 1 : 0;
  context.clearRect(0, 0, width, height);
  for (let at = 0; at < states.length; at++) {
    context.fillStyle = colors[Number(states[at])] ?? '';
    // Of pieces that are narrower than a pixel the last one is seen.
    const left = Math.floor(at * step);
    context.fillRect(left, 0, Math.max(1, Math.floor((at + 1) * step) - left - gap), height);
  }
}

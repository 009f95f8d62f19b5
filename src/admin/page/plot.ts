import uPlot from 'uplot';
import type { History } from '../status.ts';
import { byId } from './dom.ts';
import { bytes } from './format.ts';

const HEIGHT = 210;
const NARROW = 480;
/** More are no bars any more, but lines. */
const MOST_BARS = 90;

/** What nodes received per minute: from the registry, and on top of it from peers. */
export class Plot {
  readonly #place = byId('plot');
  #plot: uPlot | undefined;
  #history: History | undefined;
  /** Undefined until the first history, or the user, says which range is of interest. */
  #minutes: number | undefined;

  constructor() {
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#place);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#again());
    for (const button of choices())
      button.addEventListener('click', () => this.#choose(Number(button.dataset['minutes'])));
  }

  show(history: History): void {
    this.#history = history;
    if (this.#minutes === undefined) this.#choose(shortestWithAny(history));
    else this.#draw();
  }

  #choose(minutes: number): void {
    this.#minutes = minutes;
    for (const each of choices())
      each.setAttribute('aria-pressed', String(Number(each.dataset['minutes']) === minutes));
    this.#again();
  }

  /** Colours and the shape of the series are given when a plot is made. */
  #again(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#draw();
  }

  #draw(): void {
    if (this.#history === undefined || this.#minutes === undefined) return;
    const data = dataOf(this.#history, this.#minutes);
    this.#plot ??= this.#make(data);
    this.#plot.setData(data);
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(200, this.#place.clientWidth), height: HEIGHT };
  }

  #make(data: uPlot.AlignedData): uPlot {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const font = '12px system-ui, sans-serif';
    const axis = { stroke: color('muted'), font, ticks: { show: false } };
    const grid = { stroke: color('line'), width: 1 };
    const isShort = data[0].length <= MOST_BARS;
    const drawn = isShort
      ? uPlot.paths.bars?.({ size: [0.72, 28], radius: 0.15 })
      : uPlot.paths.stepped?.({ align: 1 });
    const paths = drawn === undefined ? {} : { paths: drawn };
    const options: uPlot.Options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      padding: [8, 4, 0, 0],
      scales: { y: { range: (_, _min, max) => [0, Math.max(1000, max * 1.08)] } },
      axes: [
        { ...axis, grid: { show: false }, space: this.#place.clientWidth < NARROW ? 60 : 80, values: times },
        { ...axis, grid, size: 62, space: 40, values: (_, splits) => splits.map((value) => bytes(value)) },
      ],
      series: [
        {},
        {
          ...paths,
          label: 'received',
          stroke: color('peers'),
          fill: color(isShort ? 'peers' : 'peers-soft'),
          width: 1.5,
          points: { show: false },
        },
        {
          ...paths,
          label: 'registry',
          stroke: color('registry'),
          fill: color(isShort ? 'registry' : 'registry-soft'),
          width: 1.5,
          points: { show: false },
        },
      ],
      hooks: { setCursor: [(plot) => tell(plot)] },
    };
    return new uPlot(options, data, this.#place);
  }
}

function choices(): HTMLButtonElement[] {
  return [...document.querySelectorAll<HTMLButtonElement>('[data-minutes]')];
}

/** The shortest range in which anything was received, so that a plot is not empty where it need not be. */
function shortestWithAny({ fromPeers, fromRegistry, stepSeconds }: History): number {
  const ranges = choices().map((button) => Number(button.dataset['minutes']));
  const hasAny = (minutes: number): boolean => {
    const first = Math.max(0, fromPeers.length - (minutes * 60) / stepSeconds);
    return fromPeers.some((bytes_, at) => at >= first && bytes_ + (fromRegistry[at] ?? 0) > 0);
  };
  return ranges.find(hasAny) ?? ranges[0] ?? 60;
}

/** The sum behind, the registry's part before it. */
function dataOf({ from, stepSeconds, fromPeers, fromRegistry }: History, minutes: number): uPlot.AlignedData {
  const first = Math.max(0, fromPeers.length - (minutes * 60) / stepSeconds);
  const times_: number[] = [];
  const received: number[] = [];
  const registry: number[] = [];
  for (let at = first; at < fromPeers.length; at++) {
    times_.push(from / 1000 + at * stepSeconds);
    received.push((fromPeers[at] ?? 0) + (fromRegistry[at] ?? 0));
    registry.push(fromRegistry[at] ?? 0);
  }
  return [times_, received, registry];
}

function times(_: uPlot, splits: readonly number[]): string[] {
  return splits.map((time) => clock(time));
}

function clock(time: number): string {
  return new Date(time * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
}

function tell(plot: uPlot): void {
  const at = plot.cursor.idx;
  const [time, received, registry] = plot.data.map((values) =>
    typeof at === 'number' ? values[at] : undefined,
  );
  const text =
    typeof time !== 'number'
      ? ''
      : `${clock(time)}: ${bytes((received ?? 0) - (registry ?? 0))} from peers, ${bytes(registry ?? 0)} from the registry`;
  byId('at').textContent = text;
}

/** What happens at a moment; of two at one moment, the one that was set first. */
interface Event {
  readonly at: number;
  readonly turn: number;
  readonly run: () => void;
}

/** Time that passes only from one event to the next. Milliseconds. */
export class VirtualClock {
  now = 0;
  /** A binary heap, soonest first. */
  readonly #events: Event[] = [];
  #turn = 0;

  after(ms: number, run: () => void): void {
    const events = this.#events;
    const event = { at: this.now + ms, turn: this.#turn++, run };
    let place = events.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = events[above] as Event;
      if (isBefore(parent, event)) break;
      events[place] = parent;
      place = above;
    }
    events[place] = event;
  }

  /** @returns false when nothing is left to happen */
  step(): boolean {
    const events = this.#events;
    const [first] = events;
    const last = events.pop();
    if (first === undefined || last === undefined) return false;
    if (events.length > 0) sink(events, last);
    this.now = first.at;
    first.run();
    return true;
  }
}

function sink(events: Event[], event: Event): void {
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= events.length) break;
    const right = events[child + 1];
    if (right !== undefined && isBefore(right, events[child] as Event)) child++;
    const soonest = events[child] as Event;
    if (isBefore(event, soonest)) break;
    events[place] = soonest;
    place = child;
  }
  events[place] = event;
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.turn < b.turn);
}

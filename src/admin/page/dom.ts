type Child = Node | string | undefined | false;
type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** An element. Whatever is foreign goes in as text or as the value of an attribute; no HTML is ever parsed. */
export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  setAttributes(element, attributes);
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value))
      element.setAttribute(name, value === true ? '' : String(value));
  }
}

/** The element of page.html with that id. */
export function byId(id: string): HTMLElement {
  const element = document.querySelector<HTMLElement>(`#${id}`);
  if (element === null) throw new Error(`no #${id} in the page`);
  return element;
}

/**
 * Makes `old` like `fresh` and keeps what is the same, so that focus, scrolling and selection stay where they are.
 * Children with `data-key` are known by it.
 */
export function update(old: Element, fresh: Element): void {
  const focused = document.activeElement;
  makeLike(old, fresh);
  // An element that moves to another place loses it.
  if (focused instanceof HTMLElement && focused !== document.activeElement && old.contains(focused))
    focused.focus({ preventScroll: true });
}

function makeLike(old: Element, fresh: Element): void {
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && name !== 'style') old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (name !== 'style' && old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old instanceof HTMLElement && fresh instanceof HTMLElement) copyWidth(old, fresh);
  updateChildren(old, fresh);
}

/** A bar's width is a style, and the policy of this page has no styles in attributes. */
function copyWidth(old: HTMLElement, fresh: HTMLElement): void {
  const { width } = fresh.style;
  if (old.style.width !== width && width !== '') old.style.width = width;
}

function updateChildren(old: Element, fresh: Element): void {
  const known = new Map<string, Element>();
  for (const child of old.children) {
    const key = keyOf(child);
    if (key !== undefined) known.set(key, child);
  }
  let at: ChildNode | null = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = next instanceof Element ? keyOf(next) : undefined;
    const same = key === undefined ? likeness(at, next) : known.get(key);
    if (same === undefined) {
      old.insertBefore(next, at);
      continue;
    }
    if (same !== at) old.insertBefore(same, at);
    else at = at.nextSibling;
    if (same instanceof Element && next instanceof Element) makeLike(same, next);
    else if (same.nodeValue !== next.nodeValue) same.nodeValue = next.nodeValue;
  }
  while (at !== null) {
    const gone: ChildNode = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function keyOf(element: Element): string | undefined {
  return element instanceof HTMLElement ? element.dataset['key'] : undefined;
}

function likeness(at: ChildNode | null, next: Node): ChildNode | undefined {
  if (at === null || at.nodeName !== next.nodeName) return undefined;
  return at instanceof Element && keyOf(at) !== undefined ? undefined : at;
}

/** A bar that is filled to `part`, 0 to 1. */
export function bar(part: number, label: string, kind = ''): HTMLElement {
  const fill = h('span', {});
  fill.style.width = `${Math.round(Math.min(1, Math.max(0, part)) * 1000) / 10}%`;
  return h('span', { class: `bar ${kind}`, role: 'img', 'aria-label': label }, fill);
}

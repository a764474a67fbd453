// XML of messages and documents: read by local names, since prefixes differ from client to client.

/** The root of a document; `undefined` for what is not well formed, or longer than `most` characters. */
export function readXml(text: string, most = 1_000_000): Element | undefined {
  if (text.length > most) return undefined;
  const document = new DOMParser().parseFromString(text.trim(), 'text/xml');
  const root = document.documentElement as Element | null;
  if (!root || document.getElementsByTagName('parsererror').length > 0) return undefined;
  return root;
}

export function local(element: Element): string {
  const name = element.localName ?? element.nodeName;
  return name.slice(name.indexOf(':') + 1);
}

export function children(element: Element | undefined, name: string): Element[] {
  return element ? [...element.children].filter((one) => local(one) === name) : [];
}

/** The first child along a path of names. */
export function child(element: Element | undefined, ...path: string[]): Element | undefined {
  return path.reduce<Element | undefined>((at, name) => children(at, name)[0], element);
}

/** Any element with this name below, in document order. */
export function below(element: Element | undefined, name: string): Element[] {
  if (!element) return [];
  return [...element.children].flatMap((one) => [...(local(one) === name ? [one] : []), ...below(one, name)]);
}

export function textOf(element: Element | undefined, ...path: string[]): string {
  return child(element, ...path)?.textContent?.trim() ?? '';
}

export function attribute(element: Element | undefined, name: string): string | undefined {
  if (!element) return undefined;
  const found = [...element.attributes].find((one) => one.name.slice(one.name.indexOf(':') + 1) === name);
  return found?.value;
}

export function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

export const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\r\n';

/**
 * The parts of a browser that are used here. Any may be missing, as on a server. They are typed here and not by
 * TypeScript's DOM library, so that nobody who imports the package needs it.
 */
interface Platform {
  readonly document?: {
    cookie: string;
    querySelector(selector: string): { getAttribute(name: string): string | null } | null;
  };
  readonly location?: { readonly protocol: string; readonly hostname: string; readonly href: string };
  readonly navigator?: { readonly locks?: Locks };
  /** The getters throw where storage is refused. */
  readonly localStorage?: Area;
  readonly sessionStorage?: Area;
  addEventListener?(type: string, listener: (event: PageEvent) => void): void;
  removeEventListener?(type: string, listener: (event: PageEvent) => void): void;
  readonly BroadcastChannel?: new (name: string) => Channel;
}

/** Where texts are kept by name, as in `Storage`. */
export interface Area {
  getItem(name: string): string | null;
  setItem(name: string, text: string, expiresAt?: number): void;
  removeItem(name: string): void;
}

/** Of `storage`: `key`, `oldValue` and `newValue`. Of `pageshow`: `persisted`. */
export interface PageEvent {
  readonly key?: string | null;
  readonly oldValue?: string | null;
  readonly newValue?: string | null;
  readonly persisted?: boolean;
}

interface Locks {
  request<Result>(name: string, work: () => Promise<Result>): Promise<Result>;
  query(): Promise<{ readonly held: ReadonlyArray<{ readonly name: string }> }>;
}

export interface Channel {
  postMessage(message: unknown): void;
  onmessage: ((event: { readonly data: never }) => void) | null;
  close(): void;
}

/**
 * Calls all, at once. One that throws keeps nobody from hearing: it is asynchronous for that, and its error is the page's, as
 * an unhandled rejection.
 */
export function callAll<All extends unknown[]>(listeners: Set<(...all: All) => void>, ...all: All): void {
  for (const listener of [...listeners]) (async () => listener(...all))();
}

export const browser = globalThis as unknown as Platform;

/** Listens to an event of the page. Without a page it does nothing; the same listener is there once. */
export const onPage = (type: string, listener: (event: PageEvent) => void): void =>
  browser.addEventListener?.(type, listener);

// A server may have objects of these names, and what it keeps in them would be shown to all.
export const localArea = (): Area => (browser.document && browser.localStorage) as Area;
export const tabArea = (): Area => (browser.document && browser.sessionStorage) as Area;

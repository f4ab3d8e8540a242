import type { Codec } from "./codec.ts";
import { SessionConflictError, SessionDataError, SessionTooLargeError } from "./errors.ts";
import type { SessionPatch } from "./record.ts";

/** Both sides assigned one key since `base`: what remains is the value to keep. */
export type MergeConflict = (conflict: {
  readonly key: string;
  /** The value before either change; `undefined` where there was none. */
  readonly base: unknown;
  /** This request's value. */
  readonly ours: unknown;
  /** The value that another request has stored. */
  readonly theirs: unknown;
}) => unknown;

/** What happens when two requests assign one key: refuse the later, let the later win, or merge. */
export type ConflictPolicy = "reject" | "overwrite" | MergeConflict;

/** How the data of one application is written. */
export interface DataFormat {
  readonly codec: Codec;
  /** Texts of the keys that a session without them shows. */
  readonly initial: ReadonlyMap<string, string>;
  readonly onConflict: ConflictPolicy;
  /** Most bytes (UTF-8) that all keys and texts of a session may take together. */
  readonly maxBytes: number;
}

type Update = (value: unknown) => unknown;
type Texts = ReadonlyMap<string, string>;

/**
 * The data of one session while a request works on it. Every key starts as an accessor that parses its text when it
 * is first read; from then on it is a plain property. So an unread key costs nothing, and a change anywhere inside
 * a read one is found by writing it out again and comparing texts, without proxies.
 */
export class SessionData {
  /** What the handler sees. */
  readonly view: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  readonly #format: DataFormat;
  /** Keys that nobody has read or assigned yet. */
  readonly #unread = new Set<string>();
  /** For each key the text that this request started from; absent means there was none. */
  readonly #base = new Map<string, string>();
  /** Functions given to `update`, to run again when another request was first, and the text they led to. */
  readonly #updates = new Map<string, { functions: Update[]; result: string | undefined }>();

  constructor(format: DataFormat, texts: Texts) {
    this.#format = format;
    this.adopt(texts);
  }

  /** Takes over texts that another request has stored, for the keys that this one has not looked at. */
  adopt(texts: Texts): void {
    const known = new Set(this.#base.keys());
    for (const [key, text] of this.#effective(texts)) {
      const untouched = this.#isUnread(key) || !(known.has(key) || key in this.view);
      if (untouched) this.#defineUnread(key, text);
      known.delete(key);
    }
    for (const key of known) if (this.#isUnread(key)) this.#forget(key);
  }

  /** Assigns `fn(value)`; where `fn` returns nothing, the value it was given, which it may have changed. */
  update(key: string, fn: Update): unknown {
    const before = this.#text(key);
    const known = this.#updates.get(key);
    // A key that was also assigned plainly cannot be replayed, so it stays a plain assignment.
    const replayable = before === (known === undefined ? this.#base.get(key) : known.result);
    this.view[key] = run(fn, this.view[key]);
    if (replayable) this.#updates.set(key, { functions: [...(known?.functions ?? []), fn], result: this.#text(key) });
    return this.view[key];
  }

  /**
   * The patch that brings stored texts to what the handler left, or `undefined` when there is nothing to write. Resolves
   * conflicts with what others have stored since.
   *
   * @throws SessionConflictError under the policy "reject"; SessionTooLargeError; TypeError for a value that has no text
   */
  plan(stored: Texts): Pick<SessionPatch, "set" | "unset"> | undefined {
    const theirs = this.#effective(stored);
    const set = new Map<string, string>();
    const unset: string[] = [];
    const conflicts: string[] = [];
    for (const key of this.#candidates()) {
      const base = this.#base.get(key);
      let ours = this.#text(key);
      if (ours === base) continue;
      const their = theirs.get(key);
      if (ours === their) continue;
      if (their !== base) {
        const resolved = this.#resolve(key, base, ours, their);
        if (resolved === undefined) {
          conflicts.push(key);
          continue;
        }
        ours = resolved.text;
        if (ours === their) continue;
      }
      if (ours !== undefined) set.set(key, ours);
      else if (stored.has(key)) unset.push(key);
    }
    if (conflicts.length > 0) throw new SessionConflictError(conflicts);
    if (set.size === 0 && unset.length === 0) return undefined;
    this.#refuseTooLarge(stored, set, unset);
    return { set, unset };
  }

  /** Whether `plan` would find something of this request's own, without looking at what others did. */
  get changed(): boolean {
    if (this.#untouched()) return false;
    for (const key of this.#candidates()) if (this.#text(key) !== this.#base.get(key)) return true;
    return false;
  }

  /** All texts, for a record that is made anew. */
  texts(): Map<string, string> {
    const texts = new Map<string, string>();
    for (const key of Object.keys(this.view)) {
      const text = this.#text(key);
      if (text !== undefined && text !== this.#format.initial.get(key)) texts.set(key, text);
    }
    this.#refuseTooLarge(new Map(), texts, []);
    return texts;
  }

  /** After a commit: what was written is what later changes are measured against. */
  settle(stored: Texts): void {
    for (const key of this.#candidates()) {
      const text = this.#text(key);
      if (text === undefined) this.#base.delete(key);
      else if (text === (stored.get(key) ?? this.#format.initial.get(key))) this.#base.set(key, text);
    }
    this.#updates.clear();
    this.adopt(stored);
  }

  /** A key can have been deleted, or deleted and assigned, behind the back of `#unread`. */
  #isUnread(key: string): boolean {
    return this.#unread.has(key) && Object.getOwnPropertyDescriptor(this.view, key)?.get !== undefined;
  }

  #untouched(): boolean {
    if (this.#unread.size !== this.#base.size) return false;
    const keys = Object.keys(this.view);
    return keys.length === this.#unread.size && keys.every((key) => this.#isUnread(key));
  }

  /** Keys that may have changed: read, assigned or deleted ones. */
  *#candidates(): Iterable<string> {
    if (Object.getOwnPropertySymbols(this.view).length > 0) throw new TypeError("session.data cannot hold symbol keys");
    for (const key of Object.keys(this.view)) if (!this.#isUnread(key)) yield key;
    for (const key of this.#base.keys()) if (!(key in this.view)) yield key;
  }

  #effective(texts: Texts): Texts {
    return this.#format.initial.size === 0 ? texts : new Map([...this.#format.initial, ...texts]);
  }

  #defineUnread(key: string, text: string): void {
    this.#base.set(key, text);
    this.#unread.add(key);
    const settle = (value: unknown): unknown => {
      this.#unread.delete(key);
      Object.defineProperty(this.view, key, { value, writable: true, enumerable: true, configurable: true });
      return value;
    };
    Object.defineProperty(this.view, key, {
      get: () => settle(this.#parse(key, text)),
      set: settle,
      enumerable: true,
      configurable: true,
    });
  }

  #forget(key: string): void {
    this.#unread.delete(key);
    this.#base.delete(key);
    delete this.view[key];
  }

  #parse(key: string, text: string | undefined): unknown {
    if (text === undefined) return undefined;
    try {
      return this.#format.codec.parse(text);
    } catch (cause) {
      throw new SessionDataError([`${JSON.stringify(key.slice(0, 64))} cannot be read`], { cause });
    }
  }

  /** The present text of a key. An unread key is not parsed for it. */
  #text(key: string): string | undefined {
    if (this.#isUnread(key)) return this.#base.get(key);
    const value = this.view[key];
    if (value === undefined) return undefined;
    return this.#stringify(key, value);
  }

  #stringify(key: string, value: unknown): string {
    let text: string | undefined;
    try {
      text = this.#format.codec.stringify(value);
    } catch (cause) {
      throw new TypeError(`session.data[${JSON.stringify(key.slice(0, 64))}] cannot be written as text`, { cause });
    }
    if (typeof text !== "string")
      throw new TypeError(`session.data[${JSON.stringify(key.slice(0, 64))}] cannot be written as text`);
    return text;
  }

  #resolve(
    key: string,
    base: string | undefined,
    ours: string | undefined,
    their: string | undefined,
  ): { text: string | undefined } | undefined {
    const updates = this.#updates.get(key);
    const { onConflict } = this.#format;
    let value: unknown;
    if (updates !== undefined && updates.result === ours) {
      value = this.#parse(key, their);
      for (const fn of updates.functions) value = run(fn, value);
    } else if (onConflict === "overwrite") {
      return { text: ours };
    } else if (onConflict === "reject") {
      return undefined;
    } else {
      const [b, o, t] = [base, ours, their].map((text) => this.#parse(key, text));
      value = onConflict({ key, base: b, ours: o, theirs: t });
    }
    if (value === undefined) {
      delete this.view[key];
      return { text: undefined };
    }
    this.view[key] = value;
    const text = this.#stringify(key, value);
    if (updates !== undefined) updates.result = text;
    return { text };
  }

  #refuseTooLarge(stored: Texts, set: Texts, unset: readonly string[]): void {
    const { maxBytes } = this.#format;
    let bytes = 0;
    const add = (key: string, text: string) => {
      bytes += utf8Length(key) + utf8Length(text);
    };
    for (const [key, text] of stored) if (!set.has(key) && !unset.includes(key)) add(key, text);
    for (const [key, text] of set) add(key, text);
    if (bytes > maxBytes) throw new SessionTooLargeError(bytes, maxBytes);
  }
}

function run(fn: Update, value: unknown): unknown {
  const result = fn(value);
  return result === undefined ? value : result;
}

/** Bytes of a text in UTF-8, without making them. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < text.length) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

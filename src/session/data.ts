import type { Codec } from "./codec.ts";
import { accessorOf, newView, type View } from "./data-view.ts";
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
  readonly onConflict: ConflictPolicy | undefined;
  /** Most bytes (UTF-8) that all keys and texts of a session may take together. */
  readonly maxBytes: number;
}

type Update = (value: unknown) => unknown;
type Texts = ReadonlyMap<string, string>;

/** What a commit is about to write of one key: its text, and how many of the functions given to `update` are in it. */
interface Planned {
  readonly text: string | undefined;
  readonly updates: number;
}

const NO_TEXTS: Texts = new Map();

/**
 * The data of one session while a request works on it. Every key starts as an accessor that parses its text when it
 * is first read; from then on it is a plain property. So an unread key costs nothing, and a change anywhere inside
 * a read one is found by writing it out again and comparing texts, without proxies.
 */
export class SessionData {
  /** What the handler sees. */
  readonly view: View = newView(this);
  readonly #format: DataFormat;
  /** Keys whose text nobody has parsed. They may have been assigned or deleted, but blindly. */
  readonly #unread = new Set<string>();
  /** For each key the text that this request started from; absent means there was none. */
  readonly #base = new Map<string, string>();
  /** Functions given to `update`, to run again when another request was first, and the text they led to. */
  readonly #updates = new Map<string, { functions: Update[]; result: string | undefined }>();
  /** Values that a rebase took out of the view, with their texts: a handler may hold on to one and change it. */
  readonly #replaced: Array<{ readonly key: string; readonly value: unknown; readonly text: string | undefined }> = [];
  #planned: ReadonlyMap<string, Planned> = new Map();

  constructor(format: DataFormat, texts: Texts) {
    this.#format = format;
    for (const [key, text] of this.#effective(texts)) this.#defineUnread(key, text);
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
   * @param fallback the policy when the application has chosen none
   * @throws SessionConflictError under the policy "reject"; SessionTooLargeError; TypeError for a value that has no text
   */
  plan(stored: Texts, fallback: ConflictPolicy = "reject"): Pick<SessionPatch, "set" | "unset"> | undefined {
    const { onConflict = fallback } = this.#format;
    const theirs = this.#effective(stored);
    const set = new Map<string, string>();
    const unset: string[] = [];
    const conflicts = this.#strayed();
    const planned = new Map<string, Planned>();
    for (const key of [...this.#candidates()]) {
      const base = this.#base.get(key);
      let ours = this.#text(key);
      if (ours !== base) {
        const their = theirs.get(key);
        // Equal values are no agreement: both may have added one to a counter. Only a value that owes nothing to the one
        // before is the same as theirs.
        if (their !== base && !(ours === their && this.#isBlind(key))) {
          const resolved = this.#resolve(onConflict, key, base, ours, their);
          if (resolved === undefined) {
            conflicts.add(key);
            continue;
          }
          ours = resolved.text;
        }
        if (ours !== their) {
          if (ours !== undefined) set.set(key, ours);
          else if (stored.has(key)) unset.push(key);
        }
      }
      planned.set(key, { text: ours, updates: this.#updates.get(key)?.functions.length ?? 0 });
    }
    if (conflicts.size > 0) throw new SessionConflictError([...conflicts]);
    this.#planned = planned;
    if (set.size === 0 && unset.length === 0) return undefined;
    this.#refuseTooLarge(stored, set, unset);
    return { set, unset };
  }

  /** Whether `plan` would find something of this request's own, without looking at what others did. */
  get changed(): boolean {
    if (this.#strayed().size > 0) return true;
    if (this.#untouched()) return false;
    for (const key of this.#candidates()) if (this.#text(key) !== this.#base.get(key)) return true;
    return false;
  }

  /**
   * The texts that `keep` lets through, for a record that is made anew, laid over those of `under`.
   *
   * @throws SessionTooLargeError; TypeError for a value that has no text
   */
  texts(keep: Keep = keepAll, under: Texts = NO_TEXTS): Map<string, string> {
    const texts = new Map(under);
    const planned = new Map<string, Planned>();
    for (const key of this.#keys()) {
      if (!keep(key) || (under.has(key) && this.#isUnread(key))) continue;
      const text = this.#text(key);
      planned.set(key, { text, updates: this.#updates.get(key)?.functions.length ?? 0 });
      if (text === undefined || text === this.#format.initial.get(key)) texts.delete(key);
      else texts.set(key, text);
    }
    this.#refuseTooLarge(NO_TEXTS, texts, []);
    this.#planned = planned;
    return texts;
  }

  /**
   * After a commit of what was planned last: that is what later changes are measured against, such as those that a
   * handler has made while the commit was under way.
   */
  settle(stored: Texts): void {
    for (const [key, { text, updates }] of this.#planned) {
      if (!this.#isUnread(key)) this.#unread.delete(key);
      this.#setBase(key, text);
      const { functions = [], result } = this.#updates.get(key) ?? {};
      if (functions.length > updates) this.#updates.set(key, { functions: functions.slice(updates), result });
      else this.#updates.delete(key);
    }
    this.#planned = new Map();
    this.adopt(stored);
  }

  /** Goes on in a record that was made of `texts(keep)` and now holds `stored`. */
  moveTo(stored: Texts, keep: Keep): void {
    this.#drop((key) => !keep(key));
    this.#base.clear();
    this.settle(stored);
  }

  /** Goes on without a record: what `keep` lets through is as if it had just been assigned. */
  restart(keep: Keep): void {
    const kept = new Set(this.#keys().filter((key) => keep(key) && this.#text(key) !== this.#format.initial.get(key)));
    for (const key of kept) void this.view[key];
    this.#drop((key) => !kept.has(key));
    this.#base.clear();
    this.#unread.clear();
    this.#updates.clear();
    this.adopt(NO_TEXTS);
  }

  #drop(goes: Keep): void {
    for (const key of Object.keys(this.view)) if (goes(key)) this.#forget(key);
    this.#replaced.length = 0;
  }

  /** A key can have been assigned or deleted behind the back of `#unread`. */
  #isUnread(key: string): boolean {
    return this.#unread.has(key) && Object.getOwnPropertyDescriptor(this.view, key)?.get !== undefined;
  }

  /** Whether the handler cannot have made its value from the one that was there, because it never saw that. */
  #isBlind(key: string): boolean {
    return this.#unread.has(key);
  }

  #untouched(): boolean {
    if (this.#unread.size !== this.#base.size) return false;
    const keys = this.#keys();
    return keys.length === this.#unread.size && keys.every((key) => this.#isUnread(key));
  }

  /** Keys that may have changed: read, assigned or deleted ones. */
  *#candidates(): Iterable<string> {
    for (const key of this.#keys()) if (!this.#isUnread(key)) yield key;
    for (const key of this.#base.keys()) if (!(key in this.view)) yield key;
  }

  #keys(): string[] {
    if (Object.getOwnPropertySymbols(this.view).length > 1) throw new TypeError("session.data cannot hold symbol keys");
    return Object.keys(this.view);
  }

  /** Keys of which a handler has changed a value that a rebase had replaced before: the change is nowhere in the view. */
  #strayed(): Set<string> {
    const strayed = this.#replaced.filter(
      ({ key, value, text }) => this.view[key] !== value && this.#stringify(key, value) !== text,
    );
    return new Set(strayed.map(({ key }) => key));
  }

  #effective(texts: Texts): Texts {
    return this.#format.initial.size === 0 ? texts : new Map([...this.#format.initial, ...texts]);
  }

  #defineUnread(key: string, text: string): void {
    this.#base.set(key, text);
    this.#unread.add(key);
    Object.defineProperty(this.view, key, accessorOf(key));
  }

  /** @internal The values as they are now. None counts as read by it. */
  logged(): Record<string, unknown> {
    const present = (key: string) => (this.#isUnread(key) ? this.#parse(key, this.#base.get(key)) : this.view[key]);
    return Object.fromEntries(Object.keys(this.view).map((key) => [key, present(key)]));
  }

  /** @internal A key is read for the first time. */
  read(key: string): unknown {
    const value = this.#parse(key, this.#base.get(key));
    this.#unread.delete(key);
    return this.become(key, value);
  }

  /** @internal A key has a value from now on; when it was never read, blindly. */
  become(key: string, value: unknown): unknown {
    Object.defineProperty(this.view, key, { value, writable: true, enumerable: true, configurable: true });
    return value;
  }

  #setBase(key: string, text: string | undefined): void {
    if (text === undefined) this.#base.delete(key);
    else this.#base.set(key, text);
  }

  #forget(key: string): void {
    this.#unread.delete(key);
    this.#base.delete(key);
    this.#updates.delete(key);
    delete this.view[key];
  }

  #parse(key: string, text: string | undefined): unknown {
    return text === undefined ? undefined : parseValue(this.#format.codec, key, text);
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
    onConflict: ConflictPolicy,
    key: string,
    base: string | undefined,
    ours: string | undefined,
    their: string | undefined,
  ): { text: string | undefined } | undefined {
    const updates = this.#updates.get(key);
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
    const text = value === undefined ? undefined : this.#stringify(key, value);
    const before = this.view[key];
    if (typeof before === "object" && before !== null) this.#replaced.push({ key, value: before, text: ours });
    if (value === undefined) delete this.view[key];
    else this.view[key] = value;
    // What was merged is measured against what it was merged with, should yet another request be first.
    this.#setBase(key, their);
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

/** @throws SessionDataError when the text is none of this codec's */
export function parseValue(codec: Codec, key: string, text: string): unknown {
  try {
    return codec.parse(text);
  } catch {
    // Without the parser's error: it quotes the text, which is not for logs.
    throw new SessionDataError([`${JSON.stringify(key.slice(0, 64))} cannot be read`]);
  }
}

/** Which keys stay. */
type Keep = (key: string) => boolean;

const keepAll: Keep = () => true;

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
    else if (unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

import {
  type Exchange,
  SessionConflictError,
  SessionEndedError,
  SessionLimitError,
  type Sessions,
  StoreUnavailableError,
} from "coatcheck";
import type { LifetimePolicy } from "../../src/session/lifetime.ts";
import { hashSecret, parseToken, type SecretHash, type SessionId } from "../../src/session/token.ts";
import type { SessionRecord } from "../../src/stores/store.ts";
import type { Mark, Place } from "./marks.ts";
import type { ReferenceStore, Writer } from "./reference-store.ts";
import type { Scheduler } from "./scheduler.ts";

export interface Visit {
  log?: string[];
  list?: string[];
  n?: number;
  m?: number;
  reg?: string;
}

/** What a handler does, one after the other. `loose`: without waiting for it. */
export type Operation =
  | { readonly do: "read" | "push" | "updatePush" | "updateCount" | "count" | "assign" | "flash" | "take" | "pause" }
  | { readonly do: "elevate" | "renew" | "logout"; readonly loose: boolean }
  | { readonly do: "commit"; readonly loose: boolean }
  | { readonly do: "login"; readonly user: string; readonly loose: boolean };

export interface Script {
  readonly method: "GET" | "POST";
  readonly passive: boolean;
  readonly turns: boolean;
  /** Whether the handler catches errors and answers as if nothing had been. */
  readonly stubborn: boolean;
  readonly operations: readonly Operation[];
}

/** A browser: requests that are sent at the same time are its tabs. */
export interface Jar {
  readonly name: string;
  token: string | undefined;
}

/** What the requests of one run share. */
export interface Surroundings {
  readonly scheduler: Scheduler;
  readonly reference: ReferenceStore;
  readonly lifetime: LifetimePolicy;
  readonly keepAtLogin: boolean | readonly string[];
  readonly limited: boolean;
  readonly now: () => number;
  readonly marks: Map<string, Mark>;
  readonly takenOnce: Set<string>;
  /** Every token that a response has carried. */
  readonly issued: Map<string, SecretHash>;
  /** Sessions whose records are to be compared with the reference. */
  readonly toVerify: Set<SessionId>;
}

type Session = Exchange<Visit>["session"];

/** One request: what an adapter does around a handler, and what the visitor may expect of it. */
export class Request implements Writer {
  readonly name: string;
  faulted = false;
  readonly marks: Mark[] = [];
  readonly hashes = new Set<SecretHash>();
  readonly ids = new Set<SessionId>();
  regSeen: string | undefined | null = null;
  readonly taken: string[] = [];
  taking = false;
  read: SessionRecord | undefined;
  rotated: { readonly id: SessionId; readonly hash: SecretHash } | undefined;
  readonly #around: Surroundings;
  readonly #sessions: Sessions<Visit>;
  readonly #script: Script;
  readonly #jar: Jar;
  readonly #token: string | undefined;
  readonly #loose: Promise<unknown>[] = [];
  /** Whether a login or logout was not waited for: then nobody can say which session the next write belongs to. */
  #unwaited = false;
  /** Whether something has succeeded that changes the client's token. */
  #tokenChanged = false;

  constructor(name: string, around: Surroundings, sessions: Sessions<Visit>, script: Script, jar: Jar) {
    this.name = name;
    this.#around = around;
    this.#sessions = sessions;
    this.#script = script;
    this.#jar = jar;
    this.#token = jar.token;
  }

  async run(): Promise<void> {
    const { scheduler } = this.#around;
    const { method, passive, turns, stubborn, operations } = this.#script;
    const header = this.#token === undefined ? undefined : `Bearer ${this.#token}`;
    const facts = {
      method,
      header: (name: string) => (name === "authorization" ? header : undefined),
      secure: true,
      host: "shop.example",
      ip: undefined,
    };
    let exchange: Exchange<Visit>;
    try {
      exchange = await this.#sessions.open(facts, { passive, turns });
    } catch (error) {
      // The answer is an error without any cookie.
      this.#explain(error, undefined);
      return;
    }
    const { session } = exchange;
    await this.#opened(session);
    let failure: unknown;
    try {
      for (const operation of operations) {
        try {
          await this.#perform(session, operation);
        } catch (error) {
          this.#explain(error, session);
          if (!stubborn) throw error;
        }
      }
      await this.#saving(session, "commit", async () => {
        if (exchange.needsCommit) await exchange.commit();
      });
    } catch (error) {
      failure = error;
      this.#explain(error, session);
    }
    await Promise.all(this.#loose);
    await this.#answer(exchange, failure);
    scheduler.note(`${this.name}: answered${failure === undefined ? "" : ` with ${(failure as Error).name}`}`);
  }

  /** A token opens just what it should open. */
  async #opened(session: Session): Promise<void> {
    const { lifetime, now } = this.#around;
    const token = parseToken(this.#token ?? "");
    const hash = token && (await hashSecret(token.secret));
    const record = token && this.read;
    const expired = record !== undefined && lifetime.expired(record, now()) !== undefined;
    const { previousSecretHash, previousUntil = 0 } = record?.meta ?? {};
    const inForce = record !== undefined && !expired && record.secretHash === hash;
    const inGrace = record !== undefined && !expired && previousSecretHash === hash && now() < previousUntil;
    if (session.isNew === (inForce || inGrace))
      this.#violated(`opened ${session.isNew ? "as new" : session.id}, but the record says otherwise`);
    if (session.isNew) {
      if (session.userId !== undefined) this.#violated(`is new and has the user ${session.userId}`);
      if (Object.keys(session.data).length > 0) this.#violated("is new and has data");
      return;
    }
    if (session.id !== record?.id || session.userId !== record?.userId) this.#violated("opened another session");
    this.ids.add(session.id);
    if (inForce && hash !== undefined) this.hashes.add(hash);
  }

  async #perform(session: Session, operation: Operation): Promise<void> {
    const { scheduler } = this.#around;
    switch (operation.do) {
      case "pause":
        await scheduler.gate("handler goes on");
        return;
      case "read":
        this.#assertOwn(session, [...(session.data.log ?? []), ...(session.data.list ?? [])]);
        if (session.data.reg !== undefined) this.#assertOwn(session, [session.data.reg]);
        return;
      case "updatePush": {
        const { name } = this.#mark("log", session);
        session.update("log", (log) => [...(log ?? []), name]);
        return;
      }
      case "push": {
        session.data.list ??= [];
        session.data.list.push(this.#mark("list", session).name);
        return;
      }
      case "updateCount":
        this.#mark("n", session);
        session.update("n", (n) => (n ?? 0) + 1);
        return;
      case "count":
        this.#mark("m", session);
        session.data.m = (session.data.m ?? 0) + 1;
        return;
      case "assign": {
        const seen = session.data.reg;
        if (this.regSeen === null) this.regSeen = seen;
        for (const mark of this.marks) if (mark.place === "reg" && !mark.acknowledged) mark.dropped = true;
        session.data.reg = this.#mark("reg", session).name;
        return;
      }
      case "flash":
        session.flash("info", this.#mark("flash", session).name);
        return;
      case "take":
        return this.#take(session);
      case "commit":
        return this.#perhapsLoose(
          operation.loose,
          this.#saving(session, "commit", () => session.commit()),
        );
      case "renew":
      case "elevate":
        if (operation.do === "elevate" && session.userId === undefined) return;
        return this.#perhapsLoose(
          operation.loose,
          this.#saving(session, operation.do, () => session[operation.do]()),
        );
      case "logout":
        if (operation.loose) this.#unwait();
        return this.#perhapsLoose(operation.loose, this.#logout(session));
      case "login": {
        const { user } = operation;
        if (operation.loose) this.#unwait();
        return this.#perhapsLoose(
          operation.loose,
          this.#saving(session, "login", () => session.login(user), user),
        );
      }
    }
  }

  async #perhapsLoose(loose: boolean, work: Promise<void>): Promise<void> {
    if (!loose) return work;
    this.#loose.push(work.catch((error: unknown) => this.#explain(error, undefined)));
  }

  /** From here on nobody can say what goes with which session. */
  #unwait(): void {
    this.#unwaited = true;
    for (const mark of this.marks) mark.mayVanish = true;
  }

  #mark(place: Place, session: Session): Mark {
    const mark: Mark = {
      name: `${place}${this.#around.marks.size}`,
      place,
      by: this,
      anonymous: session.userId === undefined,
      owner: session.userId,
      appliedIn: new Set(),
      acknowledged: false,
      dropped: false,
      mayVanish: this.#unwaited,
      doubtful: false,
    };
    this.#around.marks.set(mark.name, mark);
    this.marks.push(mark);
    return mark;
  }

  /** Something that saves what was written before it. Once it resolves, that is acknowledged. */
  async #saving(session: Session, how: string, save: () => Promise<void>, user?: string): Promise<void> {
    const { reference, keepAtLogin, toVerify } = this.#around;
    const pending = this.marks.filter((mark) => !mark.acknowledged && !mark.dropped);
    const before = { id: session.id, userId: session.userId, isStored: session.expiresAt !== undefined };
    const presented = parseToken(this.#token ?? "");
    const keptAnew = (mark: Mark) => {
      if (before.userId !== undefined) return user === undefined || before.userId === user;
      if (user === undefined || mark.place === "flash") return true;
      return typeof keepAtLogin === "boolean" ? keepAtLogin : keepAtLogin.includes(mark.place);
    };
    try {
      await save();
    } catch (error) {
      const overLimit = error instanceof SessionLimitError;
      this.#tokenChanged ||= overLimit;
      for (const mark of this.#unwaited ? this.marks.filter(({ acknowledged }) => !acknowledged) : pending) {
        mark.doubtful ||= overLimit || error instanceof StoreUnavailableError;
        // It was in a session that had to go at once, or it was not to be kept.
        mark.mayVanish ||= overLimit || !keptAnew(mark);
      }
      throw error;
    }
    // There was nothing whose secret could be renewed.
    if (how === "renew" && session.expiresAt === undefined) return;
    const { id } = session;
    const anew = user !== undefined && id !== before.id;
    const kept = (mark: Mark) => !anew || keptAnew(mark);
    for (const mark of pending) {
      if (mark.dropped || mark.acknowledged) continue;
      if (mark.appliedIn.has(id)) mark.acknowledged = true;
      else if (mark.place === "flash" && this.#around.takenOnce.has(mark.name)) mark.dropped = true;
      else if (mark.mayVanish) continue;
      else if (!kept(mark)) mark.dropped = true;
      else this.#violated(`${how} was acknowledged, and ${mark.name} is not stored`);
    }
    this.regSeen = null;
    toVerify.add(id);
    if (how === "commit") {
      if (!before.isStored && session.expiresAt !== undefined) this.#tokenChanged = true;
      return;
    }
    this.#tokenChanged = true;
    // The token that the request came with is no longer in force, whatever has become of its session.
    if (
      presented !== undefined &&
      !this.#unwaited &&
      presented.id === before.id &&
      !reference.ended.has(presented.id)
    ) {
      const hash = await hashSecret(presented.secret);
      if (this.hashes.has(hash) && reference.records.get(presented.id)?.secretHash === hash)
        this.#violated(`the old token is in force after ${how}`);
    }
    const record = reference.records.get(id);
    if (how === "login" && record?.userId !== user && !reference.ended.has(id))
      this.#violated(`${user} is logged in, but the record says ${record?.userId}`);
  }

  async #logout(session: Session): Promise<void> {
    const { reference } = this.#around;
    const pending = this.marks.filter((mark) => !mark.acknowledged && !mark.dropped);
    const { id } = session;
    const stored = session.expiresAt !== undefined;
    try {
      await session.logout();
    } catch (error) {
      if (error instanceof StoreUnavailableError) for (const mark of pending) mark.doubtful = true;
      throw error;
    }
    this.#tokenChanged = true;
    this.regSeen = null;
    for (const mark of this.marks) if (!mark.acknowledged) mark.dropped = true;
    if (stored && !this.#unwaited && reference.records.has(id)) this.#violated(`logged out, and ${id} is still there`);
    if (session.userId !== undefined) this.#violated(`logged out, and ${session.userId} is still there`);
  }

  async #take(session: Session): Promise<void> {
    const { takenOnce } = this.#around;
    this.taking = true;
    this.taken.length = 0;
    let messages: string[];
    try {
      messages = (await session.takeFlash()).map(({ message }) => message);
    } finally {
      this.taking = false;
    }
    for (const name of messages) {
      const own = this.marks.find((mark) => mark.name === name && !mark.acknowledged);
      if (own === undefined && !this.taken.includes(name)) this.#violated(`was given ${name}, which is not its own`);
      if (takenOnce.has(name)) this.#violated(`was given ${name}, which was taken before`);
      takenOnce.add(name);
    }
    const lost = this.taken.filter((name) => !messages.includes(name));
    if (lost.length > 0) this.#violated(`took ${lost} and was not given them`);
  }

  /** What a handler sees of the marks must be free, or belong to the user who is logged in. */
  #assertOwn(session: Session, names: readonly string[]): void {
    for (const name of names) {
      const { owner, by, anonymous, acknowledged } = this.#around.marks.get(name) as Mark;
      if (by === this && anonymous && !acknowledged) continue;
      if (owner !== undefined && owner !== session.userId)
        this.#violated(`sees ${name} of ${owner} as ${session.userId ?? "an anonymous visitor"}`);
    }
  }

  /** Every error must have a reason. */
  #explain(error: unknown, session: Session | undefined): void {
    const { reference, limited } = this.#around;
    if (error instanceof StoreUnavailableError) {
      if (!this.faulted) this.#violated("is told that the store failed, which it did not");
    } else if (error instanceof SessionEndedError) {
      const id = session?.id;
      const ended = id === undefined || reference.ended.has(id);
      if (error.reason === "gone" && !ended) this.#violated(`is told that ${id} is gone, which it is not`);
    } else if (error instanceof SessionLimitError) {
      if (!limited) this.#violated("is told of a limit that there is not");
    } else if (!(error instanceof SessionConflictError) && !(error instanceof TypeError && this.#unwaited)) {
      this.#violated(`failed: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }

  async #answer(exchange: Exchange<Visit>, failure: unknown): Promise<void> {
    const { scheduler, issued, reference } = this.#around;
    const { headers } = exchange.responseChanges();
    exchange.end();
    const sent = headers.find(([name]) => name === "Session-Token")?.[1];
    const token = parseToken(sent ?? "");
    const hash = token && (await hashSecret(token.secret));
    if (sent && hash) issued.set(sent, hash);
    if (failure instanceof StoreUnavailableError && sent !== undefined && !this.#tokenChanged) {
      // Only to one that is in force, because the store failed after it had been put there.
      const inForce = reference.records.get(token?.id as SessionId)?.secretHash;
      if (token === undefined || (inForce !== undefined && !this.hashes.has(inForce)))
        this.#violated("an error answer changes the client's token");
    }
    if (this.faulted) for (const own of this.hashes) reference.doubtfulSecrets.add(own);
    else if (this.rotated !== undefined && this.rotated.hash !== hash && !reference.ended.has(this.rotated.id))
      this.#violated("the client is not told the secret in force");
    for (const mark of this.marks)
      if (mark.appliedIn.size > 0 && !mark.acknowledged && !mark.doubtful && !mark.dropped && !mark.mayVanish)
        this.#violated(`${mark.name} was refused, and is stored`);
    if (sent === undefined) return;
    const arrives = await scheduler.gate("response arrives", true);
    if (arrives === "none") this.#jar.token = sent === "" ? undefined : sent;
  }

  #violated(text: string): void {
    this.#around.reference.violated(`${this.name} ${text}`);
  }
}

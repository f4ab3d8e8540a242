import { createSessions, type SessionEvent, type Sessions, type SessionsOptions } from "coatcheck";
import { memoryStore } from "coatcheck/memory";
import { TestClock, UnreliableStore } from "coatcheck/testing";
import {
  createTokens,
  generateKey,
  InvalidGrantError,
  InvalidTokenError,
  type SessionTokens,
  type SessionTokensOptions,
  type TokenAnswer,
} from "coatcheck/tokens";
import { expect } from "vitest";
import type { SessionId } from "../../src/session/token.ts";
import { recorded } from "../session/support.ts";
import { AUDIENCE, ISSUER } from "./support.ts";

export interface TokenSettings extends Partial<Omit<SessionTokensOptions, "sessions" | "keys" | "clock">> {
  readonly sessions?: Partial<SessionsOptions<object>>;
}

/** Tokens of sessions over a memory store that can be made to fail, with a clock that stands still. */
export function setUp({ sessions: options, ...settings }: TokenSettings = {}) {
  const clock = new TestClock();
  const inner = options?.store ?? memoryStore();
  const store = new UnreliableStore(inner);
  const sessions = createSessions<object>({ clock, ...options, store });
  const keys = generateKey("HS256");
  const tokens = createTokens({ sessions, keys, issuer: ISSUER, audience: AUDIENCE, ...settings });
  const events = recorded(sessions as Sessions<object>);
  return {
    clock,
    store,
    inner,
    sessions,
    tokens,
    keys,
    events,
    /** Events of one type, as their reasons. */
    reasons: (type: SessionEvent["type"]) =>
      events.filter((event) => event.type === type).map((event) => (event as { reason?: string }).reason),
    stored: (token: string) => inner.read(idOf(token)),
    device: (answer: TokenAnswer) => new Device(tokens, answer),
  };
}

/** A client that keeps the refresh token it was given last. */
export class Device {
  readonly #tokens: SessionTokens;
  answer: TokenAnswer;

  constructor(tokens: SessionTokens, answer: TokenAnswer) {
    this.#tokens = tokens;
    this.answer = answer;
  }

  get token(): string {
    return this.answer.refreshToken;
  }

  async refresh(): Promise<TokenAnswer> {
    this.answer = await this.#tokens.refresh(this.token);
    return this.answer;
  }
}

/** The public id of a refresh token. */
export const idOf = (token: string): SessionId => token.split(".")[0] as SessionId;

/** Expects the one error that every refresh token gets that is not in force. */
export async function refused(attempt: Promise<unknown>): Promise<void> {
  const error: unknown = await attempt.then(
    () => expect.fail("accepted"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InvalidGrantError);
  const { message, headers, cause, ...rest } = error as InvalidGrantError;
  expect({ message, headers, cause, ...rest }).toEqual({
    code: "invalid_grant",
    status: 400,
    message: "The refresh token is not valid.",
    publicMessage: "invalid_grant",
  });
}

/** Whether an access token is accepted. */
export async function accepted(tokens: SessionTokens, accessToken: string): Promise<boolean> {
  try {
    await tokens.verify(accessToken);
    return true;
  } catch (error) {
    if (error instanceof InvalidTokenError) return false;
    throw error;
  }
}

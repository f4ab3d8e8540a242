import { concat } from "./aes-gcm.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Numbers and texts one after the other, in few bytes. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  /** A whole number from 0 to 2^53 - 1: seven bits a byte, the lowest first (LEB128). */
  count(value: number): void {
    const bytes: number[] = [];
    let left = Math.trunc(value);
    for (; left >= 128; left = Math.floor(left / 128)) bytes.push(128 + (left % 128));
    bytes.push(left);
    this.bytes(Uint8Array.from(bytes));
  }

  /** A whole number that may be negative. */
  difference(value: number): void {
    const whole = Math.trunc(value);
    this.count(whole < 0 ? -2 * whole - 1 : 2 * whole);
  }

  optional<T>(value: T | undefined, write: (value: T) => void): void {
    this.count(value === undefined ? 0 : 1);
    if (value !== undefined) write(value);
  }

  /** Any text: UTF-8, or UTF-16 code units if it has lone surrogates, which UTF-8 knows not. */
  text(text: string): void {
    const isUtf16 = LONE_SURROGATE.test(text);
    const bytes = isUtf16 ? utf16(text) : encoder.encode(text);
    this.count(2 * bytes.length + (isUtf16 ? 1 : 0));
    this.bytes(bytes);
  }

  finish(): Uint8Array {
    return concat(this.#parts);
  }
}

/** Reads what a `ByteWriter` wrote. Every method throws where that is not there. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  bytes(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new RangeError("more bytes are expected");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  count(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes(1)[0] as number;
      value += (byte % 128) * scale;
      if (!Number.isSafeInteger(value)) throw new RangeError("a number is too large");
      if (byte < 128) return value;
    }
  }

  difference(): number {
    const value = this.count();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }

  optional<T>(read: () => T): T | undefined {
    return this.count() === 0 ? undefined : read();
  }

  text(): string {
    const head = this.count();
    const bytes = this.bytes(Math.floor(head / 2));
    return head % 2 === 1 ? fromUtf16(bytes) : decoder.decode(bytes);
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.bytes(this.#bytes.length - this.#at);
  }

  assertEnd(): void {
    if (this.#at !== this.#bytes.length) throw new RangeError("fewer bytes are expected");
  }
}

function utf16(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  for (let i = 0; i < text.length; i++) {
    bytes[2 * i] = text.charCodeAt(i) >> 8;
    bytes[2 * i + 1] = text.charCodeAt(i);
  }
  return bytes;
}

function fromUtf16(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 2)
    text += String.fromCharCode(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  return text;
}

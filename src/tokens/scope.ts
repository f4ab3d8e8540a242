/** Names with single spaces between (RFC 6749 section 3.3). Such a text is also safe between the quotes of a header. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;

export const isScope = (value: unknown): value is string => typeof value === "string" && SCOPE.test(value);

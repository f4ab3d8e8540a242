/** An answer that is not the one asked for: a status and a sentence for the visitor. */
export class Problem extends Error {
  readonly status: number;

  constructor(status: number, sentence: string) {
    super(sentence);
    this.status = status;
  }
}

/** The visitor has to log in (again). A browser is led to the login page, and from there to `returnTo`. */
export class LoginNeeded extends Problem {
  readonly returnTo: string;

  constructor(returnTo: string, sentence = "Not logged in") {
    super(401, sentence);
    this.returnTo = returnTo;
  }
}

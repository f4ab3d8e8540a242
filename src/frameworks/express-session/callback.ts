/** As Node's callbacks are: called once, with an error or without. */
// biome-ignore lint/suspicious/noExplicitAny: callers annotate the error as they like, as with express-session's types
export type Callback = (error?: any) => void;

/**
 * A promise of what `run` tells its callback. One that nobody waits for does not end the process when it is rejected,
 * because calls without a callback never did.
 */
export function promised(run: (callback: Callback) => void): Promise<void> {
  const promise = new Promise<void>((resolve, reject) => {
    run((error) => (error ? reject(error) : resolve()));
  });
  promise.catch(() => {});
  return promise;
}

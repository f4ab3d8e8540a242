import { localArea } from "./platform.ts";
import type { NotSecretName, WithoutSecrets } from "./secrets.ts";
import { createState, type State, type StateOptions } from "./state.ts";

/**
 * A typed value in `localStorage`: it outlives the tab, and all tabs share it.
 */
export function localState<T, const Key extends string = string>(
  key: Key & NotSecretName<Key>,
  options: StateOptions<T> & WithoutSecrets<T>,
): State<T> {
  return createState(localArea, key, options);
}

import { onPage, tabArea } from "./platform.ts";
import type { NotSecretName, WithoutSecrets } from "./secrets.ts";
import { settleTab } from "./settle.ts";
import { createState, type State, type StateOptions } from "./state.ts";

/**
 * A typed value in `sessionStorage`: each tab has its own, and it survives a reload. What is another user's, or was wiped
 * while the tab slept, is removed when the tab wakes.
 */
export function tabState<T, const Key extends string = string>(
  key: Key & NotSecretName<Key>,
  options: StateOptions<T> & WithoutSecrets<T>,
): State<T> {
  settleTab();
  onPage("storage", settleTab);
  onPage("pageshow", settleTab);
  return createState(tabArea, key, options);
}

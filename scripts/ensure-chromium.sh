#!/usr/bin/env bash
# The browser tests need Chromium. Installs Debian's where none is found; anything else is for you to install.
set -euo pipefail
for name in "${CHROMIUM_PATH:-chromium}" chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium

#!/usr/bin/env bash
# What the tests need from the system beside Docker: a browser and its driver, from the distribution's packages.
# `make test` calls this; it does nothing where they are installed.
set -euo pipefail

browser() { command -v chromium || command -v google-chrome; }

if browser >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "chromium: not installed: the browser tests need it and its driver. mend: install chromium and chromedriver" >&2
    exit 2
fi
as_root=()
if ((EUID)); then
    as_root=(sudo --non-interactive)
fi
echo "tests: installing chromium and its driver from the distribution's packages" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
    chromium chromium-driver >/dev/null

#!/usr/bin/env bash
# What the tests need from the system beside Docker, from the distribution's packages: a browser and its driver, and a
# clock that is wrong.
# `make test` calls this; it does nothing where they are installed.
set -euo pipefail

browser() { command -v chromium || command -v google-chrome; }

if browser >/dev/null && command -v chromedriver >/dev/null && command -v faketime >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "chromium, faketime: not installed: the tests need them. mend: install chromium, chromedriver and faketime" >&2
    exit 2
fi
as_root=()
if ((EUID)); then
    as_root=(sudo --non-interactive)
fi
echo "tests: installing chromium, its driver and faketime from the distribution's packages" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
    chromium chromium-driver faketime >/dev/null

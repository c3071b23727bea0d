#!/usr/bin/env bash
# The tests that need an accelerator.
#
#   bash scripts/test_gpu.sh [pytest arguments …]

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_environment dev
"$VENV/bin/python" -c 'import sys, torch; sys.exit(not torch.accelerator.is_available())' ||
  die "torch finds no accelerator on this machine: these tests need one; \`bash scripts/test.sh\` runs those that don't."
exec bash "$ROOT/scripts/test.sh" -m gpu "$@"

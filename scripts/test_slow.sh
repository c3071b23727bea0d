#!/usr/bin/env bash
# The tests that take more than about twenty seconds each, such as whole runs of every recipe.
#
#   bash scripts/test_slow.sh [pytest arguments …]

set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/test.sh" -m "slow and not gpu" "$@"

#!/usr/bin/env bash
# The tests that need DeepSpeed, which is no dependency: in an environment of its own that lies over
# .venv, so that nothing there changes.
#
#   bash scripts/test_deepspeed.sh [pytest arguments …]
#
#   FINETUNE_DEEPSPEED_VENV   where that environment is kept (default: .venv-deepspeed)

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_environment dev
OVER="${FINETUNE_DEEPSPEED_VENV:-$ROOT/.venv-deepspeed}"
if ! "$OVER/bin/python" -c 'import deepspeed' >/dev/null 2>&1; then
  say "installing DeepSpeed into $OVER"
  "$VENV/bin/python" -m venv --clear "$OVER"
  below="$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  own="$("$OVER/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  echo "import site; site.addsitedir('$below')" >"$own/below.pth"
  # Without dependencies: those that .venv lacks are named, so that torch stays as it is.
  DS_BUILD_OPS=0 "$OVER/bin/python" -m pip install --no-input --quiet --no-deps \
    deepspeed==0.19.8 einops==0.8.2 hjson==3.1.0 msgpack==1.2.4 ninja==1.13.2 py-cpuinfo==9.0.0 ||
    die "DeepSpeed could not be installed: pip's message is above."
fi
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
cd "$ROOT"
say "pytest tests/recipes/test_zero.py $*"
exec "$OVER/bin/python" -m pytest -m slow tests/recipes/test_zero.py "$@"

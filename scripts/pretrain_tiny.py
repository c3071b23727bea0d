"""Make one of the project's minute pretrained bases again, from nothing.

    python scripts/pretrain_tiny.py bert|t5|gpt|clip|whisper [FOLDER]

Each family is one module in scripts/pretrain/ whose `main(out)` writes a Hugging Face folder, by
default the one that is shipped, finetune/models/tiny/FAMILY. Seeded and on one thread: the same
versions on the same kind of processor give the same bytes.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parent / "finetune/models/tiny"


def families() -> list[str]:
    """Return the families that have a module with a `main(out)`."""
    modules = (HERE / "pretrain").glob("*.py")
    return sorted(
        path.stem for path in modules if "\ndef main(" in path.read_text(encoding="utf-8")
    )


def main(arguments: list[str]) -> int:
    """Pretrain the named family; return the exit code."""
    if not 1 <= len(arguments) <= 2 or arguments[0] not in families():
        print(f"usage: pretrain_tiny.py {'|'.join(families())} [FOLDER]", file=sys.stderr)
        return 2
    family = arguments[0]
    out = Path(arguments[1]) if len(arguments) == 2 else SHIPPED / family
    # Before torch is imported: sums in another order give other weights.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.path.insert(0, str(HERE))
    importlib.import_module(f"pretrain.{family}").main(out)
    print(f"wrote {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

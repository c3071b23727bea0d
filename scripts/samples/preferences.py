"""Write the preferences sample: a café's orders, each with a till line that is right and a worse one.

    python scripts/samples/preferences.py     # rewrites finetune/data/samples/preferences

The orders are those of the chat sample, from another seed. What is rejected has one thing wrong: a
count, a thing left out or one too many, or it says the right thing in a whole sentence. So neither
the longer nor the shorter answer is the better one.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from samples import chat

SEED = 50_717
ROWS = 320
OUT = Path(__file__).parents[2] / "finetune/data/samples/preferences"
WORDY = [
    "Certainly! I have noted {}.",
    "Of course, that would be {}. Anything else?",
    "Thank you for your order: {}!",
]


def worse(order: list[chat.Line], rng: random.Random) -> tuple[str, str]:
    """Return an answer with one thing wrong, and what that is."""
    flaw = rng.choice(
        ["count", "count", "added", "dropped" if len(order) > 1 else "added", "wordy"]
    )
    at = rng.randrange(len(order))
    if flaw == "count":
        other = rng.choice([n for n in (1, 2, 3, 4, 5) if n != order[at].count])
        order = [*order[:at], replace(order[at], count=other), *order[at + 1 :]]
    elif flaw == "dropped":
        order = order[:at] + order[at + 1 :]
    elif flaw == "added":
        order = [*order, chat.draw(rng, without=order)]
    else:
        return rng.choice(WORDY).format(chat.canonical(order)), flaw
    return chat.canonical(order), flaw


def generate(seed: int = SEED) -> list[dict[str, object]]:
    """Return the pairs; no guest's words occur twice, here or in the chat sample."""
    rng = random.Random(seed)
    seen = {row["messages"][-2]["content"].lower() for row in chat.generate()}  # type: ignore[index]
    rows: list[dict[str, object]] = []
    while len(rows) < ROWS:
        text, order, _ = chat.first_turn(rng)
        if text.lower() in seen or not order:
            continue
        seen.add(text.lower())
        rejected, flaw = worse(order, rng)
        prompt = [{"role": "user", "content": text}]
        if rng.random() < 0.4:
            prompt.insert(0, {"role": "system", "content": rng.choice(chat.SYSTEM)})
        answers = (
            [{"role": "assistant", "content": said}] for said in (chat.canonical(order), rejected)
        )
        chosen, refused = answers
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": refused, "flaw": flaw})
    return rows


def write(folder: Path = OUT) -> Path:
    """Write `preferences.jsonl` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preferences.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in generate()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


if __name__ == "__main__":
    print(f"wrote {write()}")

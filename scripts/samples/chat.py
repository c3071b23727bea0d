"""Write the chat sample: a café's orders in everyday words and the till's short form of them.

    python scripts/samples/chat.py                # rewrites finetune/data/samples/chat

"Two large teas and a bagel, please" becomes `tea x2 large; bagel x1`: things in the order in which
they were first named, in the singular, with count, size and extra. Customers correct themselves,
and a second turn adds, drops or changes something, so that the answer follows from the whole
conversation and from nothing else; exact match is a fair measure of it.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

SEED = 20_241
ROWS = 1_500
OUT = Path(__file__).parents[2] / "finetune/data/samples/chat"

DRINKS = {
    "tea": "teas",
    "coffee": "coffees",
    "latte": "lattes",
    "cappuccino": "cappuccinos",
    "hot chocolate": "hot chocolates",
    "lemonade": "lemonades",
    "smoothie": "smoothies",
    "apple juice": "apple juices",
}
FOODS = {
    "bagel": "bagels",
    "scone": "scones",
    "croissant": "croissants",
    "muffin": "muffins",
    "sandwich": "sandwiches",
    "waffle": "waffles",
    "brownie": "brownies",
    "cheese toastie": "cheese toasties",
    "cinnamon roll": "cinnamon rolls",
    "fruit salad": "fruit salads",
    "slice of cake": "slices of cake",
    "bowl of soup": "bowls of soup",
}
PLURALS = DRINKS | FOODS
SIZES = ["small", "medium", "large"]
EXTRAS = ["oat milk", "sugar", "lemon", "ice", "honey"]
COUNTS = {
    1: ["a", "a", "one", "1", "just one"],
    2: ["two", "two", "2", "a couple of", "a pair of"],
    3: ["three", "three", "3"],
    4: ["four", "4"],
    5: ["five", "5"],
    6: ["six", "half a dozen", "6"],
    7: ["seven", "7"],
    8: ["eight", "8"],
    12: ["a dozen", "twelve", "12"],
}
COUNT_WEIGHTS = [40, 25, 12, 8, 5, 4, 2, 2, 2]

SYSTEM = [
    "You take orders at the Corner Café.",
    "You write down what the guests order.",
    "Turn the order into a line for the till.",
    "You are the till of a small café. Keep it short.",
    "Note the order for the kitchen.",
]
FRAMES = [
    "{}, please.",
    "{} please",
    "Hi, could I get {}?",
    "Hello! I'd like {}.",
    "Can we have {}?",
    "I'll take {}, thanks.",
    "{} to take away, please.",
    "Good morning, {} for me.",
    "We need {}.",
    "could you bring us {}",
    "Let me have {} when you have a minute.",
    "My friends want {}.",
    "I am really hungry today, so {}.",
    "It's our usual: {}.",
    "{}. That's all.",
    "Do you still have cake? No? Then {}.",
    "{}, and the bill afterwards.",
    "The table by the window would like {}.",
]
CHANGED = ["no wait, {}", "sorry, {}", "hm, make that {}", "I mean {}", "oh, rather {}"]
DROPPED = ["actually no {}", "but forget the {}", "hm, leave out the {}", "no, skip the {}"]
ADD = ["And {}, please.", "Could you add {}?", "Oh, and {}.", "{} as well, thanks.", "Plus {}."]
DROP = ["No {} after all.", "Please take off the {}.", "Without the {}, sorry.", "Cancel the {}."]
MAKE = ["Make it {}.", "{} instead, please.", "Sorry, that should be {}.", "Better {}."]


@dataclass(frozen=True)
class Line:
    """One thing on an order."""

    thing: str
    count: int
    size: str = ""
    extra: str = ""

    def canonical(self) -> str:
        """Return what the till prints."""
        return (
            f"{self.thing} x{self.count}"
            + (f" {self.size}" if self.size else "")
            + (f" +{self.extra}" if self.extra else "")
        )


def canonical(order: list[Line]) -> str:
    """Return the answer to an order."""
    return "; ".join(line.canonical() for line in order) or "nothing"


def named(line: Line) -> str:
    """Return the thing as one refers to it later: in the plural if there are several."""
    return line.thing if line.count == 1 else PLURALS[line.thing]


def spoken(line: Line, rng: random.Random) -> str:
    """Return one thing as a guest says it."""
    words = f"{line.size} {named(line)}".strip()
    count = rng.choice(COUNTS[line.count])
    if count == "a" and words[0] in "aeiou":
        count = "an"
    extra = rng.choice([" with {}", " with {}", " and {} in it" if line.count == 1 else " with {}"])
    return f"{count} {words}" + (extra.format(line.extra) if line.extra else "")


def listed(parts: list[str], rng: random.Random) -> str:
    """Return the parts as a spoken list."""
    if len(parts) == 1:
        return parts[0]
    last = rng.choice([" and ", " and ", ", and ", " plus "])
    return ", ".join(parts[:-1]) + last + parts[-1]


def draw(rng: random.Random, *, without: list[Line]) -> Line:
    """Return a thing that isn't on the order yet."""
    taken = {line.thing for line in without}
    thing = rng.choice([name for name in PLURALS if name not in taken])
    count = rng.choices(list(COUNTS), COUNT_WEIGHTS)[0]
    if thing in FOODS:
        return Line(thing, count)
    size = rng.choice([*SIZES, "", ""])
    return Line(thing, count, size, rng.choice(EXTRAS) if rng.random() < 0.25 else "")


def recount(line: Line, rng: random.Random) -> Line:
    """Return the same thing in another number."""
    return replace(line, count=rng.choice([n for n in (1, 2, 3, 4, 5) if n != line.count]))


def first_turn(rng: random.Random) -> tuple[str, list[Line], str]:
    """Return what the guest says, the order meant, and the kind of utterance."""
    order: list[Line] = []
    for _ in range(rng.choices([1, 2, 3, 4], [20, 42, 28, 10])[0]):
        order.append(draw(rng, without=order))
    said = listed([spoken(line, rng) for line in order], rng)
    kind, chance = "order", rng.random()
    at = rng.randrange(len(order))
    if chance < 0.08:
        order[at], kind = recount(order[at], rng), "correction"
        said += ", " + rng.choice(CHANGED).format(spoken(order[at], rng))
    elif chance < 0.12 and len(order) > 1:
        said += ", " + rng.choice(DROPPED).format(named(order[at]))
        kind = "correction"
        del order[at]
    text = rng.choice(FRAMES).format(said)
    return text[0].upper() + text[1:] if rng.random() < 0.8 else text.lower(), order, kind


def second_turn(order: list[Line], rng: random.Random) -> tuple[str, list[Line], str]:
    """Return how the guest changes an order, the order then, and the kind of change."""
    kind = rng.choice(["addition"] * 3 + ["change", "removal"][: len(order)])
    at = rng.randrange(len(order))
    if kind == "addition":
        line = draw(rng, without=order)
        text, order = rng.choice(ADD).format(spoken(line, rng)), [*order, line]
    elif kind == "removal":
        text = rng.choice(DROP).format(named(order[at]))
        order = order[:at] + order[at + 1 :]
    else:
        line = recount(order[at], rng)
        text = rng.choice(MAKE).format(spoken(line, rng))
        order = [*order[:at], line, *order[at + 1 :]]
    return text[0].upper() + text[1:], order, kind


def generate(seed: int = SEED) -> list[dict[str, object]]:
    """Return the conversations; no guest's first words occur twice."""
    rng = random.Random(seed)
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    while len(rows) < ROWS:
        text, order, kind = first_turn(rng)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        messages = [
            {"role": "user", "content": text},
            {"role": "assistant", "content": canonical(order)},
        ]
        if rng.random() < 0.28:
            text, order, kind = second_turn(order, rng)
            messages += [
                {"role": "user", "content": text},
                {"role": "assistant", "content": canonical(order)},
            ]
        if rng.random() < 0.4:
            messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM)})
        rows.append({"messages": messages, "kind": kind})
    return rows


def write(folder: Path = OUT) -> Path:
    """Write `chat.jsonl` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "chat.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in generate()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


if __name__ == "__main__":
    print(f"wrote {write()}")

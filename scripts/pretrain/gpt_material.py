"""What the minute GPT reads: short conversations of shops, post offices and kitchens, and notes.

Related to the chat sample, not the same: other speakers, mostly other goods, other canonical forms.
Each conversation names the form in which it wants its answer, either in a system message or in a
question, so that there is something to understand; the skills are counting words → digits,
plural → singular, copying in order, and changing a list in a second turn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

GOODS = {
    "hammer": "hammers", "saw": "saws", "bolt": "bolts", "hinge": "hinges", "bucket": "buckets",
    "ladder": "ladders", "paint brush": "paint brushes", "wrench": "wrenches", "torch": "torches",
    "pencil": "pencils", "ruler": "rulers", "notebook": "notebooks", "eraser": "erasers",
    "envelope": "envelopes", "stamp": "stamps", "folder": "folders", "glue stick": "glue sticks",
    "rose": "roses", "tulip": "tulips", "daisy": "daisies", "lily": "lilies", "cactus": "cactuses",
    "bunch of herbs": "bunches of herbs", "bag of soil": "bags of soil", "apple": "apples",
    "potato": "potatoes", "tomato": "tomatoes", "onion": "onions", "carrot": "carrots",
    "bottle of water": "bottles of water", "loaf of bread": "loaves of bread", "egg": "eggs",
    "jar of honey": "jars of honey", "pot of jam": "pots of jam", "bar of soap": "bars of soap",
    "lemon": "lemons", "cheese": "cheeses", "orange": "oranges", "cake tin": "cake tins",
    "tea towel": "tea towels", "coffee cup": "coffee cups", "soup spoon": "soup spoons",
    "kite": "kites", "puzzle": "puzzles", "teddy bear": "teddy bears", "drum": "drums",
    "marble": "marbles", "doll": "dolls", "train set": "train sets", "ball": "balls",
    "shirt": "shirts", "scarf": "scarves", "hat": "hats", "pair of socks": "pairs of socks",
    "glove": "gloves", "dress": "dresses", "raincoat": "raincoats", "button": "buttons",
    "parcel": "parcels", "letter": "letters", "postcard": "postcards", "box": "boxes",
    "chair": "chairs", "table": "tables", "lamp": "lamps", "mirror": "mirrors", "shelf": "shelves",
    "tea": "teas", "coffee": "coffees", "lemonade": "lemonades", "apple juice": "apple juices",
    "bagel": "bagels", "scone": "scones", "muffin": "muffins", "sandwich": "sandwiches",
    "waffle": "waffles", "brownie": "brownies", "croissant": "croissants", "smoothie": "smoothies",
    "chocolate bar": "chocolate bars", "slice of toast": "slices of toast",
    "cinnamon stick": "cinnamon sticks", "fruit basket": "fruit baskets",
    "salad bowl": "salad bowls",
    "bowl of rice": "bowls of rice", "bread roll": "bread rolls", "latte glass": "latte glasses",
    "cappuccino cup": "cappuccino cups", "pot of soup": "pots of soup", "hot plate": "hot plates",
    "cheese toastie pan": "cheese toastie pans", "cake": "cakes",
    "pillow": "pillows", "candle": "candles", "basket": "baskets", "fork": "forks",
    "knife": "knives",
}  # fmt: skip
KINDS = [
    "red", "blue", "green", "small", "big", "large", "old", "new", "wooden", "heavy", "medium",
    "white", "black", "cheap", "plain", "thin", "round", "yellow",
]  # fmt: skip
PARTS = [
    "ribbon", "handle", "lid", "label", "string", "logo", "sugar", "paper", "ice", "wax", "honey",
    "oat milk", "lemon",
]  # fmt: skip
COUNTS = {
    1: ["a", "a", "one", "1", "just one", "a single"],
    2: ["two", "two", "2", "a couple of", "a pair of"], 3: ["three", "three", "3"],
    4: ["four", "four", "4"], 5: ["five", "5"], 6: ["six", "6", "half a dozen"], 7: ["seven", "7"],
    8: ["eight", "8"], 9: ["nine", "9"], 10: ["ten", "10"], 12: ["twelve", "12", "a dozen"],
}  # fmt: skip
DIGITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
]  # fmt: skip

# The forms an answer can have: how one line is written, and what stands between two.
FORMS = {
    "Write a packing list.": ("{n} * {kind}{thing}{part}", ", ", " / {}"),
    "Use plus signs.": ("{n} {kind}{thing}{part}", " + ", " & {}"),
    "Put the number in brackets.": ("{kind}{thing}{part} ({n})", ", ", " w/ {}"),
    "One thing per line.": ("- {kind}{thing}{part}: {n}", "\n", ", {}"),
    "Write it as a table row.": ("{thing} | {n} | {kind}{part}", " || ", "| {}"),
    "Fill in the form.": ("<{thing} n={n} kind={kind}{part}>", " ", " part={}"),
    "Name first, then the number.": ("{thing}, {n}, {kind}{part}", " . ", ", {}"),
}
WHO = ["You work at the warehouse.", "You help in a shop.", "You are a clerk.", "Be brief.", ""]
SAID = [
    "We need {}.", "Please send {}.", "{}, please.", "I would like to buy {}.", "Have you got {}?",
    "Pack {} for me.", "Hello, {} for my mother.", "{} and nothing else",
    "There were {} in the van.", "Can you put aside {}?", "Good evening! {} if possible.",
    "The school wants {}.", "{}, thanks.", "My list says {}.", "For the party: {}.", "{} to go",
    "My neighbour asks for {}.", "Give us {}!",
]  # fmt: skip
CHANGED = ["no, {}", "wait, {}", "sorry, {}", "or rather {}", "I mean {}", "make that {}"]
DROPPED = ["but not the {}", "no {} actually", "forget the {}", "leave out the {}", "skip the {}"]
ADD = ["Also {}.", "And {}, please.", "Add {}.", "Then {} too.", "{} as well."]
DROP = [
    "Not the {}.", "Remove the {}.", "We don't want the {}.", "Without the {}.", "No {}, sorry.",
]  # fmt: skip
MAKE = ["Make it {}.", "It should be {}.", "{} instead.", "Change that to {}."]

PEOPLE = ["Ada", "Bruno", "Mei", "Olaf", "Rosa", "Tariq", "Wanda", "Yusuf", "Nell", "Pavel"]
PLACES = ["market", "harbour", "station", "school", "garden", "kitchen", "library", "workshop"]
TIMES = ["In the morning", "At noon", "On Monday", "After lunch", "Before it rained", "Last week"]
DID = ["bought", "carried", "found", "counted", "sold", "forgot", "painted", "washed", "packed"]
THEN = [
    "Then they went home.", "It was a good day.", "The bill was paid at once.",
    "Nobody was hungry.", "The rest came later by post.", "A dog slept by the door.",
    "They drank tea and ate cake.",
]  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One thing on a list."""

    thing: str
    count: int
    kind: str = ""
    part: str = ""
    several: str = ""


Conversation = list[dict[str, str]]


def written(lines: list[Line], form: str) -> str:
    """Return a list in one of the forms."""
    template, between, part = FORMS[form]
    tail = "thing" if template.find("{thing}") > template.find("{kind}") else ""
    return (
        between.join(
            template.format(
                n=line.count,
                thing=line.thing,
                kind=line.kind + " " if line.kind and tail else line.kind,
                part=part.format(line.part) if line.part else "",
            )
            for line in lines
        )
        or "none"
    )


def named(line: Line) -> str:
    """Return the thing in the number it has."""
    return line.thing if line.count == 1 else line.several or GOODS[line.thing]


def spoken(line: Line, rng: random.Random) -> str:
    """Return one thing as people say it."""
    words = f"{line.kind} {named(line)}".strip()
    count = rng.choice(COUNTS[line.count])
    if count == "a" and words[0] in "aeiou":
        count = "an"
    return f"{count} {words}" + (f" with {line.part}" if line.part else "")


def listed(parts: list[str], rng: random.Random) -> str:
    """Return the parts as a spoken list."""
    last = rng.choice([" and ", " and ", ", and ", " plus ", ", "])
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + last + parts[-1]


def invented(line: Line, rng: random.Random) -> Line:
    """Return the line with the thing, and perhaps its kind, renamed to words that don't exist."""
    thing = made_up(rng) + rng.choice(["", "", "n", "t", "ck", "l", "sh", "ch", "y", "e"])
    if rng.random() < 0.25:
        thing = f"{made_up(rng)} {thing}"
    if thing[-1] == "y" and thing[-2] not in "aeiou":
        several = thing[:-1] + "ies"
    else:
        several = thing + ("es" if thing.endswith(("sh", "ch")) else "s")
    kind = made_up(rng) if line.kind and rng.random() < 0.3 else line.kind
    return replace(line, thing=thing, kind=kind, several=several)


def draw(rng: random.Random, without: list[Line]) -> Line:
    """Return a thing that isn't on the list yet."""
    taken = {line.thing for line in without}
    thing = rng.choice([name for name in GOODS if name not in taken])
    count = rng.choices(list(COUNTS), [30, 22, 14, 10, 8, 5, 4, 4, 3, 3, 3])[0]
    return Line(
        thing,
        count,
        rng.choice(KINDS) if rng.random() < 0.4 else "",
        rng.choice(PARTS) if rng.random() < 0.15 else "",
    )


def recount(line: Line, rng: random.Random) -> Line:
    """Return the same thing in another number."""
    return replace(line, count=rng.choice([n for n in range(1, 7) if n != line.count]))


def shopping(rng: random.Random, *, strange: bool = False) -> Conversation:
    """Return an order, perhaps corrected, perhaps changed in a second turn.

    Args:
        rng: The source of chance.
        strange: Whether most goods have names that don't exist, which can only be copied.
    """
    form = rng.choice(list(FORMS))
    lines: list[Line] = []
    for _ in range(rng.choices([1, 2, 3, 4], [30, 40, 22, 8])[0]):
        lines.append(draw(rng, lines))
    if strange:
        lines = [invented(line, rng) if rng.random() < 0.8 else line for line in lines]
    said = listed([spoken(line, rng) for line in lines], rng)
    at, chance = rng.randrange(len(lines)), rng.random()
    if chance < 0.15:
        lines[at] = recount(lines[at], rng)
        said += ", " + rng.choice(CHANGED).format(spoken(lines[at], rng))
    elif chance < 0.25 and len(lines) > 1:
        said += ", " + rng.choice(DROPPED).format(named(lines.pop(at)))
    text = rng.choice(SAID).format(said)
    text = text[0].upper() + text[1:] if rng.random() < 0.8 else text.lower()
    who = rng.choice(WHO)
    if rng.random() < 0.6:
        messages = [{"role": "system", "content": f"{who} {form}".strip()}]
    else:
        messages, text = [], (f"{form} {text}" if rng.random() < 0.5 else f"{text} {form}")
    messages += [_user(text), _assistant(written(lines, form))]
    if rng.random() < 0.3:
        at, chance = rng.randrange(len(lines)), rng.random()
        if chance < 0.35:
            lines.append(draw(rng, lines))
            text = rng.choice(ADD).format(spoken(lines[-1], rng))
        elif chance < 0.65 and len(lines) > 1:
            text = rng.choice(DROP).format(named(lines.pop(at)))
        else:
            lines[at] = recount(lines[at], rng)
            text = rng.choice(MAKE).format(spoken(lines[at], rng))
        messages += [_user(text[0].upper() + text[1:]), _assistant(written(lines, form))]
    return messages


def exercise(rng: random.Random) -> Conversation:
    """Return a small exercise with words: repeat, count, one of many, digits."""
    things = rng.sample(list(GOODS), rng.randint(1, 4))
    kind = rng.randrange(5)
    if kind == 0:
        words = [made_up(rng) if rng.random() < 0.7 else word for word in things]
        return [_user("Repeat: " + ", ".join(words)), _assistant(", ".join(words))]
    if kind == 1:
        return [
            _user("One of each: " + ", ".join(GOODS[thing] for thing in things)),
            _assistant(", ".join(things)),
        ]
    if kind == 2:
        numbers = [rng.randint(1, 12) for _ in range(rng.randint(1, 5))]
        return [
            _user("In digits: " + " ".join(DIGITS[number] for number in numbers)),
            _assistant(" ".join(map(str, numbers))),
        ]
    if kind == 3:
        return [_user("How many things? " + ", ".join(things)), _assistant(str(len(things)))]
    words = [made_up(rng) for _ in range(rng.randint(2, 3))]
    index = rng.randrange(len(words))
    order = ["first", "second", "third"][index]
    return [_user(f"The {order} word of: " + " ".join(words)), _assistant(words[index])]


def made_up(rng: random.Random) -> str:
    """Return a word that doesn't exist, to be copied letter by letter."""
    consonants, vowels = "bcdfghklmnprstvw", "aeiou"
    return "".join(rng.choice(consonants) + rng.choice(vowels) for _ in range(rng.randint(1, 3)))


def note(rng: random.Random) -> str:
    """Return a few sentences of plain text."""
    lines: list[Line] = []
    for _ in range(rng.randint(1, 3)):
        lines.append(draw(rng, lines))
    start = f"{rng.choice(TIMES)} {rng.choice(PEOPLE)} {rng.choice(DID)}"
    things = listed([spoken(line, rng) for line in lines], rng)
    return f"{start} {things} at the {rng.choice(PLACES)}. {rng.choice(THEN)}"


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def document(rng: random.Random) -> Conversation | str:
    """Return a conversation, or now and then a piece of plain text."""
    chance = rng.random()
    if chance < 0.78:
        return shopping(rng, strange=chance < 0.12)
    return exercise(rng) if chance < 0.95 else note(rng)

"""Write the intents sample: what customers of an invented shop ask for, over four channels.

    python scripts/samples/intents.py                # rewrites finetune/data/samples/intents

The sentences are hand-written (intents_cores.txt, 42 for each class, with alternatives inside);
this file only picks, fills in, greets, signs and misspells. Two things keep the task honest: every
seventh message also mentions another topic without asking for it, and many cores of one class use
the words of another ("the parcel never came, so please pay back" is a refund request).
"""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path

SEED = 20_240
CORES = Path(__file__).with_name("intents_cores.txt")
OUT = Path(__file__).parents[2] / "finetune/data/samples/intents"

# Customers don't ask all ten things equally often.
ROWS = {
    "delivery_status": 160,
    "refund_request": 150,
    "login_problem": 145,
    "invoice_question": 135,
    "card_lost": 130,
    "damaged_item": 130,
    "cancel_subscription": 125,
    "change_address": 120,
    "opening_hours": 115,
    "speak_to_human": 110,
}
CHANNELS = {"email": 0.35, "chat": 0.35, "phone": 0.15, "social": 0.15}
ASIDE_SHARE = 1 / 7
# Two messages that share more than this part of their letter trigrams are too alike to keep both.
NEAR_DUPLICATE = 0.72

ITEMS = [
    "lamp", "kettle", "rug", "armchair", "backpack", "toaster", "raincoat", "blender", "mirror",
    "tea set", "desk", "speaker", "watering can", "bread bin", "bookshelf", "radio", "blanket",
    "vase", "hammock", "coffee grinder", "mattress", "picture frame", "suitcase", "clock",
    "garden chair",
]  # fmt: skip
CITIES = [
    "Leeds", "Bristol", "Cork", "Oslo", "Ghent", "Porto", "Lyon", "Basel", "Graz", "Turin", "York",
    "Derby", "Malmö", "Aarhus", "Bath", "Galway", "Utrecht", "Bergen",
]  # fmt: skip
STREETS = [
    "Mill Lane", "Station Road", "Quay Street", "Elm Grove", "Castle Hill", "Orchard Way",
    "Harbour Parade", "Chapel Row", "Meadow Close", "Bridge Street", "King's Walk",
    "Tanner's Yard",
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
MONTHS = ["January", "March", "April", "June", "July", "September", "October", "November"]
LANGUAGES = ["Spanish", "Polish", "German", "Turkish", "French", "Arabic"]
NAMES = [
    "Hannah", "M. Okafor", "Jonas Weil", "Priya", "Tom B.", "Aisha Rahman", "Carla", "L. Novak",
    "Ewan", "Mrs Fairley", "Dmitri", "Sofia L.", "Ben", "R. Castellan", "Yuki", "Gwen Pryce",
    "Omar", "Ines",
]  # fmt: skip

EMAIL_OPENINGS = [
    "Hello,", "Dear team,", "Good morning,", "Dear Sir or Madam,", "Hi there,",
    "To whom it may concern,", "Good evening,", "Dear Harbour & Pine,", "Hello again,", "Hi,",
    "Dear support,", "", "", "",
]  # fmt: skip
EMAIL_LEADS = [
    "I hope you are well.", "I am writing to you for the first time.", "Sorry to bother you.",
    "I have been a customer for years.", "This is my second message.", "Short question from me.",
    "I could not find an answer on your site.", "Maybe you can help me.", "I need your help.",
    "I am a bit annoyed, to be honest.", "My order number is {order}.",
    "I was in the {city} shop last week.",
]  # fmt: skip
EMAIL_ENDINGS = [
    "Kind regards, {name}", "Best wishes, {name}", "Thank you in advance, {name}",
    "Many thanks, {name}", "Regards, {name}", "Looking forward to your answer. {name}",
    "Yours sincerely, {name}", "Thanks, {name}", "Please reply soon.", "{name}",
    "Sent from my phone", "", "",
]  # fmt: skip
CHAT_OPENINGS = [
    "hi", "hey", "hello", "hi there", "hiya", "good morning", "hey there,", "ok so", "quick one:",
    "yo", "", "", "", "", "", "",
]  # fmt: skip
CHAT_ENDINGS = [
    "thx", "thanks", "please", "pls help", "??", "🙏", "😕", "cheers", "ty", "any idea?", "asap",
    ":)", "", "", "", "", "", "", "",
]  # fmt: skip
PHONE_OPENINGS = [
    "yes hello", "um hi", "hello yes this is {name}", "good morning", "right so", "uh hello there",
    "hi it's {name} here", "oh finally", "okay um", "",
]  # fmt: skip
PHONE_ENDINGS = [
    "that's it really", "yeah", "if you could", "thank you", "can you hear me", "so yeah", "right",
    "my number is the one I'm calling from", "", "", "",
]  # fmt: skip
PHONE_FILLERS = ["um", "uh", "you know", "like", "well", "I mean", "sort of"]
SOCIAL_OPENINGS = [
    "@HarbourPine", "Hey @HarbourPine", "@HarbourPine seriously?", "Dear @HarbourPine,",
    "@HarbourPine hi!", "@HarbourPine 👋", "", "",
]  # fmt: skip
SOCIAL_ENDINGS = [
    "#fail", "😡", "#customerservice", "🤷", "Not impressed.", "🙄", "#help", "Anyone else?", "DM me",
    "😩😩", "#harbourpine", "❤️ your shop otherwise", "", "", "",
]  # fmt: skip


def read_cores(path: Path = CORES) -> dict[str, tuple[list[str], list[str]]]:
    """Return for each class its cores and its asides."""
    classes: dict[str, tuple[list[str], list[str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            cores, asides = classes.setdefault(line[2:], ([], []))
        elif line.startswith("~ "):
            asides.append(line[2:])
        elif line and not line.startswith("#"):
            cores.append(line)
    return classes


def expand(template: str, rng: random.Random) -> str:
    """Choose one of each `[a|b]`, innermost first, and fill the `{slots}`."""
    while (found := re.search(r"\[([^\[\]]*)\]", template)) is not None:
        choice = rng.choice(found[1].split("|"))
        template = template[: found.start()] + choice + template[found.end() :]
    slots = {
        "order": f"{rng.choice('HPK')}{rng.randint(10_000, 99_999)}",
        "four": str(rng.randint(1_000, 9_999)),
        "n": str(rng.randint(2, 9)),
        "year": str(rng.randint(2019, 2024)),
        "amount": rng.choice(["£{}", "{} pounds", "€{}", "{}.90"]).format(rng.randint(4, 180)),
        "street": f"{rng.randint(1, 140)} {rng.choice(STREETS)}",
        "item": rng.choice(ITEMS),
        "city": rng.choice(CITIES),
        "day": rng.choice(DAYS),
        "month": rng.choice(MONTHS),
        "language": rng.choice(LANGUAGES),
        "name": rng.choice(NAMES),
    }
    return re.sub(r"\{(\w+)\}", lambda slot: slots[slot[1]], template)


def misspell(text: str, rng: random.Random, *, share: float) -> str:
    """Swap, drop or double a letter inside about this share of the longer words."""
    words = text.split(" ")
    for index, word in enumerate(words):
        if len(word) < 5 or not word.isalpha() or rng.random() >= share:
            continue
        at = rng.randint(1, len(word) - 3)
        words[index] = rng.choice(
            [
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
            ]
        )
    return " ".join(words)


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else text + "."


def _join(*parts: str) -> str:
    return " ".join(" ".join(part for part in parts if part).split())


def as_email(body: list[str], rng: random.Random) -> str:
    """Whole sentences, with a greeting and a name below."""
    leads = rng.sample(EMAIL_LEADS, rng.choices([0, 1, 2], [0.5, 0.35, 0.15])[0])
    text = _join(*(expand(lead, rng) for lead in leads), *(_sentence(part) for part in body))
    text = misspell(text, rng, share=0.01)
    return _join(rng.choice(EMAIL_OPENINGS), text, expand(rng.choice(EMAIL_ENDINGS), rng))


def as_chat(body: list[str], rng: random.Random) -> str:
    """Short, mostly in lower case, typed in a hurry."""
    text = ". ".join(part.rstrip(".") for part in body)
    if rng.random() < 0.65:
        text = text.lower()
    if rng.random() < 0.4:
        text = text.replace("'", "").rstrip("?.!")
    text = misspell(text, rng, share=0.07)
    return _join(rng.choice(CHAT_OPENINGS), text, rng.choice(CHAT_ENDINGS))


def as_phone(body: list[str], rng: random.Random) -> str:
    """What a transcript of a call looks like: no punctuation, fillers."""
    words = re.sub(r"[.?!,:;\"()]", " ", " ".join(body)).lower().split()
    for _ in range(rng.randint(0, 2)):
        words.insert(rng.randint(1, len(words) - 1), rng.choice(PHONE_FILLERS))
    opening, ending = rng.choice(PHONE_OPENINGS), rng.choice(PHONE_ENDINGS)
    return _join(expand(opening, rng).lower(), *words, ending)


def as_social(body: list[str], rng: random.Random) -> str:
    """A public post: loud, with a handle, tags and emoji."""
    text = _join(*(_sentence(part) for part in body))
    if rng.random() < 0.12:
        text = text.upper()
    text = misspell(text, rng, share=0.03)
    return _join(rng.choice(SOCIAL_OPENINGS), text, rng.choice(SOCIAL_ENDINGS))


FORMS = {"email": as_email, "chat": as_chat, "phone": as_phone, "social": as_social}


def trigrams(text: str) -> frozenset[str]:
    """Return the letter trigrams of a text, case and digits ignored."""
    flat = re.sub(r"\d+", "0", text.lower())
    return frozenset(flat[i : i + 3] for i in range(len(flat) - 2))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets."""
    return len(left & right) / max(1, len(left | right))


def generate(seed: int = SEED) -> list[dict[str, str]]:
    """Return the rows of the sample, shuffled."""
    rng = random.Random(seed)
    classes = read_cores()
    rows: list[dict[str, str]] = []
    seen: dict[str, list[frozenset[str]]] = {label: [] for label in classes}
    for label, wanted in ROWS.items():
        cores = list(classes[label][0])
        rng.shuffle(cores)
        others = [
            aside for name, (_, asides) in classes.items() if name != label for aside in asides
        ]
        made = 0
        while made < wanted:
            body = [expand(cores[made % len(cores)], rng)]
            if rng.random() < ASIDE_SHARE:
                body.insert(rng.randint(0, 1), expand(rng.choice(others), rng))
            channel = rng.choices(list(CHANNELS), list(CHANNELS.values()))[0]
            text = FORMS[channel](body, rng)
            grams = trigrams(text)
            if any(similarity(grams, other) > NEAR_DUPLICATE for other in seen[label]):
                continue
            seen[label].append(grams)
            rows.append({"text": text, "label": label, "channel": channel})
            made += 1
    rng.shuffle(rows)
    return rows


def write(folder: Path = OUT) -> Path:
    """Write `intents.csv` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "intents.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "channel"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(generate())
    return path


if __name__ == "__main__":
    print(f"wrote {write()}")

"""What the minute BERT reads: messages to libraries, gyms, hotels and banks, by topic.

Related to the intents sample, not the same: no shop, other sentences (bert_material.txt), other
topics, some of which (rooms, jobs, praise) the sample doesn't have.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

SOURCE = Path(__file__).with_name("bert_material.txt")
CITIES = ["Leeds", "Oslo", "Paris", "Rome", "Cork", "Vienna", "York", "Lisbon", "Ghent", "Bergen"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
BEFORE = [
    "hello", "hi", "hey", "dear team,", "good morning,", "good evening", "dear sir or madam,",
    "hi there,", "@help", "sorry to bother you,", "I have a question.", "um", "yes hello",
    "quick one:", "please help:", "I need your help.", "I am a member.", "my number is {order}.",
    "I am a bit annoyed.", "okay so", "", "", "", "", "", "", "to whom it may concern,",
    "short question:", "I hope you are well.", "hello again,",
]  # fmt: skip
AFTER = [
    "thanks", "thank you", "thank you in advance", "please", "kind regards", "best wishes, Anna",
    "regards, Tom", "asap", "pls", "thx", "cheers", "please reply soon", "😡", "🙏", "?", "!!",
    "#fail", "not impressed.", "yeah", "any idea?", "sent from my phone", "many thanks, Omar",
    "you know", "", "", "", "", "", "", "", "😕", ":)",
]  # fmt: skip


def read_topics(path: Path = SOURCE) -> dict[str, list[str]]:
    """Return the sentences of each topic."""
    topics: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            sentences = topics.setdefault(line[2:], [])
        elif line and not line.startswith("#"):
            sentences.append(line)
    return topics


def expand(template: str, rng: random.Random) -> str:
    """Choose one of each `[a|b]`, innermost first, and fill the `{slots}`."""
    while (found := re.search(r"\[([^\[\]]*)\]", template)) is not None:
        chosen = rng.choice(found[1].split("|"))
        template = template[: found.start()] + chosen + template[found.end() :]
    slots = {
        "order": f"{rng.choice('ABZ')}{rng.randint(1_000, 99_999)}",
        "n": str(rng.randint(2, 9)),
        "amount": rng.choice(["£{}", "{} pounds", "€{}", "{}.50"]).format(rng.randint(3, 200)),
        "city": rng.choice(CITIES),
        "day": rng.choice(DAYS),
    }
    return re.sub(r"\{(\w+)\}", lambda slot: slots[slot[1]], template)


def message(sentences: list[str], rng: random.Random) -> str:
    """Return one message on a topic: one or two sentences, with what people put around them."""
    body = [expand(line, rng) for line in rng.sample(sentences, rng.choice([1, 1, 2]))]
    parts = [expand(rng.choice(BEFORE), rng), ". ".join(body), rng.choice(AFTER)]
    return " ".join(" ".join(parts).split())


def aside(topics: dict[str, list[str]], rng: random.Random) -> str:
    """Return a sentence on any topic, put so that it isn't what the message asks for."""
    sentence = expand(rng.choice(topics[rng.choice(list(topics))]), rng).rstrip("?.!")
    return rng.choice(["by the way, {}.", "I know, {}, that can wait.", "({})"]).format(sentence)

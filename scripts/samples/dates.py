"""Write the dates sample: English dates in words and their ISO form, in five kinds of expression.

    python scripts/samples/dates.py [OUT]            # rewrites finetune/data/samples/dates

"the third of march 1998" becomes "1998-03-03". Days are always ordinals in words; years are digits,
or words in the kind `year_in_words`. That kind and `relative` ("the day before the first of march
1996", which needs arithmetic, some of it across the end of a month) are few and stay hard, so that
the slices of a report have something to say.
"""

from __future__ import annotations

import csv
import random
import sys
from datetime import date, timedelta
from pathlib import Path

SEED = 1998
OUT = Path(__file__).resolve().parents[2] / "finetune/data/samples/dates"
words = str.split
ANY_YEAR = (date(1900, 1, 2), date(2049, 12, 30))
# Years in words are of four decades, so that a hundred rows show each word of them a few times.
SPANS = {"year_in_words": (date(1970, 1, 1), date(2009, 12, 31))}

MONTHS = words(
    "january february march april may june july august september october november december"
)
ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS = words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)

PHRASES = {
    "day_first": (
        "the {day} of {month} {year}",
        "{day} of {month} {year}",
        "the {day} day of {month}, {year}",
        "on the {day} of {month} {year}",
    ),
    "month_first": (
        "{month} the {day}, {year}",
        "{month} {day} {year}",
        "in {month}, on the {day}, {year}",
    ),
    "year_first": (
        "{year}, the {day} of {month}",
        "in {year} on the {day} of {month}",
        "{year}, {month} the {day}",
    ),
    "year_in_words": (
        "the {day} of {month} {year_in_words}",
        "{month} the {day}, {year_in_words}",
        "the {day} of {month} in the year {year_in_words}",
    ),
    "relative": (
        "the day before the {day} of {month} {year}",
        "the day after the {day} of {month} {year}",
    ),
}
ROWS = {
    "day_first": 360,
    "month_first": 340,
    "year_first": 340,
    "year_in_words": 120,
    "relative": 40,
}


def two_digits_in_words(number: int) -> str:
    """Return a number from 0 to 99 in words ("forty-two")."""
    if number < len(ONES):
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")


def day_in_words(day: int) -> str:
    """Return a day of the month as an ordinal ("twenty-third")."""
    if day <= len(ORDINALS):
        return ORDINALS[day - 1]
    tens, ones = divmod(day, 10)
    return f"{TENS[tens - 2]}-{ORDINALS[ones - 1]}" if ones else "thirtieth"


def year_in_words(year: int) -> str:
    """Return a year from 1900 to 2099 as it is spoken ("two thousand and five")."""
    century, rest = divmod(year, 100)
    if century == 20 and rest < 10:
        return "two thousand" + (f" and {ONES[rest]}" if rest else "")
    if rest < 10:
        return f"{ONES[century]} " + (f"oh {ONES[rest]}" if rest else "hundred")
    return f"{two_digits_in_words(century)} {two_digits_in_words(rest)}"


def phrase(template: str, day: date) -> str:
    """Fill one phrasing with a date; relative phrasings name the neighbouring day."""
    if "before" in template:
        day += timedelta(days=1)
    elif "after" in template:
        day -= timedelta(days=1)
    return template.format(
        day=day_in_words(day.day),
        month=MONTHS[day.month - 1],
        year=day.year,
        year_in_words=year_in_words(day.year),
    )


def rows() -> list[dict[str, str]]:
    """Return the sample's rows; no source occurs twice."""
    draw = random.Random(SEED)
    seen: set[str] = set()
    out: list[dict[str, str]] = []
    for style, count in ROWS.items():
        first, last = SPANS.get(style, ANY_YEAR)
        while count:
            day = first + timedelta(days=draw.randint(0, (last - first).days))
            source = phrase(draw.choice(PHRASES[style]), day)
            if source not in seen:
                seen.add(source)
                out.append({"source": source, "target": day.isoformat(), "style": style})
                count -= 1
    draw.shuffle(out)
    return out


def main(out: Path = OUT) -> None:
    """Write ``dates.csv`` into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "dates.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["source", "target", "style"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))

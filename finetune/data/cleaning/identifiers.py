"""Where in a text personal data stands: addresses, phone and card numbers, IBANs, IPs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

Span = tuple[int, int]

EMAIL = re.compile(
    r"(?<![\w+%-])[\w+%-](?:[\w.+%'-]{0,62}[\w+%-])?@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}"
    r"(?:xn--[a-z0-9-]{2,20}|[^\W\d_]{2,24})(?![\w@])(?!:[\w~.-]+/)"
)
FILES = ("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "json", "html", "php")
"""Ends of names such as `logo@2x.png`, none of them a top-level domain."""

CARD = re.compile(
    r"(?<![\w.,+/-])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})(?![\w%/=-]|[.,][0-9]|[ -][0-9])"
)
ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Master
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}"  # Discover
    r"|(?:30[0-5]|3[689][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{9,15}"  # Maestro
)
"""The first digits that issuers use, with the lengths of their numbers (ISO/IEC 7812)."""

IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9]{4})")
IBAN_BODY = re.compile(r"[A-Za-z0-9]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}")

IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[\w])")
VERSION = re.compile(r"(?:\bv|version|release|build|\bver\.?|\w/|==|[~^])\s*$", re.IGNORECASE)
NETWORK = re.compile(
    r"\b(?:ip|ips|ipv4|host|server|address|dns|router|client|ping|proxy)\b", re.IGNORECASE
)
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:])")

PHONE = re.compile(r"[0-9](?:[ ().\-/\u00a0]{0,3}[0-9]){6}")
TRUNK = re.compile(r"(?<![\w.,+/-])00(?=[1-9](?:[ ().\-/]{0,2}[0-9]){7,14}(?![0-9]))")
"""The prefix that stands for `+` in most of the world; not in the middle of a number."""


def emails(text: str) -> Iterator[Span]:
    """Yield e-mail addresses; no handles, no names of files, no `git@host:path`."""
    if "@" not in text:
        return
    for match in EMAIL.finditer(text):
        if match[0].rpartition(".")[2].lower() not in FILES and ".." not in match[0]:
            yield match.span()


def cards(text: str) -> Iterator[Span]:
    """Yield numbers of payment cards: an issuer's first digits and length, and the Luhn digit."""
    from stdnum import luhn

    for match in CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if ISSUERS.fullmatch(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield match.span()


def ibans(text: str) -> Iterator[Span]:
    """Yield IBANs of countries that have them, with the length and check digits of theirs."""
    from stdnum import iban

    for start in IBAN_START.finditer(text):
        body = IBAN_BODY.match(text, start.start())
        if body is None:
            continue
        # What follows may be a word: the longest part that is valid and ends there is the IBAN.
        for end in range(body.end(), start.end() + 10, -1):
            apart = end == len(text) or not text[end].isalnum()
            if not apart or not text[end - 1].isalnum():
                continue
            # Without the country's own list of banks, which lags behind the banks there are.
            if iban.is_valid(text[start.start() : end], check_country=False):
                yield start.start(), end
                break


def addresses(text: str) -> Iterator[Span]:
    """Yield IP addresses of machines; no versions, numbers of sections, masks or loopbacks."""
    for match in IPV4.finditer(text):
        before = text[max(match.start() - 24, 0) : match.start()]
        if VERSION.search(before) and not before.endswith("//"):
            continue
        small = all(len(part) == 1 for part in match[0].split("."))
        if (
            small
            and not NETWORK.search(before)
            and text[match.end() : match.end() + 1] not in ("/", ":")
        ):
            continue
        if _is_somebody(match[0]):
            yield match.span()
    if ":" not in text:
        return
    for match in IPV6.finditer(text):
        groups = [group for group in match[0].split(":") if group]
        telling = any(len(group) >= 3 for group in groups) and any(map(str.isdigit, match[0]))
        if telling and _is_somebody(match[0]):
            yield match.span()


def _is_somebody(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    common = found.is_loopback or found.is_unspecified or found.is_multicast
    return not common and not (found.version == 4 and (found.is_reserved or address[:2] == "0."))


def phones(text: str, region: str | None) -> Iterator[Span]:
    """Yield phone numbers that exist in a numbering plan.

    Args:
        text: Where to look.
        region: Country of numbers without a prefix; without it, only `+` and `00` are found.
    """
    if not PHONE.search(text) or not (region or "+" in text or "＋" in text or "00" in text):
        return
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, region):
        number = match.raw_string
        # A bracket that is closed behind the number belongs to the text, not to the number.
        own = number[:1] != "(" or number.count("(") == number.count(")")
        yield match.start + (not own), match.end
    for trunk in TRUNK.finditer(text):
        rest = "+" + text[trunk.end() : trunk.end() + 30]
        for match in phonenumbers.PhoneNumberMatcher(rest, None):
            if match.start == 0:
                yield trunk.start(), trunk.end() + match.end - 1
            break


FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "email": emails,
    "iban": ibans,
    "card": cards,
    "ip": addresses,
}
"""In the order in which they take a place: the stricter the check, the earlier."""


def spans(text: str, kinds: Sequence[str], region: str | None) -> list[tuple[int, int, str]]:
    """Return where personal data stands, in order of place and without overlaps."""
    found: list[tuple[int, int, str]] = []
    finders = [(kind, finder(text)) for kind, finder in FINDERS.items() if kind in kinds]
    if "phone" in kinds:
        finders.append(("phone", phones(text, region)))
    for kind, places in finders:
        for start, end in places:
            if all(end <= other[0] or other[1] <= start for other in found):
                found.append((start, end, kind))
    return sorted(found)

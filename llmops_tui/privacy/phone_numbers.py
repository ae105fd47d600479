"""Phone numbers: by their form, by what the world's numbering plans allow, and by the words around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "IN", "RU", "CN", "JP", "BR", "PL", "SE", "CH", "AT", "BE")
# Borders are those of ASCII: in scripts without blanks a letter stands directly before a number.
_PHONE = re.compile(
    r"(?:(?<![A-Za-z0-9_.,:/#-])|(?<=(?i:\btel:))|(?<=(?i:\bfax:)))"
    r"(?:\+|00)?\(?\d[\d ().\u00a0/-]{5,20}\d(?![A-Za-z0-9_-])(?!\.\d)(?!,\d)"
)
_WORDS = re.compile(
    r"(?i)\b(?:phone|call(?:ed|er|ing)?|rang|tel(?:ephone|efon[eo]?|éfono|efoon|éphone)?|mobile?|mobiel|móvil|cell(?:ulare)?"
    r"|handy(?:nummer)?|whatsapp|fax|dial|ring|reach (?:me|us|him|her)|sms|text (?:me|us)|number is|hotline|line|contact"
    r"|erreichbar|rückruf|ruf(?:en|e)? (?:mich|sie|uns)|joignable|rappele[rz](?:-moi)?|appele[rz](?:-moi)?|num[ée]ro est"
    r"|llám[ae]\w*|llamad?\w*|chiama\w*|bel(?:len)?)\b"
    r"|телефон|тел\.|звони|моб\.|номер|电话|手机|联系|电联|致电|電話|携帯|連絡|전화|휴대폰|연락"
)
_DATE = re.compile(r"^(?:\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{2,4})\b")
# A group with letters directly before makes it a part of a longer number: 1Z 999 AA1 01 2345 6784.
_LONGER = re.compile(r"[A-Za-z]\w*\d\s$")
_LEAST, _MOST = 7, 15  # digits, E.164


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """Where phone numbers stand, as (start, end)."""
    for match in _PHONE.finditer(text):
        said = match.group().strip()
        if _DATE.match(said) or not _LEAST <= sum(c.isdigit() for c in said) <= _MOST:
            continue
        international = said.startswith(("+", "00"))
        if not international and _LONGER.search(text[max(0, match.start() - 20) : match.start()]):
            continue
        spoken_of = bool(_WORDS.search(text[max(0, match.start() - 40) : match.start()]))
        separated = len(re.findall(r"[ ().\u00a0/-]+", said)) >= 2 or said.startswith("(")
        if not international and not spoken_of and not (separated and said[0] in "0("):
            continue
        if _is_phone(said, international=international, spoken_of=spoken_of):
            yield match.start(), match.start() + len(said)


def _is_phone(said: str, *, international: bool, spoken_of: bool) -> bool:
    """Whether a numbering plan has the number; where a phone is spoken of, whether it could be one by its length."""
    import phonenumbers

    regions: tuple[str | None, ...] = (None,) if international else PHONE_REGIONS
    said = "+" + said[2:] if said.startswith("00") else said
    for region in regions:
        try:
            number = phonenumbers.parse(said, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) or (spoken_of and phonenumbers.is_possible_number(number)):
            return True
    return False

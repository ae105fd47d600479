"""Dates of birth: a whole date beside words that speak of a birth."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MONTHS = (
    r"jan(?:uary|uar|vier|eiro)?|feb(?:ruary|ruar|braio|rero|brero|ruari)?|f[ée]v(?:rier|ereiro)?|mar(?:ch|s|zo|ço)?|märz|maart"
    r"|mrt|mei|apr(?:il|ile)?|avr(?:il)?|abr(?:il)?|may|mai|mayo|maggio|maio|jun(?:e|i|io|ho)?|juin|giugno|jul(?:y|i|io|ho)?"
    r"|juil(?:let)?|luglio|aug(?:ust|ustus)?|ago(?:sto)?|août|sep(?:t|tember|tiembre|tembre)?|set(?:tembre|embro)?"
    r"|oct(?:ober|ubre|obre)?|okt(?:ober)?|ott(?:obre)?|out(?:ubro)?|nov(?:ember|iembre|embre|embro)?|dec(?:ember)?"
    r"|dez(?:ember|embro)?|dic(?:iembre|embre)?|déc(?:embre)?"
    r"|января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря"
    r"|stycznia|lutego|marca|kwietnia|maja|czerwca|lipca|sierpnia|września|października|listopada|grudnia"
)
_DATE = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./-]\d{1,2}[./-]\d{1,2}"
    r"|\d{4}\s?年\s?\d{1,2}\s?月\s?\d{1,2}\s?日"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|º|\.)?(?:\sde)?\s(?i:{_MONTHS})\.?,?(?:\sde)?\s\d{{4}}"
    rf"|(?i:{_MONTHS})\.?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}})"
)
_WORDS = (
    r"(?i:\bborn\b|\bbirth\s?date|\bdate of birth|\bd\.?o\.?b\b\.?|\bbirthday|\bgeb\.|\bgeboren\b|\bgeburts(?:datum|tag)"
    r"|\bnée?\b|\bdate de naissance|\bnacid[oa]\b|\bfecha de nacimiento|\bnat[oa] il\b|\bdata di nascita|\bgeboortedatum"
    r"|\bnascid[oa]\b|\bdata de nascimento|\bur\.|\burodzon[yae]|\bdata urodzenia|\bfødt\b|\bfödd\b"
    r"|дата рождения|родил(?:ся|ась))|出生日期|出生于|生于|生日|生年月日|誕生日|생년월일"
)
# Few words may stand between: "was born in Ohio on", "geboren am", ": ".
_BEFORE = re.compile(rf"(?:{_WORDS})[^.;!?\n\d]{{0,24}}?({_DATE})(?!\d)")
_AFTER = re.compile(rf"(?<!\d)({_DATE})\s?(?:生まれ|出生|г\.\s?р\.|года рождения|р\.н\.)")
_SPOKEN_OF = re.compile(_WORDS)
_BEHIND = ("生まれ", "出生", "г", "р.н.")


def find_birth_dates(text: str) -> Iterator[tuple[int, int]]:
    """Where dates of birth stand, as (start, end)."""
    if _SPOKEN_OF.search(text):
        for match in _BEFORE.finditer(text):
            yield match.span(1)
    if any(word in text for word in _BEHIND):
        for match in _AFTER.finditer(text):
            yield match.span(1)

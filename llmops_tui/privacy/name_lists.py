"""Given names and surnames of many languages, and the words that are names and ordinary words as well."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

# Locales of Faker whose names are written in Latin letters.
_LATIN = (
    "en_US", "en_GB", "en_IE", "en_IN", "de_DE", "de_AT", "fr_FR", "es_ES", "es_MX", "it_IT", "nl_NL", "pt_BR", "pt_PT", "pl_PL",
    "cs_CZ", "sv_SE", "no_NO", "da_DK", "fi_FI", "tr_TR", "ro_RO", "hu_HU", "hr_HR",
)  # fmt: skip
_CYRILLIC = ("ru_RU", "uk_UA", "bg_BG")
_SHORTEST = 3


def plain(word: str) -> str:
    """A word in lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(c))


@cache
def words(name: str) -> frozenset[str]:
    """A list of words beside this module."""
    return frozenset((Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8").split())


def _of(locale: str, what: str) -> Iterator[str]:
    """What a locale of Faker lists under names such as ``first_names_female``."""
    provider = import_module(f"faker.providers.person.{locale}").Provider
    for name in dir(provider):
        if what in name and not any(part in name for part in ("kana", "romanized", "pairs", "formats", "prefix")):
            listed = getattr(provider, name)
            if isinstance(listed, (tuple, list, dict, set)):
                yield from (one for one in listed if isinstance(one, str))


def _latin(what: str) -> frozenset[str]:
    found = {plain(part) for locale in _LATIN for one in _of(locale, what) for part in one.replace("-", " ").split()}
    return frozenset(one for one in found if len(one) >= _SHORTEST)


@cache
def given_names() -> frozenset[str]:
    """Given names in Latin letters that are hardly ever another word."""
    strong = frozenset(plain(one) for one in words("given_names"))
    return (_latin("first_names") | strong) - words("name_words")


@cache
def surnames() -> frozenset[str]:
    """Surnames in Latin letters that are hardly ever another word."""
    return _latin("last_names") - words("name_words")


@cache
def ambiguous_given_names() -> frozenset[str]:
    """Given names that are ordinary words too: they need a surname behind them."""
    return (_latin("first_names") | words("given_names")) & words("name_words")


@cache
def cyrillic_given_names() -> frozenset[str]:
    """Given names in Cyrillic letters, in lower case."""
    found = {one.lower() for locale in _CYRILLIC for one in _of(locale, "first_names")}
    return frozenset(one for one in found if len(one) >= _SHORTEST) - words("name_words")


@cache
def east_asian_names(locale: str) -> tuple[frozenset[str], frozenset[str]]:
    """Surnames and given names of ``zh_CN``, ``ja_JP`` or ``ko_KR``, in the script of the language."""
    more = words(f"surnames_{locale[:2]}") if locale == "ja_JP" else frozenset()
    return frozenset(_of(locale, "last_names")) | more, frozenset(_of(locale, "first_names"))


def known_names() -> int:
    """How many given names are known, for a report to say."""
    return len(given_names() | cyrillic_given_names())

"""Detection of personal data and secrets: patterns, then check digits and context."""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from llmops_tui.privacy.birth_dates import find_birth_dates
from llmops_tui.privacy.devices import find_macs, find_wallets
from llmops_tui.privacy.name_lists import known_names
from llmops_tui.privacy.names import find_names
from llmops_tui.privacy.phone_numbers import PHONE_REGIONS, find_phones
from llmops_tui.privacy.postal_addresses import find_addresses
from llmops_tui.privacy.secrets import find_secrets

# In the order in which they win where two overlap.
KINDS = (
    "secret",
    "email",
    "iban",
    "card",
    "national_id",
    "wallet",
    "mac",
    "ip",
    "birth_date",
    "address",
    "phone",
    "name",
)
_STAND_IN = re.compile(rf"\[(?:{'|'.join(kind.upper() for kind in KINDS)})(?:-[0-9a-z]{{10,20}})?\]")


@dataclass(frozen=True)
class Span:
    """Something found: its kind, and where it stands, in characters."""

    kind: str
    start: int
    end: int


def find_personal(text: str, kinds: tuple[str, ...] = KINDS) -> list[Span]:
    """What is personal or secret in a text, in its order, without overlaps."""
    # Of each character whether it belongs to something: to compare spans with one another would take their square.
    taken = bytearray(len(text))
    for stand_in in _STAND_IN.finditer(text):
        taken[stand_in.start() : stand_in.end()] = b"\1" * len(stand_in.group())
    found: list[Span] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        spans = sorted({(s, e) for s, e in _FINDERS[kind](text) if e > s}, key=lambda p: (p[0] - p[1], p[0]))
        for start, end in spans:
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                found.append(Span(kind, start, end))
    return sorted(found, key=lambda s: s.start)


def not_searched(kinds: tuple[str, ...] = KINDS) -> list[str]:
    """What a search leaves out, in sentences for a report."""
    out = [f"{kind}: not selected" for kind in KINDS if kind not in kinds]
    if "name" in kinds:
        out.append(
            f"names: by {known_names()} given names and by the words around them; other names are not found, because no "
            "name model is used"
        )
    if "phone" in kinds:
        out.append(f"phone numbers without country code: as written in {', '.join(PHONE_REGIONS)}")
    if "address" in kinds:
        out.append("addresses: by the form they are written in, with a number; others are not found")
    return [*out, "pictures and sound: not searched"]


# ── e-mail, addresses of machines ──

# Letters of scripts that use no blanks belong to the sentence, not to the address.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9_.+-])(?:(?![\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3])[\w.+%-]){1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w-])"
)
# Accounts that all people use who fetch from a server of repositories, and some of these; a list for mail may be called so, too.
_REMOTE = re.compile(
    r"(?i)(?:git|hg|svn|gitea|gitlab|forgejo|gogs|aur)@(?:(?P<host>(?:git|hg|svn|ssh|gitea|forgejo|gogs|aur|vcs|repos?|code)[\w-]*\.[\w.-]+"
    r"|(?:bitbucket|codeberg|gitee|sr|salsa\.debian|dev\.azure|vs-ssh\.visualstudio)\.\w+)|[\w.-]+)"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{3,39}(?![\w:])")
_VERSION = re.compile(r"(?:\bv|\bversion|\brelease|\bbuild|\bfirmware|\bsection|§)\s*$", re.IGNORECASE)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            start = match.start() + len(match.group()) - len(match.group().lstrip(".+-%"))
            if not _is_remote(text, start, match.end()):
                yield start, match.end()


def _is_remote(text: str, start: int, end: int) -> bool:
    """Whether an address is the login of a remote repository, which is no one's mail: by its host, its scheme or a path."""
    found = _REMOTE.fullmatch(text, start, end)
    if found is None:
        return False
    return (
        bool(found["host"])
        or text[max(0, start - 3) : start] == "://"
        or bool(re.match(r":[\w/~.]", text[end : end + 2]))
    )


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            if _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
                continue
            try:
                address = ipaddress.ip_address(match.group())
            except ValueError:
                continue
            # These stand for no machine of anybody.
            if not (address.is_loopback or address.is_unspecified):
                yield match.span()


# ── money ──

_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){2,8}\b", re.IGNORECASE)
_CARD = re.compile(
    r"(?<![\w.-])[3-6]\d{3}(?:[ -]?\d{4}){2}(?:[ -]?\d{1,7})?(?![\w-])|(?<![\w.-])3\d{3}[ -]?\d{6}[ -]?\d{5}(?![\w-])"
)


@cache
def _valid(module: str) -> Callable[[str], bool]:
    found: Callable[[str], bool] = importlib.import_module(f"stdnum.{module}").is_valid
    return found


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        end = match.end()
        while end - match.start() >= 15:
            if _valid("iban")(text[match.start() : end]):
                yield match.start(), end
                break
            cut = max(text.rfind(" ", match.start(), end), text.rfind("-", match.start(), end))
            end = max(0, cut)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if 13 <= len(digits) <= 19 and len(set(digits)) > 2 and _valid("luhn")(digits):
            yield match.span()


# ── national ids ──

# Pattern, module of stdnum that checks it, and whether the words around must speak of an id: where the form is a bare
# number of which every tenth has a right check digit.
_IDS: tuple[tuple[re.Pattern[str], str, bool], ...] = (
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), "us.ssn", False),
    (re.compile(r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b"), "", False),
    (re.compile(r"(?<![\w.-])\d{2} ?\d{3} ?\d{3} ?\d{3}(?![\w-])"), "de.idnr", True),
    (re.compile(r"(?<![\w-])[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}(?![\w-])"), "fr.nir", False),
    (re.compile(r"(?<![\w-])\d{8}-?[A-Z]\b"), "es.dni", False),
    (re.compile(r"\b[XYZ]-?\d{7}-?[A-Z]\b"), "es.nie", False),
    (re.compile(r"\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b"), "it.codicefiscale", False),
    (re.compile(r"(?<![\w.-])\d{9}(?![\w-])"), "nl.bsn", True),
    (re.compile(r"(?<![\w.-])\d{11}(?![\w-])"), "pl.pesel", True),
    (re.compile(r"(?<![\w-])(?:\d{2})?\d{6}[-+]\d{4}(?![\w-])"), "se.personnummer", False),
    (re.compile(r"(?<![\w-])\d{6}[-+A]\d{3}[0-9A-Y]\b"), "fi.hetu", False),
    (re.compile(r"(?<![\w.-])\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}(?![\w-])"), "be.nn", False),
    (re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])"), "br.cpf", False),
    (re.compile(r"(?<![\w-])[2-9]\d{3} \d{4} \d{4}(?![\w-]| \d)"), "in_.aadhaar", False),
    (re.compile(r"(?<![\w-])756\.\d{4}\.\d{4}\.\d{2}(?![\w-])"), "ch.ssn", False),
    (re.compile(r"(?<![\w-])\d{3}[- ]\d{3}[- ]\d{3}(?![\w-]| \d)"), "ca.sin", True),
    (re.compile(r"(?<![A-Za-z0-9_-])\d{17}[0-9X](?![A-Za-z0-9_-])"), "cn.ric", False),
)
_ID_WORDS = re.compile(
    r"(?i)\b(?:ssn|social security|social insurance|sin|bsn|pesel|national|identity|identification|tax (?:id|number)|"
    r"taxpayer|steuer\w*|idnr|insurance (?:no|number)|id(?:entity)? (?:card|no|number)|personal (?:no|number|id)|"
    r"burgerservicenummer|citizen|passport)\b"
)


def _ids(text: str) -> Iterator[tuple[int, int]]:
    for pattern, module, needs_words in _IDS:
        for match in pattern.finditer(text):
            if needs_words and not _ID_WORDS.search(text[max(0, match.start() - 60) : match.start()]):
                continue
            if not module or _valid(module)(match.group()):
                yield match.span()


_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "secret": find_secrets, "email": _emails, "iban": _ibans, "card": _cards, "national_id": _ids, "wallet": find_wallets,
    "mac": find_macs, "ip": _ips, "birth_date": find_birth_dates, "address": find_addresses, "phone": find_phones,
    "name": find_names,
}  # fmt: skip

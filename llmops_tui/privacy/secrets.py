"""Secrets in texts: tokens by their form, and what stands behind words and names that introduce passwords, keys and codes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from llmops_tui.privacy.name_lists import words
from llmops_tui.privacy.secret_forms import (
    BEARER,
    COMMANDS,
    HEADERS,
    PHRASES,
    PINS,
    PRIVATE_KEY,
    PRIVATE_KEY_END,
    PRIVATE_KEY_MOST,
    SELF_EVIDENT,
    URLS,
    Behind,
    Form,
)
from llmops_tui.privacy.secret_names import Introduced, judge_name

_HEADER_PATTERNS = frozenset(form.pattern for form in HEADERS)


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Where secrets stand, as (start, end)."""
    lowered = text.lower()
    for match in _matches(SELF_EVIDENT, text, lowered):
        yield match.span()
    if PRIVATE_KEY.may_be_in(lowered):
        yield from _private_keys(text)
    for match in _matches((*HEADERS, *URLS, *COMMANDS), text, lowered):
        value = _trimmed(match.group(1))
        if not is_placeholder(value) and (match.re not in _HEADER_PATTERNS or _has_digits(value)):
            yield match.start(1), match.start(1) + len(value)
    for match in _matches((BEARER,), text, lowered):
        if looks_drawn(match.group(1)):
            yield match.span(1)
    for match in _matches((*PINS, *PHRASES), text, lowered):
        yield match.span(1)
    yield from _named(text)
    yield from _said(text)
    yield from _logins(text)


def _matches(forms: tuple[Form | Behind, ...], text: str, lowered: str) -> Iterator[re.Match[str]]:
    for form in forms:
        if form.may_be_in(lowered):
            yield from form.matches(text)


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    end: re.Match[str] | None = None
    done = 0
    more = True
    for begin in PRIVATE_KEY.pattern.finditer(text):
        if begin.start() < done:
            continue
        if more and (end is None or end.start() <= begin.end()):
            end = PRIVATE_KEY_END.search(text, begin.end() + 1)
            more = end is not None
        if end is not None and end.start() - begin.end() <= PRIVATE_KEY_MOST:
            done = end.end()
        elif 0 < len(text) - begin.end() <= PRIVATE_KEY_MOST:
            done = len(text)
        else:
            continue
        yield begin.start(), done


# ── values ──

_PLACEHOLDER = re.compile(
    r"(?i)[$<{%(!*]|\*{3}|x{3,}|.*\.{3}|(?:your|my|the|some|new|old|an?|example|enter|insert|change)[_-]|your"
    r"|.*(?:\(|\)|\[|\]|=>|\$\{|\{\{|->|::)"
    r"|(?:none|null|nil|true|false|undefined|str|string|text|int|integer|number|bool|boolean|bytes|char|varchar|optional|required|hidden|empty|redacted"
    r"|missing|invalid|password|passwd|passwort|secret|token|value|self|this|key|env|input|here|todo|tbd|n/?a)\W*$"
    r"|[a-z_]\w*(?:\.[a-z_]\w*)+$|[a-z_]\w{0,40}=(?!=*$)"  # config.api_key, stream=True
)
_DOTTED_WORD = re.compile(r"[a-z_]+\d?(?:\.[a-z_]+\d?)+")
# Passwords that many people have, in the languages of the words that introduce them.
_COMMON = words("common_passwords")


_LONG_PIECE = 10


def entropy(text: str) -> float:
    """Shannon entropy of a text's characters, in bits a character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def is_placeholder(value: str) -> bool:
    """Whether a value stands for one that is somewhere else: a variable, a call, a type, stars."""
    return bool(_PLACEHOLDER.match(value))


def _has_digits(value: str) -> bool:
    return any(c.isdigit() for c in value) and entropy(value) > 2.5


def _classes(value: str) -> int:
    """How many of small letters, capitals, digits and signs there are."""
    return sum(bool(re.search(p, value)) for p in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^\w\s]"))


def is_mixed(value: str, least: int = 6) -> bool:
    """Whether a value has letters and digits or signs, as passwords have and words have not."""
    if len(value) < least or entropy(value) <= 2.0:
        return False
    inner = re.search(r"[^\W\d_][!#$%&*+=?@^~.:_-]+[^\W\d_]|[!#$%&*+=?@^~]$", value)
    return _classes(value) >= 2 and bool(re.search(r"[0-9]", value) or (inner and _classes(value) >= 3))


def looks_drawn(value: str, least: int = 16) -> bool:
    """Whether characters follow each other as if drawn by lot, and not as in words, versions and counted numbers."""
    if len(value) < least or not re.search(r"[0-9]", value) or not re.search(r"[A-Za-z]", value):
        return False
    # Names of models and packages are made of short pieces.
    if max(map(len, re.findall(r"[A-Za-z0-9]+", value))) < _LONG_PIECE:
        return False
    body = re.sub(r"[^A-Za-z0-9]", "", value)
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in body]
    changes = sum(a != b for a, b in pairwise(kinds)) / max(1, len(body) - 1)
    counted = sum(abs(ord(a) - ord(b)) in (0, 1) for a, b in pairwise(body.lower()))
    return changes >= 0.25 and counted <= 0.25 * len(body) and entropy(value) > 2.9


def _trimmed(value: str) -> str:
    # A number ends where the object that it is the last value of does.
    if (number := value.rstrip("}")).isdigit():
        return number
    return value.rstrip(".,;:)?") if not value.endswith("==") else value


# ── behind names: DB_PASSWORD=…, "clientSecret": "…", <password>…</password>, --api-key … ──

_WORD = re.compile(r"(?i)pass|pwd|pw|secret|token|key|credential|kennwort|auth|sess|salt|signature|mdp")
_LEFT = re.compile(r"[A-Za-z0-9_.$-]{0,60}$")
_RIGHT = re.compile(r"[A-Za-z0-9_-]{0,40}")
_SEPARATED = re.compile(
    r"""\\?["'`]?\]?\s{0,8}(?:=>|:=|(?<!=)=(?!=)|:(?!:)|["']\s{1,4}value\s{0,2}=|>(?=[^\s<]))\s{0,8}"""
    r"""(?:(?P<quote>\\?["'`])(?P<quoted>[^"'`\n\\\[\]]{3,200})(?=\\?["'`])|(?P<plain>[^\s"'`,;<>\[\]]{4,200}))"""
)
_BLANK = re.compile(r"""\s{1,4}(?P<quote>["'`])?(?P<plain>[^\s"'`,;<>\[\]]{6,200})""")


def _named(text: str) -> Iterator[tuple[int, int]]:
    done = 0
    for hit in _WORD.finditer(text):
        if hit.start() < done:
            continue
        left = _LEFT.search(text, max(0, hit.start() - 60), hit.start())
        right = _RIGHT.match(text, hit.end())
        assert left
        assert right
        done = right.end()
        name = text[left.start() : right.end()]
        introduced = judge_name(name)
        if introduced is Introduced.NOTHING:
            continue
        if match := _SEPARATED.match(text, done):
            quoted = match["quoted"] is not None
            start = match.start("quoted" if quoted else "plain")
            value = match["quoted"] if quoted else _in_query(text, left.start(), _trimmed(match["plain"]))
            if _is_value(value, introduced, quoted) and (not value.isalpha() or _is_last(text, start + len(value))):
                yield start, start + len(value)
        elif match := _BLANK.match(text, done):
            value = _trimmed(match["plain"])
            option = name.startswith("--")
            if not is_placeholder(value) and (
                (option and is_mixed(value)) or (match["quote"] and is_mixed(value)) or _stands_alone(value, introduced)
            ):
                yield match.start("plain"), match.start("plain") + len(value)


def _is_last(text: str, end: int) -> bool:
    """Whether no further word follows: of a sentence that goes on, what is behind the word is no password."""
    return not re.match(r"[ \t]+[^\W\d_]", text[end : end + 8])


def _in_query(text: str, name: int, value: str) -> str:
    """The value without what follows it, where its name is one of the parameters of an address."""
    return re.split("[&#]", value, maxsplit=1)[0] if name and text[name - 1] in "?&" else value


def _is_value(value: str, introduced: Introduced, quoted: bool) -> bool:
    if is_placeholder(value) or not value.strip():
        return False
    if introduced is Introduced.PASSWORD:
        common = value.lower() in _COMMON or (value.isdigit() and len(value) >= 4)
        words = (
            quoted and value.count(" ") in range(2, 12) and bool(re.fullmatch(r"[a-z]{2,12}(?: [a-z]{2,12})+", value))
        )
        return common or words or (" " not in value and is_mixed(value))
    if " " in value:
        return False
    if introduced is Introduced.PASS:
        return (value.lower() in _COMMON and not value.isdigit()) or (
            is_mixed(value) and not re.match(r"[\d.]+%?$", value)
        )
    if introduced is Introduced.SECRET:
        return (is_mixed(value, 8) and bool(re.search(r"[0-9]", value)) and entropy(value) > 2.5) and not _is_version(
            value
        )
    return looks_drawn(value)


def _is_version(value: str) -> bool:
    return bool(re.match(r"v?\d+(?:[.-]\d+)+$|\d{4}-\d\d-\d\d", value))


def _stands_alone(value: str, introduced: Introduced) -> bool:
    """Whether a value is taken for one although only a blank is between it and the word."""
    if introduced in (Introduced.PASSWORD, Introduced.SECRET):
        return len(value) >= 8 and bool(re.search(r"[0-9]", value)) and (_classes(value) >= 3 or looks_drawn(value, 10))
    return introduced is Introduced.KEY and looks_drawn(value)


# ── said in sentences ──

_SAID = re.compile(
    r"(?i)(?<![^\W\d_])(?:(?P<latin>pass ?(?:word|code|phrase|wort)|pw|pwd|passwd|kennwort|mot de passe|mdp|contraseña"
    r"|clave(?: de acceso)?|senha|wachtwoord|hasło|heslo|parola|lösenord|adgangskode|salasana|şifre|jelszó|парол[ьея]"
    r"|(?:access|entry|api|secret|licen[cs]e) ?(?:code|key|token)|key|token|pass|schlüssel|clé|zugangscode)(?![^\W\d_])"
    r"|密码|密碼|口令|パスワード|暗証(?:番号|コード)|비밀번호)(?:\s[^\W\d_]{1,14}){0,4}?\s{0,3}"
    r"(?:[:：]|->|(?<=\s)(?:is|was|be|to|lautet|ist|est|es|è|é|are|jest|är|er|on)(?=\s)|[是为為は는은이]|(?<=[а-яё])\s)\s{0,3}"
    r"[\"'`“«„]?(?P<value>[!#-&(-+\--;=?-Z\\^_a-~]{4,100})"
)
_AS_PASSWORD = re.compile(
    r"(?i)\b(?:use|with|type|enter)\s([^\s\"'`,;<>\[\]]{6,100})\s(?:as|for)\s(?:the|your|my|a)\s(?:password|passcode|pass|key|token)\b"
)


def _said(text: str) -> Iterator[tuple[int, int]]:
    for match in _SAID.finditer(text):
        value = _trimmed(match["value"])
        key = re.match(r"(?i)(?:key|token|pass|clé|schlüssel|clave)$", match["latin"] or "")
        if is_placeholder(value) or _is_version(value):
            continue
        common = value.lower() in _COMMON and _is_last(text, match.start("value") + len(value))
        if looks_drawn(value) if key else is_mixed(value) or common:
            yield match.start("value"), match.start("value") + len(value)
    for match in _AS_PASSWORD.finditer(text):
        if is_mixed(match.group(1)):
            yield match.span(1)


# ── beside the name of an account: admin / …, credentials: root:… ──

_LOGIN = re.compile(
    r"(?i)\b(?:log ?in|logins?|log on|sign in|cred(?:ential)?s|leak(?:ed|s)?|zugangsdaten|anmeldung|anmelden|identifiants|"
    r"acceso|accesso|inloggen|admin|root|account|acct|accès|user(?:name)?|логин|учётка)\b"
)
_LOGIN_VALUE = re.compile(r"(?<![^\s/:|,=(\"'`])([!#-&(-+\--.0-9;?-Z^_a-~]{8,100})(?![^\s,;.)\"'`<\[\]])")
_SIGN = re.compile(r"[!#$%&*+=?@^~|]")
_NEAR = 48


def _logins(text: str) -> Iterator[tuple[int, int]]:
    for hit in _LOGIN.finditer(text):
        for match in _LOGIN_VALUE.finditer(text, hit.end(), min(len(text), hit.end() + _NEAR + 100)):
            if match.start() > hit.end() + _NEAR:
                break
            value = match.group(1).rstrip(".,;:)?")
            # What has full stops and hyphens alone may be a version.
            strong = (_classes(value) >= 3 and _SIGN.search(value) and _has_digits(value)) or looks_drawn(value, 10)
            if strong and not is_placeholder(value) and not re.search(r"[/\\@]|://", value):
                yield match.start(1), match.start(1) + len(value)

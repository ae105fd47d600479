"""Names of variables, fields and options that hold secrets: ``DB_PASSWORD``, ``clientSecret``, ``X-Api-Key``."""

from __future__ import annotations

import re
from enum import Enum, auto


class Introduced(Enum):
    """What a name says its value is, which decides how much the value itself must look like a secret."""

    NOTHING = auto()
    PASSWORD = auto()  # whatever is behind it, unless it stands for another value
    PASS = auto()  # a password or the outcome of a test
    SECRET = auto()  # letters with digits
    KEY = auto()  # a key to something or merely one of a table: it must look drawn


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PASSWORDS = _set("password passwd passphrase pwd pw passwort kennwort mdp dbpw dbpass passcode")
_SECRETS = _set("secret token apikey credential jwt bearer")
_SUFFIXES = ("password", "passwd", "passphrase", "passwort", "kennwort")
_SECRET_SUFFIXES = ("secret", "token", "apikey", "secretkey", "accesskey")
_KEY_OF = _set(
    "api access private account shared signing encryption secret master auth service license licence preshared subscription "
    "functions"
)
_KEYS = _set("key auth session sessionid sessid phpsessid jsessionid sid signature sig salt appid sess")
_NO_KEYS = frozenset(("hotkey", "turkey", "monkey", "donkey", "jockey", "whiskey"))
# Of which it is told something else than its value.
_ABOUT = _set(
    "id ids type types uri url name names length len count counts size limit policy field fields file files path paths ref "
    "min max expires expiry expire ttl version algorithm algorithms column index env var label hint required enabled reset "
    "strength ring board frame hashers hash hashed hasher date at age format provider manager store regex pattern rate "
    "usage error method mode per changed updated created attempts rotation template placeholder help text title message "
    "prefix suffix validator validators param params func function handler class confirm confirmation"
)
_OTHER_KEYS = _set(
    "public primary foreign cache sort partition hash object s3 index row group unique composite natural surrogate lookup "
    "shift ctrl hot arrow music piano pub translation i18n map dict json sorting max min num pad eos bos unk cls sep mask "
    "next last first special stop image begin end start vocab added prompt completion input output total reasoning cached "
    "by host"
)


def judge_name(name: str) -> Introduced:
    """What the value of a name is."""
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and (
        words[-1].isdigit() or words[-1] in ("prod", "dev", "test", "live", "base", "stage", "staging", "new", "old")
    ):
        words.pop()
    if not words or words[-1] in _ABOUT:
        return Introduced.NOTHING
    last, before = words[-1], set(words[:-1])
    if last in _PASSWORDS or last.endswith(_SUFFIXES):
        return Introduced.PASSWORD
    if last == "pass":
        return Introduced.PASS
    if before & _OTHER_KEYS:
        return Introduced.NOTHING
    if last in _SECRETS or last.endswith(_SECRET_SUFFIXES) or (last == "key" and before & _KEY_OF):
        return Introduced.SECRET
    if last in _KEYS or (
        last.endswith("key") and last not in ("hotkey", "turkey", "monkey", "donkey", "jockey", "hockey", "whiskey")
    ):
        return Introduced.KEY
    return Introduced.NOTHING

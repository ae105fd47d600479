"""Redaction of rows, and pseudonyms that the holder of the key can reverse."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmops_tui.datasets.records import Row, dump_json, load_whole_json
from llmops_tui.errors import InputRefusedError
from llmops_tui.privacy.detection import KINDS, find_personal
from llmops_tui.privacy.replacement import readable, replace_in_text
from llmops_tui.privacy.secret_names import Introduced, judge_name
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.files import make_folder_within, make_private_folder, write_atomic
from llmops_tui.workspace.ids import ALPHABET
from llmops_tui.workspace.written import write_noted

# Texts that say what something is, and never what it is about.
_SKIP = frozenset({"role", "type"})
# Cards have so many digits at the least; shorter numbers are amounts, years and counts.
_SHORTEST_NUMBER = 12
_PASSES = 4
_STAND_IN = re.compile(r"\[([A-Z_]+)-([0-9a-z]{10,20})\]")


def replace_in_row(
    row: Row, stand_in: Callable[[str, str], str], kinds: tuple[str, ...] = KINDS
) -> tuple[Row, Counter[str]]:
    """A row with everything personal in it replaced, and how much of each kind there was.

    Long whole numbers and the keys of objects are searched too. A text that is JSON, such as the arguments of a call, is
    JSON afterwards: what was a number in it becomes a text.
    """
    taken = _Taken(stand_in, kinds)
    made = {n: v if _skipped(n, v) else _replaced(v, taken.replaced, name=n) for n, v in row.items()}
    return made, taken.counts


class _Taken:
    """Takes what is personal out of texts, and counts it."""

    def __init__(self, stand_in: Callable[[str, str], str], kinds: tuple[str, ...]) -> None:
        self._stand_in, self._kinds = stand_in, kinds
        self.counts: Counter[str] = Counter()

    def replaced(self, text: str) -> str:
        """A text without it; JSON is JSON afterwards."""
        said = readable(text)
        fresh, found = replace_in_text(said, self._stand_in, self._kinds)
        if not found:
            return text
        inside = _json_of(text)
        if inside is not _NO_JSON and (said is not text or _json_of(fresh) is _NO_JSON):
            return self._within(inside, said)
        if said is not text:
            fresh, found = replace_in_text(text, self._stand_in, self._kinds)
        self.counts.update(found)
        return fresh

    def _within(self, value: Any, said: str) -> str:
        """JSON with what is personal taken out of its values; ``said`` is how it reads."""
        for _ in range(_PASSES):
            value = _replaced(self._marked(value, said), self.replaced)
            said = readable(text := dump_json(value))
            if not find_personal(said, self._kinds):
                break
        return text

    def _marked(self, value: Any, said: str) -> Any:
        """What was found in the text as a whole, in the values that it stands in."""
        # The longest first: a part of it may be found elsewhere.
        spans = sorted(find_personal(said, self._kinds), key=lambda span: span.start - span.end)
        known = {said[span.start : span.end]: span.kind for span in spans}

        def marked(text: str) -> str:
            for given, kind in known.items():
                if given in text:
                    self.counts[kind] += text.count(given)
                    text = text.replace(given, self._stand_in(kind, given))
            return text

        return _replaced(value, marked, shortest=1)


_NO_JSON = object()


def _json_of(text: str) -> Any:
    """A list or an object; of a text in which a key is repeated none, since one of its values would be lost."""
    if text[:1] not in {"[", "{"}:
        return _NO_JSON
    try:
        return load_whole_json(text)
    except ValueError:
        return _NO_JSON


def _skipped(name: str, value: Any) -> bool:
    return name in _SKIP and isinstance(value, str)


def _replaced(value: Any, change: Callable[[str], str], *, shortest: int = _SHORTEST_NUMBER, name: str = "") -> Any:
    """A JSON value with ``change`` done to its texts, its keys, and its whole numbers of so many digits.

    ``name`` is what it is called: a number that is called a password is searched as it stands behind that word in a text.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int) and not isinstance(value, bool) and len(str(abs(value))) >= shortest:
        said = str(value)
        fresh = change(said)
        return value if fresh == said else fresh
    if _is_secret_number(name, value):
        fresh = change(f"{name}: {value}")
        return value if fresh == f"{name}: {value}" else fresh.removeprefix(f"{name}: ")
    if isinstance(value, list):
        return [_replaced(item, change, shortest=shortest) for item in value]
    if isinstance(value, dict):
        made: dict[str, Any] = {}
        for key, item in value.items():
            made_key = fresh = change(key)
            number = 1
            while made_key in made:
                number += 1
                made_key = f"{fresh} {number}"
            made[made_key] = item if _skipped(key, item) else _replaced(item, change, shortest=shortest, name=key)
        return made
    return value


def _is_secret_number(name: str, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and judge_name(name) is Introduced.PASSWORD


def beside_texts(row: Row) -> Iterator[tuple[str, str]]:
    """What redaction searches besides the texts of a row, with its place: long numbers, passwords in digits, keys of objects."""
    for name, value in row.items():
        yield from _beside(name, value, name)


def _beside(place: str, value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, int) and not isinstance(value, bool) and len(str(abs(value))) >= _SHORTEST_NUMBER:
        yield place, str(value)
    elif _is_secret_number(name, value):
        yield place, f"{name}: {value}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _beside(f"{place}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{place}, a key", key
            yield from _beside(f"{place}.{key}", item, key)


class Key:
    """A key for stand-ins: 64 random bytes in a file that is kept apart from the data."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def id(self) -> str:
        """A name for the key that tells nothing of it."""
        return hashlib.sha256(b"llmops key id" + self._secret).hexdigest()[:16]

    @classmethod
    def load(cls, path: Path, *, make: bool = False) -> Key:
        """Read a key file; with ``make`` one is made where there is none, readable by its owner alone.

        Raises:
            InputRefusedError: there is none, or it is no key.
        """
        if make and not path.exists():
            make_private_folder(path.parent)
            write_atomic(path, base64.b64encode(os.urandom(64)) + b"\n")
        try:
            secret = base64.b64decode(path.read_bytes().strip(), validate=True)
        except (OSError, ValueError) as error:
            raise InputRefusedError(
                "key_unreadable", f"cannot read a key from {path}: {error}", "Give its file with --key."
            ) from error
        if len(secret) != 64:
            raise InputRefusedError(
                "key_unreadable", f"{path} is not a key for pseudonyms", "Give its file with --key."
            )
        return cls(secret)

    def code(self, kind: str, value: str, length: int = 10) -> str:
        """The stand-in's code: HMAC-SHA256 of the value without case and double blanks, in base 32."""
        digest = hmac.new(self._secret[:32], f"{kind}:{' '.join(value.lower().split())}".encode(), "sha256").digest()
        return "".join(ALPHABET[byte & 31] for byte in digest[:length])

    def encrypt(self, value: str, code: str) -> str:
        """A value as only the holder of the key can read it (AES-SIV, RFC 5297)."""
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        return base64.b64encode(AESSIV(self._secret[32:]).encrypt(value.encode(), [code.encode()])).decode()

    def decrypt(self, encrypted: str, code: str) -> str:
        """The value that was sealed.

        Raises:
            InputRefusedError: it was sealed with another key, or changed.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        try:
            return AESSIV(self._secret[32:]).decrypt(base64.b64decode(encrypted), [code.encode()]).decode()
        except (InvalidTag, ValueError) as error:
            raise InputRefusedError("key_wrong", "these pseudonyms were made with another key") from error


class Pseudonyms:
    """Stand-ins such as ``[NAME-k3v9x2ab1c]``: the same value always has the same one, with the same key."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._encrypted: dict[str, str] = {}
        self._plain: dict[str, str] = {}

    def stand_in(self, kind: str, value: str) -> str:
        """The stand-in of a value; remembered, sealed, for whoever undoes it."""
        plain = " ".join(value.lower().split())
        for length in range(10, 21):
            code = self._key.code(kind, value, length)
            if self._plain.setdefault(code, plain) == plain:
                if code not in self._encrypted:
                    self._encrypted[code] = self._key.encrypt(value, code)
                return f"[{kind.upper()}-{code}]"
        raise AssertionError("twenty characters of HMAC met twice")

    def save(self, folder: Path, name: str) -> None:
        """Keep the sealed values, beside those from before, in a file named after the key's id and the work."""
        target = make_folder_within(make_folder_within(folder) / self._key.id) / f"{name}.json"
        before = json.loads(read_regular(target)) if target.exists() else {}
        write_noted(target, json.dumps(dict(sorted((before | self._encrypted).items()))))


def reveal_texts(folder: Path, key: Key) -> Callable[[Any], Any]:
    """A function that puts the values back for the stand-ins in a row.

    Raises:
        InputRefusedError: nothing was sealed with this key here.
    """
    encrypted: dict[str, str] = {}
    for path in sorted((folder / key.id).glob("*.json")):
        encrypted.update(json.loads(path.read_text(encoding="utf-8")))
    if not encrypted:
        raise InputRefusedError("key_wrong", "nothing in this workspace was pseudonymised with this key")

    def put_back(match: re.Match[str]) -> str:
        code = match.group(2)
        return key.decrypt(encrypted[code], code) if code in encrypted else match.group()

    def back(text: str) -> str:
        return _STAND_IN.sub(put_back, text)

    return lambda row: {name: _replaced(value, back) for name, value in row.items()}

"""Addresses of network cards, and of wallets of cryptocurrencies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

_MAC = re.compile(
    r"(?<![0-9A-Za-z:.-])(?:[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})"
    r"(?![0-9A-Za-z:-]|\.[0-9A-Fa-f])"
)
_ETHEREUM = re.compile(r"(?<![0-9A-Za-z])0x[0-9a-fA-F]{40}(?![0-9A-Za-z])")
_BASE58 = re.compile(r"(?<![0-9A-Za-z])[13LMDT][1-9A-HJ-NP-Za-km-z]{25,34}(?![0-9A-Za-z])")
_BECH32 = re.compile(r"(?<![0-9A-Za-z])(?:bc1|BC1)[0-9A-Za-z]{11,71}(?![0-9A-Za-z])")
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BYTES = 25  # a version, a hash of 20 bytes, and four of check sum


def find_macs(text: str) -> Iterator[tuple[int, int]]:
    """Where network cards are named, as (start, end); what stands for none or for all is none."""
    for match in _MAC.finditer(text):
        digits = set(re.sub(r"[^0-9a-f]", "", match.group().lower()))
        if digits not in ({"0"}, {"f"}):
            yield match.span()


def find_wallets(text: str) -> Iterator[tuple[int, int]]:
    """Where wallets are named, as (start, end): Bitcoin, Litecoin, Dogecoin and Tron by check sum, Ethereum by form."""
    for match in _ETHEREUM.finditer(text):
        yield match.span()
    for match in _BASE58.finditer(text):
        if _is_base58check(match.group()):
            yield match.span()
    for match in _BECH32.finditer(text):
        from stdnum.bitcoin import is_valid

        if is_valid(match.group()):
            yield match.span()


def _is_base58check(text: str) -> bool:
    number = 0
    for character in text:
        number = number * 58 + _ALPHABET.index(character)
    if number >= 1 << (8 * _BYTES):
        return False
    raw = number.to_bytes(_BYTES, "big")
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]

"""Write ``tests/data/privacy_world.jsonl``: what people of ten countries write, with the personal data in it marked.

The sentences, names, addresses and dates are written by hand (``privacy_world/``), without a look at the lists that the
recognisers use; numbers with check digits are computed. The recognisers were developed with every second sentence that has spans,
and with most of those that hold nothing ("seen"); the figures of the others ("unseen") are told. Lines without spans hold
nothing personal and look as if they did. Secrets have their own sentences, with the form of each.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import string
import sys
from pathlib import Path
from typing import Any

from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import dni
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.nl import bsn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_privacy_cases import card, digits, iban, ip, secret
from privacy_world import secrets_seen, secrets_unseen, technical, unseen
from privacy_world.eastern import CN, JP, RU
from privacy_world.western import DE, ES, FR, GB, IT, NL, US

TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "privacy_world.jsonl"
COUNTRIES: dict[str, dict[str, Any]] = {
    "us": US, "gb": GB, "de": DE, "fr": FR, "es": ES, "it": IT, "nl": NL, "ru": RU, "cn": CN, "jp": JP,
}  # fmt: skip
FILLS = 6
SECRET_FILLS = 2
DRAWN = {
    "a": string.ascii_letters + string.digits, "l": string.ascii_lowercase + string.digits,
    "u": string.ascii_uppercase + string.digits, "h": "0123456789abcdef", "d": string.digits,
    "b": string.ascii_letters + string.digits + "+/", "w": string.ascii_letters + string.digits + "-_",
}  # fmt: skip
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _valid(module: Any, make: Any) -> str:
    while True:
        text = str(make())
        if module.is_valid(text):
            return text


def national_id(country: str) -> str:
    """An id of a country that has its check digits, as it is written there."""
    if country == "us":
        return f"{random.randint(101, 660)}-{random.randint(10, 99)}-{random.randint(1000, 9999)}"
    if country == "gb":
        return f"{random.choice(['AB', 'JK', 'PR', 'SN'])}{digits(2)} {digits(2)} {digits(2)} {random.choice('ABCD')}"
    if country == "de":
        return _valid(idnr, lambda: digits(11))
    if country == "fr":
        stem = f"{random.choice('12')}{random.randint(50, 99)}{random.randint(1, 12):02d}{random.randint(10, 89)}{digits(6)}"
        number = stem + f"{97 - int(stem) % 97:02d}"
        assert nir.is_valid(number)
        return f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:13]} {number[13:]}"
    if country == "es":
        number = digits(8)
        return number + dni.calc_check_digit(number)
    if country == "it":
        stem = (
            "".join(random.choices("BCDFGLMNPRSTVZ", k=6)) + f"{random.randint(50, 99)}{random.choice('ABCDEHLMPRST')}"
        )
        stem += f"{random.randint(1, 28):02d}{random.choice('ABCDEFGHIL')}{digits(3)}"
        return stem + codicefiscale.calc_check_digit(stem)
    if country == "nl":
        return _valid(bsn, lambda: digits(9))
    if country == "cn":
        stem = f"110108{random.randint(1950, 2005)}{random.randint(1, 12):02d}{random.randint(1, 28):02d}{digits(3)}"
        return stem + ric.calc_check_digit(stem + "0")
    raise ValueError(country)


def mac() -> str:
    """An address of a network card, as Linux, Windows or Cisco write it."""
    pairs = [f"{random.randint(1, 254):02x}" for _ in range(6)]
    dotted = ".".join("".join(pairs[i : i + 2]) for i in (0, 2, 4))
    return random.choice([":".join(pairs), "-".join(pairs).upper(), dotted])


def wallet() -> str:
    """An address of Bitcoin with its check sum, or one of Ethereum."""
    if random.random() < 0.4:
        return "0x" + "".join(random.choices("0123456789abcdef", k=40))
    payload = random.choice([b"\x00", b"\x05"]) + random.randbytes(20)
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\x00"))) + text


def email() -> str:
    """An address of mail with a local part that says no name."""
    local = random.choice(["kontakt", "a.w", "mail2", "post+shop", "x_99"])
    return f"{local}@{random.choice(['example.com', 'example.org', 'mail.example.net'])}"


def fill(country: str, text: str, turn: int) -> tuple[str, list[dict[str, Any]]]:
    """A sentence with its places filled, and where what was put."""
    pools = COUNTRIES[country]
    out, spans, used = "", [], {}
    for literal, field, _, _ in string.Formatter().parse(text):
        out += literal
        if field is None:
            continue
        kind = re.sub("_(lower|inflected)$", "", field)
        if field == "name_lower":
            value = pools["name"][turn % len(pools["name"])].lower()
        elif field in pools:
            # Another one at each place and in each turn, in their order.
            used[field] = used.get(field, -1) + 1
            offset = int(hashlib.sha256(text.encode()).hexdigest(), 16)
            value = pools[field][(offset + turn + used[field]) % len(pools[field])]
        elif kind == "national_id":
            value = national_id(country)
        elif kind == "secret":
            value = secret()[0] if turn % 2 else "AKIA" + "".join(random.choices(string.ascii_uppercase, k=16))
        else:
            value = {"mac": mac, "wallet": wallet, "email": email, "iban": iban, "card": card, "ip": ip}[kind]()
        spans.append({"kind": kind, "start": len(out), "end": len(out) + len(value)})
        out += value
    return out, spans


def drawn(pattern: str) -> str:
    """A value with each ``%32a`` in it drawn; a letter, a capital and a digit are in what is drawn of all three."""

    def draw(match: re.Match[str]) -> str:
        length, alphabet = int(match[1]), DRAWN[match[2]]
        while True:
            text = "".join(random.choices(alphabet, k=length))
            if match[2] not in "abw" or all(re.search(c, text) for c in ("[a-z]", "[A-Z]", "[0-9]")):
                return text

    return re.sub(r"%(\d+)([alhudbw])", draw, pattern)


def marked(text: str) -> tuple[str, list[dict[str, Any]]]:
    """A sentence of the secrets with its places filled, and where what was put."""
    made = {"mac": mac, "wallet": wallet, "card": card, "ip": ip}
    out, spans, at = "", [], 0
    for match in re.finditer(r"⟪(?:(\w+)\|)?(.+?)⟫|\{(mac|wallet|card|ip)\}", text, re.DOTALL):
        kind = match[3] or match[1] or "secret"
        value = made[kind]() if match[3] else drawn(match[2])
        out += text[at : match.start()]
        spans.append({"kind": kind, "start": len(out), "end": len(out) + len(value)})
        out, at = out + value, match.end()
    return out + text[at:], spans


def secret_lines(half: str, texts: dict[str, list[str]], nothing: list[str]) -> list[dict[str, Any]]:
    """The lines of one half of the secrets; what has no drawn part is there once."""
    lines = []
    for form, sentences in texts.items():
        for sentence in sentences:
            for _ in range(SECRET_FILLS if re.search(r"%\d+[alhudbw]|\{", sentence) else 1):
                text, spans = marked(sentence)
                lines.append({"country": "", "half": half, "form": form, "text": text, "spans": spans})
    return lines + [{"country": "", "half": half, "form": "", "text": text, "spans": []} for text in nothing]


def main() -> None:
    """Write the file."""
    random.seed(41)
    lines: list[dict[str, Any]] = []
    for country, pools in COUNTRIES.items():
        # Whole sentences are seen or not: a form that was looked at does not come again with another value.
        for number, text in enumerate(pools["texts"]):
            for turn in range(FILLS):
                filled, spans = fill(country, text, turn)
                lines.append(
                    {"country": country, "half": ("seen", "unseen")[number % 2], "text": filled, "spans": spans}
                )
        lines += [{"country": country, "half": "seen", "text": text, "spans": []} for text in pools["nothing"]]
    for half, nothing in (("seen", technical.NOTHING), ("unseen", unseen.NOTHING)):
        lines += [{"country": "", "half": half, "text": text, "spans": []} for text in nothing]
    lines += secret_lines("seen", secrets_seen.TEXTS, secrets_seen.NOTHING)
    others = {"": secrets_unseen.OTHERS}
    lines += secret_lines("unseen", secrets_unseen.TEXTS | others, secrets_unseen.NOTHING)
    TARGET.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    spans = sum(len(line["spans"]) for line in lines)
    print(f"{len(lines)} texts, {spans} spans, {sum(not line['spans'] for line in lines)} texts without")


if __name__ == "__main__":
    main()

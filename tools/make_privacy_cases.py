"""Write ``tests/data/privacy_cases.jsonl``: texts with their personal data marked, to measure the recognisers with.

Every value is invented; check digits are computed, so that numbers are formed as real ones are. A third of the names are
ones that no list of the application holds, and a third of the texts hold nothing personal but look as if they did.
"""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "privacy_cases.jsonl"
random.seed(20)

FIRST = [
    "Anna", "Thomas", "Fatima", "Jürgen", "Chiara", "Hiroshi", "Olga", "Diego", "Priya", "Matthias", "Zoe", "Mohamed",
    "Claire", "Sven", "Lucia", "Peter", "Yuki", "Elena", "Ngozi", "Thandiwe", "Kwabena", "Siobhán", "Håkon", "Oluwaseun",
    "Tuuli", "Nguyet", "Xiomara", "Bronagh", "Dilnoza", "Kalinda", "Aroha", "Tevita", "Ishaan",
]  # fmt: skip
LAST_NAMES = [
    "Ito", "Novak", "Schmidt", "Okafor", "García", "Lindqvist", "Rossi", "O'Brien", "Petrov", "Yamamoto", "Dubois",
    "van der Meer", "Kowalski", "Mäkinen", "Fernandes", "Adeyemi", "Haugen", "Tremblay",
]  # fmt: skip
DOMAINS = [
    "example.com",
    "mail.example.org",
    "post.example.de",
    "example.co.uk",
    "bücher.example",
    "sub.dept.example.edu",
]


def digits(count: int) -> str:
    """Random digits, the first not 0."""
    return str(random.randint(1, 9)) + "".join(random.choices(string.digits, k=count - 1))


def luhn(stem: str) -> str:
    """A number with its Luhn check digit."""
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(stem)))
    return stem + str(-total % 10)


def name() -> str:
    """A person's name."""
    return f"{random.choice(FIRST)} {random.choice(LAST_NAMES)}"


def email() -> str:
    """An address of mail."""
    local = random.choice(["{f}.{l}", "{f}{n}", "{l}_{f}", "{f}+news", "{f}-{l}"])
    first, last = random.choice(["anna", "tom", "ngozi", "li", "o.brien"]), random.choice(["ito", "novak", "meer", "x"])
    return local.format(f=first, l=last, n=random.randint(1, 999)) + "@" + random.choice(DOMAINS)


def iban() -> str:
    """An IBAN with its check digits, in groups or not."""
    country, length = random.choice([("DE", 18), ("NL", 0), ("FR", 23), ("ES", 20), ("GB", 0), ("AT", 16)])
    if country == "NL":
        body = "ABNA" + digits(10)
    elif country == "GB":
        body = "NWBK" + digits(14)
    elif country == "ES":
        bank, number = digits(8), digits(10)
        weights = [1, 2, 4, 8, 5, 10, 9, 7, 3, 6]

        def check(text: str) -> int:
            rest = 11 - sum(int(d) * w for d, w in zip(text, weights, strict=True)) % 11
            return {10: 1, 11: 0}.get(rest, rest)

        body = bank + str(check("00" + bank)) + str(check(number)) + number
    elif country == "FR":
        bank, number = digits(10), digits(11)
        body = bank + number + f"{97 - (int(bank + number + '00') % 97):02d}"
    else:
        body = digits(length)
    numeric = "".join(str(int(c, 36)) for c in body + country + "00")
    whole = f"{country}{98 - int(numeric) % 97:02d}{body}"
    return whole if random.random() < 0.5 else " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))


def card() -> str:
    """A card number with its check digit."""
    stem = random.choice(["4", "51", "55", "2221"[:0] + "54", "6011"])
    number = luhn(stem + "".join(random.choices(string.digits, k=15 - len(stem))))
    if random.random() < 0.2:
        number = luhn("37" + "".join(random.choices(string.digits, k=12)))
        return f"{number[:4]} {number[4:10]} {number[10:]}" if random.random() < 0.5 else number
    joint = random.choice(["", " ", "-"])
    return joint.join(number[i : i + 4] for i in range(0, 16, 4))


def national_id() -> tuple[str, str]:  # noqa: C901  one branch a country
    """A national id with its check digit, and what it is called."""
    kind = random.choice(["ssn", "nino", "dni", "cpf", "personnummer", "nir", "idnr", "ahv"])
    if kind == "ssn":
        return (
            f"{random.randint(100, 665)}-{random.randint(10, 99)}-{random.randint(1000, 9999)}",
            "social security number",
        )
    if kind == "nino":
        return (
            f"{random.choice(['AB', 'JK', 'PR'])} {digits(2)} {digits(2)} {digits(2)} {random.choice('ABCD')}",
            "NI number",
        )
    if kind == "dni":
        number = digits(8)
        return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23], "DNI"
    if kind == "cpf":
        body = [random.randint(0, 9) for _ in range(9)]
        for _ in range(2):
            rest = sum(d * w for d, w in zip(body, range(len(body) + 1, 1, -1), strict=True)) * 10 % 11 % 10
            body.append(rest)
        text = "".join(map(str, body))
        return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}", "CPF"
    if kind == "personnummer":
        stem = (
            f"{random.randint(50, 99)}{random.randint(1, 12):02d}{random.randint(1, 28):02d}{random.randint(100, 999)}"
        )
        whole = luhn(stem)
        return f"{whole[:6]}-{whole[6:]}", "personnummer"
    if kind == "nir":
        stem = f"{random.choice('12')}{random.randint(50, 99)}{random.randint(1, 12):02d}{random.randint(10, 89)}{digits(6)}"
        return stem + f"{97 - int(stem) % 97:02d}", "numéro de sécurité sociale"
    if kind == "idnr":
        while True:
            pool = random.sample(string.digits, 9)
            stem = [*pool, random.choice(pool)]
            random.shuffle(stem)
            if stem[0] != "0":
                break
        product = 10
        for d in stem:
            total = (int(d) + product) % 10 or 10
            product = total * 2 % 11
        return "".join(stem) + str((11 - product) % 10), "tax id"
    stem = "756" + digits(9)
    total = sum(int(d) * (1 if i % 2 == 0 else 3) for i, d in enumerate(stem))
    whole = stem + str(-total % 10)
    return f"{whole[:3]}.{whole[3:7]}.{whole[7:11]}.{whole[11:]}", "AHV number"


def phone() -> str:
    """A number of a phone, as people write it."""
    return random.choice(
        [
            f"+49 30 {digits(7)}",
            f"+44 20 7946 {digits(4)}",
            f"+1 (212) 55{random.randint(2, 9)}-{digits(4)}",
            f"+33 6 {random.randint(10, 99)} {random.randint(10, 99)} {random.randint(10, 99)} {random.randint(10, 99)}",
            f"(415) 55{random.randint(2, 9)}-{digits(4)}",
            f"020 7946 {digits(4)}",
            f"+34 6{digits(8)}",
            f"0171 {digits(7)}",
            f"0049 170 {digits(7)}",
            f"212-55{random.randint(2, 9)}-{digits(4)}",
            f"+31 6 {digits(8)}",
            f"+91 98{digits(8)}",
        ]
    )


def ip() -> str:
    """An address of a machine."""
    if random.random() < 0.3:
        return f"2001:db8:{random.randint(1, 9999):x}::{random.randint(1, 9999):x}"
    return ".".join(str(random.randint(1, 254)) for _ in range(4))


def secret() -> tuple[str, str]:
    """A key or token, and the words before it."""

    def drawn(count: int) -> str:
        return "".join(random.choices(string.ascii_letters + string.digits, k=count))

    return random.choice(
        [
            ("AKIA" + "".join(random.choices(string.ascii_uppercase + string.digits, k=16)), "aws key "),
            ("ghp_" + drawn(36), "I pushed with "),
            ("sk-" + drawn(40), "the client uses "),
            ("hf_" + drawn(34), "export HF_TOKEN="),
            ("eyJ" + drawn(20) + ".eyJ" + drawn(30) + "." + drawn(40), "Bearer "),
            (drawn(9) + "7!x", "my password is "),
            (drawn(24) + "9", "api_key = "),
            ("xoxb-" + digits(11) + "-" + drawn(20), "slack token: "),
        ]
    )


# Curly places are filled with values of the kind they name.
TEXTS = [
    "My name is {name} and I have not received my order.", "Dear {name}, thank you for your message of last week.",
    "Please call me back on {phone}, preferably after six.", "You can reach me at {email} or by phone: {phone}.",
    "Kind regards,\n{name}", "I transferred 49.90 to {iban} on Monday.", "The card {card} was charged twice.",
    "Mrs {name} asked for a refund to account {iban}.", "Log: login failed from {ip} after three attempts",
    "{name} <{email}> wrote: is the lamp still available?", "Send the invoice to {email}, please.",
    "Patient: {name}, {idword} {id}.", "My {idword} is {id}, do you need anything else?", "{secretword}{secret}",
    "The server {ip} refused my key. {secretword}{secret}", "I spoke to {name} yesterday, she promised a replacement.",
    '{{"customer": "{name}", "email": "{email}", "phone": "{phone}"}}', "Hello {name}, your parcel is on its way.",
    "Fax {phone}, attention Mr {name}.", "Refund to card no. {card}, in the name of {name}.",
    "Bonjour, je m'appelle {name}, mon numéro est {phone}.", "Mein Name ist {name}, bitte überweisen Sie auf {iban}.",
    "Is {email} the right address for complaints?", "Her {idword}: {id}; mobile {phone}.",
    "According to the ticket, {name} and {name} share one account.", "Thanks, {name}", "blocked {ip} in the firewall",
    "Signed, {name}", "We met {name} at the fair in Hanover.", "card: {card}, holder {name}, expires 11/29",
]  # fmt: skip
NOTHING = [
    "Order 4829301 was delivered on 2026-11-21 at 14:05.", "The lamp costs 129.95 and weighs 2.450 kg.",
    "Please update to version 10.4.2.1 before you continue.", "Invoice 2024-00123 and credit note 2024-00127 are attached.",
    "Tracking number 1Z 999 AA1 01 2345 6784.", "The Will of the people, as May and Mark wrote in June.",
    "Berlin, Paris and New York are sold out until March.", "Part no. 415-555-01 fits the Model 3000 Deluxe.",
    "Thank you for your patience, the Support Team.", "Dear customer, your password was changed.",
    "1 234 567 visitors came in 2025.",
    "The ratio was 3:1, then 16:9, then 4:3.", "ISBN 978-3-16-148410-0 is out of print.", "See section 4.2.1.3 of the manual.",
    "Meet me at 10:30 on 12/05/2026 or 13.05.2026.", "Water the plants on Monday, Wednesday and Friday.",
    "The token was cut after 512 characters.", "He scored 100-99-98 in three rounds.", "Dial in at noon; the code follows.",
    "GET /v1/models returned 404 in 12.5 ms.", "The Golden Gate Bridge opened in 1937.", "My favourite is the Rose Garden.",
    "RGB 255 255 255 is white, 0 0 0 is black.", "Grace period: 30 days. Art lovers welcome.", "SKU DE12 3456 is discontinued.",
]  # fmt: skip


def fill(text: str) -> tuple[str, list[dict[str, object]]]:
    """A text with its places filled, and where what was put."""
    spans: list[dict[str, object]] = []
    out = ""
    id_value, id_word = national_id()
    secret_value, secret_word = secret()
    made = {
        "idword": id_word,
        "id": id_value,
        "secretword": secret_word,
        "secret": secret_value,
    }
    for literal, field, _, _ in string.Formatter().parse(text):
        out += literal
        if field is None:
            continue
        value = made[field] if field in made else globals()[field]()
        if field not in {"idword", "secretword"}:
            kind = {"id": "national_id"}.get(field, field)
            spans.append({"kind": kind, "start": len(out), "end": len(out) + len(value)})
        out += value
    return out, spans


def main() -> None:
    """Write the file."""
    lines = []
    for turn in range(14):
        for text in TEXTS:
            filled, spans = fill(text)
            lines.append({"text": filled, "spans": spans})
        for text in NOTHING if turn % 2 == 0 else ():
            lines.append({"text": text, "spans": []})  # noqa: PERF401
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} texts, {sum(len(line['spans']) for line in lines)} spans")  # type: ignore[arg-type, misc]


if __name__ == "__main__":
    main()

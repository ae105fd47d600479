"""How well the recognisers do, as measured on the labelled sentences that they were not developed with (docs/privacy.md)."""

from __future__ import annotations

from typing import NamedTuple


class Measured(NamedTuple):
    """Of a kind: how many spans there were, and the shares of what was found that was right, and of what was there found."""

    spans: int
    precision: float | None
    recall: float | None


TEXTS = "sentences of ten countries, written for it: an upper bound for real texts"
MEASURED: dict[str, Measured] = {
    "secret": Measured(334, 0.994, 0.961),
    "email": Measured(30, 0.968, 1.0),
    "iban": Measured(24, 1.0, 1.0),
    "card": Measured(14, 1.0, 1.0),
    "national_id": Measured(36, 1.0, 1.0),
    "wallet": Measured(14, 1.0, 1.0),
    "mac": Measured(14, 1.0, 1.0),
    "ip": Measured(23, 1.0, 1.0),
    "birth_date": Measured(66, 1.0, 1.0),
    "address": Measured(78, 1.0, 1.0),
    "phone": Measured(84, 1.0, 0.905),
    "name": Measured(138, 0.993, 0.957),
}

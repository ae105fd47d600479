"""Values that JSON has no word for are written in one way, and what that changes is told."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.json_values import Notes, as_json, of_bytes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner), max_leaves=8
)


@given(VALUES)
def test_whatever_a_query_gives_is_json_and_what_json_has_is_unchanged(value: Any) -> None:
    notes = Notes()
    made = as_json(value, "rows", notes)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert as_json(made, "rows", notes) == made


def test_numbers_that_are_none_become_null_and_are_told_by_their_place() -> None:
    notes = Notes()
    rows = [(1.5, math.nan), (math.inf, math.nan), (-math.inf, None)]
    assert as_json(rows, "rows", notes) == [[1.5, None], [None, None], [None, None]]
    assert notes.told() == [
        "rows[][]: NaN is null here, for JSON has no such number, and 1 more like it",
        "rows[][]: infinity is null here, for JSON has no such number",
        "rows[][]: -infinity is null here, for JSON has no such number",
    ]


@given(st.binary())
def test_bytes_are_text_or_say_how_they_are_written(raw: bytes) -> None:
    made = of_bytes(raw)
    assert (made.encode() if isinstance(made, str) else base64.b64decode(made["base64"])) == raw


def test_dates_and_decimals_are_their_texts() -> None:
    given = {dt.date(2024, 2, 29): decimal.Decimal("1.10"), "t": dt.timedelta(seconds=1)}
    assert as_json(given, "", Notes()) == {"2024-02-29": "1.10", "t": "0:00:01"}

"""The table of clients in the documentation says what the tests run."""

from __future__ import annotations

from pathlib import Path

from tests.clients.what import CLIENTS, FEATURES, table


def test_the_documentation_has_the_table_of_what_is_tried() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    assert table() in page, f"docs/serving.md, Clients, must have:\n\n{table()}"


def test_what_a_client_lacks_is_a_feature() -> None:
    assert all(set(lacks) <= set(FEATURES) for _, lacks in CLIENTS.values())

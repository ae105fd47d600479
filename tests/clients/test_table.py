"""The table of clients in the documentation says what the tests run."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.clients.what import CLIENTS, FEATURES, OTHERS, table


def test_the_documentation_has_the_table_of_what_is_tried() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    assert table() in page, f"docs/serving.md, Clients, must have:\n\n{table()}"


def test_what_a_client_lacks_is_a_feature() -> None:
    assert all(set(lacks) <= set(FEATURES) for _, lacks in CLIENTS.values())


@pytest.mark.parametrize("client", OTHERS)
def test_each_feature_of_the_others_has_its_test(client: str) -> None:
    _, module, tried, lacks = OTHERS[client]
    assert set(tried) | set(lacks) == set(FEATURES)
    assert not set(tried) & set(lacks)
    tests = vars(importlib.import_module(f"tests.clients.{module}"))
    assert [name for name in tried.values() if name not in tests] == []

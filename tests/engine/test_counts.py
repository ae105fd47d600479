"""A number agrees with its noun, whatever is counted."""

from __future__ import annotations

import pytest

from llmops_tui.counts import agree, counted
from llmops_tui.maintenance.findings import Report


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_234_567, "1,234,567 rows"), (-1, "-1 rows")]
)
def test_only_one_is_singular(number: int, told: str) -> None:
    assert counted(number, "row") == told


def test_an_irregular_plural_and_a_verb_are_given() -> None:
    assert [counted(n, "loss", "losses") for n in (1, 2)] == ["1 loss", "2 losses"]
    assert [agree(n, "is", "are") for n in (0, 1, 2)] == ["are", "is", "are"]


def test_the_tally_of_a_check_agrees_with_its_numbers() -> None:
    kinds = ["files", "checksums recorded", "rows of the catalog", "recipes and suites", "dataset versions"]
    one, two = Report(), Report()
    for kind in kinds:
        one.count(kind)
        two.count(kind, 2)
    assert one.tally == "1 file, 1 checksum recorded, 1 row of the catalog, 1 recipe or suite, 1 dataset version"
    assert two.tally == ", ".join(f"2 {kind}" for kind in kinds)

"""Rows in are rows out and rows told: of every operation that there is, on random rows of every kind."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_tui.datasets.checks.registry import all_checks
from llmops_tui.datasets.operations.base import OPERATIONS, apply
from llmops_tui.datasets.operations.splits import split_into
from llmops_tui.datasets.progress import no_report
from llmops_tui.datasets.records import REST, dump_json
from llmops_tui.datasets.row_sets import encode_rows
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import quote_name
from tests.commands import llmops
from tests.datasets.conftest import Fill, rows_of
from tests.datasets.row_strategies import KINDS, rows_of_kind
from tests.datasets.test_meaning import embedded
from tests.datasets.test_nothing_lost import Rows
from tests.representatives import representatives

Row = dict[str, Any]
Account = Callable[[DatasetStore, DatasetVersion, Path], None]
ACCOUNTS: dict[str, Account] = {}


def account(name: str) -> Callable[[Account], Account]:
    """Registers what accounts for the rows of an operation."""

    def registered(function: Account) -> Account:
        ACCOUNTS[name] = function
        return function

    return registered


def bag(rows: list[Row]) -> Counter[str]:
    return Counter(map(dump_json, (dict(sorted(row.items())) for row in rows)))


def told(version: DatasetVersion) -> int:
    """How many rows the note of a version says that went."""
    found = re.search(r"−([\d,]+)", version.note)
    return int(found[1].replace(",", "")) if found else 0


def accounted(made: DatasetVersion, version: DatasetVersion) -> None:
    """All rows are there as they were, but for those that are told to have gone."""
    assert made.rows + told(made) == version.rows, made.note
    assert bag(rows_of(made)) <= bag(rows_of(version))


@account("filter")
def _filter(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    first = quote_name(version.columns[0].name)
    for where in ("true", "false", f"{first} IS NULL", f"length(CAST({first} AS VARCHAR)) > 9", "_row % 2 = 0"):
        accounted(apply(store, "filter", [version.ref], {"where": where}), version)
    chosen = list(range(0, version.rows, 2))
    made = apply(store, "filter", [version.ref], {"rows": encode_rows(chosen, version.rows)})
    accounted(made, version)
    assert rows_of(made) == [row for n, row in enumerate(rows_of(version)) if n in chosen]


@account("sample")
def _sample(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    made = apply(store, "sample", [version.ref], {"rows": version.rows, "seed": 1})
    assert rows_of(made) == rows_of(version)
    made = apply(store, "sample", [version.ref], {"rows": 1, "seed": 1})
    assert (made.rows, bag(rows_of(made)) <= bag(rows_of(version))) == (1, True)


@account("sort")
def _sort(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    by = f"length(CAST({quote_name(version.columns[0].name)} AS VARCHAR))"
    for descending in (False, True):
        made = apply(store, "sort", [version.ref], {"by": by, "descending": descending})
        assert bag(rows_of(made)) == bag(rows_of(version))


@account("select")
def _select(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    names = [column.name for column in version.columns]
    made = apply(store, "select", [version.ref], {"columns": names})
    assert bag(rows_of(made)) == bag(rows_of(version))
    made = apply(store, "select", [version.ref], {"columns": names[:1], "names": {names[0]: "other"}})
    wanted = [{"other": row[names[0]]} if names[0] in row else {} for row in rows_of(version)]
    assert rows_of(made) == wanted


@account("map")
def _map(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    made = apply(store, "map", [version.ref], {"column": "made", "expression": "1"})
    assert all(row["made"] == 1 for row in rows_of(made))
    assert bag([{k: v for k, v in row.items() if k != "made"} for row in rows_of(made)]) == bag(rows_of(version))


@account("query")
def _query(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    names = ", ".join(quote_name(column.name) for column in version.columns)
    made = apply(store, "query", [version.ref], {"sql": f"SELECT {names} FROM rows"})
    assert bag(rows_of(made)) == bag(rows_of(version))


@account("edit")
def _edit(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    rows = rows_of(version)
    edits: dict[str, Row | None] = {"0": None, str(version.rows - 1): {**rows[-1], "changed": [None, 2**70]}}
    made = apply(store, "edit", [version.ref], {"edits": edits})
    kept = [row for row in [*rows[1:-1], edits[str(version.rows - 1)]] if row is not None]
    assert rows_of(made) == kept
    assert made.rows + told(made) == version.rows


@account("concat")
def _concat(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    # The same columns, of other types.
    names = [column.name for column in version.columns if column.name != REST]
    texts = {name: f"CAST({quote_name(name)} AS VARCHAR)" for name in names}
    listed = ", ".join(f"{value} AS {quote_name(name)}" for name, value in texts.items())
    if version.kind == "tabular":
        other = apply(store, "query", [version.ref], {"sql": f"SELECT {listed} FROM rows"}, name="other")
        both = apply(store, "concat", [version.ref, other.ref], {}, name="both")
        assert bag(rows_of(both)) == bag(rows_of(version)) + bag(rows_of(other))
    both = apply(store, "concat", [version.ref, version.ref], {}, name="both")
    assert rows_of(both) == rows_of(version) * 2


@account("mix")
def _mix(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    both = apply(store, "concat", [version.ref, version.ref], {}, name="both")
    made = apply(store, "mix", [version.ref, both.ref], {"weights": [1, 2]}, name="mixed")
    assert bag(rows_of(made)) == bag(rows_of(version)) + bag(rows_of(both))
    many = apply(store, "mix", [version.ref, both.ref], {"weights": [1, 1], "rows": 4 * version.rows}, name="mixed")
    assert bag(rows_of(many)) == bag(rows_of(version) * 2) + bag(rows_of(both))


@account("split")
def _split(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    for shares in ({"train": 0.6, "test": 0.4}, {"all": 1.0}):
        parts: list[DatasetVersion] | str
        try:
            parts = split_into(store, version.ref, dict(shares), no_report)
        except InputRefusedError as error:
            parts = error.code
        # A part without rows is refused.
        assert parts == "empty_part" or sum((bag(rows_of(part)) for part in parts), Counter()) == bag(rows_of(version))


@account("dedup")
def _dedup(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    for same in ("row", "content", "text"):
        for method in ("exact", "near"):
            accounted(apply(store, "dedup", [version.ref], {"method": method, "same": same}), version)
    each = Counter(dict.fromkeys(bag(rows_of(version)), 1))
    assert bag(rows_of(apply(store, "dedup", [version.ref], {"same": "row"}))) == each
    accounted(apply(store, "dedup", [version.ref, version.ref], {}), version)
    embedded(version)
    accounted(apply(store, "dedup", [version.ref], {"method": "meaning", "threshold": 0.6}), version)


@account("fix")
def _fix(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    embedded(version)
    for check in all_checks():
        if check.fix and version.kind in check.kinds:
            made = apply(store, "fix", [version.ref], {"check": check.id})
            assert made.rows + told(made) == version.rows, (check.id, made.note)


@account("redact")
def _redact(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    made = apply(store, "redact", [version.ref], {})
    assert [set(row) for row in rows_of(made)] == [set(row) for row in rows_of(version)]


@account("pseudonymise")
def _pseudonymise(store: DatasetStore, version: DatasetVersion, folder: Path) -> None:
    key = {"key": str(folder / "key")}
    hidden = apply(store, "pseudonymise", [version.ref], key)
    assert hidden.rows == version.rows


@account("reveal")
def _reveal(store: DatasetStore, version: DatasetVersion, folder: Path) -> None:
    key = {"key": str(folder / "key")}
    hidden = apply(store, "pseudonymise", [version.ref], key)
    if rows_of(hidden) == rows_of(version):
        with pytest.raises(InputRefusedError, match="nothing in this workspace was pseudonymised"):
            apply(store, "reveal", [hidden.ref], key)
        return
    assert bag(rows_of(apply(store, "reveal", [hidden.ref], key))) == bag(rows_of(version))


@account("label")
def _label(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    rows = rows_of(version)
    said = {"0": {"value": "x"}}
    made = apply(store, "label", [version.ref], {"task": "judged", "kind": "classify", "values": said})
    assert rows_of(made) == [{**rows[0], "judged": "x"}, *rows[1:]]
    reviewed = {"0": {"value": "reject"}, "1": {"value": "accept"}}
    made = apply(store, "label", [version.ref], {"task": "judged", "kind": "review", "values": reviewed})
    assert rows_of(made) == rows[1:]
    assert made.rows + told(made) == version.rows, made.note
    if version.kind == "preference":
        chosen = {"0": {"value": "tie"}, "1": {"value": "second"}}
        made = apply(store, "label", [version.ref], {"task": "judged", "kind": "prefer", "values": chosen})
        assert made.rows + told(made) == version.rows, made.note
        assert rows_of(made)[0]["chosen"] == rows[1]["rejected"]


@account("noise")
def _noise(store: DatasetStore, version: DatasetVersion, _folder: Path) -> None:
    texts = [column.name for column in version.columns if column.type == "text"]
    wanted = {"kinds": ["upper"], "column": texts[0]} if version.kind == "tabular" and texts else {"kinds": ["upper"]}
    try:
        made = apply(store, "noise", [version.ref], wanted)
    except InputRefusedError as refused:
        if refused.code not in {"nothing_kept", "column_missing", "unknown_column"}:
            raise
        return
    # One kind of noise makes one row of each, or tells that it came out as it was, or had no text.
    apart = re.findall(r"([\d,]+) (?:came out as they were|rows? without text)", made.note)
    assert made.rows + sum(int(count.replace(",", "")) for count in apart) == version.rows, made.note
    rows = rows_of(version)
    assert all(rows_of(made)[n]["synthetic"]["parents"][0]["row"] < len(rows) for n in range(made.rows))


def test_every_operation_is_accounted_for() -> None:
    assert ACCOUNTS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", representatives(OPERATIONS, *list(OPERATIONS)[::3]))
def test_rows_in_are_rows_out_and_rows_told(store: DatasetStore, fill: Fill, tmp_path: Path, operation: str) -> None:
    kind = "preference" if operation == "label" else "messages"
    ACCOUNTS[operation](store, fill(Rows(2).of(kind, 4), "rows", kind), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=12, suppress_health_check=[*HealthCheck])
@given(
    st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), rows_of_kind(kind, least=2))),
)
def test_rows_in_are_rows_out_and_rows_told_whatever_they_hold(
    store: DatasetStore, fill: Fill, tmp_path: Path, operation: str, drawn: tuple[str, list[Row]]
) -> None:
    kind, rows = drawn
    version = fill(rows, "rows", kind)
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    try:
        ACCOUNTS[operation](store, version, folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("names", [{"b": "a"}, {"a": "c", "b": "c"}])
def test_two_columns_never_become_one(store: DatasetStore, fill: Fill, names: dict[str, str]) -> None:
    fill([{"a": 1, "b": 2}], "two")
    with pytest.raises(InputRefusedError, match=f"two columns would be named '{names['b']}'"):
        apply(store, "select", ["two"], {"columns": ["a", "b"], "names": names})
    swapped = apply(store, "select", ["two"], {"columns": ["a", "b"], "names": {"a": "b", "b": "a"}})
    assert rows_of(swapped) == [{"b": 1, "a": 2}]


@pytest.mark.parametrize("shares", [{"a": 0.9}, {"a": 0.9, "b": 0.2}, {"a": 0.5, "b": 0.25}])
def test_fractions_of_a_split_add_up_to_one(store: DatasetStore, fill: Fill, shares: dict[str, float]) -> None:
    fill([{"a": n} for n in range(10)], "ten")
    with pytest.raises(InputRefusedError, match=f"add up to {sum(shares.values()):g}"):
        split_into(store, "ten", shares, no_report)
    assert [part.rows for part in split_into(store, "ten", {"a": 8, "b": 2}, no_report)] == [8, 2]
    assert sum(part.rows for part in split_into(store, "ten", {"a": 0.33, "b": 0.33, "c": 0.33}, no_report)) == 10


def test_a_mixture_that_cannot_be_names_the_dataset(store: DatasetStore, fill: Fill) -> None:
    fill([{"a": 1}], "one")
    fill([{"a": 1}], "two")
    apply(store, "filter", ["two"], {"where": "a > 1"}, name="none")
    for refs, weights, told in (
        (["one", "two"], [1, 0], "weight of two@1 is 0"),
        (["one", "two"], [math.nan, 1], "weight of one@1 is nan"),
        (["one", "none"], [1, 1], "none@1 has no rows"),
        (["one", "two"], [1], "2 inputs require as many weights, and there is 1"),
    ):
        with pytest.raises(InputRefusedError, match=told):
            apply(store, "mix", refs, {"weights": weights}, name="mixed")
    refused = llmops("data", "mix", "one=1", "two=x", workspace=store.workspace)
    assert (refused.returncode, "weight of two is not a number: 'x'" in refused.stderr) == (2, True)


def test_a_condition_that_fails_is_told_the_columns(store: DatasetStore, fill: Fill) -> None:
    fill([{"a": 1, "b": 2}])
    for operation, parameters in (
        ("filter", {"where": "nope = 1"}),
        ("map", {"column": "a", "expression": "nope + 1"}),
    ):
        with pytest.raises(InputRefusedError, match="nope") as refused:
            apply(store, operation, ["data"], parameters)
        assert refused.value.hint == "Columns: a, b"

"""Blocks of conversations and lists read at once are what the reading by line makes of them, or are left to it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets import import_job
from llmops_tui.datasets.column_types import typed_column
from llmops_tui.datasets.content_hash import hash_of
from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.readers import reader
from llmops_tui.datasets.formats.sharegpt import ROLE_OF
from llmops_tui.datasets.formats.tables import canonical_table, turns_of
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.sources import conversation_blocks, json_tables
from llmops_tui.datasets.sources import json_lines as by_line
from llmops_tui.datasets.sources.base import Source
from llmops_tui.datasets.sources.conversation_blocks import ConversationBlocks
from llmops_tui.datasets.store import DatasetStore
from tests.datasets.conftest import rows_of
from tests.datasets.test_nothing_lost import Rows

FORMS = ("messages", "sharegpt", "tabular")
NAMES = {
    "messages": ("messages", "role", "content"),
    "sharegpt": ("conversations", "from", "value"),
    "tabular": ("tags", "", ""),
}
# What follows "[" of a list of turns, "R" and "C" being the names of its two fields.
HOSTILE = [
    b'{"R":"u","R":"v","C":"c"}]', b'{"R":"u","\\u0052":"v","C":"c"}]', b'{"R":"u"}]', b'{"C":"c"}]', b'{"R":"u","C":null}]', b'{"R":null,"C":"c"}]', b"null]",
    b"]", b"{}]", b'{"R":"u","C":"c","x":1}]', b'{"R":"u","C":"c","x":"1"}]', b'{"x":"1","C":"c","R":"u"}]', b'{"R":"u","C":"c","x":null}]',
    b'{"R":"u","C":"c","y":"1","x":"2"}]', b'{"R":"u","C":"c","x":"2","y":"1"}]', b'{"R":"u","C":5}]', b'{"R":"u","C":["c"]}]', b'{"R":"u","C":"\\ud800"}]',
    b'{"R":"u","C":"\\ud83d\\ude00 \\u0000\\u001f\\/\\"\\\\"}]', b'{"C":"c","R":"u"}]', b'{"R":"u","C":"c"},]', b'{"R":"u","C":"c",}]', b'{"R":"u" "C":"c"}]',
    b'{"R":"u","C":"c"}', b'{"R":"u","C":"c"]', b'{"R":true,"C":"c"}]', b'{"R":"u","C":"c"}],"n":1,"n":2', b'{"R":"u","C":"null"}]', b'{"R":"u","C":123456789012345678901}]',
    b'{"R":"u","C":"c"}],"tools":"[]"', b'{"R":"u","C":"c"}],"system":"s"', b'{"R":"function_call","C":"{\\"name\\": \\"f\\", \\"arguments\\": {}}"}]', b'{"R":"human","C":"c"}]',
    b'{"R":"u","C":"c"}],"tags":["a","b"]', b'{"R":"u","C":"c"}],"tags":["a",null]', b'{"R":"u","C":"c"}],"tags":[]', b'{"R":"u","C":"c"}],"tags":null',
    b'{"R":"u","C":"c"}],"tags":["a",1]', b'{"R":"u","C":"c"}],"tags":[["a"]]', b'{"R":"u","C":"c"}],"tags":[{"a":"b"}]', b'{"R":"u","C":"\xff"}]', b'"x"]', b"[]]", b"1]",
    b'{"R":"u","C":"\xe4\xbd\xa0"}]', b'{"R":"u","C":"c"}] , "more" : "x" ', b' { "R" : "u" , "C" : "c" } ]', b'{"R":"u","C":"a\tb"}]', b'{"R":"u","C":"c","":"e"}]',
]  # fmt: skip
FINE = b'{"R":"user","C":"so"},{"R":"assistant","C":"a \\"b\\"\\n"}]'


def line(form: str, rest: bytes) -> bytes:
    name, who, what = (text.encode() for text in NAMES[form])
    return b'{"' + name + b'":[' + rest.replace(b'"R"', b'"' + who + b'"').replace(b'"C"', b'"' + what + b'"') + b"}"


def read_both(form: str, data: bytes, *, copied: bool = False) -> bool:
    """Whether a block is read at once; it is an error where that differs from the reading by line.

    Conversations are read into columns, or ``copied`` as they stand.
    """
    if copied:
        table = ConversationBlocks(turns_of(form), by_line.parse_object).read(data, {})
    else:
        table = json_tables.read_table(data, {}, by_line.parse_object, turns_of(form))
    made = canonical_table(form, table) if table is not None else None
    if made is None:
        return False
    batch = by_line._parse_lines(Source(Path("x"), "jsonl"), data, 0, 0)
    assert not batch.rejects
    rows: list[Row] = [reader(form)(row) for row in batch.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    assert [name for name in made.column_names if name in names] == names
    for field in made.schema:
        kind, column, _ = typed_column([row.get(field.name) for row in rows], read_texts=False)
        if kind is not None:
            assert (kind == "json") == (field.metadata is not None)
            assert list(map(repr, made[field.name].to_pylist())) == list(map(repr, column.tolist()))
    return True


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("form", ["messages", "sharegpt"])
def test_a_block_of_conversations_is_read_at_once_only_where_each_line_reads_so(form: str, copied: bool) -> None:
    fine = line(form, FINE)
    assert read_both(form, b"\n".join([fine, fine, b""]), copied=copied)
    at_once = 0
    for rest in HOSTILE:
        hostile = line(form, rest)
        for lines in ([hostile, fine], [fine] * 70 + [hostile, fine]):
            at_once += read_both(form, b"\n".join([*lines, b""]), copied=copied)
    # Some are odd in looks alone; the others are counted as read by line.
    assert 10 <= at_once < len(HOSTILE)


# What is written as lines are otherwise, and what is not JSON or not what it looks like: none of it may be copied.
ODD_LINES = [
    b'{"meta":{"messages":[{"role":"u","content":"c"}]}}', b'{"messages":[{"role":"u","content":"c"}],"messages":[{"role":"u","content":"c"}]}',
    b'{"messages":[{"role":"u","content":"c"}],"m\\u0065ssages":1}', b'{"messages":[{"role":"u","content":"c"}],"messages":1}', b'{"messages":1,"messages":[{"role":"u","content":"c"}]}',
    b'{"messages" :[{"role":"u","content":"c"}]}', b'{ "messages":[{"role":"u","content":"c"}]}', b'{"messages":[{"role":"u","content":"c"}]}\r', b'{"messages":\t[{"role":"u","content":"c"}]}',
    b'{"messages":[{"role":"u","content":"c"}]', b'{"messages":[{"role":"u","content":"c"}]}}', b'{"messages":[{"role":"u","content":"c"}]} x', b'{"messages":[{"role":"u","content":"c"}]}{"a":"b"}', b'[{"messages":[{"role":"u","content":"c"}]}]',
    b'{"messages":[{"role":"u","content":"a\\xb"}]}', b'{"messages":[{"role":"u","content":"a\\u12"}]}', b'{"messages":[{"role":"u","content":"a\\"}]}', b'{"messages":[{"role":"u","content":"a"b"}]}', b'{"messages":[{"role":"u","content":"a\x00b"}]}',
    b'{"messages":[{"role":"u","content":"a"}]\\,"x":"y"}', b'{"a":\\"x","messages":[{"role":"u","content":"a"}]}', b'{"messages":[{"r\\u006fle":"u","content":"a"}]}', b'{"messages":[{"role":"u","content":"a"},{"content":"u","role":"a"}]}',
    b'{"messages":[{"role":"u","content":"a"}, {"role":"u","content":"a"}]}', b'{"x":"{\\"messages\\":[{\\"role\\":","messages":[{"role":"u","content":"}],"}]}', b'{"x":["messages",":[{"],"messages":[{"role":"u","content":"a"}]}', b"{}", b"", b"null", b'{"text":"x"}', b'"',
    b'{"messages":[{"role":"u","content":"\\\\"}],"n":12345678901234567890}', b'{"messages":[{"role":"u","content":"a\\\\\\"b"}],"n":1e400}', b'{"messages":[{"role":"u","content":"\xed\xa0\x80"}]}', b'{"n":1,"messages":[{"role":"u","content":"\\\\\\\\"}],"n":2}',
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_LINES)
def test_what_only_looks_like_conversations_is_not_copied(odd: bytes) -> None:
    fine = b'{"messages":[{"role":"user","content":"so"}]}'
    for lines in ([odd], [fine, odd], [odd, fine], [fine] * 70 + [odd, fine]):
        read_both("messages", b"\n".join([*lines, b""]), copied=True)
    spaced = [text.replace(b",", b", ").replace(b":", b": ") for text in (fine, odd)]
    read_both("messages", b"\n".join([*spaced, b""]), copied=True)


def test_conversations_that_programs_write_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["so", "", 'a "b" \\ \\\\" / \n\t\x01\x7f', "ä 你 😀 \u2028", "}], {[:", '"}, {"role": "']
    turns = [{"role": who, "content": text} for text in texts for who in ("user", "assistant", "any body")]
    rows: list[Row] = [{"id": n, "tags": ["a"], "messages": turns[: n + 1], "score": n / 8} for n in range(18)]
    shared = [
        {"conversations": [{"from": n, "value": m["content"]} for n, m in zip(ROLE_OF, row["messages"], strict=False)]}
        for row in rows
    ]
    for form, written in (("messages", rows), ("sharegpt", shared), ("messages", list(map(turned, rows)))):
        for escaped, separators, piece in (
            (True, (", ", ": "), 1 << 20),
            (False, (",", ":"), 2000),
            (True, (",", ":"), 1),
        ):
            monkeypatch.setattr(conversation_blocks, "_PIECE", piece)
            lines = [json.dumps(row, ensure_ascii=escaped, separators=separators) for row in written]
            assert read_both(form, "\n".join([*lines, ""]).encode(), copied=True)


def turned(row: Row) -> Row:
    """A row whose turns have their fields the other way round."""
    return {
        k: [dict(reversed(t.items())) for t in v] if k in {"messages", "conversations"} else v for k, v in row.items()
    }


def test_a_file_is_not_looked_at_twice_after_a_block_that_is_read_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = b'{"messages":[{"role":"user","content":"so"}]}\n'
    blocks = ConversationBlocks(turns_of("messages"), by_line.parse_object)
    assert blocks.read(fine, {}) is not None
    assert blocks.read(b'{"messages":[{"role":"user","content":null}]}\n', {}) is None
    assert blocks.read(fine, {}) is None


def test_lists_of_texts_are_read_at_once() -> None:
    assert read_both(
        "tabular", b'{"tags":["a","b\\"c"],"n":1}\n{"tags":[],"n":2}\n{"n":3}\n{"tags":null}\n{"tags":["\\u00e4"]}\n'
    )
    assert not read_both("tabular", b'{"tags":["a",null]}\n')
    assert not read_both("tabular", b'{"tags":[{"role":"user","content":"order of the fields"}]}\n')


TEXT = st.text(max_size=8)
TURN = st.fixed_dictionaries({"R": TEXT, "C": TEXT}, optional={"name": TEXT})
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
)
ROW = st.fixed_dictionaries(
    {"turns": st.lists(TURN, max_size=3)},
    optional={"tags": st.lists(TEXT, max_size=3), "n": st.integers(-9, 9), "text": TEXT},
)


@given(st.sampled_from(["messages", "sharegpt"]), st.lists(ROW, min_size=1, max_size=6), st.lists(st.dictionaries(st.sampled_from(["turns", "tags", "n"]), ODD, max_size=3), max_size=1), st.booleans())  # fmt: skip
def test_random_conversations_are_read_alike(form: str, rows: list[Any], odd: list[Any], escaped: bool) -> None:
    name, who, what = NAMES[form]
    lines = [json.dumps(row, ensure_ascii=escaped, separators=(",", ":")) for row in [*rows, *odd]]
    made = [
        text.replace('"turns":', f'"{name}":').replace('"R":', f'"{who}":').replace('"C":', f'"{what}":')
        for text in lines
    ]
    for copied in (False, True):
        read_both(form, b"".join(text.encode("utf-8", "replace") + b"\n" for text in made), copied=copied)


@pytest.mark.slow
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_rows_of_every_shape_and_broken_bytes_are_read_alike(seed: int, chance: random.Random) -> None:
    lines = [json.dumps(row).encode() for row in Rows(seed).of("messages", 3)]
    data = bytearray(
        b"\n".join(
            [line("messages", FINE)] * 2 + lines * chance.randrange(2) + [line("messages", chance.choice(HOSTILE)), b""]
        )
    )
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(2)] = chance.choice(
            [b"}", b"{", b",", b'"', b" ", b"null", b"\n", b"\\", b"]", b"["]
        )
    try:
        for copied in (False, True):
            read_both("messages", bytes(data) if data.endswith(b"\n") else bytes(data) + b"\n", copied=copied)
    except RowRefusedError as error:
        raise AssertionError("read at once, and refused by line") from error


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("form", ["messages", "sharegpt"])
def test_files_of_conversations_make_the_same_version_either_way(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, copied: bool
) -> None:
    """Of a file with broken and with foreign lines some blocks are tables, and some are counted as read by line."""
    monkeypatch.setattr(by_line, "BATCH_BYTES", 4000)
    monkeypatch.setattr(by_line, "_COPIED_LINE", 1 if copied else 1 << 60)
    fine = [line(form, FINE)[:-1] + b',"n":%d,"tags":["x"]}' % number for number in range(200)]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([*fine, *(line(form, rest) for rest in HOSTILE), *fine]))
    made, counts = [], {"table": 0, "line": 0}
    table_of = import_job.canonical_table

    def counted(form: str, table: Any) -> Any:
        counts["table"] += 1
        return table_of(form, table)

    def by_lines(*given: Any) -> Any:
        counts["line"] += 1
        return parse_lines(*given)

    parse_lines = by_line._parse_lines
    monkeypatch.setattr(import_job, "canonical_table", counted)
    monkeypatch.setattr(by_line, "_parse_lines", by_lines)
    for bulk in (1, 1 << 60):
        monkeypatch.setattr(json_tables, "BULK_BYTES", bulk)
        version = import_now(store, [path], f"v{bulk}", form)
        assert hash_of(version.folder, version.columns) == version.sha256
        made.append((version.sha256, version.columns, version.rejected, rows_of(version)))
        if bulk == 1:
            # All are one part here, whose rows are read by line at last, since some of them must be.
            assert counts["table"] > 2
            assert counts["line"] > counts["table"]
    assert made[0] == made[1]
    # What holds nothing odd is never read by line.
    counts |= {"table": 0, "line": 0}
    monkeypatch.setattr(json_tables, "BULK_BYTES", 1)
    path.write_bytes(b"\n".join(fine))
    import_now(store, [path], "plain", form)
    assert counts["line"] == 0 < counts["table"]

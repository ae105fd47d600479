"""An answer in JSON as a tree, and where it breaks a schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.prompts.json_tree import problems_in, read_schema, tree_of

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"items": {"maxLength": 1}}},
    "required": ["c"],
}
ANSWER = '```json\n{"a": "x", "b": ["ok", "y"], "d/e": {}}\n```'


async def test_each_problem_stands_at_its_value() -> None:
    problems = await problems_in(ANSWER, SCHEMA)
    tree = tree_of(ANSWER, problems | {"#/gone": ["is missing"]})
    shown = [(line.depth, line.name, line.value, len(line.problems)) for line in tree.lines]
    assert shown == [
        (0, "", "{3}", 1), (1, "a", '"x"', 1), (1, "b", "[2]", 0), (2, "[0]", '"ok"', 1), (2, "[1]", '"y"', 0), (1, "d/e", "{}", 0),
    ]  # fmt: skip
    assert "'c' is a required property" in tree.lines[0].problems[0]
    assert tree.elsewhere == ("is missing",)


async def test_what_cannot_be_checked_is_told() -> None:
    with pytest.raises(LlmopsError, match="the schema is none"):
        await problems_in("{}", {"type": "nothing"})


def test_an_answer_that_is_no_json_says_where() -> None:
    assert "line 2, column 3" in tree_of("{\n  b: 1}", {}).broken
    assert tree_of('{"a": 1}', {}).broken == ""
    deep = tree_of("[" * 200 + "]" * 200, {})
    assert deep.broken or len(deep.lines) == 200


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"type": "object"}')
    assert read_schema(str(path)) == {"type": "object"}
    path.write_text("[1]")
    for wrong in (path, tmp_path / "none.json"):
        with pytest.raises(InputRefusedError):
            read_schema(str(wrong))

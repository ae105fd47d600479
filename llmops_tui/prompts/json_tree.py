"""An answer in JSON as a tree, and where it breaks a schema."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmops_tui.child_python import module_command
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json, text_of
from llmops_tui.inference.schema_keywords import Schema, escaped
from llmops_tui.user_files import with_home

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_SECONDS = 10.0
_MOST_LINES = 5_000
_LONGEST = 300


@dataclass(frozen=True)
class TreeLine:
    """A value of the tree: how deep it is, its name, itself in short, and what of the schema it does not keep."""

    depth: int
    name: str
    value: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """An answer read. ``broken`` says why it is no JSON, with the place; then there are no lines.

    ``elsewhere`` are problems of places that are not in the answer.
    """

    lines: tuple[TreeLine, ...] = ()
    broken: str = ""
    elsewhere: tuple[str, ...] = ()


def read_schema(path: str) -> Schema:
    """A JSON Schema from a file.

    Raises:
        InputRefusedError: ``bad_schema``.
    """
    try:
        found = parse_json(text_of(with_home(path)))
    except (OSError, ValueError) as error:
        raise InputRefusedError("bad_schema", f"{path} is not a JSON Schema: {error}") from error
    if not isinstance(found, dict):
        raise InputRefusedError("bad_schema", f"{path} is not a JSON Schema: it is no object")
    return found


def content_of(answer: str) -> str:
    """The JSON of an answer, which may stand in a fence of Markdown."""
    fenced = _FENCE.match(answer)
    return fenced[1] if fenced is not None else answer


def tree_of(answer: str, problems: Mapping[str, list[str]]) -> Tree:
    """The tree of an answer; ``problems`` by JSON pointer, as :func:`problems_in` finds them."""
    text = content_of(answer)
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 30) : error.pos + 10]
        return Tree(broken=f"line {error.lineno}, column {error.colno}: {error.msg}, near {near!r}")
    except ValueError as error:
        return Tree(broken=str(error)[:_LONGEST])
    lines: list[TreeLine] = []
    places: set[str] = set()
    for depth, name, shown, place in _walk(value):
        if len(lines) == _MOST_LINES:
            lines.append(TreeLine(0, "…", "more is not shown"))
            break
        places.add(place)
        lines.append(TreeLine(depth, name, shown, tuple(problems.get(place, ()))))
    elsewhere = tuple(one for place, told in problems.items() if place not in places for one in told)
    return Tree(tuple(lines), elsewhere=elsewhere)


def _walk(value: object) -> Iterator[tuple[int, str, str, str]]:
    waiting: list[tuple[int, str, object, str]] = [(0, "", value, "#")]
    while waiting:
        depth, name, one, place = waiting.pop()
        if isinstance(one, dict):
            yield depth, name, "{}" if not one else f"{{{len(one)}}}", place
            below = [(depth + 1, str(k), v, f"{place}/{escaped(str(k))}") for k, v in one.items()]
        elif isinstance(one, list):
            yield depth, name, f"[{len(one)}]", place
            below = [(depth + 1, f"[{n}]", v, f"{place}/{n}") for n, v in enumerate(one)]
        else:
            yield depth, name, json.dumps(one, ensure_ascii=False)[:_LONGEST], place
            below = []
        waiting += reversed(below)


async def problems_in(answer: str, schema: Schema) -> dict[str, list[str]]:
    """What of a schema an answer does not keep, by JSON pointer; in a process of its own, which a pattern cannot hold up.

    Raises:
        LlmopsError: ``unchecked``: it could not be told.
    """
    process = await asyncio.create_subprocess_exec(
        *module_command("llmops_tui.prompts.schema_worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    asked = json.dumps({"schema": schema, "text": content_of(answer)}).encode()
    try:
        told, _ = await asyncio.wait_for(process.communicate(asked), _SECONDS)
        found = json.loads(told)
    except (TimeoutError, ValueError) as error:
        raise LlmopsError("unchecked", "the answer could not be checked against the schema in time") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if "error" in found:
        raise LlmopsError("unchecked", f"the answer could not be checked against the schema: {found['error']}")
    problems: dict[str, list[str]] = {}
    for one in found["problems"]:
        place, _, message = one.partition(": ")
        problems.setdefault(place, []).append(message)
    return problems

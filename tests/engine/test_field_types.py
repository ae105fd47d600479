"""A number is no text, a text no number, and true neither: in every field of every door, whatever stands around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from llmops_tui.inference.server.apis.anthropic_blocks import TextBlock
from llmops_tui.inference.server.connection import invalid
from llmops_tui.inference.server.fields import Checked, FieldRefusedError
from llmops_tui.inference.server.openapi import request_models
from llmops_tui.inference.server.schemas import CompletionRequest

WRONG: dict[str, list[Any]] = {
    "integer": ["1", "", "true", True, False, "1.0", 0.5],
    "number": ["1", "0.5", True, "nan"],
    "boolean": [1, 0, 1.0, "true", "no", "1", ""],
    "string": [1, 0.5, True],
}


def checked(found: type[Checked] = Checked) -> Iterator[type[Checked]]:
    """All objects that requests are made of."""
    for one in found.__subclasses__():
        yield one
        yield from checked(one)


def kinds(schema: dict[str, Any], known: dict[str, Any]) -> set[str]:
    """Of what kinds a field may be, as its description tells."""
    if "$ref" in schema:
        return kinds(known[schema["$ref"].rpartition("/")[2]], known)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return set().union(*(kinds(one, known) for one in options))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        return {"string" if isinstance(one, str) else "boolean" for one in values}
    return {schema.get("type", "any")}


def cases() -> list[Any]:
    found = []
    for model in sorted({*checked()}, key=lambda one: f"{one.__module__}.{one.__qualname__}"):
        described = model.model_json_schema(by_alias=True)
        for name, field in described.get("properties", {}).items():
            allowed = kinds(field, described.get("$defs", {})) - {"null"}
            if not allowed & {"any"} and name not in model.rules.idle:
                found.append(pytest.param(model, name, allowed, id=f"{model.__name__}.{name}"))
    return found


def told(model: type[Checked], given: dict[str, Any]) -> str:
    """Which field is refused; empty for none."""
    try:
        model.model_validate(given)
    except pydantic.ValidationError as error:
        # What is missing stands beside it.
        places = [str(one["loc"][0]) for one in error.errors() if one["loc"] and one["type"] != "missing"]
        return places[0] if places else invalid(error).param
    except FieldRefusedError as error:
        return error.param
    return ""


def is_block(model: type[Checked]) -> bool:
    return issubclass(model, TextBlock)


@pytest.mark.parametrize(("model", "name", "allowed"), cases())
def test_no_value_is_read_as_one_of_another_kind(model: type[Checked], name: str, allowed: set[str]) -> None:
    for kind, values in WRONG.items():
        if kind not in allowed:
            continue
        for value in values:
            is_kind = "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
            if is_kind in allowed or (is_kind == "number" and "integer" in allowed and value != 0.5):
                continue
            # A text of a number is what forms and addresses have.
            if isinstance(value, str) and value.isdecimal() and model.__name__ in {"Page", "FilePage"}:
                continue
            # Some objects say first what they are.
            of_kind = {"type": model.model_fields["type"].annotation.__args__[0]} if is_block(model) else {}  # type: ignore[union-attr]
            assert told(model, of_kind | {name: value}).startswith(name), value


@pytest.mark.parametrize("value", [{"5": "1"}, {"5": True}])
def test_members_of_objects_are_of_their_kind_too(value: Any) -> None:
    for model in request_models().values():
        if "logit_bias" in model.model_fields:
            assert told(model, {"logit_bias": value}).startswith("logit_bias")


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert CompletionRequest(prompt="a", max_tokens=5.0).max_tokens == 5  # type: ignore[arg-type]

"""What makes an answer beside a prompt's texts, in the words of other programs: model, sampling, schema, tools, defaults.

A part that a form has no word for, or says in a way that no version here can hold, is named and left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings, read_settings
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts.plain_templates import parts_of

Form = Literal["openai", "llm", "dotprompt", "promptfoo"]
Turn = tuple[str, str, bool]
"""A turn of a conversation: its role, its text, and whether that is a template; else it stands for itself."""
# The names of a form for parameters, where they are others than here; several may mean one.
_DOTPROMPT = {
    "topP": "top_p", "topK": "top_k", "maxOutputTokens": "max_tokens", "stopSequences": "stop", "minP": "min_p",
    "frequencyPenalty": "frequency_penalty", "presencePenalty": "presence_penalty",
}  # fmt: skip
_NAMES: dict[Form, dict[str, str]] = {"openai": {"max_completion_tokens": "max_tokens"}, "dotprompt": _DOTPROMPT}
# The parts that a form has words for.
_CARRIED: dict[Form, set[str]] = {
    "openai": {"model", "parameters", "schema", "tools", "examples"},
    "llm": {"model", "parameters", "schema", "variables"},
    "dotprompt": {"model", "parameters", "schema", "variables"},
    "promptfoo": {"examples"},
}
_HERE = SamplingParameters.model_fields.keys()


def left_behind(settings: AnswerSettings | None, form: Form) -> tuple[str, ...]:
    """What of settings a file of a form has no words for."""
    if settings is None:
        return ()
    left = [part for part in settings.parts if part not in _CARRIED[form]]
    typed = any(rule.type != "text" or rule.default is None for rule in settings.variables.values())
    if typed and "variables" in _CARRIED[form]:
        left.append("the types of variables")
    if "variables" in _CARRIED[form] and any(rule.description for rule in settings.variables.values()):
        left.append("the descriptions of variables")
    return tuple(left)


def fields_to_write(settings: AnswerSettings | None, form: Form) -> JsonObject:
    """The fields of a form that say what a version holds, but for examples, which are turns."""
    if settings is None or form == "promptfoo":
        return {}
    fields: JsonObject = {"model": settings.model} if settings.model else {}
    there = {here: name for name, here in _NAMES.get(form, {}).items() if name != "max_completion_tokens"}
    given = settings.parameters.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    sampled = {there.get(name, name): value for name, value in given.items()}
    defaults = {name: rule.default for name, rule in settings.variables.items() if rule.default is not None}
    schema = settings.answer_schema
    if form == "openai":
        fields |= sampled
        if schema is not None:
            named = {"name": "answer", "schema": schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": named}
        if settings.tools:
            fields["tools"] = [tool.as_request() for tool in settings.tools]
    elif form == "llm":
        fields |= {"options": sampled} if sampled else {}
        fields |= {"schema_object": schema} if schema is not None else {}
        fields |= {"defaults": defaults} if defaults else {}
    else:
        fields |= {"config": sampled} if sampled else {}
        fields |= {"input": {"default": defaults}} if defaults else {}
        fields |= {"output": {"format": "json", "schema": schema}} if schema is not None else {}
    return fields


def turns_to_write(system: str, template: str, settings: AnswerSettings | None) -> list[Turn]:
    """The conversation of a version: examples as turns between its texts.

    Raises:
        ValueError: examples are asked in the words of a template that has further variables.
    """
    turns: list[Turn] = [("system", system, True)] if system else []
    examples = settings.examples if settings is not None else None
    for one in examples.turns if examples is not None else ():
        asked = _in_words(template, one.question, examples.variable) if examples and examples.variable else one.question
        turns += [("user", asked, False), ("assistant", one.answer, False)]
    return [*turns, *([("user", template, True)] if template else [])]


def _in_words(template: str, question: str, variable: str) -> str:
    made = ""
    for part, is_variable in parts_of(template):
        if is_variable and part != variable:
            raise ValueError(f"the examples are asked in the words of the template, which also has {part}")
        made += question if is_variable else part
    return made


def read_fields(body: Mapping[str, object], form: Form) -> tuple[JsonObject, tuple[str, ...]]:
    """What a form's fields say, as a record of settings, and the names of those that say what cannot be held here."""
    record: JsonObject = {}
    left: list[str] = []
    for name, value in body.items():
        if name in {"config", "options"} and form != "openai" and isinstance(value, Mapping):
            found = {f"{name}.{key}": {"parameters": {_here(form, key): one}} for key, one in value.items()}
        elif form == "openai" and _here(form, name) in _HERE:
            found = {name: {"parameters": {_here(form, name): value}}}
        else:
            found = _said(name, value, form)
        for place, part in found.items():
            if _holds(part):
                for key, one in part.items():
                    record[key] = (
                        {**record.get(key, {}), **one} if isinstance(one, Mapping) and key != "schema" else one
                    )
            else:
                left.append(place)
    return record, tuple(sorted(left))


def read_turns(turns: Sequence[tuple[str, str]], place: str) -> tuple[str, str, JsonObject]:
    """The system's text, the user's, and examples as a record of settings, of a conversation.

    Raises:
        ValueError: it is no text of the system, then questions with their answers, then one of the user.
    """
    left = list(turns)
    system = left.pop(0)[1] if left and left[0][0] == "system" else ""
    pairs: list[JsonObject] = []
    while len(left) > 1 and (left[0][0], left[1][0]) == ("user", "assistant"):
        (_, question), (_, answer) = left.pop(0), left.pop(0)
        for text in (question, answer):
            if any(is_variable for _, is_variable in parts_of(text)):
                raise ValueError(f"{place} {len(pairs) * 2 + 1 + bool(system)} is an example with a variable in it")
        plain = ["".join(part for part, _ in parts_of(text)) for text in (question, answer)]
        pairs.append({"question": plain[0], "answer": plain[1]})
    if left and left[0][0] != "user":
        raise ValueError(
            f"{place} {len(turns) - len(left) + 1} is of role {left[0][0]}: only one of system, examples as turns of "
            "user and assistant, and then one of user are carried"
        )
    user = left.pop(0)[1] if left else ""
    if left:
        raise ValueError(
            f"{place} {len(turns) - len(left) + 1} is of role {left[0][0]}: only one of system, examples as turns of "
            "user and assistant, and then one of user are carried"
        )
    if pairs and not user:
        raise ValueError(f"{place} {len(turns)} is of role assistant, and nothing of the user's comes behind it")
    return system, user, {"examples": {"turns": pairs}} if pairs else {}


def _here(form: Form, name: str) -> str:
    return _NAMES.get(form, {}).get(name, name)


def _said(name: str, value: object, form: Form) -> dict[str, JsonObject]:
    """What one field says, by where it stands; what is not known gives a part that nothing here can hold."""
    unknown: dict[str, JsonObject] = {name: {"": value}}
    if name == "model":
        return {name: {"model": value}}
    if not isinstance(value, Mapping):
        return {name: {"tools": value}} if name == "tools" and form == "openai" else unknown
    if form == "openai" and name == "response_format" and value.get("type") == "json_schema":
        schema = value.get("json_schema")
        return {name: {"schema": schema.get("schema")}} if isinstance(schema, Mapping) else unknown
    if form == "llm" and name == "schema_object":
        return {name: {"schema": value}}
    if (form, name) in {("llm", "defaults"), ("dotprompt", "input")}:
        given = value if form == "llm" else value.get("default") or {}
        beside = {f"input.{key}": {"": one} for key, one in value.items() if key != "default"} if form != "llm" else {}
        defaults = given.items() if isinstance(given, Mapping) else ()
        return {
            **{f"{name}.{key}": {"variables": {key: _rule(one)}} for key, one in defaults},
            **beside,
        }
    if form == "dotprompt" and name == "output":
        schema = value.get("schema")
        # The short form of schemas is the form's own.
        whole = isinstance(schema, Mapping) and isinstance(schema.get("type"), str)
        return {"output.schema": {"schema": schema}} if whole else unknown
    return unknown


def _rule(value: object) -> JsonObject:
    kind = (
        "text"
        if isinstance(value, str)
        else "boolean"
        if isinstance(value, bool)
        else "integer"
        if isinstance(value, int)
        else "number"
        if isinstance(value, float)
        else "json"
    )
    return {"default": value} if kind == "text" else {"type": kind, "default": value}


def _holds(part: JsonObject) -> bool:
    try:
        return read_settings(part, "a file") is not None
    except InputRefusedError:
        return False

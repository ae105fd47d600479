"""Grammars that hold an answer to a form: JSON schemas and tool calls as GBNF."""

from __future__ import annotations

import json
import re
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.engine.json_schema import schema_to_grammar


def grammar_of(form: dict[str, Any] | None) -> tuple[str, str]:
    """The grammar of a form, and the pattern after which it begins to hold; both empty for plain text.

    A form is an OpenAI ``response_format``, ``{"type": "grammar", "grammar": GBNF}``, or ``{"type": "tools"}`` with
    ``functions``, the marks ``begin`` and ``end`` around a call, the name its ``arguments`` go by, and whether a call
    is ``required``.

    Raises:
        InputRefusedError: the form cannot be held to.
    """
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return "", ""
    if kind == "grammar":
        return str(form["grammar"]), ""
    if kind == "json_object":
        return schema_to_grammar({"type": "object"}), ""
    if kind == "json_schema":
        return schema_to_grammar(form["json_schema"]["schema"]), ""
    if kind == "tools":
        return _tools_grammar(form)
    raise InputRefusedError("bad_response_format", f"the response format {str(kind)[:40]!r} is not known")


def _tools_grammar(form: dict[str, Any]) -> tuple[str, str]:
    begin, end = form["begin"], form["end"]
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": f["name"]}, form["arguments"]: f.get("parameters") or {"type": "object"}},
            "required": ["name", form["arguments"]],
        }
        for f in form["functions"]
    ]
    rules = schema_to_grammar(calls[0] if len(calls) == 1 else {"oneOf": calls})
    rules = re.sub(r"^root ::=", "call ::=", rules, flags=re.MULTILINE)
    listed = begin == "[TOOL_CALLS]"
    one = "call" if not end else f'"\\n" call "\\n" {_quoted(end)}'
    body = '"[" call ("," space call)* "]"' if listed else one
    root = f"root ::= {_quoted(begin)} {body}" if begin else f"root ::= {body}"
    if begin and not listed:
        root += f' ("\\n" {_quoted(begin)} {one})*'
    pattern = "" if form["required"] or not begin else rf"[\s\S]*?({re.escape(begin)}[\s\S]*)"
    if not begin and not form["required"]:
        return "", ""
    return f"{root}\n{rules}", pattern


def _quoted(text: str) -> str:
    return json.dumps(text)

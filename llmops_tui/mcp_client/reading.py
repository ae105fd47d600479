"""What a tool server says, made small enough to be shown and to be sent to a model."""

from __future__ import annotations

import json
from collections.abc import Iterable

import mcp_types as wire

from llmops_tui.foreign_text import parse_json
from llmops_tui.mcp_client.messages import ToolRecord
from llmops_tui.workspace.files import sha256_text

MOST_TOOLS = 200
MOST_TEXT = 50_000
_MOST_NAME = 200
_MOST_DESCRIPTION = 10_000
_MOST_SCHEMA = 100_000
_SCHEMA_DEPTH = 30


def tool_record(tool: wire.Tool) -> ToolRecord:
    """A tool as the parent gets it."""
    described = tool.model_dump_json(by_alias=True, exclude_none=True, exclude={"meta", "icons"})
    problem, parameters = "", tool.input_schema
    schema = json.dumps(parameters)
    try:
        parse_json(schema, _SCHEMA_DEPTH)
    except ValueError:
        problem, parameters = f"its schema is nested deeper than {_SCHEMA_DEPTH} levels", {}
    if len(schema) > _MOST_SCHEMA:
        problem, parameters = f"its schema has more than {_MOST_SCHEMA:,} characters", {}
    if not tool.name or len(tool.name) > _MOST_NAME:
        problem = f"its name is empty or has more than {_MOST_NAME} characters"
    hints = tool.annotations
    return {
        "name": tool.name[:_MOST_NAME],
        "title": ((hints.title if hints else None) or tool.title or "")[:_MOST_NAME],
        "description": (tool.description or "")[:_MOST_DESCRIPTION],
        "parameters": parameters,
        "digest": sha256_text(described),
        "problem": problem,
        "reads_only": hints.read_only_hint if hints else None,
        "destroys": hints.destructive_hint if hints else None,
    }


def tool_records(tools: Iterable[wire.Tool]) -> tuple[list[ToolRecord], str]:
    """The first of a server's tools, and a note where there are more or where two have one name."""
    found: dict[str, ToolRecord] = {}
    twice, total = 0, 0
    for tool in tools:
        total += 1
        if tool.name in found:
            twice += 1
        elif len(found) < MOST_TOOLS:
            found[tool.name] = tool_record(tool)
    notes = [f"{total:,} tools were listed, and the first {MOST_TOOLS} are used"] if total - twice > MOST_TOOLS else []
    notes += [f"{twice:,} tools have the name of another and are left out"] if twice else []
    return list(found.values()), "; ".join(notes)


def text_of_result(result: wire.CallToolResult) -> str:
    """A result as text for a model: its texts, or its structured value; what is no text is named. Cut, and told so."""
    parts = []
    for block in result.content:
        if isinstance(block, wire.TextContent):
            parts.append(block.text)
        elif isinstance(block, wire.EmbeddedResource) and isinstance(block.resource, wire.TextResourceContents):
            parts.append(block.resource.text)
        elif isinstance(block, wire.ResourceLink):
            parts.append(f"[link to {block.uri[:500]}]")
        else:
            parts.append(f"[{block.type}, not passed on: only text is]")
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = "\n".join(parts)
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}\n[{len(text) - MOST_TEXT:,} of {len(text):,} characters were left out]"

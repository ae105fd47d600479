"""What a comparison is copied as: Markdown, JSON, the command that does the same."""

from __future__ import annotations

import json
import shlex

from llmops_tui.prompts.compare.columns import titles
from screens.compare.state import CompareState


def as_markdown(state: CompareState) -> str:
    """The input and the answers, a section each; nothing where none has an answer."""
    if not any(answer.pieces for answer in state.answers):
        return ""
    parts = [f"**{name}:** {text}" for name, text in state.board.variables.items()]
    for title, answer in zip(titles(state.columns), state.answers, strict=True):
        parts.append(f"## {title}\n\n{answer.text}")
    return "\n\n".join(parts) + "\n"


def as_json(state: CompareState) -> str:
    """The columns and the answers as ``llmops prompt compare --json`` has them."""
    if not state.columns:
        return ""
    columns = [
        {"title": title, "prompt": c.ref, "model": c.model, "parameters": c.as_dict()["parameters"]}
        for title, c in zip(titles(state.columns), state.columns, strict=True)
    ]
    answers = [answer.as_dict() for answer in state.answers]
    row = {"case": None, "variables": state.board.variables, "answers": answers, "apart": None}
    return json.dumps({"columns": columns, "rows": [row]}, ensure_ascii=False, indent=2)


def command(state: CompareState) -> str:
    """The command that compares these versions and models; parameters are those of the first column."""
    if not state.columns:
        return ""
    parts = ["llmops", "prompt", "compare", *dict.fromkeys(c.ref.replace(" draft", "") for c in state.columns)]
    for model in dict.fromkeys(column.model for column in state.columns):
        parts += ["--model", model]
    dumps = [c.parameters.model_dump(mode="json") for c in state.columns]
    varied = [name for name in dumps[0] if len({str(dump[name]) for dump in dumps}) > 1]
    given = state.columns[0].parameters.model_dump(mode="json", exclude_defaults=True)
    for name in ("temperature", "top_p", "max_tokens", "seed", "thinking_budget"):
        if name in given and name not in varied:
            parts += [f"--{name.replace('_', '-')}", str(given[name])]
    if len(varied) == 1:
        values = dict.fromkeys(str(dump[varied[0]]) for dump in dumps)
        parts += ["--sweep", " ".join([varied[0], *values])]
    if "enable_thinking" in given and "enable_thinking" not in varied:
        parts.append("--thinking" if given["enable_thinking"] else "--no-thinking")
    for name, text in state.board.variables.items():
        parts += ["--var", f"{name}={text}"]
    return shlex.join(parts)

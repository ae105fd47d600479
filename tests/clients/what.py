"""What is tried with each client, and what a client cannot do: the table of docs/serving.md is made of this."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
# What a client's package is called where that is not its name.
_PACKAGES = {"pydantic-ai": "pydantic-ai-slim"}
FEATURES = {
    "plain": "answers", "stream": "streams", "auto": "tools: auto", "required": "required", "named": "named",
    "single": "one at a time", "second_turn": "results sent back", "structured": "structured output",
    "thinking": "thinking", "cancel": "cancel", "error": "errors",
}  # fmt: skip
# Programs by the client that they use. Of each, the features that its package has no way to ask for, and why.
CLIENTS: dict[str, tuple[str, dict[str, str]]] = {
    "openai": ("openai_chat", {}),
    "litellm": ("litellm_chat", {}),
    "langchain-openai": ("langchain_chat", {"thinking": "leaves `reasoning_content` out of its messages"}),
    "pydantic-ai": ("pydantic_agent", {}),
    "instructor": (
        "instructor_modes",
        dict.fromkeys(
            ("plain", "stream", "required", "named", "single", "second_turn", "thinking", "cancel"),
            "makes objects, by tools that it names and by forms",
        ),
    ),
    "inspect-ai": ("inspect_tasks", {"cancel": "waits for whole answers"}),
    "@ai-sdk/openai-compatible": ("sdk_compatible.mjs", {}),
    "@ai-sdk/openai": ("sdk_openai.mjs", {"thinking": "does not read `reasoning_content`"}),
}


def version(client: str) -> str:
    """The version of a client that the tests run."""
    package = _PACKAGES.get(client, client)
    if package.startswith("@"):
        wanted = json.loads((HERE / "programs" / "package.json").read_text())["dependencies"]
        return f"{wanted[package]}, ai {wanted['ai']}"
    # What instructor has beside it is older than what the others have.
    order = ("clients.txt", "clients-instructor.txt")
    lines = [line for name in order for line in (HERE / "environments" / name).read_text().splitlines()]
    return next(line.partition("==")[2].split()[0] for line in lines if line.startswith(f"{package}=="))


def table() -> str:
    """The table of the documentation."""
    notes: dict[str, int] = {}
    rows = ["| client | version | " + " | ".join(FEATURES.values()) + " |", "|---|---|" + "---|" * len(FEATURES)]
    for client, (_, lacks) in CLIENTS.items():
        cells = []
        for feature in FEATURES:
            why = lacks.get(feature)
            cells.append("yes" if why is None else f"– ({notes.setdefault(why, len(notes) + 1)})")
        rows.append(f"| `{client}` | {version(client)} | " + " | ".join(cells) + " |")
    told = "; ".join(f"({n}) {why}" for why, n in notes.items())
    return "\n".join(rows) + f"\n\nNot by the client itself: {told}.\n"

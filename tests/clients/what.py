"""What is tried with each client, and what a client cannot do: the table of docs/serving.md is made of this."""

from __future__ import annotations

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

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
    "@ai-sdk/openai, responses": ("sdk_openai_responses.mjs", {"thinking": "reads summaries of reasoning alone"}),
}
# Clients of other APIs: what they are called in the table, their package, the module of their tests, which test tries a
# feature, and the features that they have no way to ask for.
_NO_CHOICE = "Ollama's API has no choice of tools"
OTHERS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    "`openai`, responses": ("openai", "test_responses_clients", {
        "plain": "test_answers_whole_and_in_pieces", "stream": "test_answers_whole_and_in_pieces",
        "auto": "test_tools_that_may_be_called", "required": "test_tools_that_must_be_called",
        "named": "test_which_tools_may_be_called", "single": "test_which_tools_may_be_called",
        "second_turn": "test_results_are_sent_back_with_all_that_was_said", "structured": "test_answers_in_a_form",
        "thinking": "test_thinking_is_an_item_of_its_own", "cancel": "test_a_client_that_leaves_ends_the_work",
        "error": "test_tools_of_others_are_refused_by_name",
    }, {}),
    "`openai-agents`, both": ("openai-agents", "test_responses_clients", {
        "plain": "test_an_agent_without_tools_answers_and_its_thoughts_are_items",
        "stream": "test_an_agent_calls_its_tool_and_answers", "auto": "test_an_agent_calls_its_tool_and_answers",
        "required": "test_an_agent_that_must_call_calls", "named": "test_which_tools_an_agent_may_call",
        "single": "test_which_tools_an_agent_may_call", "second_turn": "test_an_agent_calls_its_tool_and_answers",
        "structured": "test_an_agents_answer_has_a_type",
        "thinking": "test_an_agent_without_tools_answers_and_its_thoughts_are_items",
        "cancel": "test_an_agent_that_is_stopped_ends_the_work", "error": "test_what_is_refused_reaches_an_agents_user",
    }, {}),
    "`anthropic`": ("anthropic", "test_anthropic_client", {
        "plain": "test_answers_whole_and_in_pieces", "stream": "test_answers_whole_and_in_pieces",
        "auto": "test_tools_that_may_be_called", "required": "test_which_tools_may_or_must_be_called",
        "named": "test_which_tools_may_or_must_be_called", "single": "test_which_tools_may_or_must_be_called",
        "second_turn": "test_results_are_sent_back", "structured": "test_answers_in_a_form",
        "thinking": "test_thinking_has_a_block_of_its_own", "cancel": "test_a_client_that_leaves_ends_the_work",
        "error": "test_errors_are_the_clients_own",
    }, {}),
    "`ollama`": ("ollama", "test_ollama_client", {
        "plain": "test_answers_whole_and_in_pieces", "stream": "test_answers_whole_and_in_pieces",
        "auto": "test_tools_are_called_and_their_results_sent_back",
        "second_turn": "test_tools_are_called_and_their_results_sent_back", "structured": "test_answers_in_a_form",
        "thinking": "test_thinking_is_apart_and_can_be_switched_off", "cancel": "test_leaving_ends_the_work",
        "error": "test_errors_say_what_and_why",
    }, dict.fromkeys(("required", "named", "single"), _NO_CHOICE)),
}  # fmt: skip


def version(client: str) -> str:
    """The version of a client that the tests run."""
    package = _PACKAGES.get(client, client)
    if package.startswith("@"):
        wanted = json.loads((HERE / "programs" / "package.json").read_text())["dependencies"]
        return f"{wanted[package]}, ai {wanted['ai']}"
    # What instructor has beside it is older than what the others have.
    order = ("clients.txt", "clients-instructor.txt", "clients-agents.txt")
    lines = [line for name in order for line in (HERE / "environments" / name).read_text().splitlines()]
    return next(line.partition("==")[2].split()[0] for line in lines if line.startswith(f"{package}=="))


def table() -> str:
    """The table of the documentation."""
    notes: dict[str, int] = {}
    rows = ["| client | version | " + " | ".join(FEATURES.values()) + " |", "|---|---|" + "---|" * len(FEATURES)]
    lines = []
    for client, (_, lacks) in CLIENTS.items():
        package, apart, api = client.partition(", ")
        lines.append((f"`{package}`{apart}{api}", package, lacks))
    lines += [(shown, package, lacks) for shown, (package, _, _, lacks) in OTHERS.items()]
    for shown, package, lacks in lines:
        cells = []
        for feature in FEATURES:
            why = lacks.get(feature)
            cells.append("yes" if why is None else f"– ({notes.setdefault(why, len(notes) + 1)})")
        rows.append(f"| {shown} | {version(package)} | " + " | ".join(cells) + " |")
    told = "; ".join(f"({n}) {why}" for why, n in notes.items())
    return "\n".join(rows) + f"\n\nNot by the client itself: {told}.\n"

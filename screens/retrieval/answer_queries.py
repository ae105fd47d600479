"""Have a prompt answer the queries of an index, as an evaluation run whose figures say what became of the passages."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from screens.navigation import EvaluationPlace
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.chains.store import ChainVersion
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.prompts.store import PromptVersion
    from llmops_tui.retrieval.store import Index
    from screens.services import Services

_HINT = (
    'A file of lines such as {"query": "…", "answer": "…", "documents": ["a.md"]} or {"query": "…", "answerable": false}. '
    "Empty: the queries that you confirmed."
)


async def answer_queries(shell: Shell, index: Index) -> str:
    """Ask for the prompt, the queries and the model, and start the run; its name, empty where it was left."""
    from screens.evaluation.run_suite import run_suite

    answering = await asyncio.to_thread(_retrieving, shell.services)
    empty = "No prompt or chain retrieves yet: write {{ retrieve(question, 5) }} into a prompt."
    prompt = await shell.ask(ChoiceDialog(f"Who answers the queries of {index.ref}?", answering, empty))
    if prompt is None:
        return ""
    path = await shell.ask(LineDialog(f"Queries of {index.ref}", _HINT, path=True))
    if path is None:
        return ""
    suite, told = await asyncio.to_thread(_suite, shell.services, index, prompt, path)
    for line in told:
        shell.say(line)
    name = await run_suite(shell, suite)
    if name is None:
        return ""
    shell.open_place(EvaluationPlace(name))
    return name


def _retrieving(services: Services) -> list[Choice]:
    """The newest version of each prompt and of each chain that asks for passages."""
    from llmops_tui.chains.store import ChainStore

    prompts, chains = services.prompts, ChainStore(services.catalog)
    newest = [prompts.versions(one.name)[0] for one in prompts.summaries()]
    made_of = [chains.versions(one["chain"])[0] for one in chains.summaries()]
    return [
        *(Choice(one.ref, one.ref, "", "prompt") for one in newest if _asks(one)),
        *(Choice(one.served, one.served, "", "chain") for one in made_of if _searches(services, one)),
    ]


def _asks(version: PromptVersion) -> bool:
    from llmops_tui.inference.retrieval_asked import asks_for_passages

    return asks_for_passages(version.system) or asks_for_passages(version.template)


def _searches(services: Services, version: ChainVersion) -> bool:
    """Whether a step searches, or asks by a prompt that does; what cannot be read, or names what is gone, does not."""
    from llmops_tui.chains.definition import PromptStep, RetrieveStep

    try:
        fields = [step.fields for step in version.chain.body.walk()]
        return any(
            isinstance(one, RetrieveStep) or (isinstance(one, PromptStep) and _asks(services.prompts.get(one.prompt)))
            for one in fields
        )
    except LlmopsError:
        return False


def _suite(services: Services, index: Index, prompt: str, path: str) -> tuple[Suite, list[str]]:
    """The suite, and what is to be said of the queries."""
    from llmops_tui.evaluation.retrieval.answering import AnswersAsked, answers_suite
    from llmops_tui.retrieval.store import IndexStore
    from llmops_tui.retrieval.written_queries import confirmed_queries
    from llmops_tui.user_files import with_home

    with ExitStack() as stack:
        file, told = with_home(Path(path)), list[str]()
        if not path:
            file, told = stack.enter_context(confirmed_queries(IndexStore(services.catalog), index))
        return answers_suite(services.evaluation, index, file, AnswersAsked((prompt,))), told

"""The passages that were retrieved for the answers of a run, kept with each of them, so that metrics can hold it against them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from llmops_tui.datasets.checks.sentences import sentences
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.inference.retrieval_asked import GivenPassage, Retrieved, asks_for_passages, passages_noted
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.store import PromptVersion


class _Render(Protocol):
    """As :func:`llmops_tui.evaluation.runner.rendering.render_each`."""

    def __call__(
        self, cases: Sequence[Case], prompt: PromptVersion | None, renderer: TemplateRenderer, *, least: int = 1
    ) -> tuple[list[list[ChatMessage]], dict[int, InputRefusedError]]: ...


# Letters of a sentence that is no mere heading.
_LONG = 12


def _shown(passages: Sequence[GivenPassage], asked: Sequence[Sequence[ChatMessage]]) -> list[GivenPassage]:
    """Those of which a sentence stands in what is asked, as it is or as JSON: a template may search for more than it shows.

    What was left out has no text, and stays.
    """
    whole = _letters(" ".join(str(message.get("content")) for messages in asked for message in messages))
    return [one for one in passages if not one["text"] or any(map(whole.__contains__, _forms(one["text"])))]


def _forms(text: str) -> list[str]:
    forms = [_letters(form) for one in sentences(text) for form in (one, json.dumps(one)[1:-1])]
    # A heading may be a word that stands in the prompt anyhow.
    return [form for form in forms if len(form) >= _LONG] or [form for form in forms if form]


def _letters(text: str) -> str:
    return "".join(re.findall(r"\w+", text)).casefold()


class RetrievedPassages:
    """What was retrieved for each case, where that is known before it is asked."""

    def __init__(self) -> None:
        self._of: dict[int, Retrieved] = {}

    def rendered(
        self,
        render: _Render,
        cases: Sequence[Case],
        prompt: PromptVersion | None,
        renderer: TemplateRenderer,
        least: int = 1,
    ) -> tuple[list[list[ChatMessage]], dict[int, InputRefusedError]]:
        """What ``render`` makes of the cases; those of a prompt that retrieves one by one, each with its passages noted.

        Raises:
            InputRefusedError: as ``render``.
        """
        if prompt is None or not any(map(asks_for_passages, (prompt.system, prompt.template))):
            return render(cases, prompt, renderer, least=least)
        found: list[list[ChatMessage]] = []
        unfit: dict[int, InputRefusedError] = {}
        for case in cases:
            with passages_noted() as noted:
                messages, wrong = render([case], prompt, renderer, least=0)
            found += messages
            unfit |= wrong
            self._of[case.index] = Retrieved(noted.searches, _shown(noted.passages, messages))
        if unfit and len(cases) - len(unfit) < least:
            raise next(iter(unfit.values()))
        return found, unfit

    def beside(self, case: Case, answer: Answer, later: Retrieved | None = None) -> Answer:
        """An answer with the passages that it was given; ``later`` are those that came while it was asked, as in chains."""
        parts = [one for one in (self._of.get(case.index), later) if one is not None and one.searches]
        if not parts:
            return answer
        passages = tuple(passage for one in parts for passage in one.passages)
        return replace(answer, searches=sum(one.searches for one in parts), passages=passages)

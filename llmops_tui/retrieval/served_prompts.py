"""Prompts that are served by name, with the passages that their templates ask indexes for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.router.prompts import ServedPrompts
from llmops_tui.inference.stages import StageStore
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    from llmops_tui.inference.retrieval_asked import RetrievalAsked
    from llmops_tui.retrieval.retriever import Embed
    from llmops_tui.workspace.layout import Workspace

# What a request can be wrong in; anything else is the prompt's or the index's, of which its client knows nothing.
_OF_REQUEST = {"bad_search"}


def retrieving_prompts(workspace: Workspace, embed: Embed | None = None) -> ServedPrompts:
    """The prompts of a workspace as an application asks them: ``{{ retrieve(…) }}`` gives what it gives in the playground."""
    catalog = Catalog(workspace)
    retrieval = PromptRetrieval(catalog, embed)

    def retrieve(asked: RetrievalAsked) -> list[dict[str, object]]:
        try:
            return retrieval(asked)
        except LlmopsError as error:
            if error.code in _OF_REQUEST:
                raise
            told = f"the prompt could not retrieve: {error.message}"
            raise LlmopsError("retrieval_failed", told, error.hint) from error

    return ServedPrompts(catalog, StageStore(EventLog(workspace)), TemplateRenderer(retrieve=retrieve))

"""The prompts that a run asks, and what of their settings it follows."""

from __future__ import annotations

from llmops_tui.evaluation.suite import Suite
from llmops_tui.inference.answer_settings import PARTS, refuse_settings
from llmops_tui.inference.prompt_versions import CHAINS
from llmops_tui.prompts.store import PromptStore, PromptVersion

# What is told beside the texts; how an answer is made plays no part where none is, and is one for all of several prompts.
_TOLD = ("variables", "examples")


def asked_prompts(prompts: PromptStore, suite: Suite, ref: str) -> list[PromptVersion]:
    """The prompts that are asked one after another: one, or those of a suite's chain; none of rows as they are, or of a chain.

    Raises:
        InputRefusedError: ``settings_unsupported``: a version holds what the suite's way of asking cannot follow.
        NotFoundError: there is no such prompt.
    """
    several = [step.prompt for step in suite.chain]
    found = [prompts.get(one) for one in several or ([ref] if ref and not ref.startswith(CHAINS) else [])]
    for version in found:
        if several:
            refuse_settings(version, f"the chain of prompts of suite {suite.name!r}", honoured=_TOLD)
        elif suite.choices:
            refuse_settings(version, f"suite {suite.name!r}, which weighs choices,", honoured=_TOLD)
        elif suite.raw:
            left = tuple(part for part in PARTS if part != "tools")
            refuse_settings(version, f"suite {suite.name!r}, which asks without a chat template,", honoured=left)
    return found

"""A chain as a column of a suite's matrix."""

from __future__ import annotations

from llmops_tui.chains.resolution import part_of, resolve
from llmops_tui.chains.store import ChainStore, split_step
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.suite import Suite
from llmops_tui.workspace.catalog import Catalog


def chain_column(catalog: Catalog, suite: Suite, ref: str, models: list[str]) -> str:
    """The name of what is asked, with its version, where a column is a chain or one step of one: ``chain/triage@2:label``.

    Raises:
        InputRefusedError: ``not_of_chain``: the suite wants what a chain cannot do. ChainRefusedError, NotFoundError.
    """
    name, step = split_step(ref)
    version = ChainStore(catalog).get(name)
    logprobs = any(metric.needs_logprob or metric.needs_choices for metric in suite.made_metrics())
    wants = {
        "tools": suite.tools, "script": suite.script, "raw": suite.raw, "response_format": suite.response_format,
        "choices": suite.choices, "chain": suite.chain, "parameters": any(suite.parameter_sets()),
        "metrics of log-probabilities": logprobs,
    }  # fmt: skip
    if found := [word for word, given in wants.items() if given]:
        raise InputRefusedError(
            "not_of_chain",
            f"suite {suite.name!r} has {found[0]}, which is not done with a chain: its steps say how they are asked",
            "Use a suite without it, or evaluate a prompt.",
        )
    with ChainTools(catalog) as tools:
        for model in models:
            resolve(version.chain, tools, model=model)
    if step:
        part_of(version.chain, step)
    return version.served + (f":{step}" if step else "")

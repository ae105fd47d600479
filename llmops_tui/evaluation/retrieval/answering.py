"""What becomes of passages in answers: the queries of an index as a suite, asked of prompts or chains that retrieve from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.chains.store import ChainStore, is_chain, split_step
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import MetricEntry
from llmops_tui.evaluation.records import Manifest
from llmops_tui.evaluation.retrieval.gold import GoldQuery, read_queries
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import defaults_of
from llmops_tui.inference.asked_prompt import rendered
from llmops_tui.inference.prompt_versions import PromptVersion
from llmops_tui.inference.retrieval_asked import asks_for_passages
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.retrieval.chunk_file import ChunkFile
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.retrieval.store import Index

# So that the same queries are answered alike each time; a prompt's own settings count before.
_PARAMETERS = {"temperature": 0.0, "seed": 1, "max_tokens": 256}
_MARK = "answerable"


@dataclass(frozen=True)
class AnswersAsked:
    """Which prompts or chains answer, and how it is judged.

    ``variable`` is what has the query in all of them, empty where each has one alone. ``judge`` is a model that says of each
    sentence whether it is supported, beside the rules. By ``words`` and ``pattern`` answers abstain, too.
    """

    prompts: tuple[str, ...]
    variable: str = ""
    judge: str = ""
    words: tuple[str, ...] = ()
    pattern: str = ""


def answers_suite(store: EvaluationStore, index: Index, path: Path, asked: AnswersAsked) -> Suite:
    """The suite that asks the queries of a file; it is not kept yet.

    Raises:
        InputRefusedError: ``bad_queries``; ``which_variable``; ``retrieves_nothing``: a prompt asks for no passages;
            ``another_index``: it gets them from another one.
    """
    with ChunkFile.opened(index.folder) as file:
        queries = read_queries(path, file, index.ref)
    versions = [store.prompts.get(ref) for ref in asked.prompts if not is_chain(ref)]
    renderer = TemplateRenderer(retrieve=(retrieval := PromptRetrieval(store.catalog)))
    try:
        names = {asked.variable} if asked.variable else {_variable(renderer, one) for one in versions}
        names |= set() if asked.variable else {_input(store, ref) for ref in asked.prompts if is_chain(ref)}
        for version in versions:
            _require(renderer, retrieval, version, index, dict.fromkeys(names, queries[0].text))
    finally:
        renderer.close()
    body: JsonObject = {
        "description": f"queries of {index.record['name']}, answered by prompts that retrieve",
        "cases": [_case(query, sorted(names)) for query in queries],
        "prompt": list(asked.prompts),
        "metrics": _metrics(queries, asked),
    }
    if len(versions) == len(asked.prompts):
        held = {name for one in versions if one.settings for name in one.settings.parameters.model_fields_set}
        body["parameters"] = {name: value for name, value in _PARAMETERS.items() if name not in held}
    return check_suite(body, f"{index.record['name'][:90]}-answers")


def _variable(renderer: TemplateRenderer, version: PromptVersion) -> str:
    """The variable of a prompt that has the query: the only one without a default, or the only one."""
    every = [
        name
        for text in (version.system, version.template)
        if text.strip()
        for name in renderer.variables(text)
        if name != "retrieve"
    ]
    return _only(list(dict.fromkeys(every)), defaults_of(version.settings).keys(), version.ref)


def _input(store: EvaluationStore, ref: str) -> str:
    chain = ChainStore(store.catalog).get(split_step(ref)[0]).chain
    return _only(list(chain.inputs), chain.defaults().keys(), ref)


def _only(names: Sequence[str], defaults: Collection[str], ref: str) -> str:
    needed = [name for name in names if name not in defaults]
    for some in (needed, names):
        if len(some) == 1:
            return some[0]
    told = f"{ref} has {', '.join(names)}" if names else f"{ref} has no variable"
    hint = "Name the one with --variable; the others need defaults." if names else "Give it one for the question."
    raise InputRefusedError("which_variable", f"{told}: which one has the query is not known", hint)


def _require(
    renderer: TemplateRenderer,
    retrieval: PromptRetrieval,
    version: PromptVersion,
    index: Index,
    values: dict[str, object],
) -> None:
    """Refuse a prompt that retrieves nothing, or from something else: the figures would be those of another index."""
    hint = f'Write {{{{ retrieve(question, 5, "{index.ref}") }}}} into it.'
    if not any(map(asks_for_passages, (version.system, version.template))):
        raise InputRefusedError("retrieves_nothing", f"{version.ref} asks for no passages", hint)
    rendered(version, values, renderer)
    used = retrieval.take_used()
    if used and index.ref not in used:
        told = f"{version.ref} retrieves from {', '.join(used)}, not from {index.ref}"
        raise InputRefusedError("another_index", told, f"{hint} Or measure that index.")


def _case(query: GoldQuery, names: Sequence[str]) -> JsonObject:
    case = {"vars": dict.fromkeys(names, query.text), "slices": {_MARK: "yes" if query.answerable else "no"}}
    return {**case, "expected": query.reference} if query.reference else case


def _metrics(queries: Sequence[GoldQuery], asked: AnswersAsked) -> list[MetricEntry]:
    recalled = any(query.reference for query in queries)
    found: list[MetricEntry] = [{"type": "context-recall"}] if recalled else []
    found += [{"type": "grounded"}]
    found += [{"type": "abstention", "answerable": _MARK, "words": list(asked.words), "pattern": asked.pattern}]
    if asked.judge:
        found += [{"type": "context-recall-judge", "model": asked.judge}] if recalled else []
        found += [{"type": "grounded-judge", "model": asked.judge}]
    return found


def from_elsewhere(manifest: Manifest, index: Index) -> str:
    """What is to be said of a run whose passages came from other versions than the one that is measured, or that had none."""
    of_chain = {name.removeprefix("index ") for name in manifest.get("chain_parts", {}) if name.startswith("index ")}
    used = {*manifest.get("indexes", {}), *of_chain}
    if not used:
        return "nothing was retrieved"
    others = ", ".join(sorted(used - {index.ref}))
    return f"passages came from {others}, and {index.ref} is measured" if others else ""

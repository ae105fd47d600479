"""What becomes of passages in answers: the queries of an index as a suite, asked of prompts or chains that retrieve from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.chains.definition import CallStep, PromptStep, RetrieveStep
from llmops_tui.chains.store import ChainStore, is_chain, split_step
from llmops_tui.errors import InputRefusedError, NotFoundError
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
from llmops_tui.retrieval.store import Index, IndexStore

# So that the same queries are answered alike each time; a prompt's own settings count before.
_PARAMETERS = {"temperature": 0.0, "seed": 1, "max_tokens": 256}
_MARK = "answerable"
# By the end of its description a suite is known as one that is made here.
_MADE = ", answered by prompts that retrieve"


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
            ``another_index``: it gets them from another one, too; ``asks_no_model``; ``name_taken``: a suite of another
            making has the name.
    """
    name = f"{index.record['name'][:90]}-answers"
    _require_free(store, name)
    with ChunkFile.opened(index.folder) as file:
        queries = read_queries(path, file, index.ref)
    versions = [store.prompts.get(ref) for ref in asked.prompts if not is_chain(ref)]
    renderer = TemplateRenderer(retrieve=(retrieval := PromptRetrieval(store.catalog)))
    try:
        names = {_variable(renderer, one, asked.variable) for one in versions}
        names |= {_input(store, index, ref, asked.variable) for ref in asked.prompts if is_chain(ref)}
        for version in versions:
            _require(renderer, retrieval, version, index, dict.fromkeys(names, queries[0].text))
    finally:
        renderer.close()
    body: JsonObject = {
        "description": f"queries of {index.record['name']}{_MADE}",
        "cases": [_case(query, sorted(names)) for query in queries],
        "prompt": list(asked.prompts),
        "metrics": _metrics(queries, asked),
    }
    if len(versions) == len(asked.prompts):
        held = {name for one in versions if one.settings for name in one.settings.parameters.model_fields_set}
        body["parameters"] = {name: value for name, value in _PARAMETERS.items() if name not in held}
    return check_suite(body, name)


def _require_free(store: EvaluationStore, name: str) -> None:
    """Refuse a name that a suite of the user's own has: stages and gates that name it would ask the queries."""
    try:
        suite = store.suite(name).suite
    except NotFoundError:
        return
    if not suite.description.endswith(_MADE):
        told = f"suite {name!r} is not made of queries, and this would be another version of it"
        raise InputRefusedError(
            "name_taken", told, f"llmops eval copy gives it another name, and remove-suite {name} frees this one."
        )


def _variable(renderer: TemplateRenderer, version: PromptVersion, chosen: str) -> str:
    """The variable of a prompt that has the query: the one that is chosen, the only one without a default, or the only one."""
    every = [
        name
        for text in (version.system, version.template)
        if text.strip()
        for name in renderer.variables(text)
        if name != "retrieve"
    ]
    return _only(list(dict.fromkeys(every)), defaults_of(version.settings).keys(), version.ref, chosen)


def _input(store: EvaluationStore, index: Index, ref: str, chosen: str) -> str:
    """The input of a chain that has the query."""
    chain = ChainStore(store.catalog).get(split_step(ref)[0]).chain
    fields = [step.fields for step in chain.body.walk()]
    indexes = IndexStore(store.catalog)
    _require_this(ref, {indexes.get(one.retrieve).ref for one in fields if isinstance(one, RetrieveStep)}, index)
    if not any(isinstance(one, PromptStep | CallStep) for one in fields):
        hint = "Give it a step with a prompt; llmops index measure without --answers measures what is found."
        raise InputRefusedError("asks_no_model", f"{ref} asks no model, so it answers nothing", hint)
    return _only(list(chain.inputs), chain.defaults().keys(), ref, chosen)


def _only(names: Sequence[str], defaults: Collection[str], ref: str, chosen: str) -> str:
    needed = [name for name in names if name not in defaults]
    if chosen:
        if chosen not in names:
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise InputRefusedError(
                "which_variable", f"{ref} has no variable {chosen!r}: {has}", "Name one of its own."
            )
        if others := [name for name in needed if name != chosen]:
            told = f"{ref} needs {', '.join(others)} beside {chosen}"
            raise InputRefusedError("which_variable", told, "Only one has the query; the others need defaults.")
        return chosen
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
    _require_this(version.ref, {*retrieval.take_used()}, index)


def _require_this(ref: str, used: set[str], index: Index) -> None:
    if others := sorted(used - {index.ref}):
        told = f"{ref} retrieves from {', '.join(others)}, and {index.ref} is measured"
        raise InputRefusedError(
            "another_index", told, f"Have it retrieve from {index.ref} alone, or measure the other."
        )


def _case(query: GoldQuery, names: Sequence[str]) -> JsonObject:
    case: JsonObject = {
        "vars": dict.fromkeys(names, query.text),
        "slices": {_MARK: "yes" if query.answerable else "no"},
    }
    # Digits are the number of its line, or would be taken for that of the case.
    case |= {} if query.id.isdecimal() else {"id": query.id}
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

"""Runs a chain: its steps in their order, those of a map many at once, each noted in a journal before it counts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_tui.chains.asking import StepAnswer, StepModels, StepRequest, Told, step_key
from llmops_tui.chains.calls import call_step
from llmops_tui.chains.definition import (
    Body,
    BranchStep,
    CallStep,
    MapStep,
    ParseStep,
    PromptStep,
    RepeatStep,
    RetrieveStep,
    Step,
    case_name,
    misfit,
)
from llmops_tui.chains.leaf import Leaf, span_of
from llmops_tui.chains.records import SpanRecord
from llmops_tui.chains.rendering import RenderQueue
from llmops_tui.chains.resolution import Resolved, ResolvedStep, part_of
from llmops_tui.chains.spans import Journal
from llmops_tui.chains.tools import ChainTools
from llmops_tui.chains.values import kept
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.answer_settings import defaults_of
from llmops_tui.inference.asked_prompt import to_render
from llmops_tui.inference.prompt_versions import PromptVersion
from llmops_tui.inference.retrieval_asked import RetrievalAsked, retrievals_noted
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.json_tree import content_of

# Failures that are none of a row's: nothing more can be done.
FATAL = {
    "model_gone", "results_failed", "cache_failed", "helper_unusable", "chain_too_long", "server_ending", "client_left",
}  # fmt: skip
# Of one run: steps that ask, search, read or call.
MOST_DONE = 1_000_000
# Rows of a map at once, for each request that the engine runs: while some are rendered and noted, others wait to be asked.
_AHEAD = 4


class StepFailedError(LlmopsError):
    """A step that has no result; ``path`` says which. Code and hint are the reason's."""

    def __init__(self, path: str, reason: LlmopsError) -> None:
        super().__init__(reason.code, f"step {path}: {reason.message}", reason.hint)
        self.path = path


@dataclass
class Counts:
    """What a run did so far: rows of maps that failed, requests, those that were known, tokens of all."""

    done: int = 0
    failed: int = 0
    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChainRun:
    """One run of a chain, or several rows of it with the same journal.

    ``looked`` is called after each step, and may raise to end the run. The text of a step at one of the
    paths ``streamed`` is told to ``told`` as it comes.
    """

    def __init__(
        self,
        resolved: Resolved,
        tools: ChainTools,
        models: StepModels,
        journal: Journal,
        *,
        looked: Callable[[], None] = lambda: None,
        streamed: frozenset[str] = frozenset(),
        told: Told | None = None,
        most: int = MOST_DONE,
    ) -> None:
        self._resolved, self._tools, self._models, self._journal = resolved, tools, models, journal
        self._looked, self._streamed, self._told, self._most = looked, streamed, told, most
        self._rendering = RenderQueue(tools.renderer)
        self.counts = Counts()
        self.last: StepAnswer | None = None
        # Of the requests, one after the other.
        self.model_seconds = 0.0

    async def run(self, inputs: Mapping[str, object], path: str = "") -> Any:
        """The output for these inputs; ``path`` is what the places of its steps begin with.

        Raises:
            InputRefusedError: ``bad_input``: an input is missing, unknown or of another type.
            LlmopsError: a step failed, which is named.
        """
        value, _ = await self._body(self._resolved.chain.body, self.checked(inputs), path)
        return value

    def checked(self, inputs: Mapping[str, object]) -> Variables:
        """Inputs with their defaults.

        Raises:
            InputRefusedError: ``bad_input``, ``bad_value``.
        """
        chain = self._resolved.chain
        known = ", ".join(f"{one.name} ({one.type})" for one in chain.inputs.values()) or "none"
        for name in inputs:
            if name not in chain.inputs:
                raise InputRefusedError("bad_input", f"the chain has no input {name!r}", f"Its inputs: {known}.")
        values = {**chain.defaults(), **inputs}
        for one in chain.inputs.values():
            if one.name not in values:
                raise InputRefusedError("bad_input", f"the input {one.name!r} has no value", f"Its inputs: {known}.")
            if wrong := misfit(one.type, values[one.name]):
                raise InputRefusedError("bad_input", f"the input {one.name!r}: {wrong}", f"Its inputs: {known}.")
            kept(values[one.name], f"the input {one.name!r}")
        return values

    async def run_step(self, name: str, values: Mapping[str, object]) -> Any:
        """The result of one step alone, with values for what its expressions use.

        Raises:
            LlmopsError: as :meth:`run`; ``bad_input``: something that it uses has no value.
        """
        step = part_of(self._resolved.chain, name)
        return await self._step(step, {**self._resolved.chain.defaults(), **kept(dict(values), "the case")}, "")

    # ── bodies ──

    async def _body(self, body: Body, values: Variables, path: str) -> tuple[Any, Variables]:
        """The output of a body, and all names that are known at its end."""
        values = dict(values)
        for names in self._resolved.orders[body.place]:
            steps = [body.steps[name] for name in names]
            if len(steps) == 1:
                values[names[0]] = await self._step(steps[0], values, path)
                continue
            found = await asyncio.gather(*(self._step(step, values, path) for step in steps), return_exceptions=True)
            for name, one in zip(names, found, strict=True):
                if isinstance(one, BaseException):
                    raise one
                values[name] = one
        return await self._value(body.output, values), values

    async def _step(self, step: Step, values: Variables, path: str) -> Any:
        here = f"{path}{step.name}"
        try:
            if isinstance(step.fields, BranchStep):
                return await self._branch(step, step.fields, values, here)
            if isinstance(step.fields, MapStep):
                return await self._map(step, step.fields, values, here)
            if isinstance(step.fields, RepeatStep):
                return await self._repeat(step, step.fields, values, here)
            return await self._leaf(self._resolved.steps[step.place], values, here)
        except StepFailedError:
            raise
        except LlmopsError as error:
            self._journal.add(span_of(Leaf(ResolvedStep(step), here, "", None), error=error))
            self._looked()
            raise StepFailedError(here, error) from error

    async def _branch(self, step: Step, fields: BranchStep, values: Variables, here: str) -> Any:
        leaf = Leaf(ResolvedStep(step), here, "", None)
        chosen = await self._value(fields.branch, values)
        told = case_name(chosen)
        part = ("then" if chosen else "else") if "then" in step.bodies else f"case {told}"
        if part not in step.bodies:
            part = "else"
        self._journal.add(span_of(leaf, given=chosen, output=part if part in step.bodies else None))
        if part not in step.bodies:
            if "then" in step.bodies:
                return None
            cases = ", ".join(name.removeprefix("case ") for name in step.bodies)
            raise InputRefusedError(
                "no_case", f"there is no case for {told[:100]!r}, only {cases}", "Add it, or an else."
            )
        value, _ = await self._body(step.bodies[part], values, f"{here}.{part.removeprefix('case ')}/")
        return value

    async def _map(self, step: Step, fields: MapStep, values: Variables, here: str) -> list[Any]:
        leaf = Leaf(ResolvedStep(step), here, "", None)
        items = await self._items(step, fields, values)
        body = step.bodies["each"]
        results: list[Any] = [None] * len(items)
        waiting = iter(enumerate(items))
        failed = 0

        async def work() -> None:
            nonlocal failed
            for number, item in waiting:
                try:
                    results[number], _ = await self._body(body, {**values, fields.as_: item}, f"{here}[{number}]/")
                except StepFailedError as error:
                    if error.code in FATAL:
                        raise
                    failed += 1
                    self.counts.failed += 1
                except LlmopsError as error:
                    # Of the output's expression.
                    if error.code in FATAL:
                        raise
                    failed += 1
                    self.counts.failed += 1
                    row = f"{here}[{number}]"
                    self._journal.add(span_of(Leaf(ResolvedStep(step), row, "", None), error=error))

        await _all(work, min(len(items), max(1, self._models.parallel * _AHEAD)))
        self._journal.add(span_of(leaf, given=fields.map or fields.dataset, rows=len(items), failed=failed))
        return results

    async def _items(self, step: Step, fields: MapStep, values: Variables) -> list[Any]:
        if (dataset := self._resolved.steps[step.place].dataset) is not None:
            if "limit" not in fields.model_fields_set and dataset.rows > fields.limit:
                raise InputRefusedError(
                    "too_many_rows",
                    f"{dataset.ref} has {dataset.rows:,} rows, and a map takes {fields.limit:,}",
                    f"Say limit: {fields.limit} to take the first ones, or run the chain over the dataset.",
                )
            # Off the loop: a server answers others meanwhile.
            return await asyncio.to_thread(_first_rows, dataset, fields.limit)
        value = await self._value(fields.map, values)
        if not isinstance(value, list):
            raise InputRefusedError("bad_value", f"{fields.map!r} is {str(value)[:60]!r}, and a list is needed")
        if len(value) > fields.limit:
            raise InputRefusedError(
                "too_many_rows", f"the list has {len(value):,} members, and the step's limit is {fields.limit:,}"
            )
        return value

    async def _repeat(self, step: Step, fields: RepeatStep, values: Variables, here: str) -> Any:
        leaf = Leaf(ResolvedStep(step), here, "", None)
        value: Any = None
        number, met = 0, False
        for number in range(1, fields.repeat + 1):
            inside = {**values, "previous": value, "round": number}
            value, known = await self._body(step.bodies["round"], inside, f"{here}#{number}/")
            if fields.until and await self._value(fields.until, {**known, "previous": value}):
                met = True
                break
        told = "until" if met else "most rounds"
        self._journal.add({**span_of(leaf, given=fields.until, rows=number), "stopped": told})
        return value

    # ── steps that are done in one piece ──

    async def _leaf(self, found: ResolvedStep, values: Variables, here: str) -> Any:
        self.counts.done += 1
        if self.counts.done > self._most:
            raise LlmopsError("chain_too_long", f"the run has more than {self._most:,} steps", "Map fewer rows.")
        fields = found.step.fields
        if isinstance(fields, PromptStep):
            return await self._prompt(found, fields, values, here)
        if isinstance(fields, RetrieveStep):
            return await self._retrieve(found, fields, values, here)
        if isinstance(fields, ParseStep):
            text = await self._value(fields.parse, values)
            if not isinstance(text, str):
                raise InputRefusedError("bad_value", f"{fields.parse!r} is no text, which is needed")
            given = {"text": text}
            work = lambda: self._tools.process.read(content_of(text), fields.schema_)  # noqa: E731
            return await self._done(found, here, given, {"schema": fields.schema_, **given}, work)
        assert isinstance(fields, CallStep)
        called = {name: await self._value(text, values) for name, text in fields.given.items()}
        return await self._done(
            found,
            here,
            called,
            {"call": fields.call, "code": found.code, "with": called},
            lambda: call_step(fields.call, called),
        )

    async def _retrieve(self, found: ResolvedStep, fields: RetrieveStep, values: Variables, here: str) -> Any:
        assert found.index is not None
        query = str(await self._value(fields.query, values))
        asked: RetrievalAsked = {
            "query": query, "k": fields.k, "index": found.index.ref, "by": fields.by, "check": fields.check,
        }  # fmt: skip
        decided = {**asked, "index": found.index.record["sha256"]}

        def work() -> Any:
            passages = self._tools.retrieval(asked)
            text = "\n\n".join(f"[{one['number']}] {one['source']}\n{one['text']}" for one in passages)
            return {"text": text, "passages": passages}

        given = {name: value for name, value in asked.items() if name != "check"}
        return await self._done(found, here, given, decided, work)

    async def _done(
        self, found: ResolvedStep, here: str, given: Any, decided_by: Mapping[str, object], work: Callable[[], Any]
    ) -> Any:
        """The result of a step that asks no model, from the journal where it is there."""
        leaf = Leaf(found, here, step_key(found.step.kind, decided_by), given)
        if (known := self._journal.find(here, leaf.key)) is not None:
            return known["output"]
        try:
            value = await asyncio.to_thread(work)
        except LlmopsError as error:
            self._note(span_of(leaf, error=error))
            raise StepFailedError(here, error) from error
        self._note(span_of(leaf, output=value))
        return value

    async def _prompt(self, found: ResolvedStep, fields: PromptStep, values: Variables, here: str) -> str:
        assert found.prompt is not None
        settings = found.prompt.settings
        # What nothing here has the name of is left to its default.
        left = defaults_of(settings).keys() - values.keys()
        wanted = {name: text for name, text in found.values.items() if not (text == name and name in left)}
        given = {name: await self._value(text, values) for name, text in wanted.items()}
        with retrievals_noted() as retrieved:
            messages, variables = await self._rendered(found.prompt, given)
        told_of: dict[str, object] = {
            "prompt": found.prompt.prompt,
            "prompt_version": found.prompt.number,
            "variables": variables,
            "step": here,
            **({"client": {"retrieved": retrieved}} if retrieved else {}),
        }
        asked = StepRequest(found.model, messages, fields.parameters, fields.schema_, told_of).with_settings(settings)
        leaf = Leaf(found, here, self._models.key(asked), messages)
        told = self._told if here in self._streamed else None
        if (known := self._journal.find(here, leaf.key)) is not None:
            text = str(known["output"])
            if told is not None:
                await told(text)
            return text
        try:
            answer = await self._models.answer(asked, leaf.key, told)
        except LlmopsError as error:
            self._note(span_of(leaf, error=error))
            raise StepFailedError(here, error) from error
        self.last = answer
        self.model_seconds += time.monotonic() - leaf.clock
        counts = self.counts
        counts.requests += 1
        counts.cached += answer.cached
        counts.prompt_tokens += answer.prompt_tokens or 0
        counts.completion_tokens += answer.completion_tokens or 0
        self._note(span_of(leaf, output=answer.text, answer=answer))
        return answer.text

    async def _rendered(self, prompt: PromptVersion, given: Variables) -> tuple[list[ChatMessage], Variables]:
        """The messages, and the values in them: what steps before said is one, and can be no turn and no template."""
        asked = to_render(prompt, given)
        some = [(text, dict(values)) for text, values in asked.sources]
        texts = [await self._rendering.render(*one) if one[0].strip() else "" for one in some]
        return asked.made(texts).messages, dict(asked.values)

    def _note(self, span: SpanRecord) -> None:
        self._journal.add(span)
        self._looked()

    async def _value(self, text: str, values: Variables) -> Any:
        names = self._resolved.names.get(text, ())
        given = {name: values[name] for name in names if name in values}
        if missing := [name for name in names if name not in given]:
            raise InputRefusedError("bad_input", f"{missing[0]!r} has no value", "Give it one.")
        # A plain path is looked up at once; for all else another process is asked.
        return await asyncio.to_thread(self._tools.process.evaluate, text, given) if text not in given else given[text]


def _first_rows(dataset: DatasetVersion, count: int) -> list[Any]:
    found: list[Any] = []
    for batch in dataset.read():
        found += [row for _, row in batch]
        if len(found) >= count:
            break
    return found[:count]


async def _all(work: Callable[[], Awaitable[None]], count: int) -> None:
    """So many workers at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def as_text(value: Any) -> str:
    """An output as a text: itself where it is one, else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

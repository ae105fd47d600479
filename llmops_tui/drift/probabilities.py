"""The job that holds what a model gives for recorded answers now against what it gave then, token by token.

The answers are those of the run that others are held against, so both builds predict the very same tokens (teacher forcing).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from llmops_tui.drift.recorded import Recorded, Scored, keep_recorded, note_found, read_recorded
from llmops_tui.drift.shift import Moved, Shift, ShiftRecord, Tops, moved
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.model_graded import conversation_of
from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.run_search import changed_model
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.asking.asker import engine_name
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.settings import load_settings
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmops_tui.evaluation.run import EvalRun
    from llmops_tui.evaluation.runner.results import Result
    from llmops_tui.jobs.worker import JobContext

TOPS = 20
"""How many of the likeliest tokens are told at each place."""
MOST = 50
"""How many answers are looked at unless somebody says otherwise."""
MOST_TOKENS = 256
"""Of a longer answer so many tokens from its beginning are looked at."""


class ShiftDone(ShiftRecord):
    """What a job came to: the shift, and the runs that it is about."""

    first: str
    newest: str


ENTRY: JobEntry[ShiftDone] = JobEntry("llmops_tui.drift.probabilities:run")


def run(context: JobContext, first: str, newest: str, most: int = MOST) -> ShiftDone:
    """The job: look at the answers of ``first``, and keep what was found beside ``newest``.

    What is recorded stays the reference, however many are asked for later. Where nothing is, it is recorded now.

    Raises:
        InputRefusedError: ``no_probabilities``: the model is of somebody else's endpoint; ``model_changed``;
            ``run_unfinished``.
        LlmopsError: ``results_damaged``; the model cannot be loaded.
    """
    store = EvaluationStore(context.workspace)
    recorded_run, newest_run = store.get(first), store.get(newest)
    model = store.registry.get(newest_run.asked.model)
    refuse_remote(model.name, model.kind)
    for one in (recorded_run, newest_run):
        _refuse_others(store, one)
    options = options_from(load_settings()[0])
    engine = engine_name(options, model.base.path)
    endpoint = open_endpoint(ServerSupervisor(context.workspace), model, options)

    async def work() -> tuple[Recorded, Shift, _Look, bool]:
        async with ModelClient(endpoint) as client:
            look = _Look(store, recorded_run, client, most, context.report)
            known = read_recorded(recorded_run)
            fresh = known is None
            if known is None:
                known = await look.record(engine)
                keep_recorded(recorded_run, known)
                # Two looks at one build: what they differ by is no shift.
                found = [moved(one.tops, one.again, one.again) for one in known.answers]
            else:
                found = await look.again(known)
            return known, Shift(tuple(found)), look, fresh

    began = time.monotonic()
    known, shift, look, fresh = asyncio.run(work())
    low, high = shift.interval
    changed = None if fresh else shift.changed
    record: ShiftRecord = {
        "recorded_by": known.engine,
        "now": engine,
        "recorded_at": known.at,
        "canaries": len(shift.found),
        "left_out": look.all - len(shift.found),
        "tokens": sum(one.tokens for one in shift.found),
        "mean": shift.mean if shift.found else 0.0,
        "low": None if changed is None else low,
        "high": None if changed is None else high,
        "noise": sum(one.noise for one in shift.found) / max(1, len(shift.found)),
        "smallest": shift.smallest,
        "rest": sum(one.rest for one in shift.found) / max(1, len(shift.found)),
        "changed": changed,
        "fresh": fresh,
        "seconds": time.monotonic() - began,
        "retokenized": look.retokenized,
    }
    note_found(newest_run, first, {"shift": record})
    return {**record, "first": first, "newest": newest}


def refuse_remote(name: str, kind: str) -> None:
    """Refuse a model whose endpoint tells no probabilities of a given text.

    Raises:
        InputRefusedError: ``no_probabilities``.
    """
    if kind == "remote":
        told = f"{name!r} is a remote endpoint, which tells no probabilities of a given answer"
        raise InputRefusedError("no_probabilities", told, "Leave --kl out; the answers are compared all the same.")


def _refuse_others(store: EvaluationStore, run: EvalRun) -> None:
    """Refuse files that the run's answers are not of, though they have the name that it asked.

    Raises:
        InputRefusedError: ``model_changed``.
    """
    # That one is not finished is told by whoever reads its answers.
    if run.summary is not None and (why := changed_model(store, run)):
        told = f"{run.name} {why}: what it gives now is not what that run was answered by"
        raise InputRefusedError("model_changed", told, "Ask again, without --no-ask: llmops drift behaviour … --kl.")


@dataclass
class _Look:
    """Looks at the answers of a run, one at a time, so that nothing else is evaluated in the same batch."""

    store: EvaluationStore
    run: EvalRun
    client: ModelClient
    most: int
    report: Callable[[float, str], None]
    retokenized: int = 0

    def __post_init__(self) -> None:
        self._raw = self.store.suite(self.run.suite_ref).suite.raw
        every = [one for one in results_of(self.run) if one.repeat == 0]
        texts = [one for one in every if one.answer.text.strip() and not one.case.choices]
        # The same ones whenever it is asked, however many there are.
        self._chosen = sorted(texts, key=lambda one: sha256_text(f"canary {one.case.key}"))[: self.most]
        self.all = len(every)

    async def record(self, engine: str) -> Recorded:
        """Look twice at each answer: what differs between the looks is noise."""
        found = []
        for number, one in enumerate(self._chosen):
            ids, size = await self._tokens(one)
            if size:
                tops, again = await self._tops(ids, size), await self._tops(ids, size)
                text = f"{self._said(one)}{one.answer.text}"
                found.append(Scored(one.case.key, text, tuple(ids), size, tops, again))
            self.report(0.66 * (number + 1) / len(self._chosen), f"{number + 1}/{len(self._chosen)} recorded")
        return Recorded(engine, time.time(), tuple(found))

    async def again(self, recorded: Recorded) -> list[Moved]:
        """What is found of each recorded answer now."""
        found = []
        by_key = {one.case.key: one for one in self._chosen}
        for number, one in enumerate(recorded.answers[: self.most]):
            if (result := by_key.get(one.case)) is not None:
                self.retokenized += tuple((await self._tokens(result))[0]) != one.ids
            found.append(moved(one.tops, one.again, await self._tops(one.ids, one.size)))
            share = 0.66 + 0.33 * (number + 1) / len(recorded.answers)
            self.report(share, f"{number + 1}/{len(recorded.answers)} held against what was recorded")
        return found

    def _said(self, one: Result) -> str:
        return "\n".join(str(turn.get("content") or "") for turn in conversation_of(one.case, one.answer)) + "\n"

    async def _tokens(self, one: Result) -> tuple[list[int], int]:
        """The tokens of a conversation with its answer, and how many of them are the answer's."""
        asked = list(conversation_of(one.case, one.answer))
        if self._raw:
            before = "\n".join(str(turn.get("content") or "") for turn in asked)
        else:
            before = str((await self.client.tokenize(messages=asked))["text"])
        first, whole = [await self._ids(text) for text in (before, before + one.answer.text)]
        same = next(
            (n for n, (a, b) in enumerate(zip(first, whole, strict=False)) if a != b), min(len(first), len(whole))
        )
        cut = whole[: same + MOST_TOKENS]
        return cut, len(cut) - same

    async def _ids(self, text: str) -> list[int]:
        told = await self.client.complete("/tokenize", {"content": text, "add_special": self._raw})
        return list(told["tokens"])

    async def _tops(self, ids: Sequence[int], size: int) -> tuple[Tops, ...]:
        body = {
            "prompt": [list(ids)],
            "echo": True,
            "logprobs": TOPS,
            "max_tokens": 0,
            "temperature": 0.0,
            "logprob_start_len": len(ids) - size,
            # A part that is known is evaluated in other batches than the whole, which is another rounding.
            "cache_prompt": False,
        }
        told = (await self.client.complete("/v1/completions", body))["choices"][0].get("logprobs")
        tops = (told or {}).get("top_logprobs") or []
        if len(tops) < size or any(one is None for one in tops[len(tops) - size :]):
            raise LlmopsError("no_logprobs", f"{self.client.model!r} tells no probabilities", "Choose another model.")
        return tuple(cast("list[Tops]", tops[len(tops) - size :]))

"""The answers of a training run scored by the evaluation's own metrics, and by functions of the user's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.measures import ready
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, MetricEntry, Score
from llmops_tui.evaluation.metrics.custom import fingerprint, source_of
from llmops_tui.evaluation.metrics.model_graded import AskingMetric
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.runner.scoring import Item, Scorer
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.regular_files import read_regular
from llmops_tui.settings import load_settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace

_FUNCTION = "function"


class _Function:
    """A function in a file, called with an answer's text, what is expected and the variables."""

    def __init__(self, entry: JsonObject) -> None:
        self._file, self._name = Path(str(entry["file"])), str(entry["call"])
        source = read_regular(self._file)
        if hashlib.sha256(source).hexdigest() != entry["sha256"]:
            raise LlmopsError("bad_reward", f"{self._file} is not the file that was allowed to run")
        module = ModuleType(f"llmops_reward_{self._file.stem}")
        module.__file__ = str(self._file)
        try:
            # What the user allowed by its hash, and nothing that was written since.
            exec(compile(source, str(self._file), "exec"), module.__dict__)  # noqa: S102
        except Exception as error:
            raise LlmopsError("bad_reward", f"{self._file}: {type(error).__name__}: {error}"[:400]) from error
        call = getattr(module, self._name, None)
        if not callable(call):
            raise LlmopsError("bad_reward", f"{self._file} has no function {self._name!r}")
        self._call: Callable[[str, Any, dict[str, Any]], Any] = call

    def score(self, case: Case, answer: Answer) -> Score:
        """What the function says."""
        try:
            found = self._call(answer.text, case.expected, case.variables)
            value, reason = found if isinstance(found, tuple) else (found, "")
            return Score(None if value is None else float(value), str(reason))
        except Exception as error:  # noqa: BLE001  whatever an answer does to a function, the other answers are scored
            return Score(None, f"{self._name} failed: {type(error).__name__}: {error}"[:400])


class Rewards:
    """The rewards of a run; made once, kept between questions."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        catalog = Catalog(workspace)
        self._registry = ModelRegistry(catalog)
        self._prompts = PromptStore(catalog)
        self._cache = AnswerCache(workspace)
        self._scorer = Scorer()
        self._renderer = TemplateRenderer()
        self._made: dict[bytes, Metric | _Function] = {}

    def made(self, entry: MetricEntry) -> Metric | _Function:
        """A reward by its entry.

        Raises:
            LlmopsError: there is no such metric, or it cannot be used.
        """
        key = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
        if key not in self._made:
            function = entry.get("type") == _FUNCTION
            self._made[key] = _Function(entry) if function else ready(make_metric(entry, "rewards"), self._prompts)
        return self._made[key]

    def described(self, entry: MetricEntry) -> JsonObject:
        """What a reward is, or in ``problem`` why it is none; ``code`` and ``fingerprint`` are what decides its scores."""
        told: JsonObject = {"problem": "", "hint": "", "needs_expected": False, "better": 1, "bounds": None, "asks": ""}
        try:
            made = self.made(entry)
            if isinstance(made, _Function):
                return told | {"code": f"{entry['file']}:{entry['call']}", "fingerprint": entry["sha256"]}
            if made.whole_set or made.needs_choices or made.needs_logprob:
                why = "a figure of a whole set" if made.whole_set else "measured by probabilities, not on an answer"
                return told | {"problem": f"{made.called} is {why}, and so no reward of one answer"}
            told |= {"needs_expected": made.needs_expected, "better": made.better, "bounds": made.bounds}
            problem, (name, code) = made.problem(), source_of(made)
            digest = fingerprint(made)
            if isinstance(made, AskingMetric):
                told["asks"] = made.model
                digest = sha256_text(f"{digest} {self._registry.get(made.model).sha256}")
            return told | {"problem": problem, "code": f"{name} {code}".strip(), "fingerprint": digest}
        except LlmopsError as error:
            return told | {"problem": error.message, "hint": error.hint}

    async def scored(self, entries: list[MetricEntry], items: list[JsonObject]) -> list[list[Any]]:
        """The scores of answers, one list an item, by the evaluation's own scoring."""
        made = [self.made(entry) for entry in entries]
        metrics = [one for one in made if isinstance(one, Metric)]
        pairs = [_read(item, number) for number, item in enumerate(items)]
        options = options_from(load_settings()[0])
        supervisor = ServerSupervisor(self._workspace)
        asker = Asker(
            self._registry,
            self._cache,
            lambda model: open_endpoint(supervisor, model, options),
            options=options,
            renderer=self._renderer,
            within=f"rewards {time.time():.0f}",
            work={"kind": "judge", "name": "rewards"},
        )
        try:
            by_metric = await self._scorer.score([Item(case, answer, metrics) for case, answer in pairs], asker)
        finally:
            await asker.close()
        found = []
        for (case, answer), scores in zip(pairs, by_metric, strict=True):
            own = [one.score(case, answer) if isinstance(one, _Function) else scores[one.called] for one in made]
            found.append([[None if s.value is None else float(s.value), s.reason] for s in own])
        return found


def _read(item: JsonObject, number: int) -> tuple[Case, Answer]:
    case = item["case"]
    messages = tuple(case.get("messages") or ())
    read = Case(
        number,
        str(number),
        case.get("variables") or {},
        messages,
        case.get("expected"),
        str(case.get("context") or ""),
    )
    return read, Answer(text=item["answer"], completion_tokens=item.get("tokens"), asked=messages)

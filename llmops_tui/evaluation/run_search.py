"""Which runs say what a prompt version is worth today: whole ones, of the suite, model, adapter and metrics of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.measures import ready, sources
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.run_comparison import asks_the_same
from llmops_tui.inference.prompt_versions import CHAINS

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.inference.engine_wire import SamplingRecord
    from llmops_tui.prompts.store import PromptVersion

_TOLD = 3


class NotEvaluatedError(InputRefusedError):
    """No run says what a prompt version is worth today. ``prompt`` and ``model`` are those of the run that is missing.

    ``model`` is empty where any would do.
    """

    def __init__(self, message: str, hint: str, *, prompt: str, model: str) -> None:
        super().__init__("not_evaluated", message, hint)
        self.prompt = prompt
        self.model = model


@dataclass(frozen=True)
class RunSearch:
    """A search among ``runs`` for those that count for a suite version: those that still say what they say today."""

    store: EvaluationStore
    wanted: SuiteVersion
    runs: Sequence[EvalRun]

    def newest(self, version: PromptVersion | None, model: str, parameters: SamplingRecord) -> EvalRun:
        """The newest run of a prompt version that counts, on a model or, with an empty name, on any.

        Without a version it is one that asked the conversations of the cases as they are.

        Raises:
            NotEvaluatedError: there is none; says why others do not count, and what makes one.
        """
        reasons: list[str] = []
        ref = version.ref if version is not None else ""
        for run in self.runs:
            if run.suite != self.wanted.suite.name or run.asked.prompt != ref:
                continue
            if (model and run.asked.model != model) or run.asked.parameters != parameters:
                continue
            why = self._why_not(run, version)
            if not why:
                return run
            reasons.append(f"{run.name} {why}")
        told = f" that counts: {'; '.join(reasons[:_TOLD])}" if reasons else ""
        on = f" on {model}" if model else ""
        asked = f"--prompt {ref} " if ref else ""
        raise NotEvaluatedError(
            f"{f'{ref} has' if ref else 'there is'} no run of suite {self.wanted.ref}{on}{told}",
            f"llmops eval run {self.wanted.ref} {asked}--model {model or 'MODEL'} makes one.",
            prompt=ref,
            model=model,
        )

    def _why_not(self, run: EvalRun, version: PromptVersion | None) -> str:
        """Why a run does not say what its model and prompt are worth today, as a predicate; empty where it does."""
        if run.summary is None:
            return "is not finished"
        if run.not_whole:
            return run.not_whole
        try:
            same = asks_the_same(self.store, run, self.wanted)
        except LlmopsError as error:
            return f"was asked of {run.suite_ref}, which cannot be read: {error.message}"
        if not same:
            return f"was asked of {run.suite_ref}, which asks or measures otherwise"
        changed = "" if version is None else self._changed_text(run, version)
        return changed or changed_model(self.store, run) or self._changed_metrics(run)

    def _changed_text(self, run: EvalRun, version: PromptVersion) -> str:
        if version.prompt.startswith(CHAINS):
            return self._changed_chain(run, version)
        if run.manifest.get("prompt_sha256") != [version.sha256]:
            return f"was asked with another text of {version.ref}"
        return ""

    def _changed_chain(self, run: EvalRun, version: PromptVersion) -> str:
        """What a chain's labels and names stand for may be something else today than in the run."""
        from llmops_tui.evaluation.runner.chained import decided_by

        made = run.manifest
        try:
            prompts, parts = decided_by(self.store, version.ref, run.asked.model)
        except LlmopsError as error:
            return f"was asked of {version.ref}, which cannot be run today: {error.message}"
        then = dict(zip(made.get("prompt", []), made.get("prompt_sha256", []), strict=False)) | made.get(
            "chain_parts", {}
        )
        now = prompts | parts
        other = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
        return f"was asked with another {', '.join(other[:_TOLD])}" if other else ""

    def _changed_metrics(self, run: EvalRun) -> str:
        made = run.manifest
        try:
            now = [ready(metric, self.store.prompts) for metric in self.wanted.suite.all_metrics()]
            behind = sources(now, self.store.registry)
        except NotFoundError as error:
            return f"was measured with something that is gone: {error.message}"
        for metric in now[: len(self.wanted.suite.metrics)]:
            if made.get("metrics", {}).get(metric.called) != fingerprint(metric):
                return f"measured {metric.called} in another way"
        known = made.get("metric_sources")
        if known is None:
            return "was made by an earlier version of llmops, which did not note all that decides a verdict"
        other = next((name for name, value in behind.items() if known.get(name) != value), None)
        return f"was measured with another {other}" if other else ""


def changed_model(store: EvaluationStore, run: EvalRun) -> str:
    """In which way a run's model is another one today, in words that go on from the run's name; empty where it is not."""
    try:
        model = store.registry.get(run.asked.model)
        adapter = store.registry.get(str(model.header["adapter"])).sha256 if model.origin is not None else None
    except NotFoundError:
        return f"was asked of {run.asked.model}, which is not here any more"
    if run.manifest.get("model_sha256") != model.base.sha256:
        return f"was asked of {run.asked.model} before its file changed"
    if run.manifest.get("adapter_sha256") != adapter:
        return f"was asked of {run.asked.model} before its adapter changed"
    return ""

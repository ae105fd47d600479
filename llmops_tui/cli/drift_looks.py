"""What ``llmops drift behaviour`` says beside the answers themselves: probabilities and a judge, where they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.cli.job import run_job
from llmops_tui.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.cli.output import Session
    from llmops_tui.evaluation.store import EvaluationStore


@dataclass(frozen=True)
class Looks:
    """Which are asked for: ``kl``, and a ``judge`` with its rubric; of at most so many answers each."""

    kl: bool
    judge: str
    rubric: str
    most: int


@dataclass
class Closer:
    """What they found: for JSON, in sentences, and whether any of them surely changed."""

    data: dict[str, object] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    changed: bool = False


def refuse_looks(store: EvaluationStore, model: str, looks: Looks) -> None:
    """Refuse what cannot be looked at before anything is asked.

    Raises:
        InputRefusedError: ``no_probabilities``, ``unknown_judge``. NotFoundError: there is no such judge.
    """
    from llmops_tui.drift.probabilities import refuse_remote
    from llmops_tui.evaluation.judges import PREFIX, find_judge

    if looks.rubric and not looks.judge:
        raise LlmopsError("usage", "--rubric says what --judge judges by; name a judge", exit_code=ExitCode.USAGE)
    if looks.kl:
        refuse_remote(model, store.registry.get(model).kind)
    if looks.judge.startswith(PREFIX):
        find_judge(looks.judge)
    elif looks.judge:
        store.registry.get(looks.judge)


def looked_closer(session: Session, first: str, newest: str, looks: Looks) -> Closer:
    """Look, as a job for each, which the same interrupt cancels."""
    from llmops_tui.drift import judged, probabilities, shift

    closer = Closer()
    both = {"first": first, "newest": newest, "most": looks.most}
    if looks.kl:
        title = f"probabilities of {newest} beside {first}"
        moved = run_job(session, kind="drift", title=title, entry=probabilities.ENTRY, arguments=both)
        closer.data["kl"] = moved
        closer.told.append(shift.told_of(moved))
        closer.changed |= bool(moved["changed"])
    if looks.judge:
        arguments = {**both, "model": looks.judge, "rubric": looks.rubric or judged.RUBRIC}
        title = f"judge {newest} beside {first}"
        found = run_job(session, kind="drift", title=title, entry=judged.ENTRY, arguments=arguments)
        closer.data["judge"] = found
        closer.told.append(judged.told_of(found))
        closer.changed |= found["changed"] == "worse"
    return closer

"""Stages of prompts moved: to a version that keeps the stage's policy, and back to the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.gates import Ruling, passes
from llmops_tui.evaluation.promotion import promotion
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.inference.router.names import resolve
from llmops_tui.inference.stages import Stage, StageStore, StageSubject
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.label_audit import PROMOTED, ROLLED_BACK, AuditedMove, audited_moves, note_moves
from llmops_tui.prompts.store import ANY, Held, LabelMove, PromptStore, PromptVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Moved:
    """A label that moved: where it was, where it is, and what the policy said."""

    version: PromptVersion
    label: str
    before: int | None
    rulings: tuple[Ruling, ...] = ()


class PolicyError(LlmopsError):
    """The policy of a stage does not let a version in; ``rulings`` say why."""

    def __init__(self, stage: Stage, rulings: Sequence[Ruling]) -> None:
        failed = "; ".join(f"{one.rule}: {one.why}" for one in rulings if one.outcome != "pass")
        hint = "llmops eval show has the details; --force --reason TEXT moves it all the same, which the audit keeps."
        super().__init__("gate_closed", f"{stage.ref} stays where it is: {failed}", hint)
        self.rulings = tuple(rulings)


class Promotions:
    """Moves the stages of a workspace; each move is an act that undo knows, and an entry of the audit."""

    def __init__(self, catalog: Catalog, event_log: EventLog, evaluations: EvaluationStore) -> None:
        self._catalog = catalog
        self._event_log = event_log
        self._evaluations = evaluations
        self.prompts = PromptStore(catalog)
        self.stages = StageStore(event_log)
        self._history = UndoHistory(catalog, event_log)

    def define(self, stage: Stage) -> Stage:
        """Keep a stage: what answers for a label, and by which policy it moves.

        Raises:
            NotFoundError: there is no such prompt or suite.
            InputRefusedError: no such model, ``bad_rule``, ``bad_policy``: rules without a suite that measures.
        """
        return self.stages.set(stage, self.checked(stage))

    def checked(self, stage: Stage) -> StageSubject:
        """What the audit calls a stage that may be kept.

        Raises:
            NotFoundError, InputRefusedError: as :meth:`define`.
        """
        for suite in stage.suites:
            self._evaluations.suite(suite)
        for rule in stage.rules:
            parse_rule(rule)
        if stage.rules and not stage.suites:
            raise InputRefusedError(
                "bad_policy", "rules say nothing without a suite that measures", "Add --suite NAME."
            )
        return self._subject(stage)

    def forget(self, stage: Stage) -> None:
        """Have a label be a label alone again."""
        self.stages.remove(stage, self._subject(stage))

    def _subject(self, stage: Stage) -> StageSubject:
        first = self.prompts.versions(stage.prompt)[-1].id
        if not stage.model:
            return StageSubject(first)
        models = ModelRegistry(self._catalog).all()
        try:
            meant = resolve(stage.model, models, AliasBook(self._catalog).all())
        except LlmopsError as error:
            raise InputRefusedError(error.code, error.message, error.hint) from error
        adapter = meant.name.partition("+")[2]
        known = {one.name: one.sha256 for one in models}
        return StageSubject(first, meant.model.sha256, known.get(adapter) if adapter else None)

    def rulings(self, ref: str, stage: Stage) -> list[Ruling]:
        """What the policy of a stage says of a version.

        Raises:
            InputRefusedError: ``not_evaluated``: a run is missing, with what would make it.
        """
        models = (stage.model,) if stage.model else ()
        return [
            replace(one, rule=f"{suite}: {one.rule}")
            for suite in stage.suites
            for one in promotion(self._evaluations, ref, stage.label, suite, models, stage.rules)
        ]

    def promote(self, ref: str, label: str, *, reason: str = "", expected: Held = ANY, force: bool = False) -> Moved:
        """Move a label to a version that the policy of its stage lets in.

        ``expected`` is the version that has it now, for who looked before; without it, it is the one that has it when the
        policy is asked: of two who promote at once, one moves it, and the other is told.

        Raises:
            PolicyError: ``gate_closed``: the policy does not let it in.
            InputRefusedError: ``label_moved``: somebody else moved it meanwhile; ``not_evaluated``; ``bad_reason``: it is
                forced without one; ``same_version``.
        """
        _check_reason(reason, force=force)
        version = self.prompts.get(ref)
        held = self.held(version.prompt, label) if expected is ANY else expected
        if held == version.number:
            raise InputRefusedError("same_version", f"{label} is {version.ref} already", "Nothing was changed.")
        stage = self.stages.get(version.prompt, label)
        rulings = [] if stage is None or force else self.rulings(version.ref, stage)
        if stage is not None and not passes(rulings):
            raise PolicyError(stage, rulings)
        moved = self._history.move_label(
            version.ref, label, expected=held, kind=PROMOTED, reason=reason, by_policy=True
        )
        return Moved(moved, label, held if isinstance(held, int) else None, tuple(rulings))

    def roll_back(self, prompt: str, label: str, *, reason: str = "") -> Moved:
        """Move a label back to the version that it was on before; whatever the policy says of that one.

        Raises:
            InputRefusedError: ``no_way_back``: it was on no version before; ``label_moved``.
        """
        _check_reason(reason)
        before = self.prompts.label_moves(prompt, label)
        held = self.held(prompt, label)
        wanted = way_back(before)
        if wanted is None:
            told = f"{label} of {prompt} was on no other version before"
            raise InputRefusedError("no_way_back", told, "llmops stage promote moves it to any version.")
        ref = f"{prompt}@{wanted}"
        moved = self._history.move_label(ref, label, expected=held, kind=ROLLED_BACK, reason=reason, by_policy=True)
        return Moved(moved, label, held)

    def held(self, prompt: str, label: str) -> int | None:
        """The number of the version that has a label."""
        return next((one.number for one in self.prompts.versions(prompt) if label in one.labels), None)

    def history(self, prompt: str, label: str) -> list[tuple[LabelMove, AuditedMove | None]]:
        """The moves of a label, the newest first, each with its entry of the audit."""
        note_moves(self.prompts, self._event_log)
        by_time = {one.at: one for one in audited_moves(self._event_log)}
        return [(move, by_time.get(move.moved_at)) for move in self.prompts.label_moves(prompt, label)[::-1]]


def way_back(moves: Sequence[LabelMove]) -> int | None:
    """The version that a label goes back to: a move to where it came from takes the one before with it."""
    line: list[int | None] = []
    for move in moves:
        if len(line) > 1 and line[-2] == move.after:
            line.pop()
        else:
            line.append(move.after)
    return next((number for number in line[-2::-1] if number is not None), None) if len(line) > 1 else None


def _check_reason(reason: str, *, force: bool = False) -> None:
    if force and not reason.strip():
        raise InputRefusedError("bad_reason", "to pass over a policy needs a reason", "Add --reason TEXT.")
    if len(reason) > _LONGEST_REASON:
        raise InputRefusedError("bad_reason", f"the reason is longer than {_LONGEST_REASON} characters", "Shorten it.")

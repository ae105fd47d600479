"""Stages of prompts moved: to a version that keeps the stage's policy, and back to the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.gates import Ruling, passes
from llmops_tui.evaluation.promotion import promotion
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.inference.router.names import resolve
from llmops_tui.inference.stages import Stage, StageChange, StageStore, StageSubject, stage_changes
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.models.aliases import AliasBook, alias_hash
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.label_audit import PROMOTED, ROLLED_BACK, WITHDRAWN, AuditedMove, audited_moves, note_moves
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

    def define(self, stage: Stage, *, reason: str = "", force: bool = False) -> tuple[Stage, list[Ruling]]:
        """Keep a stage: what answers for a label, and by which policy it moves; and what the policy said of another model.

        Where the label has a policy, another model answers only if that lets it in, as it would another version.

        Raises:
            NotFoundError: there is no such prompt or suite.
            InputRefusedError: no such model, ``bad_rule``, ``bad_policy``: rules without a suite that measures; ``bad_reason``:
                a suite or rule is taken away, or the policy passed over, without one; ``not_evaluated``.
            PolicyError: ``gate_closed``: the policy does not let the model in.
        """
        _check_reason(reason, force=force)
        subject = self.checked(stage)
        before = self.stages.get(stage.prompt, stage.label)
        if before is not None:
            self._refuse_without_reason(before, stage, reason)
        rulings = [] if before is None or force else self._of_another_model(before, stage)
        if before is not None and not passes(rulings):
            raise PolicyError(before, rulings)
        return self.stages.set(stage, subject, reason), rulings

    def _refuse_without_reason(self, before: Stage, after: Stage | None, reason: str) -> None:
        """Refuse to loosen a policy without a word."""
        kept = () if after is None else (*after.suites, *after.rules)
        gone = [one for one in (*before.suites, *before.rules) if one not in kept]
        if gone and not reason.strip():
            told = f"{before.ref}: its policy would be without {', '.join(gone)}"
            raise InputRefusedError("bad_reason", told, "Add --reason TEXT, which is kept with it.")

    def _of_another_model(self, before: Stage, after: Stage) -> list[Ruling]:
        """What a policy, as it was, says of the version that has the label, answered by another model."""
        held = self.held(before.prompt, before.label)
        if before.model == after.model or held is None:
            return []
        models = (after.model,) if after.model else ()
        return [
            replace(one, rule=f"{suite}: {one.rule}")
            for suite in before.suites
            for one in promotion(
                self._evaluations, f"{before.prompt}@{held}", before.label, suite, models, before.rules, before.model
            )
        ]

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

    def forget(self, stage: Stage, *, reason: str = "") -> None:
        """Have a label be a label alone again.

        Raises:
            InputRefusedError: ``bad_reason``: it has a policy, and no reason is given.
        """
        _check_reason(reason)
        self._refuse_without_reason(stage, None, reason)
        self.stages.remove(stage, StageSubject(self._first(stage.prompt)), reason)

    def changes(self, prompt: str, label: str) -> list[StageChange]:
        """When a label was made a stage, or was changed as one, the newest first."""
        names = {one.sha256: one.name for one in ModelRegistry(self._catalog).all()}
        return stage_changes(self._event_log, self._first(prompt), label, names)[::-1]

    def _first(self, prompt: str) -> str:
        return self.prompts.versions(prompt)[-1].id

    def _subject(self, stage: Stage) -> StageSubject:
        first = self._first(stage.prompt)
        if not stage.model:
            return StageSubject(first)
        models = ModelRegistry(self._catalog).all()
        try:
            aliases = AliasBook(self._catalog).all()
            meant = resolve(stage.model, models, aliases)
        except LlmopsError as error:
            raise InputRefusedError(error.code, error.message, error.hint) from error
        adapter = meant.name.partition("+")[2]
        known = {one.name: one.sha256 for one in models}
        named, _, own = stage.model.partition("+")
        # As they are found: a registered name first, then an alias whatever its case.
        alias = "" if named in known else next((one for one in aliases if one.lower() == named.lower()), "")
        return StageSubject(
            first,
            meant.model.sha256,
            known.get(adapter) if adapter else None,
            alias_hash(alias) if alias else None,
            known.get(own) if own and alias else None,
        )

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

    def withdraw(self, prompt: str, label: str, *, reason: str = "", expected: Held = ANY) -> int:
        """Take a label off the version that has it, so that nothing answers by it; the number of that version.

        The stage stays with its model and policy, by which the label comes back; :meth:`roll_back` brings back what it was on.

        Raises:
            InputRefusedError: ``bad_reason``: the stage has a policy, and no reason is given; ``no_label``; ``label_moved``.
        """
        _check_reason(reason)
        stage, held = self.stages.get(prompt, label), self.held(prompt, label)
        if held is None:
            told = f"no version of {prompt} has the label {label}"
            raise InputRefusedError("no_label", told, "llmops stage show lists what the stages are on.")
        if stage is not None and stage.suites and not reason.strip():
            told = f"{stage.ref} has a policy, and nothing would answer by it"
            raise InputRefusedError("bad_reason", told, "Add --reason TEXT, which is kept with it.")
        wanted = held if expected is ANY else expected
        self._history.remove_label(prompt, label, expected=wanted, kind=WITHDRAWN, reason=reason, by_policy=True)
        return held

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

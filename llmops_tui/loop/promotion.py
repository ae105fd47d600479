"""A retrained model put in the place of the one that answers, where the gate lets it in; and the way back."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.stages import keep_stage
from llmops_tui.loop.subject import resolved
from llmops_tui.models.alias_acts import Act, settle_aliases
from llmops_tui.models.aliases import MODEL_PROMOTED, MODEL_ROLLED_BACK, AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.audit import Fact, add_entry, entries
from llmops_tui.workspace.audit_reasons import keep_reason, reasons_of
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from llmops_tui.deployment.promotions import Promotions
    from llmops_tui.inference.stages import Stage
    from llmops_tui.loop.gate import Gate
    from llmops_tui.loop.subject import Subject
    from llmops_tui.workspace.audit import AuditEntry
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Replacement:
    """A model that took the place of another for a name; models as they are asked, empty where one is registered no more."""

    kind: str
    at: float
    before: str
    after: str
    reason: str
    by: str
    audit: int


class ClosedError(LlmopsError):
    """The gate does not let a candidate in; ``gate`` says why."""

    def __init__(self, gate: Gate) -> None:
        hint = (
            "llmops loop gate shows all of it; --force --reason TEXT promotes it all the same, which the audit keeps."
        )
        super().__init__("gate_closed", f"{gate.subject.name} stays with {gate.subject.model}: {gate.told}", hint)
        self.gate = gate


class Replacements:
    """Models that take each other's place for a name; each is an entry of the audit."""

    def __init__(self, catalog: Catalog, event_log: EventLog, promotions: Promotions) -> None:
        self._catalog = catalog
        self._event_log = event_log
        self._promotions = promotions

    def promote(self, gate: Gate, *, reason: str = "", force: bool = False) -> Replacement:
        """Have a candidate answer for its subject's name: the stage's model is it from now on, or the alias stands for it.

        Raises:
            ClosedError: ``gate_closed``. InputRefusedError: ``bad_reason``: forced without one; ``model_moved``: somebody else
                put another model there meanwhile; ``no_alias``: the name is a model's own.
        """
        if force and not reason.strip():
            raise InputRefusedError("bad_reason", "to pass over a gate needs a reason", "Add --reason TEXT.")
        if not gate.passes and not force:
            raise ClosedError(gate)
        ruled = json.dumps([one.as_dict() for one in gate.rulings], sort_keys=True)
        facts: dict[str, Fact] = {"gate": sha256_text(ruled), "forced": force and not gate.passes}
        return self._replace(gate.subject, gate.candidate, MODEL_PROMOTED, reason, facts)

    def roll_back(self, subject: Subject, *, reason: str = "") -> Replacement:
        """Have the model answer again that did before the one of now, whatever the gate says of it.

        Raises:
            InputRefusedError: ``no_way_back``: none was replaced here; ``model_moved``.
        """
        line: list[str] = []
        for one in self.history(subject.name)[::-1]:
            if len(line) > 1 and line[-2] == one.after:
                line.pop()
            else:
                line += ([one.before] if not line else []) + [one.after]
        if len(line) < 2 or line[-1] != subject.model or not line[-2]:
            told = f"no model that is registered was in the place of {subject.model} for {subject.name} before"
            raise InputRefusedError(
                "no_way_back", told, "llmops stage set --model NAME, or llmops model alias, sets any model."
            )
        return self._replace(subject, line[-2], MODEL_ROLLED_BACK, reason, {})

    def history(self, name: str) -> list[Replacement]:
        """What took whose place for a name, the newest first."""
        settle_aliases(self._catalog, self._event_log)
        models = {one.sha256: one.name for one in ModelRegistry(self._catalog).all()}
        reasons, called = reasons_of(self._event_log), _called(name)

        def known(facts: Mapping[str, Fact], which: str) -> str:
            model = models.get(str(facts.get(which)), "")
            adapter = facts.get(f"{which}_adapter")
            with_it = models.get(str(adapter), "") if adapter else ""
            return "" if not model or (adapter and not with_it) else f"{model}+{with_it}".rstrip("+")

        return [
            Replacement(
                one.kind, _moment(one), known(one.facts, "before"), known(one.facts, "after"),
                reasons.get(one.seq, ""), one.by, one.seq,
            )
            for one in reversed(list(entries(self._event_log.connection())))
            if one.kind in {MODEL_PROMOTED, MODEL_ROLLED_BACK} and one.subject == called
        ]  # fmt: skip

    def _replace(self, subject: Subject, model: str, kind: str, reason: str, more: dict[str, Fact]) -> Replacement:
        if len(reason) > _LONGEST_REASON:
            raise InputRefusedError(
                "bad_reason", f"the reason is longer than {_LONGEST_REASON} characters", "Shorten it."
            )
        after = resolved(self._catalog, model).name
        facts = {**self._hashes("before", subject.model), **self._hashes("after", after), **more}
        called = _called(subject.name)
        if subject.stage is not None:
            # Whoever else would put a model there waits, so what is looked at here still holds when it is moved; the move and its
            # entry are there together or not at all.
            with self._event_log.transaction() as connection:
                self._put(connection, subject, subject.stage, after)
                entry = add_entry(connection, kind, called, facts)
                if reason:
                    keep_reason(connection, entry.seq, reason)
        elif subject.alias:
            entry = self._move_alias(subject, after, Act(kind, called, facts, reason))
        else:
            told = f"{subject.name} is a model's own name, which cannot stand for another model"
            hint = f"llmops model alias {subject.name} ALIAS makes a name that can; applications ask for that."
            raise InputRefusedError("no_alias", told, hint)
        return Replacement(kind, _moment(entry), subject.model, after, reason, entry.by, entry.seq)

    def _put(self, connection: sqlite3.Connection, subject: Subject, stage: Stage, after: str) -> None:
        held = self._promotions.stages.get(stage.prompt, stage.label)
        if held is None or held.model != stage.model:
            raise _moved(subject, held.model if held is not None else "no stage")
        made = replace(held, model=after)
        keep_stage(connection, made, self._promotions.checked(made))

    def _move_alias(self, subject: Subject, after: str, act: Act) -> AuditEntry:
        book = AliasBook(self._catalog)
        stands_for = book.all().get(subject.alias, "")
        if not stands_for or resolved(self._catalog, stands_for).name != subject.model:
            raise _moved(subject, stands_for or "nothing")
        return book.move(subject.alias, stands_for, after, act)

    def _hashes(self, which: str, model: str) -> dict[str, Fact]:
        base, _, adapter = model.partition("+")
        registry = ModelRegistry(self._catalog)
        try:
            found: dict[str, Fact] = {which: registry.get(base).sha256}
            return {**found, f"{which}_adapter": registry.get(adapter).sha256} if adapter else found
        except NotFoundError:
            return {which: None}


def _moment(entry: AuditEntry) -> float:
    """When it was done; an entry that was added for a process that was killed is younger."""
    return float(entry.facts.get("moved_at") or entry.at)


def _called(name: str) -> str:
    """What the audit calls a served name: it holds no names."""
    return sha256_text(name)[:16]


def _moved(subject: Subject, now: str) -> InputRefusedError:
    told = f"{subject.name} was answered by {subject.model} when this began, and is by {now} now"
    return InputRefusedError("model_moved", told, "Look again: llmops loop status.")

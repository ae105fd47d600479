"""What was in force at a moment: versions of prompts and the models that answered them, aliases, guards, and experiments.

All of it is read from the audit, whose chain tells whether anything was changed since; names are looked up today.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from llmops_tui.deployment.missing_entries import add_missing_entries
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.experiments.store import BEGAN, ROLLED_BACK, STOPPED, ExperimentStore
from llmops_tui.inference.guardrails.store import UNUSED, USED, GuardStore
from llmops_tui.inference.stages import REMOVED, SET, label_hash
from llmops_tui.models.aliases import ALIASED, MODEL_PROMOTED, MODEL_ROLLED_BACK, UNALIASED, AliasBook, alias_hash
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.label_audit import KINDS
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.workspace.audit import AuditEntry, entries
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

Kind = Literal["prompt", "alias", "guards", "experiment"]
_NO_MORE = "a model that is registered no more"


class InForceRecord(TypedDict):
    """As JSON; moments are seconds since 1970, ``audit`` is the number of the entry that says so."""

    kind: str
    name: str
    what: str
    sha256: str | None
    model: str | None
    model_sha256: str | None
    adapter_sha256: str | None
    since: float
    audit: int


@dataclass(frozen=True)
class InForce:
    """One thing that was in force: a prompt's label with its version and model, an alias, or an experiment with its arms.

    ``name`` is what it is called today, ``what`` the version or the arms, and ``sha256`` the hash of that.
    """

    kind: Kind
    name: str
    what: str
    sha256: str | None
    since: float
    audit: int
    model: str | None = None
    model_sha256: str | None = None
    adapter_sha256: str | None = None

    def as_record(self) -> InForceRecord:
        """For JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "what": self.what,
            "sha256": self.sha256,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "adapter_sha256": self.adapter_sha256,
            "since": self.since,
            "audit": self.audit,
        }


def in_force_at(catalog: Catalog, event_log: EventLog, moment: float) -> list[InForce]:
    """What was in force at a moment, in seconds since 1970: prompts by name, then aliases, guards and experiments.

    A server that was asked by the name of a model was not bound by any of this; which servers ran, and what answers around
    the moment came from, :func:`llmops_tui.traces.served.served_at` says.
    """
    prompts = PromptStore(catalog)
    add_missing_entries(catalog, event_log)
    every = list(entries(event_log.connection()))
    return [
        *_prompts(every, moment, prompts, catalog),
        *_aliases(every, moment, catalog),
        *_guards(every, moment, event_log, catalog),
        *_experiments(every, moment, event_log),
    ]


def _prompts(every: list[AuditEntry], moment: float, store: PromptStore, catalog: Catalog) -> list[InForce]:
    moved: dict[tuple[str, str], tuple[float, AuditEntry]] = {}
    stages: dict[tuple[str, str], AuditEntry] = {}
    for entry in every:
        label = str(entry.facts.get("label") or "")
        if entry.kind in KINDS:
            # An entry that was added late tells when the label moved.
            at, place = float(entry.facts.get("moved_at") or entry.at), (str(entry.facts.get("prompt") or ""), label)
            if at <= moment and (place not in moved or moved[place][0] <= at):
                moved[place] = (at, entry)
        elif entry.kind in {SET, REMOVED} and entry.at <= moment:
            stages[entry.subject, label] = entry
    names = {one.sha256: one.name for one in ModelRegistry(catalog).all()}
    stood = _stood(every, moment, catalog)
    known = _Known(store)
    found = []
    for place, move in moved.items():
        if not move[1].subject:
            continue  # the label was taken away
        version, label = known.version(move[1].subject), known.label(place[1])
        # What answered is as it was since the newest of those that decide: the move, the stage, what its alias stands for.
        decided, model, adapter = [move], "", ""
        stage = stages.get(place)
        if stage is not None:
            decided.append((stage.at, stage))
            model, adapter = str(stage.facts.get("model") or ""), str(stage.facts.get("adapter") or "")
            alias = stood.get(str(stage.facts.get("alias") or ""))
            if alias is not None:
                decided.append(alias)
                model, theirs = _stands_for(alias[1])
                adapter = str(stage.facts.get("own_adapter") or "") or theirs
        at, evidence = max(decided, key=lambda one: (one[0], one[1].seq))
        found.append(
            InForce(
                "prompt",
                f"prompt/{version.prompt}@{label}" if version is not None else f"a prompt that is removed, {place[0]}",
                version.ref if version is not None else move[1].subject,
                version.sha256 if version is not None else None,
                at,
                evidence.seq,
                names.get(model, _NO_MORE) if model else None,
                model or None,
                adapter or None,
            )
        )
    return sorted(found, key=lambda one: one.name)


def _stood(every: list[AuditEntry], moment: float, catalog: Catalog) -> dict[str, tuple[float, AuditEntry]]:
    """By what the audit calls an alias, since when it was as it was at a moment, and the entry that says so."""
    called = {alias_hash(alias) for alias in AliasBook(catalog).all()}
    stood: dict[str, tuple[float, AuditEntry]] = {}
    for entry in every:
        if entry.kind in {ALIASED, UNALIASED}:
            place = str(entry.facts.get("alias") or "")
        elif entry.kind in {MODEL_PROMOTED, MODEL_ROLLED_BACK} and (entry.subject in stood or entry.subject in called):
            place = entry.subject
        else:
            continue
        # An entry that was added late tells when the alias moved.
        at = float(entry.facts.get("moved_at") or entry.at)
        if at <= moment and (place not in stood or stood[place][0] <= at):
            stood[place] = (at, entry)
    return stood


def _stands_for(entry: AuditEntry) -> tuple[str, str]:
    """The hashes of the model and of the adapter that an alias stands for; empty for none."""
    if entry.kind == UNALIASED:
        return "", ""
    moved = entry.kind in {MODEL_PROMOTED, MODEL_ROLLED_BACK}
    model = entry.facts.get("after") if moved else entry.subject
    return str(model or ""), str(entry.facts.get("after_adapter" if moved else "adapter") or "")


def _aliases(every: list[AuditEntry], moment: float, catalog: Catalog) -> list[InForce]:
    """What each alias stood for; one that is none any more is told by what the audit calls it."""
    called = {alias_hash(alias): alias for alias in AliasBook(catalog).all()}
    names = {one.sha256: one.name for one in ModelRegistry(catalog).all()}
    found = []
    for place, (at, entry) in _stood(every, moment, catalog).items():
        if entry.kind == UNALIASED:
            continue
        model, adapter = _stands_for(entry)
        parts = [names.get(one, _NO_MORE) for one in (model, adapter) if one]
        found.append(
            InForce(
                "alias",
                called.get(place, f"an alias that is removed, {place}"),
                f"alias of {'+'.join(parts) or _NO_MORE}",
                None,
                at,
                entry.seq,
                parts[0] if parts else None,
                model or None,
                adapter or None,
            )
        )
    return sorted(found, key=lambda one: one.name)


class _Known:
    """Prompts of today, by what the audit calls them."""

    def __init__(self, store: PromptStore) -> None:
        self._by_id: dict[str, PromptVersion] = {
            one.id: one for prompt in store.summaries() for one in store.versions(prompt.name)
        }
        self._labels = {label_hash(move.label): move.label for move in store.all_label_moves()}

    def version(self, key: str) -> PromptVersion | None:
        return self._by_id.get(key)

    def label(self, hashed: str) -> str:
        return self._labels.get(hashed, hashed)


def _guards(every: list[AuditEntry], moment: float, event_log: EventLog, catalog: Catalog) -> list[InForce]:
    running: dict[str | None, AuditEntry] = {}
    for entry in every:
        if entry.at > moment:
            break
        place = None if entry.facts.get("model") is None else str(entry.facts["model"])
        if entry.kind == USED:
            running[place] = entry
        elif entry.kind == UNUSED:
            running.pop(place, None)
    store = GuardStore(event_log)
    models = {sha256_text(one.name)[:16]: one.name for one in ModelRegistry(catalog).all()} if running else {}
    found = []
    for place, entry in running.items():
        version = store.with_hash(entry.subject)
        what = "a guard set that is damaged or not there any more"
        if version is not None:
            on = [one.name for one in version.guards.guards if one.mode == "on"]
            what = f"{version.ref}, on: {', '.join(on) or 'none'}"
        name = "guards of all models" if place is None else f"guards of {models.get(place, place)}"
        found.append(InForce("guards", name, what, entry.subject, entry.at, entry.seq))
    return found


def _experiments(every: list[AuditEntry], moment: float, event_log: EventLog) -> list[InForce]:
    running: dict[str, AuditEntry] = {}
    back: set[str] = set()
    for entry in every:
        if entry.at > moment:
            break
        if entry.kind == BEGAN:
            running[entry.subject] = entry
        elif entry.kind == STOPPED:
            running.pop(entry.subject, None)
        elif entry.kind == ROLLED_BACK:
            back.add(entry.subject)
    found = []
    for key, entry in running.items():
        try:
            one = ExperimentStore(event_log).get(key)
        except LlmopsError:
            continue
        settings = one.settings
        share = f", {settings['share']:.0%} to B" if one.kind != "shadow" else ", B beside"
        arms = f"A {settings['a']}, B {settings['b']}" + (", went back to A" if key in back else share)
        told = str(entry.facts.get("settings") or "") or None
        found.append(InForce("experiment", one.name, f"{one.kind} {key}: {arms}", told, entry.at, entry.seq))
    return found

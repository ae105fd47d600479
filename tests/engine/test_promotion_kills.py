"""Thirty kills of a promotion, each at another moment: the name is where it was or where it was to go, and the audit knows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops_tui.deployment.promotions import Promotions
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.loop.gate import Gate
from llmops_tui.loop.promotion import Replacements
from llmops_tui.loop.subject import subject_of
from llmops_tui.maintenance.check import check
from llmops_tui.models.alias_acts import settle_aliases
from llmops_tui.models.aliases import ALIASED, MODEL_PROMOTED, UNALIASED, AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.label_audit import audited_moves
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.audit import entries, problems
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.killed_acts import KilledActs

# Each wait within is bounded by what a busy machine allows; this bounds only what stands still.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
KILLS = 30
REASON = "it is shorter"


def _promotions(root: str | Path) -> Promotions:
    workspace = Workspace(Path(root))
    return Promotions(Catalog(workspace), EventLog(workspace), EvaluationStore(workspace))


def _replacements(root: str | Path) -> Replacements:
    workspace = Workspace(Path(root))
    return Replacements(Catalog(workspace), EventLog(workspace), _promotions(root))


def _copies(made: Workspace, act: str) -> Iterator[tuple[int, Workspace]]:
    """Copies of a workspace, in each of which the act was killed at another moment: evenly over all of it, the end included."""
    workspace = Workspace(made.root.parent / "ws")
    name = f"tests.engine.test_promotion_kills:{act}"
    with KilledActs(name) as acts:
        shutil.copytree(made.root, workspace.root)
        calls = acts.calls(str(workspace.root))
        for number in range(KILLS):
            shutil.rmtree(workspace.root)
            shutil.copytree(made.root, workspace.root)
            acts.kill(max(1, calls * (number + 1) // KILLS), str(workspace.root))
            yield number, workspace


# ── a version of a prompt ──


def promoting(root: str) -> Callable[[], object]:
    moving = _promotions(root)
    return lambda: moving.promote("support@2", "production", reason=REASON)


def test_a_killed_promotion_is_the_old_or_the_new(tmp_path: Path) -> None:
    made = make_workspace(Workspace(tmp_path / "made"))
    with_label = _promotions(made.root)
    for text in "ab":
        with_label.prompts.save("support", template=text)
    with_label.promote("support@1", "production")
    seen = []
    for number, workspace in _copies(made, "promoting"):
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        moving = _promotions(workspace.root)
        held = moving.held("support", "production")
        assert held in {1, 2}
        seen.append(held)
        # Whoever looks adds what is not in the audit yet, once.
        history = moving.history("support", "production")
        assert [move.after for move, _ in history] == list(range(held, 0, -1))
        assert all(entry is not None for _, entry in history)
        assert len(list(audited_moves(event_log))) == held
        assert problems(event_log.connection(), {}) == []
        assert check(workspace).errors == [], number
        # And the next one goes on from there.
        ids = PromptStore(catalog).version_ids({"support"})
        moved = moving.promote("support@2" if held == 1 else "support@1", "production")
        assert moved.version.id == ids["support", 3 - held]
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}


# ── a model, by an alias ──


def _with_models(tmp_path: Path, **aliases: str) -> Workspace:
    made = make_workspace(Workspace(tmp_path / "made"))
    catalog = Catalog(made)
    for name in ("old", "new"):
        path = made.models / f"{name}.gguf"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        row = (name, "gguf", str(path), f"{name:0<64}", 3, json.dumps({"architecture": "llama"}), 1.0)
        catalog.write(
            lambda connection, row=row: connection.execute(
                "INSERT INTO models (name, kind, path, sha256, size_bytes, header, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        )
    for alias, model in aliases.items():
        AliasBook(catalog).add(model, alias)
    return made


def _gate(workspace: Workspace, candidate: str) -> Gate:
    subject = subject_of(Catalog(workspace), EventLog(workspace), "shop")
    return Gate(subject, candidate, (), (), has_new=True)


def promoting_a_model(root: str) -> Callable[[], object]:
    gate, moving = _gate(Workspace(Path(root)), "new"), _replacements(root)
    return lambda: moving.promote(gate, force=True, reason=REASON)


def test_a_killed_promotion_of_an_alias_is_the_old_or_the_new(tmp_path: Path) -> None:
    seen = []
    for _, workspace in _copies(_with_models(tmp_path, shop="old"), "promoting_a_model"):
        event_log = EventLog(workspace)
        stands_for = AliasBook(Catalog(workspace)).all()["shop"]
        seen.append(stands_for)
        moving = _replacements(workspace.root)
        # Whoever looks finds it in the audit as what it was, with the reason, where the alias has moved; else not.
        wanted = [(MODEL_PROMOTED, "old", "new", REASON)] if stands_for == "new" else []
        for _ in range(2):
            told = moving.history("shop")
            assert [(one.kind, one.before, one.after, one.reason) for one in told] == wanted
        assert [one.kind for one in entries(event_log.connection())] == [ALIASED, *(one[0] for one in wanted)]
        assert problems(event_log.connection(), {}) == []
        # And the next one goes on from there.
        other = "new" if stands_for == "old" else "old"
        assert moving.promote(_gate(workspace, other), force=True, reason=REASON).after == other
        assert [one.after for one in moving.history("shop")] == [other, *(one[2] for one in wanted)]
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"old", "new"}


def adding(root: str) -> Callable[[], object]:
    book = AliasBook(Catalog(Workspace(Path(root))))
    return lambda: book.add("new", "shop")


def removing(root: str) -> Callable[[], object]:
    book = AliasBook(Catalog(Workspace(Path(root))))
    return lambda: book.remove("shop")


def removing_its_model(root: str) -> Callable[[], object]:
    registry = ModelRegistry(Catalog(Workspace(Path(root))))
    return lambda: registry.remove("old")


@pytest.mark.parametrize(
    ("act", "aliases", "kind"),
    [
        ("adding", {}, ALIASED),
        ("removing", {"shop": "old"}, UNALIASED),
        ("removing_its_model", {"shop": "old", "till": "old"}, UNALIASED),
    ],
)
def test_a_killed_change_of_an_alias_is_there_with_its_entry_or_not_at_all(
    tmp_path: Path, act: str, aliases: dict[str, str], kind: str
) -> None:
    seen = []
    for _, workspace in _copies(_with_models(tmp_path, **aliases), act):
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        done = AliasBook(catalog).all() != aliases
        seen.append(done)
        for _ in range(2):
            settle_aliases(catalog, event_log)
            changed = [kind] * max(1, len(aliases)) * done
            assert [one.kind for one in entries(event_log.connection())] == [ALIASED] * len(aliases) + changed
        if act == "removing_its_model":
            assert ("old" in {one.name for one in ModelRegistry(catalog).all()}) is not done
        assert problems(event_log.connection(), {}) == []
    assert seen == sorted(seen)
    assert set(seen) == {False, True}

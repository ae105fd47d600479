"""A thousand kills over all that writes, with two others at work: what was acknowledged is there, once, and the rest is whole."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.maintenance import check_catalog, check_files, encryption
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.findings import Report
from llmops_tui.maintenance.gc import plan
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.sample_files import sample_folder
from llmops_tui.settings import Settings
from llmops_tui.workspace import catalog
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.trust import trust
from tests.engine.tiny_models import write_tiny
from tests.maintenance.kills.ledger import Known, Place
from tests.maintenance.kills.records import lines, trace
from tests.maintenance.kills.server import KillServer, Order
from tests.maintenance.kills.work import CASES
from tests.maintenance.kills.writers import BESIDE, CHEAP, all_kinds

_log = logging.getLogger(__name__)


@pytest.fixture(autouse=True)
def as_the_writers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess at a passphrase is cheap here, and the catalog is waited for, as where the writers are."""
    monkeypatch.setattr(encryption, "_COST", CHEAP)
    monkeypatch.setattr(catalog, "_usual_seconds", catalog.JOB_LOCK_SECONDS)


KINDS = {name: kind for name, kind in all_kinds(stand_in=False).items() if name != BESIDE}
# Of all kinds together; each gets its share.
KILLS = int(os.environ.get("LLMOPS_KILLS", "1000"))
SEED = int(os.environ.get("LLMOPS_KILLS_SEED", "26"))
# Those that get on in one workspace.
_DOZEN = (
    "prompts", "drafts", "traces", "feedback", "imports", "labels", "models", "history", "rules", "training", "seals", "settings",
)  # fmt: skip
# What a kill is chosen within: so many writings from the beginning.
_WRITINGS = 3
# After each kill what was written is looked at, and the databases; everything after so many.
_WHOLE_CHECK = 8


@pytest.fixture(scope="session")
def kill_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillServer]:
    server = KillServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def small_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small workspace with something of all that is needed."""
    root = tmp_path_factory.mktemp("small") / "ws"
    folder = root.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        workspace = make_workspace(Workspace(root))
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        registry = ModelRegistry(catalog)
        registry.add(write_tiny(root / "models" / "tiny.gguf", "llama", layers=1, vocabulary=300), "tiny")
        registry.add(sample_folder() / "models" / "support-base", "weights")
        for name in "kt":
            registry.add_remote(f"http://{name}.example/v1", f"far-{name}", {"remote_model": name, "lacks": {}})
        PromptStore(catalog).save("hello", template="Hello {{name}}")
        (folder / "base.jsonl").write_text(lines("one") + lines("two"))
        import_now(DatasetStore(catalog), [folder / "base.jsonl"], "base", "messages")
        cases = [{"vars": {"name": str(n)}, "expected": "yes"} for n in range(CASES)]
        EvaluationStore(workspace).save_suite(
            check_suite({"cases": cases, "prompt": "hello", "metrics": ["exact"]}, "suite")
        )
        event_log.append_many([("request", f"run_base{n}", trace("base")) for n in range(5)])
        event_log.close()
        record_checksums(workspace)
    return root


def copied(once: Path, folder: Path) -> Place:
    root = folder / "ws"
    shutil.copytree(once, root)
    place = Place(root, folder / "else")
    place.folder.mkdir()
    trust(place.workspace)
    return place


def order(kind: str, place: Place, label: str, seed: int, **how: Any) -> Order:
    return Order(kind, str(place.root), str(place.folder), os.environ["XDG_CONFIG_HOME"], label, seed, **how)


class Campaign:
    """Kills of one kind of writing in one workspace, with two others at work there."""

    def __init__(self, server: KillServer, name: str, place: Place, writings: int = _WRITINGS) -> None:
        self.server, self.name, self.place, self.writings = server, name, place, writings
        self.kind = KINDS[name]
        self.known = Known()
        self.kills = self.rounds = 0
        self.chance = Random(f"{SEED} {name}")
        # How many lines and seconds a few writings take.
        self.lines, self.seconds = 1, 1.0

    def order(self, label: str, **how: float) -> Order:
        return order(self.name, self.place, label, self.chance.randrange(10**6), **how)

    def write(self, **how: float) -> dict[str, float]:
        """Have it written until the end that was asked for; returns what is known of that."""
        self.rounds += 1
        answer = self.server.ask(self.order(f"k{self.rounds}", **how))
        self.known.add(answer["told"].encode())
        assert not self.known.failures, "\n".join(self.known.failures)
        return answer

    def measure(self) -> None:
        answer = self.write(limit=self.writings, lines=-1)
        self.lines, self.seconds = int(answer["lines"]), answer["seconds"]

    def kill(self) -> None:
        """At some line of our code, or at some moment."""
        if self.kills % 2:
            answer = self.write(seconds=self.chance.uniform(0, self.seconds))
        else:
            answer = self.write(lines=self.chance.randint(1, self.lines))
        assert answer["status"] == -signal.SIGKILL
        self.kills += 1
        self.verify(whole=False)

    def join(self, others: list[tuple[str, Path]]) -> None:
        """Look at everything once more, with what the two others told."""
        beside = Known()
        for kind, told in others:
            known = beside if kind == BESIDE else self.known
            known.add(told.read_bytes())
            assert not known.failures, "\n".join(known.failures)
        self.verify(whole=True)
        all_kinds(stand_in=False)[BESIDE].verify(self.place, beside, True)

    def verify(self, *, whole: bool) -> None:
        report = Report()
        if whole or self.kills % _WHOLE_CHECK == 0:
            report = check(self.place.workspace)
        else:
            check_files.against_checksums(self.place.workspace, report, lambda _share, _what: None)
            check_catalog.event_log(self.place.workspace, report)
            check_catalog.catalog(self.place.workspace, report)
        wrong = [error for error in report.errors if not self.kind.may_find(error, self.known)]
        assert not wrong, wrong
        self.kind.verify(self.place, self.known, whole)


def with_two_others(server: KillServer, found: list[Campaign], kills: int) -> None:
    """Kill each of some campaigns in one workspace, while one process looks on there and another writes as the first does."""
    first = found[0]
    twin = first.name if first.kind.shared else BESIDE
    others = [(BESIDE, first.place.folder.with_name("beside")), (twin, first.place.folder.with_name("twin"))]
    for number, (kind, told) in enumerate(others):
        server.ask(order(kind, first.place, f"{'bt'[number]}0", number, beside=str(told)))
    try:
        for each in found:
            each.measure()
            for _ in range(kills):
                each.kill()
            # The next command, which nobody kills, fixes what is to be fixed.
            each.write(limit=2 * each.writings)
    finally:
        codes = server.end_beside()
    assert codes == [0, 0]
    first.join(others)
    for each in found[1:]:
        each.kind.verify(each.place, each.known, True)
    check_leftovers(first.place.workspace)


def check_leftovers(workspace: Workspace) -> None:
    """What kills left behind is cleared away once it is old enough."""
    going = {removal.path for removal in plan(workspace, Settings(), now=time.time() + 7200)}
    left = [path for path in workspace.root.rglob(".*") if path.name != ".llmops"]
    assert not [path for path in left if not going & {path, *path.parents}]


@pytest.mark.slow
def test_a_dozen_kinds_of_writing_are_killed_once(kill_server: KillServer, small_once: Path, tmp_path: Path) -> None:
    place = copied(small_once, tmp_path)
    found = []
    for name in _DOZEN:
        folder = tmp_path / name
        folder.mkdir()
        found.append(Campaign(kill_server, name, Place(place.root, folder), writings=1))
    with_two_others(kill_server, found, 1)
    assert sum(each.kills for each in found) == len(_DOZEN)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", KINDS)
def test_a_thousand_kills(kill_server: KillServer, small_once: Path, tmp_path: Path, name: str) -> None:
    number = list(KINDS).index(name)
    kills = KILLS * (number + 1) // len(KINDS) - KILLS * number // len(KINDS)
    began = time.monotonic()
    found = Campaign(kill_server, name, copied(small_once, tmp_path))
    found.kind.prepare(found.place)
    with_two_others(kill_server, [found], kills)
    _log.info("%s: %d kills, %d writings, %.0f s", name, found.kills, len(found.known.all), time.monotonic() - began)
    assert found.kills == kills

"""Each file of a workspace, spoilt in each way: every command answers in one clear line, and nothing else is changed."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust
from tests.maintenance.campaign_commands import CHANGES, DEAR_LOOKS, LOADS, Command, looks
from tests.maintenance.corruption import FOREIGN, SPOILING, Spoil, contents, empty, foreign, gone, replaced, unreadable
from tests.maintenance.forked_cli import NO_RIGHTS, Done, ForkedCommands
from tests.maintenance.full_workspace import Whole, make_whole

_log = logging.getLogger(__name__)

WORKERS = 2
# Locks, and what is beside a database or a server while it is at work.
PASSING = (".lock", ".held", "-wal", "-shm", ".sock", "runs/servers/")


def names_of(root: Path) -> list[str]:
    """The files of a workspace, of those that are of one kind one."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and path.stat().st_size and not name.endswith(PASSING) and not name.startswith(PASSING):
            found.setdefault(_kind(name, path), name)
    return list(found.values())


def _kind(name: str, path: Path) -> str:
    """Folders of jobs and of datasets are named by chance or by a hash: one of each is like the others."""
    if name.startswith("models/"):
        return f"models/{path.suffix}"
    alike = name.startswith(("runs/", "datasets/", "logs/")) and "rejected" not in name
    return path.name if alike else name


def may_pass(spoil: Spoil, name: str, when: str) -> bool:
    """Whether a check may say nothing of it.

    What is printed may end, what was only measured may be deleted, and the marker is made again from the catalog.
    """
    if name.startswith(("logs/", "backups/")) or (spoil is gone and name == "workspace.json"):
        return True
    if when == "at once":
        return False
    # Of a database that was written since, structure and rows are checked: a bit in unused space shows in neither.
    return (spoil in {gone, empty} and name in {"history.db", "answers.db"}) or (
        spoil is replaced and name.endswith(".db")
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        return make_whole(tmp_path_factory.mktemp("whole"))


class Trial:
    """One file of one copy, spoilt in one way, and what every command said of it."""

    def __init__(self, commands: ForkedCommands, whole: Whole, place: Path, spoil: Spoil, name: str) -> None:
        self.commands, self.whole, self.spoil, self.name = commands, whole, spoil, name
        self.place, self.root = place, place / "ws"
        self.counts: Counter[str] = Counter(trials=1)
        self.troubles: list[str] = []

    def trouble(self, what: str) -> None:
        self.troubles.append(f"{self.spoil.__name__} {self.name}: {what}")
        # Told at once, too: a campaign that runs out of time has not found it in vain.
        _log.warning("%s", self.troubles[-1])

    def run(self, *command: str) -> Done:
        """One command; what it says must be clear, whatever it met."""
        given = {
            "{out}": str(self.place / "out" / "out"),
            "{more}": str(self.place / "more.jsonl"),
            "{job}": self.whole.job,
        }
        arguments = list(command)
        for sign, text in given.items():
            arguments = [one.replace(sign, text) for one in arguments]
        shutil.rmtree(self.place / "out", ignore_errors=True)
        (self.place / "out").mkdir()
        done = self.commands.run("--workspace", str(self.root), *arguments)
        self.counts["commands"] += 1
        self.counts["failures"] += bool(done.code)
        self.counts["processor s"] += round(done.seconds, 1)  # type: ignore[assignment]
        if unclear := _unclear(done):
            self.trouble(f"{' '.join(command)}: {unclear}")
        return done

    def check(self, when: str) -> None:
        """The check names the file: what other commands do must not make the damage right."""
        done = self.run("--json", "check")
        if Path(self.name).name not in done.output and not may_pass(self.spoil, self.name, when):
            self.trouble(f"check {when}: exit {done.code}, does not name it: {done.output[-300:]} {done.errors[-300:]}")

    def go(self) -> None:
        """All of it."""
        shutil.copytree(self.whole.root, self.root)
        shutil.copy(self.whole.root.parent / "more.jsonl", self.place)
        foreign(self.root / self.name).parent.mkdir()
        foreign(self.root / self.name).write_text(FOREIGN, encoding="utf-8")
        # A key that came with a workspace would be put aside.
        key = self.root / "api-key"
        trusted = key.rename(self.place / "api-key")
        trust(Workspace(self.root))
        trusted.rename(key)
        self.spoil(self.root / self.name)
        self.check("at once")
        mine = self.name.startswith(("models/", "datasets/")) or "/" not in self.name
        before = contents(self.root, self.name)
        self._all(looks(self.whole))
        self._all(DEAR_LOOKS if mine else ())
        after = contents(self.root, self.name)
        if after != before:
            changed = sorted(one for one in {*before, *after} if after.get(one) != before.get(one))
            self.trouble(f"looks changed {changed[:4]}")
        if mine:
            self._all(CHANGES)
            self._all(LOADS if self.name.endswith(".gguf") else ())
            lost = sorted(before.keys() - contents(self.root, self.name).keys())
            if lost:
                self.trouble(f"took away {lost[:4]}")
        if foreign(self.root / self.name).read_text(encoding="utf-8") != FOREIGN:
            self.trouble("the file behind a link was written")
        self.check("at the end")
        _log.info("%s %s: %s", self.spoil.__name__, self.name, dict(self.counts))

    def _all(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            self.run(*command)


def _unclear(done: Done) -> str:
    """What is not clear in how a command ended; empty where it is."""
    if done.code is None:
        return "stands still"
    if "Traceback" in done.errors + done.output or "internal error:" in done.errors + done.output:
        return (done.errors or done.output)[-400:]
    if done.code not in {0, 1, 3}:
        return f"exit {done.code}: {done.errors[-400:]}"
    failures = [line for line in done.errors.splitlines() if line.startswith("llmops: ")]
    # Some say what is wrong as their result, on standard output.
    if done.code and len(failures) != 1 and not (done.code == 1 and done.output):
        return f"exit {done.code} with {len(failures)} lines: {done.errors[-400:]}"
    return ""


def run_all(
    whole: Whole, base: Path, spoil: Spoil, start: Callable[[], ForkedCommands]
) -> tuple[list[str], Counter[str]]:
    """Spoil each file in one way, several at once."""
    names = names_of(whole.root)

    def some(worker: int) -> tuple[list[str], Counter[str]]:
        commands = start()
        troubles: list[str] = []
        counts: Counter[str] = Counter()
        for number, name in list(enumerate(names))[worker::WORKERS]:
            place = base / f"trial{number}"
            place.mkdir()
            trial = Trial(commands, whole, place, spoil, name)
            trial.go()
            troubles += trial.troubles
            counts.update(trial.counts)
            shutil.rmtree(place)
        commands.close()
        return troubles, counts

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(some, range(WORKERS)))
    return [one for troubles, _ in found for one in troubles], sum((counts for _, counts in found), Counter())


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("spoil", SPOILING, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_file_is_told_and_nothing_else_changes(
    whole: Whole, tmp_path: Path, spoil: Spoil, record_property: Callable[[str, object], None]
) -> None:
    before = NO_RIGHTS if spoil is unreadable and os.geteuid() == 0 else ()
    if before and shutil.which(before[0]) is None:
        pytest.skip("root reads everything, and there is no setpriv to give that right away")
    troubles, counts = run_all(whole, tmp_path, spoil, lambda: ForkedCommands(before))
    record_property("counts", dict(counts))
    assert not troubles, "\n".join(troubles)

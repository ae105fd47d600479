"""Each file of a workspace, spoilt in each way: every command answers in one clear line, and nothing else is changed."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.keeping.campaign_commands import CHANGES, DEAR_LOOKS, LOADS, looks
from tests.keeping.forked_cli import Done, ForkedCommands
from tests.keeping.spoiling import SPOILING, Spoil, contents, foreign, unreadable
from tests.keeping.whole import Whole, make_whole

WORKERS = 2
# What a check needs not name: files that are made again, and of which nobody misses anything.
PASSING = (".lock", ".held", "-wal", "-shm", ".sock", "runs/servers/")
# Root may read everything, but for a process that gave that right away.
NO_RIGHTS = (
    "setpriv",
    "--bounding-set",
    "-dac_override,-dac_read_search",
    "--inh-caps",
    "-dac_override,-dac_read_search",
)


def names_of(root: Path) -> list[str]:
    """The files of a workspace, of those that are of one kind one."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.endswith(PASSING) and not name.startswith(PASSING):
            # Folders of jobs and of datasets are named by chance or by a hash: one of each is like the others.
            alike = path.name if name.startswith(("runs/", "datasets/", "logs/")) and "rejected" not in name else name
            alike = f"models/{path.suffix}" if name.startswith("models/") else alike
            found.setdefault(alike, name)
    return list(found.values())


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
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []

    def trouble(self, what: str) -> None:
        self.troubles.append(f"{self.spoil.__name__} {self.name}: {what}")

    def run(self, *command: str) -> Done:
        """One command; what it says must be clear, whatever it met."""
        given = {
            "{out}": str(self.place / "out" / "out"),
            "{more}": str(self.place / "more.jsonl"),
            "{job}": self.whole.job,
        }
        arguments = []
        for one in command:
            for sign, path in given.items():
                one = one.replace(sign, path)  # noqa: PLW2901
            arguments.append(one)
        shutil.rmtree(self.place / "out", ignore_errors=True)
        (self.place / "out").mkdir()
        done = self.commands.run("--workspace", str(self.root), *arguments, seconds=60)
        self.counts["commands"] += 1
        said = " ".join(command)
        lines = done.errors.splitlines()
        failures = [line for line in lines if line.startswith("llmops: ")]
        if done.code is None:
            self.trouble(f"{said}: stands still")
        elif any(sign in done.errors + done.output for sign in ("Traceback", "should not have happened", "Error: ")):
            self.trouble(f"{said}: {(done.errors or done.output)[-400:]}")
        elif done.code not in {0, 1, 2, 3} or (
            done.code and command[0] not in {"check", "doctor"} and len(failures) != 1
        ):
            if not (done.code == 1 and done.output):
                self.trouble(f"{said}: exit {done.code}: {done.errors[-400:]}")
        self.counts["failures"] += bool(done.code)
        return done

    def check(self, when: str) -> None:
        """The check names the file, before other commands and after."""
        done = self.run("--json", "check")
        if Path(self.name).name not in done.output:
            self.trouble(f"check {when}: does not name it: {done.code} {done.output[-300:]} {done.errors[-300:]}")

    def go(self) -> None:
        shutil.copytree(self.whole.root, self.root)
        shutil.copy(self.whole.root.parent / "more.jsonl", self.place)
        (self.place / "foreign").mkdir()
        foreign(self.root / self.name).write_text("not of this workspace\n", encoding="utf-8")
        self.commands.run("--workspace", str(self.root), "trust", "--yes")
        self.spoil(self.root / self.name)
        self.check("at once")
        before = contents(self.root, self.name)
        mine = self.name.startswith(("models/", "datasets/")) or "/" not in self.name
        for command in looks(self.whole):
            self.run(*command)
        for command in DEAR_LOOKS if mine else ():
            self.run(*command)
        after = contents(self.root, self.name)
        if after != before:
            changed = sorted(one for one in {*before, *after} if after.get(one) != before.get(one))
            self.trouble(f"looks changed {changed[:4]}")
        self.check("after looks")
        if not mine:
            return
        for command in (*CHANGES, *(LOADS if self.name.endswith(".gguf") else ())):
            self.run(*command)
        if foreign(self.root / self.name).read_text(encoding="utf-8") != "not of this workspace\n":
            self.trouble("the file behind a link was written")
        lost = sorted(one for one in before if one not in contents(self.root, self.name))
        if lost:
            self.trouble(f"changes took away {lost[:4]}")
        self.check("after changes")


def run_all(whole: Whole, base: Path, spoil: Spoil, before: tuple[str, ...]) -> tuple[list[str], Counter[str]]:
    """Spoil each file in one way, several at once."""
    names = names_of(whole.root)

    def some(worker: int) -> tuple[list[str], Counter[str]]:
        home = base / f"home{worker}"
        home.mkdir()
        commands = ForkedCommands(before, HOME=str(home), XDG_CONFIG_HOME=str(home / ".config"))
        troubles: list[str] = []
        counts: Counter[str] = Counter()
        for number, name in list(enumerate(names))[worker::WORKERS]:
            place = base / f"{number}"
            place.mkdir()
            trial = Trial(commands, whole, place, spoil, name)
            trial.go()
            troubles += trial.troubles
            counts += trial.counts
            counts["files"] += 1
            shutil.rmtree(place)
        commands.close()
        return troubles, counts

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(some, range(WORKERS)))
    return [one for troubles, _ in found for one in troubles], sum((counts for _, counts in found), Counter())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("spoil", SPOILING, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_file_is_told_and_nothing_else_changes(whole: Whole, tmp_path: Path, spoil: Spoil) -> None:
    before = NO_RIGHTS if spoil is unreadable and os.geteuid() == 0 else ()
    if before and shutil.which(before[0]) is None:
        pytest.skip("root reads everything, and there is no setpriv to give that right away")
    troubles, counts = run_all(whole, tmp_path, spoil, before)
    print(f"{spoil.__name__}: {dict(counts)}")
    assert not troubles, "\n".join(troubles)

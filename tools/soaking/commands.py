"""The three command lines of the soak: a writer, a runner and a keeper, each in a loop of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.maintenance.forked_cli import ForkedCommands
from tools.soaking.ledger import BUSY, Ledger

MODEL = "support-base"
PROMPTS = 6
DATASETS = 5
# A command that takes so long hangs, however busy the machine is.
_HANGS_SECONDS = 900


@dataclass
class Answer:
    """What a command said: its exit code, and the last JSON document of its standard output."""

    code: int
    data: dict[str, Any]
    narration: str

    @property
    def error(self) -> str:
        """The name of its failure; empty where it did what it was asked."""
        return "" if self.code == 0 else str((self.data.get("error") or {}).get("code", ""))

    @property
    def busy(self) -> bool:
        """Whether it asks to be tried again."""
        return self.error in BUSY


class Llmops:
    """The command line on the workspace; every answer goes into the ledger.

    Each command is an interpreter of its own, as a user starts it; with ``forked`` it is a fork of one process that has
    loaded the command line. Loading it takes longer than most questions, and an audit asks many.
    """

    def __init__(self, root: Path, ledger: Ledger, who: str, forked: ForkedCommands | None = None) -> None:
        self.root = root
        self.ledger = ledger
        self.who = who
        self._forked = forked

    def ask(self, *arguments: str, fine: tuple[str, ...] = ()) -> Answer:
        """Run one command; a failure that is neither "busy" nor one of these codes is a finding."""
        started = time.monotonic()
        done = self._run("--workspace", str(self.root), "--json", *arguments)
        if done is None:
            self.ledger.find(f"{self.who}: {arguments} hung for {_HANGS_SECONDS} s")
            return Answer(-1, {}, "")
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        answer = Answer(done.returncode, json.loads(lines[-1]) if lines else {}, done.stderr)
        seconds = round(time.monotonic() - started, 2)
        error = answer.error
        self.ledger.command(who=self.who, arguments=arguments, code=answer.code, error=error, seconds=seconds)
        if "Traceback" in done.stdout + done.stderr:
            self.ledger.find(f"{self.who}: {arguments} printed a traceback: {done.stderr[-3000:]}")
        elif answer.busy:
            self.ledger.count(f"busy: {error}")
        elif answer.code != 0 and error not in fine:
            self.ledger.find(f"{self.who}: {arguments} exit {answer.code}: {done.stdout[-600:]} {done.stderr[-600:]}")
        return answer

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str] | None:
        """Run it to its end; none where it does not come to that."""
        if self._forked is not None:
            done = self._forked.run(*arguments, seconds=_HANGS_SECONDS)
            if done.code is None:
                return None
            return subprocess.CompletedProcess(arguments, done.code, done.output, done.errors)
        command = [sys.executable, "-m", "llmops_tui", *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_HANGS_SECONDS)
        except subprocess.TimeoutExpired:
            return None


class Loop(threading.Thread):
    """Does one of its steps after the other, with a pause between, until it is told to end."""

    def __init__(self, llmops: Llmops, pause: float, seed: int) -> None:
        super().__init__(name=llmops.who)
        self.llmops = llmops
        self.ledger = llmops.ledger
        self.ended = threading.Event()
        self.random = Random(seed)
        self.number = 0
        self._pause = pause

    def steps(self) -> list[Callable[[], None]]:
        """What it does, in order."""
        raise NotImplementedError

    def run(self) -> None:
        """Until it is told to end."""
        steps = self.steps()
        while not self.ended.wait(self._pause):
            step = steps[self.number % len(steps)]
            self.number += 1
            try:
                step()
            except Exception as error:  # noqa: BLE001  whatever stops a loop is a finding, and the others go on
                self.ledger.find(f"{self.name}: {step.__name__}: {error!r}")


class Writer(Loop):
    """Imports, saves prompts, moves labels, labels rows, queries."""

    def steps(self) -> list[Callable[[], None]]:
        """Two writes for each look."""
        return [self._import, self._save, self._query, self._label_row, self._move_label, self._search]

    def _import(self) -> None:
        name = f"soak-{self.random.randrange(DATASETS)}"
        path = self.ledger.folder / "import.jsonl"
        rows = [{"text": f"{self.number} row {n} {self.random.random()}", "mark": n % 3} for n in range(50)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = self.llmops.ask("data", "import", str(path), "--name", name, "--yes")
        if made.code == 0:
            self.ledger.acknowledge(
                "dataset", name=name, version=made.data["version"], sha256=made.data["sha256"], rows=len(rows)
            )

    def _save(self) -> None:
        name = f"soaked-{self.random.randrange(PROMPTS)}"
        text = f"Prompt {self.number} of {self.random.random()}: {{{{ question }}}}"
        made = self.llmops.ask("prompt", "save", name, "--text", text)
        if made.code == 0:
            self.ledger.acknowledge(
                "version", prompt=name, version=made.data["version"], sha256=made.data["sha256"], text=text
            )

    def _move_label(self) -> None:
        made = max((fact["version"], fact["prompt"]) for fact in self.ledger.facts("version") if "sha256" in fact)
        ref = f"{made[1]}@{made[0]}"
        if self.llmops.ask("prompt", "tag", ref, "soak").code == 0:
            self.ledger.acknowledge("label", prompt=made[1], version=made[0], label="soak")

    def _label_row(self) -> None:
        row, value = self.random.randrange(300), self.random.choice(["good", "bad"])
        arguments = ("--task", "mood", "--labels", "good,bad", "--annotator", "writer", "--row", str(row))
        if self.llmops.ask("data", "label", "triage-test@1", *arguments, "--value", value).code == 0:
            self.ledger.acknowledge("row", annotator="writer", row=row)

    def _query(self) -> None:
        self.llmops.ask("data", "query", "SELECT count(*) FROM triage")

    def _search(self) -> None:
        self.llmops.ask("prompt", "search", "Prompt")


class Runner(Loop):
    """Runs prompts and suites, says what it thinks of answers, and deletes some of them."""

    def steps(self) -> list[Callable[[], None]]:
        """Runs, looks, and one deletion."""
        return [
            self._run,
            self._feedback,
            self._run,
            self._remove,
            self._evaluate,
            self._inspect,
            self._run,
            self._jobs,
        ]

    def _run(self) -> None:
        made = self.llmops.ask(
            "prompt", "run", "support@2", "--model", MODEL, "--var", f"question=Are you open {self.number}?"
        )
        if made.code == 0 and "run" in made.data:
            self.ledger.acknowledge("run", run=made.data["run"], text=made.data["text"])

    def _own(self) -> str | None:
        gone = {fact["run"] for fact in self.ledger.facts("removing")}
        left = [fact["run"] for fact in self.ledger.facts("run") if fact["run"] not in gone]
        return self.random.choice(left) if left else None

    def _feedback(self) -> None:
        run = self._own()
        if run is not None:
            comment = f"comment {self.number}"
            self.ledger.acknowledge("commenting", run=run, comment=comment)
            if self.llmops.ask("traces", "feedback", run, "--score", "up", "--comment", comment).code == 0:
                self.ledger.acknowledge("feedback", run=run, comment=comment)

    def _remove(self) -> None:
        run = self._own()
        if run is not None:
            self.ledger.acknowledge("removing", run=run)
            if self.llmops.ask("traces", "remove", run, "--yes").code == 0:
                self.ledger.acknowledge("removed", run=run)

    def _evaluate(self) -> None:
        detached = ("--detach",) if self.random.random() < 0.5 else ()
        made = self.llmops.ask("eval", "run", "triage", "--model", MODEL, "--limit", "3", *detached)
        if made.code == 0:
            self.ledger.acknowledge("evaluation", run=made.data["run"], job=made.data["job"], whole=not detached)

    def _inspect(self) -> None:
        self.llmops.ask("traces", "list", "--limit", "20")

    def _jobs(self) -> None:
        self.llmops.ask("job", "list")


class Keeper(Loop):
    """Backs up, checks, looks what could be cleared away, looks at the machine."""

    def steps(self) -> list[Callable[[], None]]:
        """A backup in five."""
        return [self._back_up, self._check, self._gc, self._monitor, self._list]

    def _back_up(self) -> None:
        folder = self.ledger.folder / "series"
        folder.mkdir(mode=0o700, exist_ok=True)
        made = self.llmops.ask("backup", str(folder), "--incremental", "--keep", "5")
        if made.code == 0:
            self.ledger.acknowledge("backup", file=made.data["file"], removed=made.data["removed"])

    def _check(self) -> None:
        self.llmops.ask("check")

    def _gc(self) -> None:
        self.llmops.ask("gc")

    def _monitor(self) -> None:
        self.llmops.ask("monitor", "--once")

    def _list(self) -> None:
        self.llmops.ask("data", "list")

"""The two apps of the soak, each in a terminal of its own, used as a person would: keys in, what the screen says out."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from random import Random

from tests.e2e.terminal import Terminal
from tools.soaking.commands import MODEL
from tools.soaking.ledger import Ledger

SCREENS = {
    "0": "Next steps", "1": "Variables", "2": "Columns", "3": "Recipes", "4": "Suites", "5": "Facts", "6": "Engines",
    "7": "Conversation", "8": "Log", "9": "Settings",
}  # fmt: skip


class Said(StrEnum):
    """What the screens say and the apps wait for; a test looks for each in the screens' own texts."""

    NEW_PROMPT = "New prompt"
    NOTE = "A note for this version"
    LABEL_FOR = "Label for "
    LABEL_IS_NOW = " is now "
    KINDS_OF_LABELS = "one of several labels per row"
    TASK = "name of the task"
    ANNOTATOR = "your name, to measure the agreement"
    LABELLING = " make a version "
    IN_BACKGROUND = "in the background"
    CANCEL_EXPLAINED = "r on this screen resumes it."
    ENDED = "ended already"
    WHICH_MODEL = " on …"
    STARTED = " started"
    STOP = "Answers so far are kept"
    NOT_RUNNING = "not running"
    STAYED_LOCKED = " stayed locked for "


# The machine is shared and everything here runs with low priority.
_PATIENCE = 300.0
_LATE_SECONDS = 5.0
_KEPT_RAW = 1_000_000
_NOTICE_BAR = "▌".encode()
_NOTICE = re.compile(r"▌ (.*?)(?:[│╮╯─ ]*)$")
_BUSY = re.compile(rf"▌ the catalog .*stayed|{Said.STAYED_LOCKED.strip()}")
# An error's notice stays so long; one that was read is not to be read again.
_NOTICE_SECONDS = 13.0
_BAD = re.compile(rb"Traceback \(most recent|ended with an error")


class BusyError(Exception):
    """The app said that the workspace is busy: an answer, after which one tries again."""


class SoakedTerminal(Terminal):
    """A terminal for an hour: it keeps the end of what was written, and every notice that was shown."""

    def __init__(self, root: Path, ledger: Ledger, who: str) -> None:
        super().__init__("--workspace", str(root))
        self.written = 0
        self._ledger = ledger
        self._who = who
        self.notices: dict[str, int] = {}

    def pump(self, seconds: float = 0.05) -> bool:
        """Read; what must never be seen on a terminal is a finding."""
        before = len(self.raw)
        alive = super().pump(seconds)
        part = self.raw[before:]
        self.written += len(part)
        if part and _BAD.search(self.raw, max(0, before - 100)):
            self._ledger.find(f"{self._who}: on its terminal: {bytes(self.raw[-2000:])!r}")
        if len(self.raw) > 2 * _KEPT_RAW:
            del self.raw[:-_KEPT_RAW]
        if _NOTICE_BAR in part:
            self._look_for_notices()
        return alive

    def wait(self, what: str | Callable[[str], object], seconds: float = _PATIENCE) -> None:
        """As ever, but the screen is read only when something was drawn: reading it costs more than the app does."""
        holds = what if callable(what) else lambda text: what in text
        deadline = time.monotonic() + seconds
        seen = -1
        while True:
            if seen != self.written:
                seen = self.written
                text = self.text
                if holds(text):
                    return
                if _BUSY.search(text):
                    raise BusyError
            late = time.monotonic() > deadline
            # A terminal that is given no time by the machine is behind what the app has drawn: first that is read.
            alive = self.pump(_LATE_SECONDS if late else 0.1)
            if late and (seen == self.written or time.monotonic() > deadline + seconds):
                raise AssertionError(f"never saw {what!r}; the screen:\n{self.text}")
            if not alive and seen == self.written:
                raise AssertionError(f"the app ended; the screen:\n{self.text}")

    def _look_for_notices(self) -> None:
        for line in self.text.split("\n"):
            if (match := _NOTICE.search(line)) and match.group(1).strip():
                text = re.sub(r"\d+", "N", match.group(1).strip())
                self.notices[text] = self.notices.get(text, 0) + 1


class App(threading.Thread):
    """Works on a prompt of its own and on whatever all share, until it is told to end."""

    def __init__(self, root: Path, ledger: Ledger, who: str, seed: int, pause: float) -> None:
        super().__init__(name=who)
        self.ledger = ledger
        self.ended = threading.Event()
        self.prompt = who
        self.latencies: list[tuple[float, float]] = []
        self._pause = pause
        self._random = Random(seed)
        self._number = 0
        self.terminal = SoakedTerminal(root, ledger, who)

    @property
    def pid(self) -> int:
        """The app's process."""
        assert self.terminal.child.pid is not None
        return int(self.terminal.child.pid)

    def run(self) -> None:
        """Until it is told to end, then leave by the key for it."""
        steps = [
            self._edit,
            self._walk,
            self._label_rows,
            self._run_and_stop,
            self._verify_and_cancel,
            self._evaluate,
            self._judge,
        ]
        self._try(self._open)
        while not self.ended.is_set() and self.terminal.child.isalive():
            self._try(steps[self._number % len(steps)])
            self._number += 1
            self._rest(self._pause)
        if not self.terminal.child.isalive():
            self.ledger.find(f"{self.name}: the app ended by itself; its screen:\n{self.terminal.text}")
            return
        self.terminal.press("escape", "escape", "ctrl+q", "y")
        code = self.terminal.finish()
        if code != 0 or not self.terminal.unchanged():
            self.ledger.find(f"{self.name}: left with {code}, and modes {self.terminal.left_on()} on")

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
            self.ledger.count(f"{step.__name__.strip('_')} in an app")
        except BusyError:
            self.ledger.count("busy: in an app")
            self._rest(_NOTICE_SECONDS)
            self.terminal.press("escape", "escape", "escape")
        except Exception as error:  # noqa: BLE001  what did not happen is a finding, and the app is used on
            if not self.ended.is_set():
                self.ledger.find(f"{self.name}: {step.__name__}: {str(error)[:6000]}")
            self.terminal.press("escape", "escape", "escape")

    def _rest(self, seconds: float) -> None:
        """Read what is drawn meanwhile, as a terminal does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.ended.is_set() and self.terminal.pump(0.1):
            pass

    def _wait(self, what: str | Callable[[str], object]) -> None:
        self.terminal.wait(what)

    def _go(self, digit: str) -> None:
        self.terminal.go(digit, SCREENS[digit])

    # ── the prompt ──

    def _open(self) -> None:
        self._wait("support @2")
        self._wait(MODEL)
        self.terminal.press("\x1b[18~")  # F7
        self._wait(Said.NEW_PROMPT)
        self.terminal.press(self.prompt, "enter")
        self._wait(f"User  {self.prompt}")

    def _write(self) -> tuple[str, int]:
        """Write a new text over the old one; returns it, and the number of the version before."""
        self._go("1")
        self._wait(f"User  {self.prompt}")
        self.terminal.jump("u", "User")
        before = self._version() or 0
        text = f"{self.prompt} {self._number} " + "".join(self._random.choices("abcdefgh", k=6))
        self.terminal.press("end", "\x15")  # ctrl+u: everything before the cursor
        for letter in text:
            self._type(letter)
        self._wait(lambda shown: text in shown and "draft" in shown)
        return text, before

    def _type(self, letter: str) -> None:
        """Type a letter, and note how long it takes until something is drawn."""
        before, started = self.terminal.written, time.monotonic()
        self.terminal.child.send(letter)
        while self.terminal.written == before:
            if time.monotonic() - started > _PATIENCE:
                raise AssertionError(f"a key was not answered for {_PATIENCE} s; the screen:\n{self.terminal.text}")
            self.terminal.pump(0.005)
        self.latencies.append((time.time(), time.monotonic() - started))

    def _version(self) -> int | None:
        """The version that the editor shows unchanged."""
        match = re.search(rf"User  {self.prompt} @(\d+) ─", self.terminal.text)
        return int(match.group(1)) if match else None

    def _saved(self, before: int) -> int:
        self._wait(lambda _shown: (self._version() or 0) > before)
        return self._version() or 0

    def _edit(self) -> None:
        """Write, save with a note, write, run: two versions; point a label at the last."""
        text, before = self._write()
        self.terminal.press("ctrl+s")
        self._wait(Said.NOTE)
        self.terminal.press(f"note {self._number}", "enter")
        number = self._saved(before)
        self.ledger.acknowledge("version", prompt=self.prompt, version=number, text=text)
        text, before = self._write()
        self.terminal.press("ctrl+r")
        number = self._saved(before)
        self.ledger.acknowledge("version", prompt=self.prompt, version=number, text=text)
        self._wait(re.compile(rf"Runs  @{number} · [1-9]").search)
        self.ledger.acknowledge("app run", prompt=self.prompt, version=number)
        self.terminal.press("\x1b[19~")  # F8
        self._wait(Said.LABEL_FOR)
        self.terminal.press("\x15", "best", "enter")
        self._wait(f"best{Said.LABEL_IS_NOW}{self.prompt}@{number}")
        self.ledger.acknowledge("label", prompt=self.prompt, version=number, label="best")

    def _run_and_stop(self) -> None:
        """Stop an answer as soon as it comes, or before."""
        text, before = self._write()
        self.terminal.press("ctrl+r")
        self._rest(self._random.random() / 2)
        self.terminal.press("escape")
        number = self._saved(before)
        self.ledger.acknowledge("version", prompt=self.prompt, version=number, text=text)

    # ── the other screens ──

    def _walk(self) -> None:
        """Every screen, looked at for a moment."""
        for digit in SCREENS:
            self._go(digit)
            self._rest(1.0)
            self.terminal.press("down", "tab", "down")
            self._rest(0.5)

    def _label_rows(self) -> None:
        """Three labels for rows of whatever dataset is open."""
        self._go("2")
        self._wait(re.compile(r"Rows  \S+@\d+ · [\d,]+ rows").search)
        self.terminal.jump("d", "Datasets")
        self.terminal.press("l")
        self._wait(Said.KINDS_OF_LABELS)
        match = re.search(r"Label (\S+@\d+)", self.terminal.text)
        assert match
        self.terminal.press("Classify", "enter")
        self._wait(Said.TASK)
        self.terminal.press("\x15", "mood good bad", "enter")
        self._wait(Said.ANNOTATOR)
        self.terminal.press("\x15", self.name, "enter")
        self._wait(Said.LABELLING)
        for _ in range(3):
            before = self._to_label()
            if before[1] is None:
                break
            self.terminal.press("1")
            self._wait(lambda _shown, before=before: self._to_label() != before)  # type: ignore[misc]
            # One in twenty comes again, and counts once.
            if self._to_label()[0] > before[0]:
                self.ledger.acknowledge("row", annotator=self.name, ref=match.group(1), row=before[1])
        self.terminal.leave(Said.LABELLING)

    def _to_label(self) -> tuple[int, int | None]:
        """How many rows are labelled, and which is next; none where there is none, or only a part of the line was read."""
        found = re.search(rf"by {self.name} .* ([\d,]+) of [\d,]+(?:   row ([\d,]+) )?", self.terminal.text)
        done, row = found.groups() if found is not None else ("0", None)
        return int(done.replace(",", "")), int(row.replace(",", "")) if row is not None else None

    def _verify_and_cancel(self) -> None:
        """Start a job, and ask for its end while it runs or after."""
        self._go("5")
        self._wait(MODEL)
        self.terminal.press("v")
        self._wait(Said.IN_BACKGROUND)
        self._go("8")
        self._wait("verify")
        self.terminal.press("x")
        self._wait(lambda shown: Said.CANCEL_EXPLAINED in shown or Said.ENDED in shown)
        if Said.CANCEL_EXPLAINED in self.terminal.text:
            # A newer job of somebody else's may be under the cursor by now.
            self.terminal.press("y" if "Cancel verify" in self.terminal.text else "escape")
            self._wait(lambda shown: Said.CANCEL_EXPLAINED not in shown)

    def _evaluate(self) -> None:
        """Start a suite on all its cases, and stop it half of the time."""
        self._go("4")
        self._wait("triage@")
        self.terminal.press("f5")
        self._wait(Said.WHICH_MODEL)
        self.terminal.press(f"{MODEL}", "enter")
        sign = re.compile(rf"(\S+-\d+) is{Said.STARTED}")
        self._wait(lambda shown: "▌" in shown and sign.search(shown) is not None)
        match = sign.search(self.terminal.text)
        assert match
        self.ledger.acknowledge("evaluation", run=match.group(1), whole=False)
        if self._random.random() < 0.5:
            self.terminal.press("x")
            self._wait(lambda shown: Said.STOP in shown or Said.NOT_RUNNING in shown)
            self.terminal.press("y")
            self._rest(1.0)

    def _judge(self) -> None:
        """A thumb for a trace, its views, and the monitor for a while."""
        self._go("7")
        self._rest(1.0)
        self.terminal.press("w", "w", "w", "down", "u")
        self._rest(1.0)
        self._go("6")
        self.terminal.press("s", "i", "t")
        self._rest(5.0)

    def latency_ms(self, since: float, until: float) -> float | None:
        """Median of the milliseconds from a key to what is drawn, in a stretch of time."""
        found = [seconds * 1000 for at, seconds in self.latencies if since <= at < until]
        return statistics.median(found) if found else None

"""The queue of constraint checks: each gets a short time first; slow ones wait behind all others.

One form is checked at a time, so that hostile ones cost no more than one processor; a long check stands still while
short ones run.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import threading
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Protocol

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.constraints import Tried, Verdict, too_costly
from llmops_tui.inference.helper_process import HelperLostError

# Of the processor. An ordinary schema takes a few milliseconds, most of those with 262,144 tokens a tenth of a second.
# A form that does not end in its time begins anew with the next, which at most doubles what it takes.
_SECONDS = (0.01, 0.2, 2.0)
# Of the clock: how long a long check may keep a new form waiting.
_SLICE_SECONDS = 0.1
# Of the clock, for short checks on a machine that does much else.
_PATIENCE_SECONDS = 20.0
# How often a check may use up its slice and not end, in each stage. One that computes ends by its time of the processor;
# one that waits for something uses none, and would keep all behind it waiting for ever. Of the clock: 40 s, 40 s, 60 s.
_PAUSES = (2, 2, 600)
# How many may wait for a long check, which are two seconds each; and how many for any.
_MAX_LONG = 16
_MAX_WAITING = 64


class Helper(Protocol):
    """The checking process (:mod:`.grammar_worker`)."""

    def ask(self, line: bytes, seconds: float) -> bytes:
        """The answer to a line, within a time; raises as :meth:`.HelperProcess.ask`."""

    def close(self) -> None:
        """End the process; the next question starts another."""


@dataclass(order=True)
class Check:
    """One form that is being checked, or waits for it; ``verdict`` is ``{"grammar"}`` or ``{"error"}``.

    ``turn`` counts the forms of one client: the first of each come before the second of any. Where several wait for one
    form, its turn is that of whoever comes first.
    """

    stage: int
    turn: int
    number: int
    form: bytes = field(compare=False)
    clients: set[str] = field(compare=False, default_factory=set)
    pauses: int = field(compare=False, default=0)
    kills: int = field(compare=False, default=0)
    verdict: Future[Verdict] = field(compare=False, default_factory=Future)


class ConstraintQueue:
    """A thread that has forms checked one after another. Thread-safe."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._waiting: list[Check] = []
        self._changed = threading.Condition()
        self._count = 0
        # That of the form which was taken last: whoever comes now does not come before those that waited for theirs.
        self._turn = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def check(self, form: bytes, client: str = "") -> Future[Verdict]:
        """Have a form checked, in turn with those of other clients; cancelling what is returned takes it out of the queue.

        Where too many wait, one of a client that has more of them gives way. None does that was begun.

        Raises:
            LlmopsError: ``form_queue_full``.
        """
        with self._changed:
            waiting = [check for check in self._waiting if not check.verdict.cancelled()]
            check = Check(0, self._turn_of(client, waiting), self._count, form, {client})
            if len(waiting) >= _MAX_WAITING:
                last = max(waiting, key=lambda one: (one.turn, one.number))
                # Those that were begun had their turn.
                if last.turn <= check.turn:
                    raise _full(_MAX_WAITING)
                self._waiting.remove(last)
                heapq.heapify(self._waiting)
                with contextlib.suppress(InvalidStateError):
                    last.verdict.set_exception(_full(_MAX_WAITING))
            self._count += 1
            heapq.heappush(self._waiting, check)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="forms", daemon=True)
                self._thread.start()
            self._changed.notify()
        return check.verdict

    def join(self, verdict: Future[Verdict], client: str) -> None:
        """Another client waits for a form that is being checked: it comes no later and gives way no sooner than its own would."""
        with self._changed:
            waiting = [check for check in self._waiting if not check.verdict.cancelled()]
            for check in waiting:
                if check.verdict is verdict and client not in check.clients:
                    check.turn = min(check.turn, self._turn_of(client, waiting))
                    check.clients.add(client)
                    heapq.heapify(self._waiting)

    def _turn_of(self, client: str, waiting: list[Check]) -> int:
        """Whose turn a client's next form has."""
        return max([self._turn, *(check.turn + 1 for check in waiting if client in check.clients)])

    def close(self) -> None:
        """Check nothing more; who waits gets no verdict."""
        with self._changed:
            self._closed = True
            for check in self._waiting:
                check.verdict.cancel()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                check = heapq.heappop(self._waiting)
                self._turn = max(self._turn, check.turn)
            if not check.verdict.cancelled():
                verdict = self._tried(check)
                with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
                    if isinstance(verdict, LlmopsError):
                        check.verdict.set_exception(verdict)
                    elif verdict is not None:
                        check.verdict.set_result(verdict)

    def _tried(self, check: Check) -> Verdict | LlmopsError | None:
        """What came of giving a form some time; nothing where it waits for more."""
        last = check.stage == len(_SECONDS) - 1
        seconds = _SLICE_SECONDS if last else _PATIENCE_SECONDS
        line = f"{_SECONDS[check.stage]} {seconds} ".encode() + check.form + b"\n"
        try:
            answer: Tried = json.loads(self._helper.ask(line, seconds + _PATIENCE_SECONDS))
        except HelperLostError as error:
            return {"error": too_costly(str(error)).as_dict()}
        except LlmopsError as error:
            return error
        except Exception as error:  # noqa: BLE001  a thread that dies would leave all who wait without an answer
            return LlmopsError("helper_unusable", f"the constraint could not be checked: {error!r}", "Try again.")
        return self._judged(check, answer, seconds)

    def _judged(self, check: Check, answer: Tried, seconds: float) -> Verdict | LlmopsError | None:
        if "paused" in answer:
            check.pauses += 1
            if check.pauses < _PAUSES[check.stage]:
                return self._again(check)
            self._helper.close()
            return _standing_still(check.pauses * seconds)
        if "killed" in answer:
            check.kills += 1
            return self._again(check) if check.kills == 1 else _killed(answer["killed"])
        if "ended" not in answer:
            return answer
        if check.stage == len(_SECONDS) - 1:
            return {"error": too_costly("it took too much CPU time").as_dict()}
        check.stage, check.pauses = check.stage + 1, 0
        return self._again(check)

    def _again(self, check: Check) -> LlmopsError | None:
        last = len(_SECONDS) - 1
        with self._changed:
            # One that was begun keeps its place.
            ahead = sum(c.stage == last and c < check and not c.verdict.cancelled() for c in self._waiting)
            if self._closed or (check.stage == last and ahead >= _MAX_LONG):
                return _full(ahead)
            heapq.heappush(self._waiting, check)
        return None


def _standing_still(seconds: float) -> LlmopsError:
    return LlmopsError(
        "helper_unusable",
        f"the process that checks output constraints worked on this one for {seconds:g} s, did not finish and hardly used the"
        " processor, so it was replaced",
        "Try again when the machine is less busy; if that does not help, change the constraint.",
    )


def _killed(how: str) -> LlmopsError:
    return LlmopsError(
        "helper_unusable",
        f"the process that checks this output constraint was {how}, twice",
        "Try again; llmops doctor shows the free memory.",
    )


def _full(count: int) -> LlmopsError:
    return LlmopsError(
        "form_queue_full", f"{count} output constraints are queued before this one", "Try again in a few seconds."
    )

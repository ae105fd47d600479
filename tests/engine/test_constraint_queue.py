"""Who waits for whom while forms are checked: with a stand-in for the checking process, which answers when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference import constraint_queue, helper_process
from llmops_tui.inference.constraint_checker import ConstraintChecker
from llmops_tui.inference.helper_process import HelperLostError, HelperProcess
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.engine.engines import MODEL

# Of what becomes of a process each test needs its own.
pytestmark = pytest.mark.usefixtures("own_helpers")

INNOCENT = {"type": "json_object"}


def costly(number: int, comment: str = "") -> dict[str, Any]:
    return {"type": "grammar", "grammar": f'root ::= "costly {number}"{comment}\n'}


def innocent(number: int) -> dict[str, Any]:
    return {"type": "grammar", "grammar": f'root ::= "plain {number}"\n'}


class Checks:
    """A checking process that does not end with what is costly; each question waits for a permit."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, dict[str, Any]]] = []
        self.permits = threading.Semaphore(0)
        self.questions: Queue[None] = Queue()
        # Slices of a long check, before its end.
        self.slices = 3
        self.lost = 0

    def close(self) -> None:
        self.lost += 1

    def ask(self, line: bytes, _seconds: float) -> bytes:
        given, _, form = line.split(b" ", 2)
        self.asked.append((float(given), json.loads(form)))
        self.questions.put(None)
        self.permits.acquire()
        if b"costly" not in form:
            return b'{"grammar": "start: /x/"}\n'
        if float(given) < 1:
            return b'{"ended": "time"}\n'
        self.slices -= 1
        if self.slices > 0:
            return b'{"paused": true}\n'
        self.slices = 3
        return b'{"ended": "time"}\n'

    def of(self, form: dict[str, Any]) -> int:
        return sum(asked == form for _, asked in self.asked)


async def outcome(checker: ConstraintChecker, form: dict[str, Any], client: str = "") -> str:
    try:
        return (await checker.held(form, client)).grammar
    except LlmopsError as error:
        return error.code


async def asked(checks: Checks) -> None:
    """Until the next question is there."""
    await asyncio.to_thread(checks.questions.get)


async def test_a_quick_form_passes_all_that_are_costly() -> None:
    checks = Checks()
    checker = ConstraintChecker("", [], checks)
    waiting = [asyncio.create_task(outcome(checker, costly(n))) for n in range(12)]
    await asyncio.sleep(0)
    for _ in range(12 + 12 + 1):
        await asked(checks)
        checks.permits.release()
    await asked(checks)
    # Each had its two short times, and a long check is under way.
    assert [given for given, _ in checks.asked[:24]] == [0.01] * 12 + [0.2] * 12
    quick = asyncio.create_task(outcome(checker, INNOCENT))
    await asyncio.sleep(0)
    checks.permits.release(2)
    assert await quick == "start: /x/"
    assert checks.asked[26:27] == [(0.01, INNOCENT)]
    assert not any(task.done() for task in waiting)
    checks.permits.release(1000)
    assert set(await asyncio.gather(*waiting)) == {"grammar_too_costly"}
    # A long check goes on where it stood, before the next begins.
    long = [form["grammar"] for given, form in checks.asked if given > 1]
    assert long == [costly(n)["grammar"] for n in range(12) for _ in range(3)]
    checker.close()


async def test_a_costly_form_is_tried_once_whatever_its_comments_and_its_refusal_is_kept() -> None:
    checks = Checks()
    checker = ConstraintChecker("", [], checks)
    checks.permits.release(1000)
    forms = [costly(1, f"  # {n}") for n in range(40)]
    codes = await asyncio.gather(*(outcome(checker, form) for form in forms))
    assert set(codes) == {"grammar_too_costly"}
    assert await outcome(checker, costly(1, "\t# once more")) == "grammar_too_costly"
    assert sum(given > 1 for given, _ in checks.asked) == 3
    quoted = costly(2, ' "# no comment"')
    assert await outcome(checker, quoted) != await outcome(checker, INNOCENT)
    assert checks.of(quoted) == 5
    checker.close()


async def test_more_costly_forms_than_may_wait_are_told_so_and_an_innocent_one_is_not() -> None:
    checks = Checks()
    checker = ConstraintChecker("", [], checks)
    waiting = [asyncio.create_task(outcome(checker, costly(n))) for n in range(30)]
    await asyncio.sleep(0)
    checks.permits.release(1000)
    codes = await asyncio.gather(*waiting)
    assert codes.count("grammar_too_costly") == 16
    assert codes.count("form_queue_full") == 14
    assert await outcome(checker, INNOCENT) == "start: /x/"
    # Not having been tried says nothing of a form.
    assert await outcome(checker, costly(29)) == "grammar_too_costly"
    checker.close()


async def test_forms_of_clients_take_turns_and_one_that_fills_the_queue_gives_way() -> None:
    checks = Checks()
    checker = ConstraintChecker("", [], checks)
    many = [asyncio.create_task(outcome(checker, innocent(0), "many"))]
    await asked(checks)
    many += [asyncio.create_task(outcome(checker, innocent(n), "many")) for n in range(1, 71)]
    await asyncio.sleep(0)
    few = [asyncio.create_task(outcome(checker, innocent(100 + n), "few")) for n in range(5)]
    await asyncio.sleep(0)
    checks.permits.release(1000)
    assert [await one for one in few] == ["start: /x/"] * 5
    codes = Counter([await one for one in many])
    # The queue takes 64 beside the one that is being tried, and five of those had to go.
    assert codes == {"start: /x/": 60, "form_queue_full": 11}
    order = [form["grammar"] for _, form in checks.asked]
    assert max(order.index(innocent(100 + n)["grammar"]) for n in range(5)) <= 1 + 2 * 5
    checker.close()


async def test_a_form_that_another_client_waits_for_too_comes_in_its_turn_and_does_not_give_way() -> None:
    checks = Checks()
    checker = ConstraintChecker("", [], checks)
    many = [asyncio.create_task(outcome(checker, innocent(0), "many"))]
    await asked(checks)
    many += [asyncio.create_task(outcome(checker, innocent(n), "many")) for n in range(1, 65)]
    await asyncio.sleep(0)
    # The queue is full, and the last in it is what another client asks for as well; a third one needs a place.
    other = asyncio.create_task(outcome(checker, innocent(64), "other"))
    await asyncio.sleep(0)
    third = asyncio.create_task(outcome(checker, innocent(100), "third"))
    await asyncio.sleep(0)
    checks.permits.release(1000)
    assert await other == await third == "start: /x/"
    assert [code for code in [await one for one in many] if code != "start: /x/"] == ["form_queue_full"]
    order = [form["grammar"] for _, form in checks.asked]
    assert order.index(innocent(64)["grammar"]) <= 3
    checker.close()


async def test_a_form_that_nobody_waits_for_any_more_is_not_checked() -> None:
    checks = Checks()
    checker = ConstraintChecker("", [], checks)
    first = asyncio.create_task(outcome(checker, costly(1)))
    await asked(checks)
    gone = [asyncio.create_task(outcome(checker, costly(2))) for _ in range(2)]
    shared = [asyncio.create_task(outcome(checker, costly(3))) for _ in range(2)]
    await asyncio.sleep(0)
    for task in (*gone, shared[0]):
        task.cancel()
    await asyncio.gather(*gone, shared[0], return_exceptions=True)
    checks.permits.release(1000)
    assert await asyncio.gather(first, shared[1]) == ["grammar_too_costly"] * 2
    assert checks.of(costly(2)) == 0
    assert checks.of(costly(3)) == 5
    checker.close()


async def test_a_form_that_nests_too_deep_to_be_written_is_refused() -> None:
    checker = ConstraintChecker("", [], Checks())
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"items": deep}
    with pytest.raises(InputRefusedError, match="nests too deep"):
        await checker.held({"type": "json_schema", "json_schema": {"schema": deep}})
    checker.close()


async def test_a_checking_process_that_cannot_start_is_no_fault_of_the_form(tmp_path: Path) -> None:
    """And the form is tried again, when it can."""
    checker = ConstraintChecker(str(tmp_path / "none.gguf"), ())
    try:
        for _ in range(2):
            with pytest.raises(LlmopsError, match="cannot be started") as caught:
                await checker.held(INNOCENT)
            assert caught.value.code == "helper_unusable"
            assert "none.gguf" in caught.value.message
    finally:
        checker.close()


def test_a_helper_works_beside_more_than_a_thousand_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip("no more than a thousand files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    renderer = TemplateRenderer()
    with contextlib.ExitStack() as stack:
        for _ in range(1200):
            stack.enter_context((tmp_path / "file").open("w"))
        try:
            assert renderer.render("{{ a }}", {"a": "b"}) == "b"
        finally:
            renderer.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Waiting(Checks):
    """Work on one form waits for what never comes, in one stage: it uses no time of the processor, and so never ends."""

    def __init__(self, form: dict[str, Any], stage: float) -> None:
        super().__init__()
        self.form, self.stage = form, stage
        self.clock = 0.0
        self.permits.release(10_000)

    def ask(self, line: bytes, seconds: float) -> bytes:
        given, clock, form = line.split(b" ", 2)
        if json.loads(form) == self.form and float(given) == self.stage:
            assert self.clock < 1000, "it goes on for ever"
            self.clock += float(clock)
            return b'{"paused": true}\n'
        return super().ask(line, seconds)


@pytest.mark.parametrize("stage", [0.01, 0.2, 2.0])
async def test_a_form_whose_work_waits_for_ever_ends_by_the_clock_and_those_behind_it_come_on(stage: float) -> None:
    checks = Waiting(costly(0), stage)
    checker = ConstraintChecker("", [], checks)
    for time in range(1, 3):
        forms = [costly(0), costly(1), INNOCENT] if time == 1 else [costly(0)]
        codes = await asyncio.gather(*(outcome(checker, form) for form in forms))
        # That says nothing of the form, so it is tried anew, in a new process.
        assert codes == ["helper_unusable", "grammar_too_costly", "start: /x/"][: len(forms)]
        assert checks.lost == time
        assert 20 <= checks.clock / time <= 60.1
    checker.close()


async def test_a_form_that_is_slow_in_each_stage_but_computes_is_judged_by_its_time_of_the_processor() -> None:
    class Slow(Checks):
        paused = 0

        def ask(self, line: bytes, seconds: float) -> bytes:
            # One pause in each short stage, and many in the long one.
            self.paused += 1
            if self.paused % 2 if float(line.split(b" ")[0]) < 1 else self.paused < 500:
                return b'{"paused": true}\n'
            return super().ask(line, seconds)

    checks = Slow()
    checks.permits.release(10)
    checker = ConstraintChecker("", [], checks)
    assert await outcome(checker, costly(1)) == "grammar_too_costly"
    assert checks.lost == 0
    checker.close()


def test_a_helper_that_stands_still_or_was_ended_is_replaced() -> None:
    question = b'{"op": "render", "source": "x", "context": {}, "kind": "prompt"}\n'
    helper = HelperProcess("llmops_tui.inference.template_worker", greeting=question, work="renders templates")
    answer = helper.ask(question, 60)
    first = helper.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    # It reads nothing, and this is more than a pipe has room for.
    with pytest.raises(LlmopsError, match=r"did not respond for 0.5 s") as caught:
        helper.ask(question.replace(b"x", b"x" * 1_000_000), 0.5)
    assert caught.value.code == "helper_unusable"
    assert helper.ask(question, 60) == answer
    second = helper.pid
    helper.close()
    assert helper.pid is None
    assert helper.ask(question, 60) == answer
    assert len({first, second, helper.pid}) == 3
    helper.close()


def test_a_template_process_that_stands_still_is_no_fault_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_process, "_PATIENCE_SECONDS", 0.2)
    renderer = TemplateRenderer(seconds=0.2)
    try:
        assert renderer.render("{{ a }}", {"a": "b"}) == "b"
        pid = renderer._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(LlmopsError, match=r"did not respond for 0.4 s") as caught:
            renderer.render("{{ a }}", {"a": "b"})
        assert caught.value.code == "helper_unusable"
    finally:
        renderer.close()


def test_a_process_at_work_is_waited_for_however_little_of_the_processor_it_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, used = [100.0], [1.0]
    monkeypatch.setattr(helper_process.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(helper_process, "_processor_seconds", lambda pid: used[0])
    given = helper_process._Time(1, 6.0, of_processor=True)
    for _ in range(10):
        # Of 20 seconds a hundredth.
        now[0], used[0] = now[0] + 20, used[0] + 0.2
        assert given.left() > 0
    now[0] += 25
    assert given.left() == pytest.approx(1.0)
    now[0] += 2
    with pytest.raises(helper_process._HinderedError, match="did not respond for 26 s"):
        given.left()
    used[0] = 7.1
    with pytest.raises(helper_process.HelperLostError, match="longer than 6 s of CPU time"):
        given.left()


# Repeats each line; at one that begins so, it first kills itself as often as a file says.
SUICIDAL = """
import os, sys
for line in sys.stdin.buffer:
    if line.startswith(b"die") and (left := int(open(sys.argv[1]).read())):
        open(sys.argv[1], "w").write(str(left - 1))
        os.kill(os.getpid(), int(line.split()[1]))
    os.write(1, line)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_helper_killed_over_a_question_is_asked_once_more_and_then_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    times = tmp_path / "times"
    command = [sys.executable, "-c", SUICIDAL, str(times)]
    monkeypatch.setattr(helper_process, "module_command", lambda *_: command)
    helper = HelperProcess("suicidal", greeting=b"hello\n", work="repeats lines")
    question = f"die {int(sent)}\n".encode()
    times.write_text("1")
    assert helper.ask(question, 60) == question
    times.write_text("2")
    with pytest.raises(LlmopsError, match=rf"repeats lines was killed by signal {int(sent)}") as caught:
        helper.ask(question, 60)
    assert caught.value.code == "helper_unusable"
    # A crash is its own doing, and nobody is asked twice.
    times.write_text("2")
    with pytest.raises(HelperLostError, match="memory"):
        helper.ask(b"die %d\n" % signal.SIGSEGV, 60)
    assert times.read_text() == "1"
    helper.close()


async def test_a_trial_that_was_killed_is_made_once_more_and_then_it_is_told() -> None:
    class Killed(Checks):
        kills = 0

        def ask(self, line: bytes, _seconds: float) -> bytes:
            self.kills -= 1
            return b'{"killed": "killed by signal 9"}\n' if self.kills >= 0 else b'{"grammar": "start: /x/"}\n'

    checks = Killed()
    checker = ConstraintChecker("", [], checks)
    checks.kills = 1
    assert await outcome(checker, costly(1)) == "start: /x/"
    checks.kills = 2
    assert await outcome(checker, costly(2)) == "helper_unusable"
    # That says nothing of the form.
    assert await outcome(checker, costly(2)) == "start: /x/"
    checker.close()


async def test_a_checking_process_that_stands_still_is_no_fault_of_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraint_queue, "_PATIENCE_SECONDS", 0.2)
    checker = ConstraintChecker(str(MODEL), ())
    try:
        while await outcome(checker, INNOCENT) == "helper_unusable":
            """A busy machine."""
        assert checker.pid is not None
        os.kill(checker.pid, signal.SIGSTOP)
        assert await outcome(checker, {"type": "grammar", "grammar": 'root ::= "a"'}) == "helper_unusable"
    finally:
        checker.close()


class Faulty(Checks):
    """Its own end is unforeseen."""

    def ask(self, line: bytes, _seconds: float) -> bytes:
        if b"costly" in line:
            raise ValueError("unforeseen")
        return b'{"grammar": "start: /x/"}\n'


async def test_what_nobody_foresaw_ends_one_check_and_no_other() -> None:
    checker = ConstraintChecker("", (), Faulty())
    with pytest.raises(LlmopsError, match="unforeseen"):
        await checker.held(costly(1))
    assert await checker.held(INNOCENT)
    checker.close()

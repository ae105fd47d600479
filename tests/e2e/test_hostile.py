from __future__ import annotations

import json
import re
import time
from unittest import mock

import pytest

from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.runner.results import Result, ResultLog
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.rules import Rule
from llmops_tui.prompts.drafts import Draft, Drafts, Session
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import write_notice
from tests.e2e.conftest import OpenTerminal
from tests.e2e.terminal import Terminal
from tests.fakes import FakeModelServer, hostile_strings

# A sequence as a terminal reads it: CSI, or a string control up to its end, or a two-character escape.
_SEQUENCE = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    re.DOTALL,
)


def kinds(raw: bytes) -> set[bytes]:
    """The kinds of sequences in what was written: numbers of colours and places are left out, modes are kept."""
    found = set()
    for match in _SEQUENCE.finditer(raw):
        sequence = match.group()
        if sequence.endswith((b"m", b"H", b"C", b"X")) and sequence.startswith(b"\x1b["):
            sequence = re.sub(rb"[\d;]+", b"n", sequence)
        found.add(sequence)
    return found


def visit_everything(app: Terminal) -> None:
    app.wait("Prompts")
    app.wait("support-base")
    app.press("f5")
    app.wait("tok/s")
    app.jump("v", "Versions")
    app.press("down", "down", "enter")
    app.jump("r", "Runs")
    app.press("enter")
    app.jump("a", "Answer")
    app.press("end", "up", "f3")
    app.wait("Compare")
    app.press("enter")
    app.wait("in words")
    app.press("t")
    app.wait("in tokens")
    app.leave("in tokens")
    app.press("f1")
    app.wait("Keys of this screen")
    app.leave("Keys of this screen")
    app.press("f10")
    app.wait("anything of the workspace")
    app.press("zzqx")
    app.wait("zzqx")
    app.leave("zzqx")
    app.press("f4")
    app.wait("Q8_0  ")
    app.leave("type to filter")
    for digit, sign in (
        ("3", "Recipes"),
        ("4", "t Gate"),
        ("5", "Chat template"),
        ("6", "of a core"),
        ("7", "Thumb up"),
        ("0", "Next steps"),
        ("8", "g Log"),
        ("9", "animations"),
        ("1", "Versions"),
    ):
        app.go(digit, sign)
        app.press("down", "f1")
        app.wait("Keys of this screen")
        # The rest may be below what fits; above its last line stands as much foreign text as the screen has.
        app.press("end")
        app.wait("esc closes this help")
        app.leave("esc closes this help")
    app.press("ctrl+q")
    assert app.finish() == 0


def poison(workspace: Workspace, texts: list[str]) -> None:
    """Put hostile text everywhere that shows foreign text."""
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    store, drafts = PromptStore(catalog), Drafts(event_log)
    for number, text in enumerate(texts):
        store.save("support", template=f"{number} {text}".replace("{", "("), system=text.replace("{", "("), note=text)
        body = {
            "started_at": float(number),
            "model": text,
            "prompt": "support",
            "prompt_version": number % 3 + 1,
            "variables": {text: text},
            "output": text,
            "finish_reason": "stop",
            "error": text,
        }
        event_log.append("request", f"run_{number}", body)
    everything = "\n".join(texts)
    drafts.save("support", Draft(system="", template="x " + everything.replace("{", "("), variables={"a": everything}))
    drafts.save_session(Session(prompt="support", model="support-base"))
    header = json.dumps(
        {"architecture": everything, "name": everything, "chat_template": everything, "license": everything}
    )
    catalog.write(
        lambda connection: connection.execute("UPDATE models SET header = ? WHERE name = 'support-base-q4'", [header])
    )
    jobs = JobStore(event_log)
    job = jobs.add(kind="x", title=everything, spec={})
    jobs.update(job.id, state="failed", cause=everything, message=everything)
    folder = jobs.folder(jobs.get(job.id))
    folder.mkdir(parents=True)
    (folder / "output.log").write_bytes(everything.encode("utf-8", "replace") + b"\xff\x1b[2J\x9b31m")
    write_notice(workspace, everything)
    evaluate(workspace, texts)
    watch(workspace, texts)


def watch(workspace: Workspace, texts: list[str]) -> None:
    """Hostile feedback, alerts, and a model of that name whose latencies are shown."""
    event_log = EventLog(workspace)
    now = time.time()
    for number, text in enumerate(texts):
        said = {
            "request": f"run_{number}",
            "score": number % 2 * 2 - 1,
            "correction": text,
            "comment": text,
            "source": text,
        }
        event_log.append("feedback", f"fb_{number}", said | {"said_at": now})
        body = {
            "started_at": now,
            "model": text,
            "messages": [{"role": text, "content": text}],
            "output": text,
            "total_ms": 5.0,
        }
        event_log.append("request", f"run_x{number}", body | {"finish_reason": "error", "error": text})
    history = History(workspace.history)
    for text in texts[:40]:
        rule = Rule(name=(text or "x")[:80], series="host.cpu", above=1.0)
        history.keep_alert(Alert(rule, text, now, 5.0))
        history.add(now, {f"latency.{text}.first.p95": 5.0})
    history.close()


def evaluate(workspace: Workspace, texts: list[str]) -> None:
    """A finished evaluation whose cases, answers, reasons and manifest are hostile."""
    store = EvaluationStore(workspace)
    everything = "\n".join(texts)
    body = {"cases": [{"t": text, "expected": text} for text in texts], "prompt": "support", "metrics": ["exact"]}
    suite = check_suite(body | {"description": everything[:2000]}, "hostile")
    with mock.patch.object(JobLauncher, "_spawn"):
        run = store.start(store.save_suite(suite), store.columns(suite, ["support-base"]))[0]
    log = ResultLog(run.results)
    for number, text in enumerate(texts):
        case = Case(
            number, f"k{number}", {text: text}, expected=text, context=text, slices={text: text}, group=f"k{number}"
        )
        log.add(Result(case, 0, Answer(text=text[::-1] + text, error=text, trace=text), {"exact": Score(0.0, text)}))
    log.close()
    summary = summarise(list(log.done.values()), suite.made_metrics(), 1.0) | {
        "of": len(texts),
        "overlap": {"ancestors": [], "note": everything},
    }
    store.finish(run.name, {"engine": everything, "model": everything}, summary, sha256_file(run.results))
    JobStore(EventLog(workspace)).update(run.job, state="done", message=everything)


@pytest.mark.slow
@pytest.mark.parametrize("each", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_no_foreign_sequence_reaches_the_terminal(
    terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer, each: int
) -> None:
    plain = terminal()
    visit_everything(plain)
    texts = [text.encode("utf-8", "replace").decode() for text in hostile_strings()]
    assert len(texts) >= 100
    # Every fifth has something of each kind; all of them are of the slow tests.
    texts = texts[::each]
    poison(sample, texts)
    # One character a token: every sequence is split.
    found_server.pieces = [character for text in texts for character in text]
    hostile = terminal()
    visit_everything(hostile)
    assert kinds(bytes(hostile.raw)) <= kinds(bytes(plain.raw))
    assert b"PWN" in hostile.raw
    text = bytes(hostile.raw).decode("utf-8", "replace")
    assert not re.search("[\x80-\x9f\u202a-\u202e\u2066-\u2069]", text)
    strings = {kind for kind in kinds(bytes(hostile.raw)) if kind.startswith((b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b^"))}
    # The shape of the mouse pointer is Textual's own.
    assert all(re.fullmatch(rb"\x1b\]22;[a-z-]+\x07", string) for string in strings)

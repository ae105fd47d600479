"""Deleted traces are in no byte of the workspace: kept answers, logs and what was quarantined; what stays is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import LlmopsError, NotFoundError
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.gc import collect, plan
from llmops_tui.maintenance.text_search import SHORTEST, TextSearch
from llmops_tui.maintenance.trace_removal import plan_trace_removal, remove_traces
from llmops_tui.prompts.drafts import Draft, Drafts
from llmops_tui.settings import Settings
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.traces.to_dataset import gather, make_version
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.clock_check import last_believed
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.maintenance.test_record_removal import MARK, ask, files_with

LONG_AGO = 1_790_000_000.0
ONE = f"an answer about {MARK} 1 " * 20


def ask_again(workspace: Workspace, run: str, at: float) -> None:
    event_log = EventLog(workspace)
    event_log.append(
        "request",
        run,
        {
            "started_at": at,
            "model": "support-base",
            "output": "so",
            "messages": [],
            "parameters": {},
            "finish_reason": "stop",
        },
    )
    event_log.close()


def keep_answers(workspace: Workspace, **texts: str) -> None:
    cache = AnswerCache(workspace)
    for key, text in texts.items():
        cache.keep(key, {"choices": [{"message": {"content": text}}], "usage": {}})
    cache.close()


def kept(workspace: Workspace) -> set[str]:
    cache = AnswerCache(workspace)
    try:
        return set(cache.find(["same", "quoted", "other", "short"]))
    finally:
        cache.close()


def scatter(workspace: Workspace) -> None:
    """The texts of traces wherever a workspace may have them."""
    keep_answers(workspace, same=ONE, quoted=f"they said: {ONE}", other="something else entirely", short="no")
    (workspace.logs / "refused-0011-7.json").write_text(json.dumps({"output": ONE}))
    (workspace.root / "workspace.duckdb.wal.corrupt-20260101-000000-1").write_bytes(
        b"\0\1" + ONE.encode()[:300] + b"\xff"
    )
    (workspace.root / "journal.db-wal.lost-20260101-000000").write_bytes(b"\0" * 5000 + ONE.encode()[200:])
    (workspace.runs / "job_old" / "output.log").write_text(f"it printed\n{ONE}\n")
    (workspace.logs / "server-x.log.1").write_text(f"a traceback with {ONE}\n")
    (workspace.logs / "innocent.log").write_text("nothing of it\n")


def test_what_is_deleted_is_in_no_byte_wherever_it_was(lived: Workspace) -> None:
    ask(lived, 3)
    scatter(lived)
    record_checksums(lived)
    shown = plan_trace_removal(lived, TraceFilter.parse(MARK, 0.0))
    assert set(shown.files) == {
        "logs/refused-0011-7.json",
        "workspace.duckdb.wal.corrupt-20260101-000000-1",
        "journal.db-wal.lost-20260101-000000",
        "runs/job_old/output.log",
        "logs/server-x.log.1",
    }
    assert files_with(lived.root, MARK), "planning changes nothing"
    done = remove_traces(lived, TraceFilter.parse(MARK, 0.0))
    assert (done.files, done.answers) == (shown.files, 2)
    assert files_with(lived.root, MARK) == []
    assert kept(lived) == {"other", "short"}
    assert (lived.logs / "innocent.log").exists()
    assert check(lived).errors == []


def test_nothing_more_is_said_of_what_was_deleted(lived: Workspace) -> None:
    ask(lived, 2)
    store = TraceStore(Catalog(lived), EventLog(lived))
    remove_traces(lived, TraceFilter(), "run_x00001")
    with pytest.raises(NotFoundError):
        give(store, "run_x00001", comment=f"of {MARK}")
    assert store.event_log.knows_request("run_x00000")
    give(store, "run_x00000", score="up")
    store.event_log.close()


def test_files_stay_where_that_is_asked_and_are_named(lived: Workspace) -> None:
    ask(lived, 3)
    scatter(lived)
    llmops = Llmops(lived)
    told = llmops.run("traces", "remove", "run_x00001", "--yes", "--keep-files")
    assert told["kept_files"]
    assert "logs/refused-0011-7.json" in told["files"]
    assert (lived.logs / "refused-0011-7.json").exists()
    assert kept(lived) == {"other", "short"}


def test_a_filter_by_words_finds_what_was_never_in_a_list(lived: Workspace) -> None:
    ask(lived, 1)
    aside = lived.logs / "refused-0011-8.json"
    aside.write_text(json.dumps({"output": f"{MARK}, which no trace says like this"}))
    other = lived.logs / "refused-0011-9.json"
    other.write_text(json.dumps({"output": "another one"}))
    assert remove_traces(lived, TraceFilter.parse(MARK, 0.0)).files == ("logs/refused-0011-8.json",)
    assert other.exists()
    assert remove_traces(lived, TraceFilter()).files == ("logs/refused-0011-9.json",)


def test_what_was_set_aside_is_named_where_an_expression_chose(lived: Workspace) -> None:
    ask(lived, 1)
    (lived.logs / "refused-0011-8.json").write_text(json.dumps({"output": "something of nobody's"}))
    done = remove_traces(lived, TraceFilter.parse(f"~{MARK[:4]}.*", 0.0))
    assert done.files == ()
    assert "logs/refused-0011-8.json: quarantined, and not searched for a regular expression" in done.staying


def test_what_stays_is_named_with_what_to_do(lived: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(lived, 3, LONG_AGO)
    event_log = EventLog(lived)
    traces = TraceStore(Catalog(lived), event_log)
    give(traces, "run_x00001", score="up")
    found = gather(traces, TraceFilter.parse(MARK, 0.0), "messages", "keep")
    made = make_version(DatasetStore(Catalog(lived)), "of-traces", found, "messages", "keep")
    Drafts(event_log).save("triage", Draft("", f"{MARK} 1 and what it means", {}, None))
    event_log.close()
    results = lived.runs / "job_old" / "results.jsonl"
    results.write_text(json.dumps({"answer": ONE}) + "\n")
    folder = tmp_path / "series"
    folder.mkdir()
    llmops = Llmops(lived)
    backup = Path(llmops.run("backup", str(folder))["file"]).name
    monkeypatch.setattr(
        "llmops_tui.maintenance.series.load_settings", lambda: (Settings(backup_folder=str(folder)), [])
    )
    ask_now = TraceFilter.parse(MARK, 0.0)
    staying = "\n".join(remove_traces(lived, ask_now).staying)
    for told in (
        f"llmops data remove {made.ref}",
        "runs/job_old/results.jsonl (llmops job remove job_old)",
        backup,
        "(draft",
    ):
        assert told in staying, told


def test_the_log_of_a_job_at_work_is_left_and_told(lived: Workspace) -> None:
    ask(lived, 2)
    launcher = JobLauncher(lived)
    with launcher.place() as place:
        launcher.store.add(kind="check", title="x", spec={"entry": "a:b", "arguments": {}}, job_id=place.id)
        log = lived.runs / place.id / "output.log"
        log.write_text(ONE)
        done = remove_traces(lived, TraceFilter.parse(MARK, 0.0))
        assert any("is running" in line for line in done.staying)
        assert log.exists()


@pytest.mark.slow
def test_traces_that_grew_too_old_go_from_everywhere_too(lived: Workspace) -> None:
    ask(lived, 3, LONG_AGO)
    scatter(lived)
    settings = Settings(trace_days=1)
    now = LONG_AGO + 2 * 86_400
    assert "runs/job_old/output.log" in [removal.what for removal in plan(lived, settings, now=now)]
    collect(lived, settings)
    assert files_with(lived.root, MARK) == []
    assert check(lived).errors == []


def test_a_template_that_prompts_are_made_of_is_nobodys_text() -> None:
    template = "Sort this into one of the categories that the shop has, and answer with JSON: "
    search = TextSearch([template + "my parcel of Tuesday is broken"], [template])
    assert not search.finds(template.encode() * 3)
    assert search.finds(b"with JSON: my parcel of Tuesday is broken")


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=200), max_size=4), st.binary(max_size=300), st.integers(0, 3))
def test_a_text_is_found_wherever_it_lies(texts: list[str], around: bytes, which: int) -> None:
    """Against looking for each text by itself, in each of its forms."""
    search = TextSearch(texts)
    if texts:
        text = texts[which % len(texts)].strip()
        for form in (text.encode(), json.dumps(text)[1:-1].encode()):
            if len(form) >= SHORTEST and len(set(form)) > 3:
                assert search.finds(around + form + around)
    forms = {f for t in texts for f in (t.strip().encode(), json.dumps(t.strip())[1:-1].encode())}
    if not any(len(form) >= SHORTEST for form in forms):
        assert not search.finds(around)


def test_a_clock_that_leapt_makes_nothing_too_old(lived: Workspace) -> None:
    ask(lived, 3, LONG_AGO)
    settings = Settings(trace_days=30)
    ahead = LONG_AGO + 2_000 * 86_400
    with pytest.raises(LlmopsError, match="days ahead of the last record") as refused:
        collect(lived, settings, now=ahead)
    assert refused.value.code == "clock_ahead"
    assert TraceStore(Catalog(lived), EventLog(lived)).page(TraceFilter.parse(MARK, 0.0), 1)[1] == 3
    assert any("traces" in removal.what for removal in plan(lived, settings, now=ahead, clock_is_right=True))
    # Three days on which something was asked are no slip of the clock.
    for day in range(3):
        ask_again(lived, f"run_y{day}", ahead - day * 86_400)
    assert any("traces" in removal.what for removal in plan(lived, settings, now=ahead + 1))


@settings(deadline=None)
@given(st.sets(st.integers(0, 400), max_size=30), st.integers(0, 500))
def test_what_is_believed_is_the_last_before_an_unproved_gap(days: set[int], now: int) -> None:
    found = last_believed(days, now, 20, 3)
    known = sorted(day for day in days if day <= now)
    assert (found is None) is (not known)
    if found is not None:
        later = [day for day in known if day > found]
        assert not later or (later[0] - found > 20 and len(later) < 3)


def test_words_are_found_in_what_was_set_aside_in_any_case_as_the_filter_takes_them(lived: Workspace) -> None:
    ask(lived, 1)
    aside = lived.logs / "refused-0011-8.json"
    aside.write_text(json.dumps({"output": "of the ZWIEBELTURMUHR, and Über den Zwiebeltürmen"}))
    assert plan_trace_removal(lived, TraceFilter.parse(MARK.lower(), 0.0)).files == ("logs/refused-0011-8.json",)
    assert plan_trace_removal(lived, TraceFilter.parse("über den zwiebeltürmen", 0.0)).files == (
        "logs/refused-0011-8.json",
    )


def test_a_later_turn_that_repeats_what_was_deleted_is_named(lived: Workspace) -> None:
    ask(lived, 1)
    event_log = EventLog(lived)
    said = [{"role": "assistant", "content": ONE.replace(" 1 ", " 0 ")}, {"role": "user", "content": "and then?"}]
    body = {"started_at": LONG_AGO, "model": "m", "output": "so", "messages": said, "finish_reason": "stop"}
    event_log.append("request", "run_later", body)
    event_log.close()
    done = remove_traces(lived, TraceFilter(), "run_x00000")
    assert [line for line in done.staying if "other trace" in line] == [
        "1 other trace, run_later (llmops traces remove run_later)"
    ]

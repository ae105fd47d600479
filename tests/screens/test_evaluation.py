"""The evaluation screen: empty, with runs, compared with a baseline; gate, cases, charts, and what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.runner.results import Result, ResultLog
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from screens.evaluation.cases_pane import CasesPane
from screens.evaluation.runs_pane import RunsPane
from screens.evaluation.screen import EvaluationScreen
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.form_dialog import FormDialog
from screens.widgets.table import Table
from tests.evaluation.conftest import MANIFEST, case
from tests.fakes import end_processes, start_no_processes
from tests.screens.conftest import OpenApp, notices, settle, until

BODY = {
    "cases": [{"message": "hi", "expected": "yes"}], "prompt": "triage", "metrics": ["exact"],
    "rules": ["exact not worse than baseline by > 1 point"],
}  # fmt: skip


def pretend(workspace: Workspace, values: list[float], *, done: bool = True, extra: Any = None, **manifest: Any) -> str:
    """A run as the job would have left it, without any model."""
    store = EvaluationStore(workspace)
    suite = check_suite(BODY | (extra or {}), "polite")
    entry = store.start(store.save_suite(suite), store.columns(suite, ["support-base"]))[0]
    log = ResultLog(entry.results)
    metrics = [*suite.made_metrics(), *ALWAYS]
    for i, value in enumerate(values):
        one = case(i, variables={"message": f"question {i} \x1b[31m"}, slices={"kind": "even" if i % 2 == 0 else "odd"})
        answer = Answer(
            text="yes" if value else f"no, never {i}", total_ms=10.0 + i, completion_tokens=3, trace=f"run_{i}"
        )
        scores = {m.called: m.score(one, answer) for m in metrics}
        log.add(Result(one, 0, answer, scores))
    log.close()
    jobs = JobStore(EventLog(workspace))
    jobs.update(entry.job, state=(JobState.DONE if done else JobState.FAILED).value, message=f"{len(values)}/9")
    end_processes()
    if done:
        told = dict.fromkeys((m.called for m in metrics), "h")
        summary = summarise(list(log.done.values()), metrics, 1.5) | {
            "of": len(values),
            "overlap": {"ancestors": [], "rows": 0, "note": "not known"},
        }
        store.finish(entry.name, MANIFEST | {"metrics": told} | manifest, summary, sha256_file(entry.results))
    return entry.name


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)


def text(pilot: Pilot[int], selector: str) -> str:
    return str(pilot.app.screen_stack[0].query_one(selector, Static).content)


async def open_evaluation(pilot: Pilot[int]) -> EvaluationScreen:
    await pilot.press("f9", "4")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, EvaluationScreen)
    return screen


@pytest.mark.slow
async def test_an_empty_screen_says_what_to_do(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        assert "F5 runs the suite" in screen.query_one("#eval-run-list", Table).placeholder
        # The suite under the cursor is told, and what bundled can be run at once.
        assert "300 cases from triage-test@1" in text(pilot, "#figures-text")
        assert "injection" in [kept.ref for kept in screen.model.suites]
        assert screen.cli_command().startswith("llmops eval run")
        await pilot.press("t")
        await until(pilot, lambda: "Choose a run" in notices(pilot))


async def test_a_run_shows_figures_and_its_wrong_cases_first(open_app: OpenApp, sample: Workspace) -> None:
    name = pretend(sample, [1.0, 1.0, 0.0, 1.0])
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: screen.opened is not None)
        assert "exact" in text(pilot, "#figures-text")
        assert "[0.301, 0.954]" in text(pilot, "#figures-text")
        await until(pilot, lambda: "question 2" in text(pilot, "#case-text"))
        assert "answer       no, never 2" in text(pilot, "#case-text")
        # The reason would say both texts again.
        assert "is not yes" not in text(pilot, "#case-text")
        assert "\x1b" not in text(pilot, "#case-text")
        assert screen.cli_command() == f"llmops eval show {name}"
        await pilot.press("f")
        assert len(screen.query_one(CasesPane).shown) == 1
        await pilot.press("f")
        assert len(screen.query_one(CasesPane).shown) == 3
        assert "| exact |" in dict(screen.copy_choices())["table"]


async def test_a_baseline_is_marked_and_others_are_compared(open_app: OpenApp, sample: Workspace) -> None:
    first = pretend(sample, [1.0] * 6 + [0.0] * 34)
    second = pretend(sample, [0.0] * 2 + [1.0] * 38, model_sha256="other")
    async with open_app(size=(140, 44)) as pilot:
        screen = await open_evaluation(pilot)
        await pilot.press("down")
        await until(pilot, lambda: screen.opened is not None and screen.opened.run.name == first)
        await pilot.press("space", "up")
        await until(pilot, lambda: screen.opened is not None and screen.opened.comparison is not None)
        await until(pilot, lambda: "The candidate is better on exact by 80 points" in text(pilot, "#figures-text"))
        assert "▲34" in text(pilot, "#figures-text")
        assert "2 cases got worse" in text(pilot, "#figures-text")
        # Those that got worse come first.
        assert "question 0" in text(pilot, "#case-text")
        assert "baseline" in text(pilot, "#case-text")
        screen.query_one("#case-list").focus()
        # Then those that got better.
        await pilot.press("down", "down")
        await until(pilot, lambda: "question 6" in text(pilot, "#case-text"))
        await pilot.press("w")
        assert "even" in text(pilot, "#figures-text")
        assert "few cases" in text(pilot, "#figures-text")
        for _ in range(3):
            await pilot.press("w")
        assert second in text(pilot, "#figures-text")
        await pilot.press("w")
        assert "model_sha256" in text(pilot, "#figures-text")
        await pilot.press("t")
        await until(pilot, lambda: "The gate passes" in text(pilot, "#figures-text"))
        assert screen.cli_command() == f"llmops eval compare {first} {second}"
        assert dict(screen.copy_choices())["verdict"].startswith("The candidate is better")
        # Escape takes back what narrows the cases first, wherever it is pressed, and then the baseline.
        for place in ("#case-list", "#eval-run-list"):
            screen.query_one(place).focus()
            await pilot.press("f6")
            await until(pilot, lambda: "2 of 40 worse" in str(screen.query_one(CasesPane).border_title))
            await pilot.press("escape")
            await until(pilot, lambda: "40 of 40" in str(screen.query_one(CasesPane).border_title))
            assert screen.opened is not None
            assert screen.opened.comparison is not None
        await pilot.press("escape")
        await until(pilot, lambda: screen.opened is not None and screen.opened.baseline is None)


@pytest.mark.slow
async def test_what_cannot_be_compared_has_no_verdict(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0] * 10)
    pretend(sample, [0.0] * 10, engine="another")
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await pilot.press("down")
        await settle(pilot)
        await pilot.press("space", "up")
        await until(pilot, lambda: "No verdict: the engine differs" in text(pilot, "#figures-text"))
        assert screen.opened is not None


@pytest.mark.slow
async def test_damaged_results_are_told(open_app: OpenApp, sample: Workspace) -> None:
    name = pretend(sample, [1.0, 0.0])
    path = EvaluationStore(sample).get(name).results
    path.write_bytes(path.read_bytes()[:-20])
    async with open_app() as pilot:
        await open_evaluation(pilot)
        await until(pilot, lambda: "are missing or were changed" in text(pilot, "#figures-text"))


@pytest.mark.slow
async def test_a_run_that_ended_early_goes_on(open_app: OpenApp, sample: Workspace) -> None:
    name = pretend(sample, [1.0, 0.0, 1.0], done=False)
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: "R resumes" in text(pilot, "#figures-text"))
        # What was answered can be looked at already.
        assert len(screen.query_one(CasesPane).shown) == 3
        await pilot.press("R")
        await until(pilot, lambda: "is resumed; answered cases" in notices(pilot))
        jobs = JobStore(EventLog(sample)).all()
        assert jobs[0].resumes == EvaluationStore(sample).get(name).job
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: JobStore(EventLog(sample)).cancel_requested(jobs[0].id))


@pytest.mark.slow
async def test_a_running_run_tells_its_figures_so_far(open_app: OpenApp, sample: Workspace) -> None:
    name = pretend(sample, [1.0, 0.0], done=False)
    jobs = JobStore(EventLog(sample))
    job = EvaluationStore(sample).get(name).job
    jobs.update(job, state="running", progress=0.4, message="120/300 · exact 0.93 ± 0.03")
    with locked(jobs.lock_of(job)) as held:
        assert held
        await see_figures(open_app, jobs, job)


async def see_figures(open_app: OpenApp, jobs: JobStore, job: str) -> None:
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: "exact 0.93 ± 0.03  so far" in text(pilot, "#figures-text"))
        assert "40%" in text(pilot, "#figures-text")
        jobs.update(job, progress=0.7)
        await until(pilot, lambda: "70%" in text(pilot, "#figures-text"))
        jobs.update(job, state="failed")
        await until(pilot, lambda: [state.state for state in screen.model.runs] == ["failed"])
        await pilot.press("w")
        await until(pilot, lambda: "No slices" in text(pilot, "#figures-text"))


@pytest.mark.slow
async def test_runs_are_deleted_after_asking_and_the_last_leaves_nothing_on_show(
    open_app: OpenApp, sample: Workspace
) -> None:
    name = pretend(sample, [1.0, 0.0])
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: len(screen.query_one(CasesPane).shown) == 2)
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("Y")
        await until(pilot, lambda: f"{name} is deleted" in notices(pilot))
        await until(pilot, lambda: screen.opened is None)
        assert EvaluationStore(sample).all() == []
        assert screen.query_one(CasesPane).shown == []


async def test_another_run_is_made_the_baseline_by_the_same_key(open_app: OpenApp, sample: Workspace) -> None:
    for n in range(3):
        pretend(sample, [1.0, 0.0], model_sha256=str(n))
    async with open_app() as pilot:
        pane = (await open_evaluation(pilot)).query_one(RunsPane)
        await pilot.press("space", "down", "space")
        await until(pilot, lambda: len(pane.marked) == 2)
        first, second = (state.run.name for state in pane.states[:2])
        assert (pane.marked, pane.baseline and pane.baseline.name) == ([second, first], second)
        await pilot.press("space")
        await until(pilot, lambda: pane.marked == [first])


async def test_a_baseline_is_not_deleted_for_the_run_under_the_cursor(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0, 0.0])
    pretend(sample, [0.0, 1.0], model_sha256="other")
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await pilot.press("down")
        await settle(pilot)
        await pilot.press("space", "up")
        await until(pilot, lambda: screen.query_one(RunsPane).marked == ["polite-1"])
        await pilot.press("D")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "polite-2" in str(pilot.app.screen.query(Static).first().content)


@pytest.mark.slow
async def test_a_judge_is_asked_about_two_runs(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0, 0.0])
    pretend(sample, [0.0, 1.0], model_sha256="other")
    async with open_app() as pilot:
        await open_evaluation(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "as its baseline with space" in notices(pilot))
        await pilot.press("down")
        await settle(pilot)
        await pilot.press("space", "up")
        await until(
            pilot,
            lambda: (
                "polite-2 · baseline polite-1" in str(pilot.app.screen.query_one("#evaluation-figures").border_title)
            ),
        )
        await pilot.press("J")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: any(job.kind == "judge" for job in JobStore(EventLog(sample)).all()))
        job = next(job for job in JobStore(EventLog(sample)).all() if job.kind == "judge")
        assert job.spec["arguments"]["since"] is not None
        result = {
            "judge": "m",
            "baseline": "polite-1",
            "candidate": "polite-2",
            "wins": 1,
            "ties": 1,
            "losses": 0,
            "unusable": 0,
            "preference": {"mean": 0.7, "low": 0.5, "high": 0.9},
            "position_bias": {"mean": 0.1, "low": None, "high": None},
        }
        JobStore(EventLog(sample)).update(job.id, state="done", result=json.dumps(result))
        await until(pilot, lambda: "position bias toward the first answer" in text(pilot, "#figures-text"))


async def test_a_suite_is_run(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.model.runs) == 1)
        assert screen.model.runs[0].run.asked.model in {"support-base", "support-base-q4"}
        assert not screen.model.runs[0].run.asked.fresh
        screen.query_one("#suite-list").focus()
        await pilot.press("A")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: any(state.run.asked.fresh for state in screen.model.runs))


@pytest.mark.slow
async def test_a_suite_is_written_and_changed_in_the_editor(
    open_app: OpenApp, sample: Workspace, monkeypatch: Any
) -> None:
    from screens.shell import external_editor

    seen: list[str] = []

    def edit(_app: Any, given: str, _file: str) -> str:
        seen.append(given)
        return json.dumps(BODY) if len(seen) < 3 else "{cases: 7}"

    monkeypatch.setattr(external_editor, "edit_outside", edit)
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: "mine@1" in [k.ref for k in screen.model.suites])
        assert "cases: triage" in seen[0]
        screen.query_one("#suite-list").focus()
        await pilot.press("e", "e")
        await until(pilot, lambda: "cases" in notices(pilot))


@pytest.mark.slow
async def test_classes_and_variations_are_drawn(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0, 0.0] * 10, extra={"metrics": ["exact", {"type": "classification", "name": "f1"}]})
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: screen.opened is not None)
        await pilot.press("w", "w")
        assert "f1-macro" in text(pilot, "#figures-text")
        assert "yes" in text(pilot, "#figures-text")
        await pilot.press("w")
        assert "No variations" in text(pilot, "#figures-text")
        await pilot.press("s")
        await until(pilot, lambda: screen.opened is not None and screen.opened.metric == "f1")


@pytest.mark.slow
async def test_an_export_is_written(open_app: OpenApp, sample: Workspace, tmp_path: Path) -> None:
    pretend(sample, [1.0, 0.0])
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: screen.opened is not None)
        await pilot.press("E")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "is written" in notices(pilot))
        assert json.loads((tmp_path / "polite-1.json").read_text())["results"]["polite"]["exact,none"] == 0.5


@pytest.mark.slow
async def test_what_was_asked_in_the_playground_becomes_a_case(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        await settle(pilot)
        pilot.app.screen.query_one("#prompt-list, PromptList").focus()
        await pilot.press("C")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(
            pilot,
            lambda: (
                isinstance(pilot.app.screen, LineDialog)
                and "right answer" in str(pilot.app.screen.query_one("Static").content)
            ),
        )
        await pilot.press(*"ok", "enter")
        await until(pilot, lambda: "has 1 case." in notices(pilot))
        made = EvaluationStore(sample).suite("support-cases")
        assert made.suite.prompt == "support"
        assert made.suite.cases[0]["expected"] == "ok"  # type: ignore[index]


@pytest.mark.slow
async def test_scores_without_a_value_are_drawn(open_app: OpenApp, sample: Workspace) -> None:
    name = pretend(sample, [1.0])
    store = EvaluationStore(sample)
    entry = store.get(name)
    entry.results.unlink()
    log = ResultLog(entry.results)
    log.add(
        Result(case(0), 0, Answer(error="context_full: too long"), {"exact": Score(None, "context_full: too long")})
    )
    log.add(Result(case(1), 0, Answer(text="yes"), {"exact": Score(None, "it cannot be told")}))
    log.close()
    assert entry.summary is not None
    metrics = [*check_suite(BODY, "polite").made_metrics(), *ALWAYS]
    summary = summarise(list(log.done.values()), metrics, 1.0) | {"of": 2, "overlap": {}}
    store.finish(name, entry.manifest, summary, sha256_file(entry.results))
    async with open_app() as pilot:
        await open_evaluation(pilot)
        await until(pilot, lambda: "error: context_full" in text(pilot, "#case-text"))
        assert "not available  2 answers without a score" in text(pilot, "#figures-text")


async def test_a_standard_task_is_filled_in_refused_by_name_and_started_as_a_job(
    open_app: OpenApp, sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_no_processes(monkeypatch)
    monkeypatch.setattr("llmops_tui.evaluation.tasks.asking.find_spec", lambda _name: object())
    data = tmp_path / "test.jsonl"
    data.write_text('{"question": "2 + 2?", "answer": "4"}\n')
    jobs = JobStore(EventLog(sample))

    async def form(pilot: Pilot[int]) -> FormDialog[Any]:
        await until(pilot, lambda: isinstance(pilot.app.screen, FormDialog))
        screen = pilot.app.screen
        assert isinstance(screen, FormDialog)
        await settle(pilot)
        return screen

    def fill(screen: FormDialog[Any], **values: str) -> None:
        for name, value in values.items():
            next(field for field in screen.query(Input) if field.name == name).value = value

    async with open_app() as pilot:
        await pilot.press("f9", "4")
        await settle(pilot)
        await pilot.press("O")
        screen = await form(pilot)
        # What is installed is told before anything is filled in.
        told = str(screen.query_one(".dialog-told", Static).content)
        assert "lm-eval: installed" in told
        assert "inspect: " in told
        fill(screen, task="gsm8k", model="support-base", files="/nowhere.jsonl")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "is no file" in notices(pilot))
        # What was filled in is there again.
        again = await form(pilot)
        assert next(field for field in again.query(Input) if field.name == "task").value == "gsm8k"
        assert not [job for job in jobs.all() if job.kind == "task"]
        fill(again, files=str(data), limit="5", fewshot="0")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: any(job.kind == "task" for job in jobs.all()))
        (job,) = [job for job in jobs.all() if job.kind == "task"]
        assert job.title == "gsm8k on support-base"
        given = job.spec["arguments"]["arguments"]
        assert (given["harness"], given["task"], given["model"]) == ("lm-eval", "gsm8k", "support-base")
        assert (given["files"], given["limit"], given["fewshot"]) == ({"test": str(data)}, 5, 0)
        # Its end is told, too, by what ended it.
        jobs.update(job.id, state=JobState.FAILED.value, cause="no_data: nothing to ask")
        await until(pilot, lambda: "nothing to ask" in notices(pilot))
    end_processes()

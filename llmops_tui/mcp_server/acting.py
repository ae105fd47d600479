"""Tools that do something: run a prompt; and where writing was allowed, save, evaluate, rate and cancel."""

from __future__ import annotations

import time
from typing import Annotated, Literal, TypedDict

import pydantic

from llmops_tui.evaluation.bundled_suites import suite_named
from llmops_tui.evaluation.records import RunRecord
from llmops_tui.inference.asked_prompt import model_of
from llmops_tui.inference.client import StreamEnd
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import Timings, ToolCall
from llmops_tui.jobs.entries import JobRecord
from llmops_tui.mcp_server.history import OfJob
from llmops_tui.mcp_server.reading import PromptVariables, Ref
from llmops_tui.mcp_server.tool import Arguments, Progress, Tool
from llmops_tui.mcp_server.workbench import Workbench
from llmops_tui.prompts.records import VersionRecord
from llmops_tui.traces.feedback import give
from llmops_tui.traces.records import Given

_TELL_SECONDS = 0.5


class ToRun(Arguments):
    """What to ask, and whom."""

    ref: Ref
    model: Annotated[
        str, pydantic.Field(max_length=200, description="A registered model; empty: the one that the version holds.")
    ] = ""
    variables: PromptVariables = pydantic.Field(default_factory=dict)
    parameters: SamplingParameters = SamplingParameters()


class _Ran(TypedDict):
    run: str
    prompt: str
    model: str
    text: str
    finish_reason: str
    timing: Timings


class Ran(_Ran, total=False):
    """The answer to a prompt; ``run`` is the id of its trace, ``calls`` are those of tools that the version holds."""

    calls: list[ToolCall]


async def _run(bench: Workbench, given: ToRun, progress: Progress) -> Ran:
    import asyncio

    version = await asyncio.to_thread(bench.prompts.get, given.ref)
    model = await asyncio.to_thread(bench.model_to_run, model_of(version.settings, given.model, version.ref))
    request = bench.request(version, given.variables, given.parameters)
    text: list[str] = []
    run_id, end, told = "", StreamEnd(""), 0.0
    most = float(request.sampling.max_tokens)
    async for step in bench.runner.run(request, model):
        run_id = step.run_id
        if step.stage == "loading":
            await progress(0, most, f"{version.ref} is answered by {model.name}")
        elif step.stage == "text":
            text.append(step.text)
            if (now := time.monotonic()) - told > _TELL_SECONDS:
                told = now
                await progress(float(min(len(text), most)), most, "pieces of the answer")
        elif step.end is not None:
            end = step.end
    ran: Ran = {
        "run": run_id,
        "prompt": version.ref,
        "model": model.name,
        "text": "".join(text),
        "finish_reason": end.finish_reason,
        "timing": end.timings,
    }
    return {**ran, "calls": end.calls} if end.calls else ran


class ToSave(Arguments):
    """A text to save; what the newest version holds beside its texts stays."""

    name: Annotated[str, pydantic.Field(max_length=100, description="The prompt's name.")]
    template: Annotated[str, pydantic.Field(max_length=1_000_000, description="The user template, in Jinja.")]
    system: Annotated[str, pydantic.Field(max_length=1_000_000, description="The system template, in Jinja.")] = ""
    note: Annotated[str, pydantic.Field(max_length=1000, description="What was changed, and why.")] = ""


class Saved(VersionRecord):
    """A version, and whether it is new."""

    created: bool


def _save(bench: Workbench, given: ToSave) -> Saved:
    version, created = bench.prompts.save(given.name, template=given.template, system=given.system, note=given.note)
    return {**version.as_dict(), "created": created}


class ToLabel(Arguments):
    """Which version gets which label."""

    ref: Ref
    label: Annotated[str, pydantic.Field(max_length=50, description="The label, such as production.")]


def _label(bench: Workbench, given: ToLabel) -> VersionRecord:
    return bench.undo.move_label(given.ref, given.label).as_dict()


class ToEvaluate(Arguments):
    """Which suite, on what."""

    suite: Annotated[str, pydantic.Field(max_length=200, description="A saved or bundled suite: NAME or NAME@VERSION.")]
    models: Annotated[
        tuple[str, ...], pydantic.Field(max_length=50, description="Models in place of the suite's.")
    ] = ()
    prompts: Annotated[
        tuple[str, ...], pydantic.Field(max_length=50, description="Prompt versions in place of the suite's.")
    ] = ()
    cases: Annotated[int | None, pydantic.Field(ge=1, description="A sample of so many cases.")] = None


class Started(TypedDict):
    """Runs that were started, as one job."""

    runs: list[RunRecord]


def _evaluate(bench: Workbench, given: ToEvaluate) -> Started:
    store = bench.evaluations
    version = suite_named(store, given.suite)
    if given.cases is not None:
        version = store.save_suite(version.suite.model_copy(update={"limit": given.cases}), f"{given.cases} cases")
    runs = store.start(version, store.columns(version.suite, list(given.models) or None, list(given.prompts) or None))
    return {"runs": [state.as_dict() for state in store.states(runs)]}


class ToRate(Arguments):
    """What to say of an answer."""

    trace: Annotated[str, pydantic.Field(max_length=100, description="The trace's id, or the beginning of it.")]
    score: Annotated[Literal["up", "down"] | None, pydantic.Field(description="Whether it is good.")] = None
    correction: Annotated[str | None, pydantic.Field(max_length=100_000, description="The right answer.")] = None
    comment: Annotated[str | None, pydantic.Field(max_length=10_000, description="A comment.")] = None


def _rate(bench: Workbench, given: ToRate) -> Given:
    return give(
        bench.traces,
        given.trace,
        score=given.score,
        correction=given.correction,
        comment=given.comment,
        source="agent",
    )


def _cancel(bench: Workbench, given: OfJob) -> JobRecord:
    return bench.jobs.cancel(given.job).as_dict()


TOOLS = (
    Tool(
        "run_prompt",
        "Run a prompt",
        "Run a version of a prompt on a model and return the answer. The run is kept in the history, as each run is. "
        "Models on other servers are asked only where writing was allowed.",
        ToRun,
        Ran,
        _run,
        changes=True,
        repeatable=False,
        leaves=True,
    ),
    Tool(
        "save_prompt",
        "Save a prompt",
        "Save texts as a new version of a prompt. Older versions stay, and no label moves.",
        ToSave,
        Saved,
        _save,
        writes=True,
        changes=True,
    ),
    Tool(
        "move_label",
        "Move a label",
        "Point a label such as production at a version of a prompt; whoever uses the prompt by this label gets it.",
        ToLabel,
        VersionRecord,
        _label,
        writes=True,
        changes=True,
        destroys=True,
    ),
    Tool(
        "start_evaluation",
        "Start an evaluation",
        "Start a suite as a background job, which may take long; show_evaluation tells how far it is.",
        ToEvaluate,
        Started,
        _evaluate,
        writes=True,
        changes=True,
        repeatable=False,
        leaves=True,
    ),
    Tool(
        "give_feedback",
        "Rate an answer",
        "Rate or correct the answer of a trace. What was said before is kept; what is said last counts.",
        ToRate,
        Given,
        _rate,
        writes=True,
        changes=True,
        repeatable=False,
    ),
    Tool(
        "cancel_job",
        "Cancel a job",
        "Ask a running job to stop; what it has done so far is kept.",
        OfJob,
        JobRecord,
        _cancel,
        writes=True,
        changes=True,
        destroys=True,
    ),
)

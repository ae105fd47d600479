"""Names that nothing goes by are refused where a filter of traces decides what is judged: they would never be an alarm."""

from __future__ import annotations

import datetime as dt

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.traffic_days import TrafficDays
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.known_names import known_filter, refuse_unknown_names
from llmops_tui.traces.store import TraceFilter
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.engine.engines import MODEL


@pytest.fixture
def asked(workspace: Workspace, catalog: Catalog) -> Workspace:
    """A model and a prompt without traffic, and traffic of others that are here no more."""
    ModelRegistry(catalog).add(MODEL, "quiet")
    AliasBook(catalog).add("quiet", "gpt-4o")
    PromptStore(catalog).save("greet", template="Hi")
    event_log = EventLog(workspace)
    client = {
        "key": None,
        "metadata": {},
        "recording": "monday",
        "experiment": {"id": "exp_1", "arm": "a", "unit": "u"},
    }
    event_log.append(
        "request", "run_1",
        {"started_at": 5.0, "model": "gone", "prompt": "old", "messages": [], "output": "x", "finish_reason": "stop", "client": client},
    )  # type: ignore[arg-type]  # fmt: skip
    ingest(catalog, event_log)
    event_log.close()
    return workspace


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("model:nope", "model_not_found"), ("model:quiet+nope", "model_not_found"), ("model:gpt-4o", "model_not_found"),
        ("prompt:nope", "prompt_not_found"), ("recording:nope", "not_recorded"), ("experiment:exp_2@a", "experiment_not_found"),
        ("experiment:exp_1@b", "experiment_not_found"), ("chain:nope", "chain_not_found"), ("service:nope", "no_traces"),
        ("work:nope", "no_traces"), ("trace:abcd", "no_traces"), ("prompt:nope@1", "prompt_not_found"),
        ("model:quiet prompt:nope", "prompt_not_found"),
    ],
)  # fmt: skip
def test_what_nothing_is_called_is_refused(asked: Workspace, said: str, code: str) -> None:
    with pytest.raises(LlmopsError) as refused:
        known_filter(Catalog(asked), EventLog(asked), said)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "said",
    ["", "words", "model:quiet", "model:gone", "prompt:greet", "prompt:old", "recording:monday", "experiment:exp_1@a"],
)
def test_what_is_here_or_was_asked_is_taken(asked: Workspace, said: str) -> None:
    assert known_filter(Catalog(asked), EventLog(asked), said) == TraceFilter.parse(said, 0.0)


def test_an_alias_says_which_model_it_stands_for(asked: Workspace) -> None:
    with pytest.raises(LlmopsError) as refused:
        refuse_unknown_names(Catalog(asked), EventLog(asked), TraceFilter(model="gpt-4o"))
    assert "'quiet'" in refused.value.hint


@pytest.mark.parametrize(
    "command",
    [
        ("drift", "check"), ("drift", "traffic"), ("drift", "days"), ("drift", "reset"), ("drift", "reset", "--yes"),
        ("traces", "list", "--filter"), ("traces", "trajectories", "--filter"), ("traces", "remove", "--filter"),
        ("traces", "to-dataset", "x", "--filter"), ("quality", "check", "--filter"), ("quality", "next", "refused", "--filter"),
        ("quality", "label", "refused", "run_1", "yes", "--filter"), ("quality", "replay", "x", "--model", "quiet", "--filter"),
    ],
)  # fmt: skip
def test_commands_that_judge_traffic_refuse_them(asked: Workspace, command: tuple[str, ...]) -> None:
    named = ("model:nope",) if command[-1] == "--filter" else ("--model", "nope")
    assert Llmops(asked).run(*command, *named, code=3)["error"]["code"] == "model_not_found"
    event_log = EventLog(asked)
    assert TrafficDays(event_log).monitors() == []
    event_log.close()


def test_a_name_that_only_requests_have_is_known(asked: Workspace) -> None:
    """A model that is registered no more, of which only requests with an adapter tell."""
    event_log = EventLog(asked)
    body = {"started_at": 1.0, "model": "left+tuned", "messages": [], "output": "a", "finish_reason": "stop"}
    event_log.append("request", "run_2", body)  # type: ignore[arg-type]
    event_log.close()
    llmops = Llmops(asked)
    assert llmops.run("traces", "list", "--filter", "model:left")["total"] == 1
    assert llmops.run("traces", "list", "--filter", "model:left is:down")["total"] == 0
    assert llmops.run("drift", "days", "--model", "left")["days"] == []


def test_days_to_come_are_refused_and_not_kept(asked: Workspace) -> None:
    llmops = Llmops(asked)
    tomorrow = dt.datetime.now().astimezone().date() + dt.timedelta(days=1)
    assert llmops.run("drift", "check", "--day", tomorrow.isoformat(), code=3)["error"]["code"] == "day_to_come"
    event_log = EventLog(asked)
    assert TrafficDays(event_log).monitors() == []
    event_log.close()

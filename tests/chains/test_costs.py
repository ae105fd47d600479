"""What a run of a chain will ask for, told before it does."""

from __future__ import annotations

from llmops_tui.chains.costs import cost_of, cost_text
from llmops_tui.chains.records import CostRecord
from llmops_tui.chains.runs import RunOptions, prepare_run
from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from tests.chains.test_executor import MAPPED


def _cost(catalog: Catalog, tools: ChainTools, inputs: dict[str, object]) -> CostRecord:
    asked, resolved = prepare_run(tools, "many", inputs, RunOptions())
    return cost_of(asked, resolved, tools, JobStore(EventLog(catalog.workspace)))


def test_a_list_that_is_given_has_its_length_in_the_plan(catalog: Catalog, tools: ChainTools) -> None:
    store = ChainStore(catalog)
    store.save("many", MAPPED)
    cost = _cost(catalog, tools, {"tickets": ["a", "b", "c"]})
    assert (cost["least"], cost["most"]) == (3, 3)
    assert cost_text(cost).startswith("3 requests to small")
    # Also where it is the input's default.
    store.save("many", MAPPED.replace("{tickets: list}", "{tickets: {type: list, default: [a, b]}}"))
    assert _cost(catalog, tools, {})["most"] == 2


def test_where_the_length_is_not_known_the_figure_is_for_the_requests_that_are() -> None:
    cost: CostRecord = {
        "chain": "many", "rows": 1, "steps": [], "least": 1, "most": None, "seconds": 2.0, "tokens": 38.0, "measured": "job_1",
    }  # fmt: skip
    assert cost_text(cost).endswith("about 38 tokens and 2 s for 1 request alone, by job_1")
    assert "alone" not in cost_text({**cost, "most": 1})

"""Labels of chains: a suite's rules decide, by runs of the chain as all that it uses is now."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation import chain_columns
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.measures import sources
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.promotion import promotion, suites_for
from llmops_tui.evaluation.run_search import NotEvaluatedError
from llmops_tui.evaluation.runner import chained
from llmops_tui.evaluation.runner.results import Result, ResultLog
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_file
from tests.chains.test_definition import WHOLE
from tests.evaluation.conftest import made_run
from tests.fakes import end_processes, start_no_processes

BODY: dict[str, Any] = {
    "cases": [{"ticket": f"It crashes {n}.", "expected": "Sorry."} for n in range(4)],
    "prompt": "chain/desk", "models": ["small"], "metrics": ["exact"], "rules": ["exact >= 0.75"],
}  # fmt: skip


def _finished(store: EvaluationStore, suite: Suite, ref: str, right: int) -> str:
    """A run of a chain as the job leaves it, without any model."""
    (entry,) = store.start(store.save_suite(suite), store.columns(suite, prompts=[ref]))
    cases = build_cases(suite, store.datasets)
    log = ResultLog(entry.results)
    for one in cases.cases:
        log.add(Result(one, 0, Answer(text="Sorry."), {"exact": Score(float(one.index < right))}))
    log.close()
    metrics = suite.made_metrics()
    prompts, parts = chained.decided_by(store, ref, "small")
    model = store.registry.get("small")
    made = made_run().manifest | {
        "prompt": list(prompts), "prompt_sha256": list(prompts.values()), "chain_parts": parts, "model": "small",
        "model_sha256": model.sha256, "cases_of": cases.of, "cases_sha256": cases.sha256,
        "metrics": {m.called: fingerprint(m) for m in metrics}, "metric_sources": sources(metrics, store.registry),
    }  # fmt: skip
    summary = summarise(list(log.done.values()), metrics, 1.0)
    store.finish(entry.name, made, summary, sha256_file(entry.results))
    end_processes()
    return entry.name


def test_a_label_of_a_chain_moves_by_runs_of_all_that_it_uses_now(
    catalog: Catalog, tools: ChainTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_no_processes(monkeypatch)
    for module in (chained, chain_columns):
        monkeypatch.setattr(module, "ChainTools", lambda _catalog, _renderer=None: tools)
    store = EvaluationStore(catalog.workspace)
    ChainStore(catalog).save("desk", WHOLE)
    suite = check_suite(BODY, "s")
    store.save_suite(suite)
    store.save_suite(check_suite(BODY | {"prompt": "chain/desk@1:found"}, "of-a-step"))
    assert [one.ref for one in suites_for(store, "chain/desk")] == ["s@1"]
    with pytest.raises(NotEvaluatedError, match="chain/desk@1 has no run of suite s@1 on small") as missing:
        promotion(store, "chain/desk", "production", "s")
    assert missing.value.hint == "llmops eval run s@1 --prompt chain/desk@1 --model small makes one."
    _finished(store, suite, "chain/desk@1", 2)
    assert [one.outcome for one in promotion(store, "chain/desk@1", "production", "s")] == ["fail"]
    _finished(store, suite, "chain/desk@1", 4)
    assert [one.outcome for one in promotion(store, "chain/desk@1", "production", "s")] == ["pass"]
    # The chain's text is as it was; the prompt that its step names is another one now.
    tools.prompts.save("sort", template="Is it a bug? {{ ticket }}")
    with pytest.raises(InputRefusedError, match=r"s-2 was asked with another sort@1, sort@2"):
        promotion(store, "chain/desk@1", "production", "s")

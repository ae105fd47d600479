"""The job in this process, with a model that answers by rule: what is found, kept, told, and asked again after a kill."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.improvement.call_log import FILE, CallLog
from llmops_tui.improvement.front import front_lines
from llmops_tui.improvement.job import run_improvement, start_arguments
from llmops_tui.improvement.plan import check_plan
from llmops_tui.improvement.prepared import prepare
from llmops_tui.improvement.records import ImprovedRecord
from llmops_tui.improvement.sealed_rows import sealed_rows
from llmops_tui.improvement.store import ImprovementStore
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.improvement.conftest import Fill
from tests.improvement.scripted_model import COLOURS, PLANTED, ScriptedModel, rows


class Killed(BaseException):
    """What stands in for a kill."""


class Context:
    """What the job's function is given; it is killed after so many checks."""

    def __init__(self, workspace: Workspace, own: str, after: int | None = None) -> None:
        self.workspace, self.job_id = workspace, own
        self.folder: Path = workspace.runs / own
        self.folder.mkdir(parents=True, exist_ok=True)
        self._left = after

    def report(self, share: float, message: str = "") -> None:
        assert 0 <= share <= 1
        assert message

    def check(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Killed


def _run(catalog: Catalog, body: JsonObject, own: str = "job_1", after: int | None = None) -> ImprovedRecord:
    arguments = start_arguments(prepare(catalog, check_plan(body), own))
    return run_improvement(Context(catalog.workspace, own, after), **arguments)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_planted_instruction_is_found_and_confirmed_wherever_it_was_killed(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject], scripted: ScriptedModel
) -> None:
    copied = " ".join(rows(120)[0]["text"].split()[:6])
    scripted.proposals = ["Be good.", f"Say RED for {copied}", "Tell me.", PLANTED]
    body = plan(fill(rows(120)), turns=3)
    for after in (40, 90, 120):
        with pytest.raises(Killed):
            _run(catalog, body, after=after)
    found = _run(catalog, body)
    asked = list(scripted.asked)
    # At a kill so many at once were on their way at the most, and are asked again.
    assert len(asked) - len(set(asked)) <= 3 * 32
    sealed = found["sealed"]
    assert sealed is not None
    assert sealed["verdict"] == "better"
    assert (sealed["look"], sealed["n"]) == (1, found["rows"]["sealed"])
    best = PromptStore(catalog).get(f"colour@{sealed['version']}")
    assert PLANTED in best.template
    assert best.candidate_of == "job_1"
    assert best.parent is not None
    assert [v.number for v in PromptStore(catalog).versions("colour")] == [1]
    assert f"{best.ref} is better than colour@1 on exact by" in found["verdict"]
    assert f"{sealed['n']} sealed rows" in found["verdict"]
    assert "smallest difference" in found["verdict"]
    assert any("copies row" in one["why"] for one in found["refused"])
    assert len(scripted.reflections) == found["taken"]["reflections"]
    drawn = "\n".join(front_lines(found["candidates"], found["better"]))
    assert f"●@{best.number}" in drawn
    store = ImprovementStore(catalog)
    kept = store.get("job_1")
    assert kept.result == found
    assert kept.looked is not None
    behind = sealed_rows(catalog, kept)
    assert len(behind) == sealed["n"]
    lost = [row for row in behind if (row["candidate_score"] or 0) < (row["seed_score"] or 0)]
    assert behind[: len(lost)] == lost
    assert len(lost) == sealed["losses"]
    # Nothing is asked once it is done.
    assert _run(catalog, body)["verdict"] == found["verdict"]
    assert len(scripted.asked) == len(asked)


@pytest.mark.slow
def test_without_anything_better_the_sealed_rows_stay_closed(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject], scripted: ScriptedModel
) -> None:
    scripted.proposals = ["Be good.", "Tell me.", "Think of it."]
    scripted.base = 0.0
    found = _run(catalog, plan(fill(rows(100)), turns=2))
    assert found["sealed"] is None
    assert "The sealed rows were not looked at." in found["verdict"]
    assert ImprovementStore(catalog).get("job_1").looked is None
    sealed = set(prepare(catalog, check_plan(plan(fill(rows(100)))), "job_1").parts.sealed)
    log = CallLog(catalog.workspace.runs / "job_1" / FILE, read_only=True)
    assert sealed.isdisjoint(row for _, row in log.answers)


def test_examples_are_diverse_by_the_embedder_that_is_named(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Embedder:
        async def rows(self, texts: list[str]) -> object:
            return np.eye(len(COLOURS), dtype=np.float32)[[COLOURS.index(text.rsplit(" ", 1)[-1]) for text in texts]]

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[Embedder]:
        yield Embedder()

    monkeypatch.setattr("llmops_tui.improvement.job.opened_embedder", opened)
    found = _run(catalog, plan(fill(rows(100)), turns=1, ways=["examples"], embedder="scripted"))
    template = PromptStore(catalog).get(f"colour@{found['candidates'][1]['version']}").template
    shown = re.findall(r"^Output: (\w+)$", template, re.MULTILINE)
    assert template.endswith("Input: {{ text }}\nOutput:")
    # One of each colour but one: words alone would not tell them apart so well.
    assert len(shown) == len(set(shown)) == 4
    prepared = prepare(catalog, check_plan(plan(fill(rows(100)))), "job_1")
    texts = [str(prepared.cases[key].variables["text"]) for key in (*prepared.parts.sealed, *prepared.parts.select)]
    assert not any(text in template for text in texts)


def test_another_model_of_the_same_name_is_noticed(
    catalog: Catalog, fill: Fill, plan: Callable[..., JsonObject]
) -> None:
    arguments = start_arguments(prepare(catalog, check_plan(plan(fill(rows(100))))))
    arguments["models"] = {"scripted": "0" * 64}
    with pytest.raises(LlmopsError, match="another one now"):
        run_improvement(Context(catalog.workspace, "job_1"), **arguments)  # type: ignore[arg-type]


def test_a_line_that_a_kill_left_unfinished_is_cut_and_a_damaged_one_told(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b'["proposed",{"number":0,"text":"a","error":""}]\n["asked",{"candid')
    log = CallLog(path)
    assert log.proposals[0].text == "a"
    log.close()
    assert path.read_bytes().endswith(b"}]\n")
    path.write_bytes(b'["unknown",{}]\n')
    with pytest.raises(LlmopsError, match="line 1"):
        CallLog(path)

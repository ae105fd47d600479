"""Work that goes on is answered by the files that it began with, or is refused by the name of what is another one now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from llmops_tui.chains import job as chain_job
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.runner.began import NOTE, hold_to_beginning
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.batch.job import answer_file
from llmops_tui.inference.batch.requests import CheckedFile, RequestFile
from llmops_tui.inference.filed.output import OutputLog
from llmops_tui.models.answering_files import files_of, refuse_others
from llmops_tui.models.registry import Model
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.synthesis import job as synthesis_job
from llmops_tui.workspace.layout import Workspace
from tests.evaluation.conftest import made_run


def _model(name: str, digest: str, kind: str = "gguf", **header: Any) -> Model:
    return Model(name, kind, Path(f"{name}.gguf"), digest * 64, 1, header, 0.0, None)  # type: ignore[arg-type]


BIG, SMALL, ADAPTER = _model("big", "b"), _model("small", "a"), _model("ada", "c", "adapter")


def test_files_of_a_model_with_an_adapter_and_of_somebody_elses() -> None:
    assert files_of(BIG) == "b" * 64
    assert files_of(BIG, ADAPTER) == files_of(replace(ADAPTER, origin=BIG)) == f"{'b' * 64}+{'c' * 64}"
    assert files_of(_model("far", "", "remote", url="http://x/v1", remote_model="y")) == "http://x/v1 y"


def test_what_is_another_one_is_told_so_that_the_two_differ() -> None:
    far = [
        files_of(_model("far", "", "remote", url="http://localhost:80/v1", remote_model=name)) for name in ("a", "b")
    ]
    with pytest.raises(
        InputRefusedError, match="as http://localhost:80/v1 a, and that is http://localhost:80/v1 b now"
    ):
        refuse_others({"far": far[0]}, {"far": far[1]}, "run x", "")
    both = [files_of(BIG, _model("ada", digest, "adapter")) for digest in "cd"]
    told = r"as b{12}\+c{12}, and that is b{12}\+d{12} now"
    with pytest.raises(InputRefusedError, match=told):
        refuse_others({"ada": both[0]}, {"ada": both[1]}, "run x", "")


def test_a_batch_goes_on_with_the_model_that_its_alias_stood_for(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    lines = [
        {"custom_id": name, "url": "/v1/completions", "body": {"model": name, "prompt": "x"}}
        for name in ("fast", "big")
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    context: Any = SimpleNamespace(folder=tmp_path, report=lambda *_: None)

    def asked(models: list[Model], alias: str) -> dict[str, str]:
        seen: dict[str, str] = {}

        def answer(_log: OutputLog, checked: CheckedFile) -> None:
            seen.update({line.custom_id: line.model.name for line in checked.lines})

        file = RequestFile(path, models, {"fast": alias})
        answer_file(context, file, str(tmp_path / "out.jsonl"), answer)
        return seen

    assert asked([BIG, SMALL], "small") == {"fast": "small", "big": "big"}
    # The alias moved while the batch rested.
    assert asked([BIG, SMALL], "big") == {"fast": "small", "big": "big"}
    with pytest.raises(InputRefusedError, match=r"it began with small as a{12}, and that is d{12} now") as refused:
        asked([BIG, _model("small", "d")], "small")
    assert refused.value.code == "model_changed"
    with pytest.raises(InputRefusedError, match=r"the batch began with small for fast: no model 'small'"):
        asked([BIG], "big")


def test_an_evaluation_does_not_mix_answers_of_two_files_under_one_name(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EvaluationStore(workspace)
    store.prompts.save("p", template="{{ q }}")
    store.save_suite(check_suite({"cases": [{"q": "a"}], "prompt": "p", "metrics": ["length"]}, "s"))
    run = replace(made_run(), asked=Asked("p@1", "small"), folder=tmp_path)
    known = {"small": SMALL, "strict": BIG}
    monkeypatch.setattr(store, "registry", SimpleNamespace(get=lambda name: known[name]))
    metrics = [make_metric({"type": "judge", "model": "strict", "rubric": "Short?"})]

    def begin(cases: str = "x", *, answered: bool = True) -> None:
        of: Any = (store, run, SimpleNamespace(sha256=cases * 64), metrics, None, PromptRetrieval(store.catalog))
        hold_to_beginning(*of, answered=answered)

    begin(answered=False)
    begin()
    for name, told in (("small", "the model small"), ("strict", "the judge strict")):
        before = known[name]
        known[name] = _model(name, "e")
        with pytest.raises(
            InputRefusedError, match=f"run a would mix answers: it began with {told} as .*, and that is e"
        ):
            begin()
        known[name] = before
    with pytest.raises(InputRefusedError, match="it began with the cases as x"):
        begin("y")
    # Where nothing is answered yet, there is nothing to mix; a run of an earlier version has no note.
    begin("y", answered=False)
    begin("y")
    (tmp_path / NOTE).unlink()
    begin("z")
    begin("z")


def test_a_run_of_a_chain_and_a_synthesis_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tools:
        def __init__(self, _catalog: Any) -> None:
            self.registry = SimpleNamespace(get=lambda _name: _model("small", "f"))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

    context: Any = SimpleNamespace(workspace=None, report=lambda *_: None)
    monkeypatch.setattr(chain_job, "Catalog", lambda _workspace: None)
    monkeypatch.setattr(chain_job, "ChainTools", Tools)
    monkeypatch.setattr(chain_job, "parse_chain", lambda text: text)
    monkeypatch.setattr(chain_job, "resolve", lambda *_, **__: SimpleNamespace(models=["small"]))
    asked: Any = {"chain": "desk", "text": "", "model": "", "pins": {}, "models": {"small": "a" * 64}}
    with pytest.raises(InputRefusedError, match="the run of desk would mix answers: it began with small as a"):
        chain_job.run(context, asked)
    prepared = SimpleNamespace(model=SMALL, judge=BIG)
    monkeypatch.setattr(synthesis_job, "Catalog", lambda _workspace: None)
    monkeypatch.setattr(synthesis_job, "prepare", lambda *_: prepared)
    monkeypatch.setattr(synthesis_job, "check_plan", lambda plan: plan)
    with pytest.raises(LlmopsError, match="big is another model now"):
        synthesis_job.run_synthesis(context, {}, "rows", "a" * 64, "0" * 64)

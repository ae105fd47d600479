"""Runs of all weights, of new tokens, and of what goes on from another run, from their start to the model that serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.gguf import read_contents
from llmops_tui.training.export import tensors
from llmops_tui.training.export.proof import Answers, Case, ask_gguf
from llmops_tui.training.recipe import Recipe, changed, check
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.layout import Workspace
from tests.later import Later
from tests.training.conftest import metrics
from tests.training.test_kill import wait
from tests.training.test_methods import dataset

reference = Later("llmops_tui.training.worker.reference")
PROMPT, ANSWER = list(range(20, 60)), list(range(100, 112))
CASE = Case("", PROMPT, ANSWER)


@pytest.fixture
def store(sample: Workspace) -> RunStore:
    return RunStore(sample)


def recipe(name: str, **changes: Any) -> Recipe:
    body = {
        "name": name,
        "base": "support-base-hf",
        "data": ["prompt-completion"],
        "max_steps": 2,
        "gradient_checkpointing": False,
        "quantization": {"type": "none", "compute": "float32"},
        "lora": {"rank": 4},
        "batch": {"size": 2, "accumulation": 1, "max_length": 64},
        "optimizer": {"learning_rate": 1e-3, "warmup": 0},
        "evaluation": {"share": 0.0},
        "trackers": [],
    }
    return check(body | changes)


def done(store: RunStore, wanted: Recipe) -> Run:
    run = store.start(wanted, beside=True)
    assert wait(store, run) == "done", store.state(run).as_dict()
    return store.get(run.name)


def kl(want: Answers, found: Answers) -> float:
    p, q = (answers.logprobs[0].astype(np.float64) for answers in (want, found))
    width = min(p.shape[1], q.shape[1])
    return float((np.exp(p[:, :width]) * (p[:, :width] - q[:, :width])).sum(axis=1).mean())


def served(store: RunStore, run: Run) -> Answers:
    model = store.registry.get(run.name)
    assert model.kind == "gguf"
    return ask_gguf(model.path, None, [CASE], lambda _share: None)


def parents(store: RunStore, output: str) -> set[str]:
    return store.catalog.read(
        lambda c: {r[0] for r in c.execute("SELECT input FROM lineage WHERE output = ?", [output]).fetchall()}
    )


@pytest.mark.slow
def test_all_weights_are_trained_and_the_run_ends_as_a_model_that_serves(store: RunStore) -> None:
    dataset(store, "prompt-completion")
    run = done(store, recipe("whole", tuning="full"))
    assert run.result is not None
    assert run.result["whole"] is True
    trained = dict(tensors.read_all(run.folder / "model"))
    before = dict(tensors.read_all(store.registry.get("support-base-hf").path))
    assert all(not np.array_equal(trained[name], value) for name, value in before.items())
    base = store.registry.get("support-base-hf").path
    want = reference.ask(run.folder / "model", None, [CASE], set())
    assert kl(want, reference.ask(base, None, [CASE], set())) > 1e-3
    assert abs(kl(want, served(store, run))) < 2e-4
    assert store.registry.get("support-base-hf").sha256 in parents(store, str(run.result["sha256"]))
    # It goes on from there.
    again = done(store, recipe("further", tuning="full", start=run.name))
    assert run.result["sha256"] in parents(store, str((again.result or {})["sha256"]))
    losses = [[record["loss"] for record in metrics(r.folder) if record["kind"] == "step"] for r in (run, again)]
    assert losses[1][0] < losses[0][-1]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), [("dpo", "preference"), ("kto", "kto"), ("orpo", "preference")])
def test_all_weights_learn_what_is_preferred(store: RunStore, method: str, kind: str) -> None:
    dataset(store, kind)
    run = done(store, recipe(method, method=method, data=[kind], tuning="full", optimizer={"learning_rate": 1e-5}))
    want = reference.ask(run.folder / "model", None, [CASE], set())
    assert abs(kl(want, served(store, run))) < 2e-4


@pytest.mark.slow
def test_new_tokens_are_learned_and_the_served_model_knows_them(store: RunStore) -> None:
    rows = [{"prompt": f"Add {n} and 1:", "completion": f" <sum>{n + 1}</sum>"} for n in range(12)]
    dataset(store, "prompt-completion", rows)
    new = ["<sum>", "</sum>"]
    run = done(store, recipe("grown", tokens=new))
    file = read_contents(store.registry.get(run.name).path)
    words = file.metadata["tokenizer.ggml.tokens"]
    base = store.registry.get("support-base-hf")
    assert words[-2:] == new
    assert len(words) == base.header["vocabulary"] + 2
    assert file.tensors["token_embd.weight"].shape[0] == len(words)
    (folder,) = (store.workspace.models / ".unpacked").iterdir()
    ids = [words.index(token) for token in new]
    case = Case("Add 1 and 1: <sum>2</sum>", PROMPT, [*ANSWER, *ids])
    want = reference.ask(folder, run.folder / "adapter", [case], set())
    found = ask_gguf(store.registry.get(run.name).path, None, [case], lambda _share: None)
    assert want.logprobs[0].shape == found.logprobs[0].shape
    assert abs(kl(want, found)) < 2e-4
    assert set(ids) < set(found.tokens[0])
    merged = dict(tensors.read_all(folder))["model.embed_tokens.weight"]
    saved = dict(tensors.read_all(run.folder / "adapter"))
    (name,) = [name for name in saved if "embed_tokens" in name]
    assert saved[name].shape == merged.shape
    assert not np.allclose(saved[name][ids], merged[ids])
    with pytest.raises(InputRefusedError, match="in the vocabulary already"):
        from llmops_tui.training.worker.new_tokens import folder_with

        folder_with(store.workspace, base, base.path, [words[300]])


@pytest.mark.slow
def test_a_run_goes_on_from_the_adapter_of_another(store: RunStore) -> None:
    dataset(store, "prompt-completion")
    first = done(store, recipe("first"))
    nothing = {"learning_rate": 1e-12, "warmup": 0}
    second = done(store, recipe("second", start=first.name, max_steps=1, optimizer=nothing))
    one, two = (dict(tensors.read_all(run.folder / "adapter")) for run in (first, second))
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-9)
    assert first.result is not None
    assert second.result is not None
    assert first.result["sha256"] in parents(store, str(second.result["sha256"]))
    assert second.start == ((first.name, first.result["weights_sha256"]),)
    for changes, told in (
        ({"lora.rank": 8}, "lora.rank is 8 in the recipe and 4 in the adapter"),
        ({"tuning": "full", "lora.rank": 16}, "tuning: lora, and this recipe full"),
        ({"start": second.name, "base": "support-base"}, "was trained on support-base-hf"),
        ({"tokens": ["<x>"]}, "other new tokens: none"),
    ):
        with pytest.raises(InputRefusedError, match=told):
            store.start(changed(second.recipe, changes))
    (first.folder / "adapter" / "adapter_model.safetensors").write_bytes(b"else")
    with pytest.raises(InputRefusedError, match="began from run first-1"):
        from llmops_tui.training.starts import checked_start

        checked_start(second, store, store.base_of(second.recipe))

"""Each method trains on its kind of data, and what cannot be trained is refused with its reason."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.bases import refuse_untrainable
from llmops_tui.training.example import IGNORED
from llmops_tui.training.examples import build
from llmops_tui.training.export.adapter import read_adapter
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

ROWS: dict[str, list[dict[str, Any]]] = {
    "preference": [
        {"prompt": [{"role": "user", "content": f"Say {n}."}], "chosen": [{"role": "assistant", "content": f"{n}."}],
         "rejected": [{"role": "assistant", "content": f"No, {n} is too much."}]} for n in range(12)
    ],
    "kto": [{"prompt": f"Say {n}.", "completion": f" {n}.", "label": n % 2 == 0} for n in range(12)],
    "text": [{"text": f"The shop opens at {n}. " * 20} for n in range(12)],
    "prompt-completion": [{"prompt": f"Add {n} and 1:", "completion": f" {n + 1}"} for n in range(12)],
}  # fmt: skip


@pytest.fixture
def store(sample: Workspace) -> RunStore:
    return RunStore(sample)


def dataset(store: RunStore, kind: str, rows: list[dict[str, Any]] | None = None, name: str = "") -> str:
    file = store.workspace.root / f"{name or kind}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows or ROWS[kind]), encoding="utf-8")
    import_now(store.datasets, [file], name or kind, kind)
    return name or kind


def recipe(method: str, dataset_name: str, **changes: Any) -> Recipe:
    body = {
        "name": method,
        "base": "support-base-hf",
        "data": [dataset_name],
        "method": method,
        "max_steps": 2,
        "gradient_checkpointing": False,
        "lora": {"rank": 4},
        "batch": {"size": 2, "accumulation": 1, "max_length": 64},
        "optimizer": {"learning_rate": 1e-4},
        "evaluation": {"share": 0.0},
        "trackers": [],
    }
    return check(body | changes)


def text_of(store: RunStore) -> ModelText:
    return ModelText(store.registry.get("support-base-hf"))


def test_sft_learns_from_the_answers_alone(store: RunStore) -> None:
    with text_of(store) as text:
        batch = {"max_length": 256}
        made = build(recipe("sft", "triage", batch=batch), store.datasets, text, limit=8)
        everything = build(recipe("sft", "triage", batch=batch, assistant_only=False), store.datasets, text, limit=8)
        for example in made.train:
            learned = text.tokenizer.text_of([label for label in example["labels"] if label != IGNORED])
            assert learned.startswith('{"intent"')
            assert learned.rstrip().endswith("<|im_end|>")
            assert all(a in {b, IGNORED} for a, b in zip(example["labels"], example["input_ids"], strict=True))
        assert all(IGNORED not in example["labels"] for example in everything.train)
    assert made.report.trained < sum(made.report.lengths)


def test_pairs_thumbs_and_texts_become_what_their_trainers_take(store: RunStore) -> None:
    for kind in ROWS:
        dataset(store, kind)
    with text_of(store) as text:
        of_pairs = build(recipe("dpo", "preference"), store.datasets, text)
        pairs = of_pairs.train
        # Learned from are the answers of what is trained on, and of no held-out pair.
        learned = sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in pairs)
        assert of_pairs.report.trained == learned
        first = text.tokenizer.text_of(pairs[0]["prompt_ids"])
        assert first.endswith("<|im_start|>assistant\n")
        assert text.tokenizer.text_of(pairs[0]["chosen_ids"]).startswith("0.<|im_end|>")
        assert "too much" in text.tokenizer.text_of(pairs[0]["rejected_ids"])
        thumbs = build(recipe("kto", "kto"), store.datasets, text).train
        assert [thumb["label"] for thumb in thumbs[:3]] == [True, False, True]
        assert text.tokenizer.text_of(thumbs[0]["completion_ids"]) == " 0.<|im_end|>"
        # A long text is learned from whole, in pieces.
        long = build(recipe("pretrain", "text"), store.datasets, text)
        lengths = [len(example["input_ids"]) for example in long.train]
        assert max(lengths) == 64
        assert len(lengths) > 12
        assert long.report.cut == 0
        plain = build(recipe("sft", "prompt-completion"), store.datasets, text).train[0]
        assert text.tokenizer.text_of([t for t in plain["labels"] if t != IGNORED]) == " 1<|im_end|>"


def test_weights_repeat_rows_and_held_out_rows_are_never_trained_on(store: RunStore) -> None:
    data = [{"dataset": "triage", "weight": 2.5}]
    with text_of(store) as text:
        made = build(recipe("sft", "triage", data=data, evaluation={"share": 0.2}), store.datasets, text, limit=200)
    assert 2.3 * (200 - len(made.held_out)) < len(made.train) < 2.7 * (200 - len(made.held_out))
    trained = {tuple(example["input_ids"]) for example in made.train}
    assert made.held_out
    assert not trained & {tuple(example["input_ids"]) for example in made.held_out}


def test_what_cannot_be_learned_from_is_refused(store: RunStore) -> None:
    dataset(store, "text")
    with pytest.raises(InputRefusedError, match="kind text") as error:
        store.start(recipe("sft", "text"))
    assert "pretrain" in error.value.hint
    dataset(store, "messages", [{"messages": [{"role": "user", "content": "only a question"}]}] * 4, "questions")
    with text_of(store) as text, pytest.raises(InputRefusedError, match="no tokens in the loss"):
        build(recipe("sft", "questions"), store.datasets, text)
    with pytest.raises(LlmopsError, match="no model"):
        store.start(recipe("sft", "triage", base="nothing"))
    base = store.registry.get("support-base")
    refuse_untrainable(base)
    with pytest.raises(InputRefusedError, match="'mamba', which cannot be trained"):
        refuse_untrainable(replace(base, header={**base.header, "architecture": "mamba"}))
    with pytest.raises(InputRefusedError, match="safetensors folder"):
        refuse_untrainable(replace(base, kind="adapter"))


def damaged(store: RunStore, tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    shutil.copytree(store.registry.get("support-base-hf").path, folder)
    return folder


def test_pickles_code_and_damage_are_refused(store: RunStore, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(store.workspace))
    pickled = damaged(store, tmp_path, "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(InputRefusedError, match="pickle"):
        registry.add(pickled, "pickled")
    code = damaged(store, tmp_path, "code")
    config = json.loads((code / "config.json").read_text(encoding="utf-8"))
    (code / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}), encoding="utf-8")
    with pytest.raises(InputRefusedError, match="never"):
        registry.add(code, "code")
    for number, cut in enumerate((0, 4, 100, 5000, 8_000_000)):
        short = damaged(store, tmp_path, f"short{number}")
        raw = (short / "model.safetensors").read_bytes()
        (short / "model.safetensors").write_bytes(raw[:cut])
        with pytest.raises(InputRefusedError, match="damaged"):
            registry.add(short, f"short{number}")
    bomb = damaged(store, tmp_path, "bomb")
    (bomb / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(InputRefusedError, match="damaged"):
        registry.add(bomb, "bomb")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(InputRefusedError, match="pickle"):
        read_adapter(adapter)


def test_an_unknown_architecture_is_refused_before_anything_is_loaded(store: RunStore, tmp_path: Path) -> None:
    from llmops_tui.training.worker.base_model import check_folder

    folder = damaged(store, tmp_path, "unknown")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "perceptron"}), encoding="utf-8")
    with pytest.raises(InputRefusedError, match="perceptron"):
        check_folder(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind", "changes"),
    [
        ("dpo", "preference", {}), ("orpo", "preference", {}), ("kto", "kto", {}), ("pretrain", "text", {}),
        ("sft", "prompt-completion", {"quantization": {"type": "none"}}), ("sft", "prompt-completion", {"quantization": {"type": "fp4"}}),
        ("sft", "prompt-completion", {"lora": {"rank": 4, "dora": True}}), ("sft", "prompt-completion", {"lora": {"rank": 4, "rslora": True}}),
        ("sft", "prompt-completion", {"gradient_checkpointing": True}), ("sft", "prompt-completion", {"trackers": ["tensorboard"]}),
        ("sft", "prompt-completion", {"optimizer": {"name": "adamw_8bit"}}),
    ],
)  # fmt: skip
def test_every_method_trains_and_ends_as_an_adapter(
    store: RunStore, method: str, kind: str, changes: dict[str, Any]
) -> None:
    from tests.training.test_kill import wait

    dataset(store, kind)
    run = store.start(recipe(method, kind, **changes), beside=True)
    assert wait(store, run) == "done", store.state(run).as_dict()
    result = store.get(run.name).result
    assert result is not None
    assert result["steps"] == 2
    if changes.get("lora", {}).get("dora"):
        assert "DoRA" in result["without_gguf"]
    else:
        assert store.registry.get(run.name).kind == "adapter"
    if changes.get("trackers"):
        assert list((run.folder / "tensorboard").rglob("events.out*"))

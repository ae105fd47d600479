"""A run is what it was started with: versions, base and adapter, whatever their names stand for later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.errors import InputRefusedError
from llmops_tui.training import runs, sweeps
from llmops_tui.training.examples import build
from llmops_tui.training.export import adapter
from llmops_tui.training.export.validation import check_export
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace


@pytest.fixture
def store(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A workspace in which runs are queued, and never begin."""
    monkeypatch.setattr(runs, "_launch", lambda *_: None)
    return RunStore(sample)


def put(store: RunStore, name: str, count: int) -> None:
    """Import so many rows under a name."""
    rows = [{"prompt": f"Add {n} and {count}:", "completion": f" {n + count}"} for n in range(count)]
    file = store.workspace.root / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    import_now(store.datasets, [file], name, "prompt-completion")


def queued(name: str = "sums") -> Recipe:
    return check(
        {
            "name": "queued",
            "base": "support-base-hf",
            "data": [name],
            "evaluation": {"dataset": "measured"},
            "batch": {"max_length": 64},
        }
    )


def test_a_run_keeps_its_versions_when_a_name_gets_another(store: RunStore) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    run = store.start(queued(), beside=True)
    put(store, "sums", 1)
    put(store, "measured", 2)
    again = store.get(run.name)
    assert [source.dataset for source in again.recipe.data] == ["sums@1"]
    assert again.recipe.evaluation.dataset == "measured@1"
    assert again.data == ((f"{store.datasets.get('sums@1').ref}", store.datasets.get("sums@1").sha256),)
    base = store.checked(again)
    with ModelText(base) as text:
        made = build(again.recipe, store.datasets, text)
    assert (len(made.train), len(made.held_out)) == (9, 4)


def test_runs_that_noted_their_versions_beside_the_recipe_keep_them_too(store: RunStore) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    run = store.start(queued(), beside=True)
    body = json.dumps(queued().model_dump())
    store.catalog.write(lambda db: db.execute("UPDATE training_runs SET recipe = ?, options = ?", [
        body, json.dumps({"beside": True, "make_room": False, "force": False})]))  # fmt: skip
    put(store, "sums", 1)
    assert [source.dataset for source in store.get(run.name).recipe.data] == ["sums@1"]


def test_another_content_under_the_same_version_is_refused(store: RunStore) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    run = store.start(queued(), beside=True)
    store.catalog.write(lambda db: db.execute("UPDATE dataset_versions SET sha256 = 'ff' WHERE dataset = 'measured'"))
    with pytest.raises(InputRefusedError, match="measured@1") as error:
        store.resume(run.name)
    assert error.value.code == "data_changed"
    store.catalog.write(lambda db: db.execute("DELETE FROM dataset_versions WHERE dataset = 'sums'"))
    with pytest.raises(InputRefusedError, match=r"sums@1.* is not there any more"):
        store.resume(run.name)


def test_a_base_whose_bytes_changed_is_refused(store: RunStore) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    run = store.start(queued(), beside=True)
    base = store.registry.get("support-base-hf")
    weights = next(file for file in base.files if file.suffix == ".safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    for use in (lambda: store.resume(run.name), lambda: store.start(queued(), beside=True)):
        with pytest.raises(InputRefusedError, match="support-base-hf") as error:
            use()
        assert error.value.code == "model_changed"
        assert "Restore" in error.value.hint
    store.registry.remove("support-base-hf")
    store.registry.add(base.path, "support-base-hf")
    with pytest.raises(InputRefusedError, match="was started with the base 'support-base-hf'") as error:
        store.resume(run.name)
    assert error.value.code == "base_changed"


def test_an_adapter_that_is_not_what_the_run_wrote_is_not_exported(store: RunStore) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    run = store.start(queued(), beside=True)
    folder = run.folder / "adapter"
    folder.mkdir(parents=True)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(b"as it was")
    store.keep_result(run, {"adapter": str(folder), "weights_sha256": sha256_file(weights)})
    assert check_export(store, run.name, None).name == run.name
    weights.write_bytes(b"as it is.")
    with pytest.raises(InputRefusedError, match=r"adapter_model\.safetensors is not what run") as error:
        check_export(store, run.name, None)
    assert error.value.code == "adapter_changed"


def test_all_trials_of_a_search_learn_from_the_same_rows(store: RunStore, tmp_path: Path) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    first = sweeps._as_begun(tmp_path, queued(), store)
    put(store, "sums", 1)
    assert sweeps._as_begun(tmp_path, queued(), store) == first
    assert first.data[0].dataset == "sums@1"


def test_a_search_does_not_go_on_with_another_base(store: RunStore, tmp_path: Path) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    sweeps._as_begun(tmp_path, queued(), store)
    noted = json.loads((tmp_path / "begun.json").read_text(encoding="utf-8"))
    (tmp_path / "begun.json").write_text(json.dumps(noted | {"base": "ff" * 32}), encoding="utf-8")
    with pytest.raises(InputRefusedError, match="the sweep of queued was started with the base") as error:
        sweeps._as_begun(tmp_path, queued(), store)
    assert error.value.code == "base_changed"


def test_data_that_are_removed_while_a_run_trains_do_not_cost_its_adapter(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "sums", 9)
    put(store, "measured", 4)
    run = store.start(queued(), beside=True)
    (run.folder / "adapter").mkdir(parents=True)
    (run.folder / "adapter" / "adapter_model.safetensors").write_bytes(b"learned")
    store.catalog.write(lambda db: db.execute("DELETE FROM dataset_versions WHERE dataset = 'sums'"))

    def refuse(*_: object) -> None:
        raise InputRefusedError("unknown_adapter", "no tensors here")

    monkeypatch.setattr(adapter, "read_adapter", refuse)
    result = adapter.finish_adapter(store, run, run.folder / "adapter", store.base_of(run.recipe).path)
    assert result["weights_sha256"] == sha256_file(run.folder / "adapter" / "adapter_model.safetensors")
    with pytest.raises(InputRefusedError, match="sums@1"):
        store.checked(run)

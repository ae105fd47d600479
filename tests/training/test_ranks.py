"""Several processes that train together: they do what one process with all of the batch would do, and end as one."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.hardware import memory
from llmops_tui.jobs.store import JobStore
from llmops_tui.training import device_queue
from llmops_tui.training.memory import estimate
from llmops_tui.training.preflight_ranks import check_ranks
from llmops_tui.training.recipe import Recipe, changed, check
from llmops_tui.training.recipe_input import from_text
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.training.shape import shape_of
from llmops_tui.training.worker.rank_batches import RankBatches
from llmops_tui.workspace.event_log import EventLog
from tests.training.conftest import metrics
from tests.training.test_kill import at_step, losses, small_recipe, store, trainer_of, wait
from tests.waiting import wait_for

__all__ = ["store"]


def recipe(**changes: Any) -> Recipe:
    return check({"name": "r", "base": "b", "data": ["d"]} | changes)


@given(
    st.integers(1, 300), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.sampled_from([0.3, 1.0, 2.5]),
    st.sampled_from([0, 7]),
)  # fmt: skip
def test_ranks_take_the_steps_of_one_process_with_all_of_the_batch(
    rows: int, size: int, accumulation: int, count: int, epochs: float, most: int
) -> None:
    several = recipe(
        epochs=epochs, max_steps=most, devices=list(range(count)), batch={"size": size, "accumulation": accumulation}
    )
    one = recipe(epochs=epochs, max_steps=most, batch={"size": size * count, "accumulation": accumulation})
    assert (several.effective_batch, several.steps(rows)) == (one.effective_batch, one.steps(rows))


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 5))
def test_ranks_share_each_batch_and_none_is_without_a_row(rows: int, size: int, count: int) -> None:
    order = [(7 * n + 3) % rows for n in range(rows)] if rows % 7 else list(range(rows))
    parts = [list(RankBatches(order, size, rank, count)) for rank in range(count)]
    whole = [order[at : at + size * count] for at in range(0, rows, size * count)]
    assert {len(part) for part in parts} == {len(whole)} == {len(RankBatches(order, size, 0, count))}
    for step, batch in enumerate(whole):
        shares = [part[step] for part in parts]
        together = [row for share in shares for row in share]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert max(map(len, shares)) <= size
        if len(batch) >= count:
            assert sorted(together) == sorted(batch)
        else:
            # All must take part: who has no row takes one that another has.
            assert set(together) == set(batch)
            assert len(together) == count


def test_devices_are_numbers_each_once_and_an_old_recipe_has_its_hash() -> None:
    assert changed(recipe(), {"devices": from_text("devices", "0, 2")}).devices == [0, 2]
    with pytest.raises(InputRefusedError, match="twice"):
        recipe(devices=[1, 1])
    assert "devices" not in recipe().body
    assert recipe().sha256 != recipe(devices=[0, 1]).sha256


def test_a_recipes_devices_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "devices", lambda: ["gpu0", "gpu2", "gpu3", memory.HOST])
    assert device_queue.training_devices([]) == ["gpu0"]
    assert device_queue.training_devices([3, 2]) == ["gpu3", "gpu2"]
    with pytest.raises(InputRefusedError, match="gpu1; this process can use gpu0, gpu2, gpu3"):
        device_queue.training_devices([0, 1])
    monkeypatch.setattr(memory, "devices", lambda: [memory.HOST])
    assert device_queue.training_devices([0, 1]) == [memory.HOST]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"devices": [0]}, "name two or more"),
        ({"method": "dpo"}, "method: dpo"),
        ({"optimizer": {"name": "paged_adamw_8bit"}}, "optimizer.name: paged_adamw_8bit: set it to adamw_torch"),
        ({"lora": {"dora": True}}, "lora.dora"),
        ({"kernels": "compiled"}, "kernels: compiled: set it to torch"),
        ({"evaluation": {"samples": 2}}, "evaluation.samples: 2: set it to 0"),
        ({"tuning": "full"}, "not tuning: full"),
    ],
)
def test_what_cannot_be_divided_among_devices_is_refused(changes: dict[str, Any], told: str) -> None:
    divided = {"fsdp": True, "devices": [0, 1], "evaluation": {"samples": 0}}
    assert recipe(**divided).fsdp
    with pytest.raises(InputRefusedError, match=told):
        recipe(**divided | changes)
    assert "fsdp" not in recipe().body


def test_of_a_divided_model_each_card_needs_its_part(store: RunStore) -> None:
    from llmops_tui.models.safetensors import read_folder

    shape = shape_of(read_folder(store.registry.get("support-base-hf").path))
    still = {"devices": [0, 1, 2, 3], "evaluation": {"samples": 0}, "optimizer": {"name": "adamw_torch"}}
    whole, parts = (estimate(shape, recipe(**still, fsdp=fsdp), 64, gpu=True) for fsdp in (False, True))
    assert parts.optimizer == whole.optimizer // 4
    # What stands beside the layers is whole while it is computed, and so is a layer.
    assert parts.weights == whole.weights // 4 + 2 * (shape.other + shape.linear // shape.layers)
    codes = [finding.code for finding in check_ranks(recipe(**still, fsdp=True), 100)]
    assert codes == ["ranks", "fsdp"]


def test_processes_of_one_host_need_its_memory_together(store: RunStore) -> None:
    from llmops_tui.models.safetensors import read_folder

    shape = shape_of(read_folder(store.registry.get("support-base-hf").path))
    one, two = recipe(), recipe(devices=[0, 1])
    assert estimate(shape, two, 64, gpu=False).total == 2 * estimate(shape, one, 64, gpu=False).total
    assert estimate(shape, two, 64, gpu=True).total == estimate(shape, one, 64, gpu=True).total


def test_what_differs_from_one_process_is_told() -> None:
    def codes(rows: int, **changes: Any) -> list[str]:
        return [finding.code for finding in check_ranks(recipe(**changes), rows)]

    assert codes(100) == []
    assert codes(100, devices=[0, 1]) == ["ranks"]
    assert codes(100, devices=[0, 1], method="kto") == ["ranks", "ranks_apart"]
    assert codes(1, devices=[0, 1]) == ["ranks", "ranks_without_rows"]


# ── real runs ──


def apart(store: RunStore, run: Run) -> list[float]:
    return [loss for _, loss in sorted(losses(run.folder).items())]


def others_of(store: RunStore, run: Run) -> list[psutil.Process]:
    """The processes of the other ranks."""
    trainer = trainer_of(store, run)
    children = [] if trainer is None else trainer.children()
    return [child for child in children if "llmops_tui.training.worker.rank" in child.cmdline()]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_two_processes_have_the_losses_of_one(store: RunStore, quantization: str) -> None:
    still = {"lora": {"rank": 8}, "quantization": {"type": quantization, "compute": "float32"}}
    # Two epochs: the last batch of each is no whole one.
    long = {"max_steps": 0, "epochs": 2, "checkpoints": {"every": 100}}
    one = store.start(
        small_recipe("one", **still, **long, batch={"size": 8, "accumulation": 2, "max_length": 128}), beside=True
    )
    two = store.start(
        small_recipe("two", **still, **long, devices=[0, 1], batch={"size": 4, "accumulation": 2, "max_length": 128}),
        beside=True,
    )
    assert [wait(store, run) for run in (one, two)] == ["done", "done"]
    assert len(apart(store, one)) == 10
    assert apart(store, two) == pytest.approx(apart(store, one), abs=1e-5)
    start = next(record for record in metrics(two.folder) if record["kind"] == "start")
    assert start["ranks"] == 2
    assert store.get("two-1").result["eval_loss"] == pytest.approx(store.get("one-1").result["eval_loss"], abs=1e-2)
    assert not (two.folder / "ranks").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_rank_that_is_killed_ends_the_run_which_goes_on_from_its_checkpoint(store: RunStore) -> None:
    whole = store.start(small_recipe("whole", devices=[0, 1]), beside=True)
    assert wait(store, whole) == "done"
    run = store.start(small_recipe("killed", devices=[0, 1]), beside=True)
    wait_for(at_step(run, 3, 0), 900)
    (other,) = others_of(store, run)
    os.kill(other.pid, signal.SIGKILL)
    assert wait(store, run) == "failed"
    job = JobStore(EventLog(store.workspace)).get(run.job)
    assert "process 2 of 2 of the run was ended by signal 9" in job.cause
    store.resume(run.name)
    # The first one this time: the other ends with it.
    wait_for(lambda: max(losses(run.folder), default=0) >= 6, 900)
    (other,) = others_of(store, run)
    trainer = trainer_of(store, run)
    assert trainer is not None
    os.kill(trainer.pid, signal.SIGKILL)
    assert wait(store, run) == "killed"
    wait_for(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE, 60)
    store.resume(run.name)
    assert wait(store, run) == "done"
    assert apart(store, run) == pytest.approx(apart(store, whole), abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_model_that_is_divided_has_the_losses_of_one_process_also_after_a_kill(
    store: RunStore, quantization: str
) -> None:
    from safetensors.torch import load_file

    still = {
        "lora": {"rank": 8}, "quantization": {"type": quantization, "compute": "float32"}, "max_steps": 6,
        "gradient_checkpointing": True, "evaluation": {"every": 3, "max_rows": 4, "share": 0.1, "samples": 0},
    }  # fmt: skip
    one = store.start(
        small_recipe("one", **still, batch={"size": 8, "accumulation": 2, "max_length": 128}), beside=True
    )
    assert wait(store, one) == "done"
    run = store.start(
        small_recipe(
            "parts", **still, fsdp=True, devices=[0, 1], batch={"size": 4, "accumulation": 2, "max_length": 128}
        ),
        beside=True,
    )
    wait_for(at_step(run, 3, 0), 1800)
    (other,) = others_of(store, run)
    os.kill(other.pid, signal.SIGKILL)
    assert wait(store, run, 1800) == "failed"
    store.resume(run.name)
    assert wait(store, run, 1800) == "done", store.state(run).as_dict()
    assert apart(store, run) == pytest.approx(apart(store, one), abs=1e-5)
    assert store.get(run.name).result["eval_loss"] == pytest.approx(store.get(one.name).result["eval_loss"], abs=1e-4)
    parts, whole = (load_file(each.folder / "adapter" / "adapter_model.safetensors") for each in (run, one))
    assert set(parts) == set(whole)
    assert max(float((parts[name] - whole[name]).abs().max()) for name in whole) <= 1e-4
    assert store.registry.get(f"support-base+{run.name}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pause_is_agreed_on(store: RunStore) -> None:
    run = store.start(
        small_recipe("paused", devices=[0, 1], max_steps=200, epochs=50, checkpoints={"every": 50}), beside=True
    )
    wait_for(at_step(run, 2, 0), 900)
    store.pause(run.name)
    wait(store, run)
    assert store.state(run).state == "paused"
    at = max(losses(run.folder))
    store.resume(run.name)
    wait_for(lambda: max(losses(run.folder)) >= at + 2, 900)
    store.stop(run.name)
    wait(store, run)
    assert store.state(run).state == "stopped"
    assert others_of(store, run) == []

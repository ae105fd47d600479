"""What the plan says of an engine that generates: its memory, and what it cannot be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.inference import memory_reservation
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training import preflight_memory
from llmops_tui.training.examples import Examples, Report
from llmops_tui.training.memory import Calibration
from llmops_tui.training.preflight_generator import look_at_generator
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.shape import Shape
from llmops_tui.workspace.catalog import Catalog

SHAPE = Shape("llama", 2, 8, 16, 2, 16, 32, 512, 520, (("q_proj", 32),))
ROWS: Any = [{"prompt": "p", "prompt_ids": [1] * 20, "case": "{}"}]
EXAMPLES = Examples(ROWS, [{**ROWS[0], "prompt_ids": [1] * 30}], [], Report())


def recipe(generator: str) -> Recipe:
    part = {"rewards": ["length"], "generations": 4, "max_tokens": 10, "generator": generator}
    batch = {"size": 4, "accumulation": 2, "max_length": 64}
    return check({"name": "r", "base": "b", "data": ["d"], "method": "grpo", "reinforcement": part, "batch": batch})


def test_what_the_engine_takes_is_not_free_for_the_trainer(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def plan(_workspace: object, _model: object, options: Any) -> Any:
        asked.append((options.context, options.parallel, options.cache_bytes))
        return SimpleNamespace(sizes={"host": 3_000_000_000})

    monkeypatch.setattr(memory_reservation, "plan", plan)
    serving: Any = SimpleNamespace(name="small")
    found = look_at_generator(recipe("engine"), catalog.workspace, serving, EXAMPLES)
    # The longest prompt with its answer, and all answers of a step at once.
    assert asked == [(48, 8, 0)]
    assert "takes about 3.0 GB of host memory" in found.findings[0].message
    ledger = SimpleNamespace(inspect=lambda _name: (8_000_000_000, 5_000_000_000, ()))
    monkeypatch.setattr(preflight_memory, "ledger", lambda: ledger)
    monkeypatch.setattr(preflight_memory.device_queue, "training_devices", lambda _numbers: ["host"])
    room = preflight_memory.check_memory(recipe("engine"), SHAPE, 30, lambda *_: Calibration(), found.sizes)
    assert (room.total, room.available) == (8_000_000_000, 2_000_000_000)


def test_an_estimate_is_corrected_by_what_was_measured_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"gpu1": 4_000_000_000, "gpu3": 3_000_000_000}
    ledger = SimpleNamespace(inspect=lambda name: (8_000_000_000, free[name], ()))
    monkeypatch.setattr(preflight_memory, "ledger", lambda: ledger)
    monkeypatch.setattr(preflight_memory.device_queue, "training_devices", lambda _numbers: list(free))
    measured = {"gpu0": Calibration(9.0, 1.0, 1), "gpu1": Calibration(8.0, 1.0, 1), "gpu3": Calibration(2.0, 7.0, 2)}
    room = preflight_memory.check_memory(
        recipe("engine"), SHAPE, 30, lambda shape, device: measured[device] if shape == SHAPE.key else Calibration(), {}
    )
    assert (room.device, room.measured) == ("gpu3", measured["gpu3"])
    assert room.needed.factor == 2.0


def test_an_engine_without_a_model_that_it_can_load_is_an_error_before_the_run(catalog: Catalog) -> None:
    assert look_at_generator(recipe("transformers"), catalog.workspace, None, EXAMPLES).findings == []
    nothing = look_at_generator(recipe("engine"), catalog.workspace, None, EXAMPLES)
    assert [(one.level, one.code) for one in nothing.findings] == [("error", "no_serving")]
    made = ModelRegistry(catalog).add_remote(
        "http://far.example", "m", {"models": ["m"], "remote_model": "m", "lacks": {}, "latency_ms": 1.0}
    )
    far = look_at_generator(recipe("engine"), catalog.workspace, made, EXAMPLES)
    assert [(one.level, one.code) for one in far.findings] == [("error", "not_servable")]

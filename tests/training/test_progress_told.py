"""How far a run is, as its job tells: the loss beside a step is that step's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.recipe import check


def test_a_step_is_told_with_its_own_loss(tmp_path: Path) -> None:
    from llmops_tui.training.worker.callbacks import RunCallback

    told: list[tuple[float, str]] = []
    context: Any = SimpleNamespace(
        folder=tmp_path, check=lambda: None, report=lambda share, message: told.append((share, message))
    )
    callback = RunCallback(check({"name": "r", "base": "b", "data": ["d"]}), context, Recorder(tmp_path), [])
    callback.memory_bytes = lambda: 1
    control: Any = SimpleNamespace(should_evaluate=False, should_save=False, should_training_stop=False)
    arguments: Any = SimpleNamespace(eval_strategy="no")
    # As the trainer calls: a step ends, and is logged then.
    for step, loss in ((1, 3.0), (2, 1.5)):
        state: Any = SimpleNamespace(global_step=step, max_steps=2, log_history=[{"loss": 9.0}])
        callback.on_step_begin(arguments, state, control)
        callback.on_step_end(arguments, state, control)
        callback.on_log(arguments, state, control, {"loss": loss, "learning_rate": 1e-3})
    assert told[0] == (0.5, "step 1 of 2 · loss 3.000")
    assert told[-1] == (1.0, "step 2 of 2 · loss 1.500")
    assert read_history(tmp_path).last("loss") == 1.5


def test_figures_of_a_step_are_a_line_in_words() -> None:
    from llmops_tui.training.worker.callbacks import figures_line

    logs = {"loss": "0.3805", "grad_norm": 0.0551, "learning_rate": 1.34e-05, "num_tokens": 382700.0, "note": "warm"}
    told = figures_line(3, 363, logs)
    assert told == ("step   3 of 363  loss 0.3805    learning rate 1.34e-05\n")
    # In the pane of the log it is one line in a terminal of 120 columns.
    assert len(told) <= 55
    later = figures_line(120, 363, {**logs, "grad_norm": "12.5", "loss": 1.0})
    assert "eval loss 0.5" in figures_line(3, 363, {"eval_loss": 0.5, "eval_runtime": 2.0})
    assert later.index("learning rate") == told.index("learning rate")

"""Checkpoints, records, health and charts: what they promise, without a trainer."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.training import checkpoints
from llmops_tui.training.foreign_runs import forget, read_foreign, watch, watched
from llmops_tui.training.health import Watch, beside_the_base, stalled
from llmops_tui.training.history import HistoryReader, Recorder, read_history
from llmops_tui.workspace.event_log import EventLog
from screens.widgets.chart import Series, draw, short_number, smooth


def write_checkpoint(folder: Path, step: int, loss: float | None = None) -> None:
    inside = checkpoints.staging(folder) / f"checkpoint-{step}"
    inside.mkdir()
    (inside / "optimizer.pt").write_bytes(bytes([step % 256]) * 1000)
    (inside / "trainer_state.json").write_text("{}", encoding="utf-8")
    checkpoints.commit(folder, step, loss)


def test_the_newest_whole_checkpoint_is_chosen_and_the_others_are_set_aside(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        write_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-8" / "optimizer.pt").write_bytes(b"x" * 1000)
    (tmp_path / "checkpoint-6" / checkpoints.MARKER).unlink()
    (checkpoints.staging(tmp_path) / "checkpoint-10").mkdir()
    found, notes = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 4
    assert any("checkpoint-8" in note and "optimizer.pt" in note for note in notes)
    assert any("checkpoint-6" in note and "is incomplete" in note for note in notes)
    assert (tmp_path / "damaged-checkpoint-8").is_dir()
    again, notes = checkpoints.newest(tmp_path)
    assert again == found
    assert not notes


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, None), (5, 2.5)):
        write_checkpoint(tmp_path, step, loss)
        checkpoints.prune(tmp_path, 2)
    assert [c.step for c in checkpoints.complete(tmp_path)] == [5, 4, 2]
    best = checkpoints.best(tmp_path)
    assert best is not None
    assert best.step == 2


@settings(max_examples=50)
@given(st.lists(st.integers(0, 200), max_size=6), st.integers(1, 40))
def test_a_record_that_is_cut_anywhere_is_read_as_far_as_it_is_whole(cuts: list[int], steps: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder = Recorder(folder)
        recorder.write("start", 0, total=steps)
        for step in range(1, steps + 1):
            recorder.write("step", step, loss=1 / step, seconds=0.1)
        recorder.close()
        whole = (folder / "metrics.jsonl").read_bytes()
        reader = HistoryReader(folder)
        for cut in sorted(cuts):
            (folder / "metrics.jsonl").write_bytes(whole[: min(len(whole), cut * 20)])
            reader.poll()
        (folder / "metrics.jsonl").write_bytes(whole)
        reader.poll()
        assert reader.history.series == read_history(folder).series
        assert len(reader.history.series["loss"]) == steps
        # A record goes on behind a line that a kill cut short.
        (folder / "metrics.jsonl").write_bytes(whole[:-5])
        recorder = Recorder(folder)
        recorder.write("start", 0, total=steps)
        recorder.close()
        assert read_history(folder).attempts == 2


def test_steps_done_again_after_a_resume_replace_the_old_ones(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.write("start", 0, total=6)
    for step in range(1, 6):
        recorder.write("step", step, loss=float(step), seconds=2.0)
    recorder.write("start", 2, total=6)
    recorder.write("step", 3, loss=30.0, seconds=2.0)
    recorder.close()
    history = read_history(tmp_path)
    assert history.series["loss"] == {1: 1.0, 2: 2.0, 3: 30.0}
    assert history.remaining() == (6.0, 0.0)


def feed(losses: list[float], norms: list[float] | None = None) -> list[tuple[int, str, str]]:
    watcher = Watch()
    return [
        (event.step, event.level, event.message)
        for step, loss in enumerate(losses, 1)
        for event in watcher.inspect(step, loss, norms[step - 1] if norms else 1.0)
    ]


def test_what_goes_wrong_is_flagged_at_its_step() -> None:
    chance = random.Random(1)
    calm = [2 * math.exp(-i / 40) + 0.5 + chance.gauss(0, 0.02) for i in range(200)]
    assert feed(calm) == []
    assert feed([*calm[:50], float("nan"), *calm[50:]])[0][:2] == (51, "error")
    assert feed([*calm[:50], 6.0, *calm[51:]])[0][:2] == (51, "warn")
    rising = [*calm[:100], *[0.7 * 1.03**i for i in range(80)]]
    assert any(level == "error" and "risen" in text for _, level, text in feed(rising))
    assert feed(calm, [1.0] * 100 + [500.0] + [1.0] * 99)[0][:2] == (101, "warn")
    assert feed(calm, [1.0] * 100 + [float("inf")] + [1.0] * 99)[0][:2] == (101, "error")


def test_a_run_that_says_nothing_for_long_is_called_stalled() -> None:
    assert stalled([1.0] * 20, 60) == ""
    assert "no step for 200 s" in stalled([1.0] * 20, 200)
    assert stalled([60.0] * 20, 600) == ""


def test_runs_of_other_programs_are_read(tmp_path: Path, event_log: EventLog) -> None:
    factory = tmp_path / "factory"
    factory.mkdir()
    rows = [
        {"current_steps": s, "total_steps": 30, "loss": 3 - s / 10, "lr": 1e-4, "percentage": s / 0.3}
        for s in (10, 20, 30)
    ]
    (factory / "trainer_log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"current', encoding="utf-8")
    found = read_foreign(factory)
    assert found.series["loss"] == {10: 2.0, 20: 1.0, 30: 0.0}
    assert (found.total, found.ended, found.facts["program"]) == (30, "done", "LLaMA-Factory")
    trainer = tmp_path / "hf"
    for step in (5, 10):
        (trainer / f"checkpoint-{step}").mkdir(parents=True)
        state = {
            "max_steps": 20,
            "log_history": [{"step": s, "loss": 1.0 * s, "grad_norm": 0.5} for s in range(1, step + 1)],
        }
        (trainer / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    found = read_foreign(trainer)
    assert (found.step, found.total, found.ended, found.last("grad_norm")) == (10, 20, "", 0.5)
    with pytest.raises(InputRefusedError, match="no training log"):
        read_foreign(tmp_path)
    watch(event_log, factory)
    watch(event_log, trainer)
    watch(event_log, factory)
    assert watched(event_log) == [factory, trainer]
    forget(event_log, factory)
    assert watched(event_log) == [trainer]


def test_tensorboard_files_are_read_also_while_they_are_written(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path / "runs"))
    for step in range(1, 6):
        writer.add_scalar("train/loss", 5 - step, step)
        writer.add_scalar("eval/loss", 6 - step, step)
    writer.close()
    file = next(tmp_path.rglob("events.out*"))
    assert read_foreign(tmp_path).series["loss"] == {s: 5.0 - s for s in range(1, 6)}
    file.write_bytes(file.read_bytes()[:-20])
    found = read_foreign(tmp_path)
    assert found.series["loss"][4] == 1.0
    assert "eval_loss" in found.series


@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.floats(allow_nan=True, allow_infinity=True)), max_size=40),
    st.integers(0, 120),
    st.integers(0, 40),
    st.booleans(),
    st.booleans(),
)
def test_a_chart_fits_its_place_whatever_it_shows(
    points: list[tuple[int, float]], width: int, height: int, logarithmic: bool, utf8: bool
) -> None:
    series = [Series("a", "$accent", sorted(points)), Series("b", "$error", sorted(points)[:3], dotted=True)]
    lines = draw(series, width, height, weight=0.6, logarithmic=logarithmic, zoom=0.5, utf8=utf8)
    assert len(lines) <= max(1, height)
    if width > 24:
        assert all(line.cell_length <= width for line in lines)


def test_a_rising_line_rises_in_the_chart() -> None:
    lines = [
        line.plain
        for line in draw(
            [Series("a", "", [(i, float(i)) for i in range(100)])],
            60,
            12,
            weight=0,
            logarithmic=False,
            zoom=1,
            utf8=False,
        )
    ]
    columns = [[row for row, line in enumerate(lines[:-1]) if len(line) > x and line[x] == "*"] for x in range(9, 58)]
    tops = [min(rows) for rows in columns if rows]
    assert tops == sorted(tops, reverse=True)
    assert tops[0] > tops[-1]
    assert [label for line in lines[:-1] if (label := line[:8].strip())] == ["50", "0"]


def test_smoothing_keeps_a_constant_and_short_numbers_are_short() -> None:
    assert smooth([(0, 2.0), (1, float("nan")), (2, 2.0)], 0.9) == [(0, pytest.approx(2.0)), (2, pytest.approx(2.0))]
    for value in (0, 1234.5, 3.2e-5, -7e8, 12_345_678, 0.25, 1e12):
        assert len(short_number(value)) <= 8


@pytest.mark.parametrize(
    ("base", "result", "told"),
    [(None, 2.0, False), (1.0, None, False), (1.0, 0.5, False), (1.0, 1.0, False), (1.0, 2.0, True)],
)
def test_a_result_that_is_worse_than_the_base_is_told(base: float | None, result: float | None, told: bool) -> None:
    found = beside_the_base(base, result, 7)
    assert [(event.step, event.level) for event in found] == ([(7, "warn")] if told else [])

"""Trials of a search on nodes of a cluster, without a cluster and without a trainer: several at once, ended early, gone on with."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.training import checkpoints
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.recipe import check
from llmops_tui.training.search_methods import again, make_pruner, make_sampler, open_study
from llmops_tui.training.search_space import Space
from llmops_tui.training.sweeps import check_search
from llmops_tui.training.targets import Target
from llmops_tui.training.trials import Asked
from llmops_tui.training.worker.cluster_run import Cargo, kept_files
from llmops_tui.training.worker.cluster_sweep import Trials
from llmops_tui.training.worker.node import OUTCOME
from llmops_tui.training.worker.ray_cluster import NodeLostError, RayCluster
from llmops_tui.workspace.layout import Workspace
from tests.training.test_cluster_run import EXAMPLES, FakeCluster, FakeNode, place, save

__all__ = ["place"]

RECIPE = check({"name": "r", "base": "b", "data": ["d"], "target": "ray:auto", "evaluation": {"every": 2}})
SPACE: Space = {"lora.rank": {"low": 1, "high": 64}}
STEPS = 6


class Counted(FakeCluster):
    """Counts the nodes that are given at once."""

    def __init__(self, trainer: Callable[[Path], int | None]) -> None:
        super().__init__(trainer)
        self.most = 0
        self._lock = threading.Lock()

    def node(self, attempt: str, check: Callable[[], None]) -> FakeNode:
        with self._lock:
            found = super().node(attempt, check)
            self.most = max(self.most, sum(not one.dropped for one in self.given))
            return found


class Trainer:
    """A trial on a node: its losses by its number; some never end, and some lose their nodes."""

    def __init__(
        self, losses: dict[int, float], endless: frozenset[int] = frozenset(), lost: dict[int, int] | None = None
    ):
        self._losses, self._endless, self._lost = losses, endless, Counter(lost or {})
        self.begun: list[tuple[int, int]] = []

    def __call__(self, folder: Path) -> int | None:
        spec = json.loads((folder / "spec.json").read_text())
        number = int(spec["recipe"]["name"].rpartition("-")[2])
        if (folder / "did").exists():
            if self._lost[number] > 0:
                self._lost[number] -= 1
                raise NodeLostError("it is gone")
            return None if number in self._endless else 0
        found = checkpoints.newest(folder / "checkpoints")[0] if (folder / "checkpoints").is_dir() else None
        begun = found.step if found else 0
        self.begun.append((number, begun))
        recorder = Recorder(folder)
        recorder.write("start", begun, total=STEPS, trainable=100 + number)
        for step in range(begun + 1, 4 if self._lost[number] else STEPS + 1):
            recorder.write("step", step, loss=1.0, seconds=1.0)
            if step % 2 == 0:
                recorder.write("eval", step, eval_loss=self._losses[number])
                save(folder, step, 1.0)
                recorder.write("checkpoint", step)
        recorder.close()
        whole = {"steps": STEPS, "adapter": "adapter", "loss": 1.0, "eval_loss": None, "peak_bytes": 7}
        (folder / OUTCOME).write_text(json.dumps(whole | {"recipe": spec["recipe"]}))
        (folder / "did").touch()
        return None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.setattr("llmops_tui.training.worker.cluster_sweep._LOOK_SECONDS", 0.01)


def searched(
    trainer: Callable[[Path], int | None], tmp_path: Path, most: int, at_once: int, report: Any = lambda *_told: None
) -> tuple[optuna.Study, Counted]:
    base = tmp_path / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_bytes(b"{}")
    kept = kept_files(base, None)
    study = open_study(tmp_path, ["minimize"], make_pruner("median", 2, STEPS))
    again(study)
    study.sampler = make_sampler("random", SPACE, len(study.trials))
    cluster = Counted(trainer)
    asked = Asked(RECIPE, "b", SPACE, most, "random", "median", ("loss",))
    context: Any = SimpleNamespace(workspace=Workspace(tmp_path / "ws"), job_id="", folder=tmp_path, report=report)
    Trials(
        context,
        asked,
        study,
        cluster,
        lambda recipe: Cargo.of(recipe, kept, EXAMPLES, start=False, force=False, ends=False),
    ).run(most, at_once)
    return study, cluster


def test_trials_are_trained_on_several_nodes_and_go_on_elsewhere(place: Path, tmp_path: Path) -> None:
    # Whichever is looked at first, none of the alike is behind the others' median.
    losses = {0: 0.3, 1: 0.3, 2: 0.3, 3: 0.3, 4: 9.0, 5: 0.05}
    trainer = Trainer(losses, frozenset({4}), {5: 1})
    said: list[str] = []
    study, cluster = searched(trainer, tmp_path, 6, 2, lambda _share, told="": said.append(told))
    trials = {trial.number: trial for trial in study.trials}
    assert {n: t.value for n, t in trials.items() if t.state.name == "COMPLETE"} == {
        n: loss for n, loss in losses.items() if n != 4
    }
    # One that is behind is ended where it trains, at its first evaluation.
    assert (trials[4].state.name, trials[4].user_attrs["step"]) == ("PRUNED", 2)
    # The node of another was lost behind step 3: it went on from its checkpoint on another one.
    assert [at for number, at in trainer.begun if number == 5] == [0, 2]
    assert trials[5].user_attrs["why"] == "its node was lost at step 2; it went on on another one"
    assert sorted(read_history(tmp_path / "trials" / "5").series["loss"]) == list(range(1, STEPS + 1))
    assert len(trials) == 6
    assert (cluster.most, len(cluster.given)) == (2, 7)
    assert all(node.dropped for node in cluster.given)
    # Of a trial its record is kept.
    assert {path.name for path in (tmp_path / "trials" / "0").iterdir()} == {"metrics.jsonl"}
    assert list((place / "runs").iterdir()) == []
    assert any("of 6 trials done; trial " in one for one in said)


def test_trials_that_nodes_are_lost_of_again_and_again_end_the_search_and_are_tried_again(
    place: Path, tmp_path: Path
) -> None:
    with pytest.raises(LlmopsError, match="3 nodes in a row were lost"):
        searched(Trainer({0: 0.1, 1: 0.2}, lost={1: 99}), tmp_path, 2, 1)
    study, _ = searched(Trainer({2: 0.2}), tmp_path, 1, 1)
    first, cut, instead = study.trials
    assert [one.state.name for one in (first, cut, instead)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert (instead.params, instead.user_attrs["again"]) == (cut.params, 1)


def test_a_search_that_is_stopped_ends_its_trials_on_their_nodes(place: Path, tmp_path: Path) -> None:
    def stop(_share: float, told: str = "") -> None:
        if "step 6; trial" in told and told.endswith("step 6"):
            raise JobCancelledError

    trainer, clusters = Trainer({0: 0.1, 1: 0.2}, frozenset({0, 1})), []
    original = Counted.__init__

    class Kept(Counted):
        def __init__(self, given: Any) -> None:
            original(self, given)
            clusters.append(self)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(JobCancelledError):
        patch.setattr("tests.training.test_cluster_sweep.Counted", Kept)
        searched(trainer, tmp_path, 2, 2, stop)
    assert [node.dropped for node in clusters[0].given] == [True, True]
    # Both are tried again.
    assert again(open_study(tmp_path, ["minimize"], make_pruner("none", 0, 0))) == [0, 1]


@pytest.mark.parametrize(
    ("nodes", "places", "most", "wanted"),
    [
        ([{"CPU": 8.0}, {"CPU": 4.0}, {"CPU": 0.0}], 2, 8, {"num_cpus": 1}),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}, {"CPU": 1.0, "GPU": 2.0}], 3, 3, {"num_gpus": 1, "num_cpus": 1}),
    ],
)
def test_a_cluster_has_a_place_a_gpu_or_shares_the_processors_of_a_node(
    nodes: Any, places: int, most: int, wanted: Any
) -> None:
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": one} for one in nodes])
    cluster = RayCluster(ray, Target("auto"))
    assert cluster.places() == places
    shared = cluster.shared(most)
    assert shared._wanted(shared._usable()) == wanted
    with pytest.raises(LlmopsError, match=f"has place for {most}"):
        cluster.shared(most + 1)


def test_several_at_once_are_of_a_cluster() -> None:
    here = RECIPE.model_dump() | {"target": ""}
    check_search(RECIPE.model_dump(), SPACE, "tpe", "none", ["loss"], 3)
    with pytest.raises(InputRefusedError, match="3 trials at once: on this machine they are trained one after another"):
        check_search(here, SPACE, "tpe", "none", ["loss"], 3)
    with pytest.raises(InputRefusedError, match="target is the same in all trials"):
        check_search(here, {"target": {"choices": ["", "ray:auto"]}}, "tpe", "none", ["loss"])

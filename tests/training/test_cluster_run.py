"""A run on nodes of a cluster, without a cluster and without a trainer: what is shipped, followed, taken, and done again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.safe_text import safe_line
from llmops_tui.training import checkpoints, control
from llmops_tui.training.examples import Examples, Generated, Report
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.preflight_memory import Place, disk_findings
from llmops_tui.training.recipe import check
from llmops_tui.training.targets import refuse_local_options, target_of
from llmops_tui.training.worker import node as nodes
from llmops_tui.training.worker.blobs import Blobs, place_within, within
from llmops_tui.training.worker.cluster_look import place_of
from llmops_tui.training.worker.cluster_run import Cargo, differences, kept_files, train_on
from llmops_tui.training.worker.node import OUTCOME, Node
from llmops_tui.training.worker.node_facts import NodeFacts, node_facts
from llmops_tui.training.worker.node_process import GENERATED, HELD_OUT, TRAIN
from llmops_tui.training.worker.outcome import Outcome, StoppedAfterSaveError
from llmops_tui.training.worker.ray_cluster import NodeLostError, authenticated, prepare_environment

STEPS = 6
EXAMPLES = Examples(
    [{"input_ids": [1, 2], "labels": [1, 2]}],
    [{"input_ids": [3], "labels": [3]}],
    [Generated("a", "b", [1], [2])],
    Report(),
)


class Context:
    """A job as far as a run on a cluster asks it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self.cancelled = folder, [""], False
        folder.mkdir()

    def check(self) -> None:
        if self.cancelled:
            raise JobCancelledError

    def report(self, _share: float, message: str = "") -> None:
        self.check()
        self.said.append(message)


class FakeNode:
    """A node in this process, whose trainer is a function; each answer may be spoilt on its way."""

    def __init__(self, attempt: str, trainer: Callable[[Path], int | None], spoil: Callable[[str, Any], Any]) -> None:
        self.node, self._trainer, self._spoil = Node(attempt), trainer, spoil
        self.asked: list[str] = []
        self.dropped = False

    def ask(self, method: str, *arguments: object, seconds: float | None = None) -> Any:
        self.asked.append(method)
        if method == "begin":
            self.node.folder.joinpath("spec.json").write_text(json.dumps(arguments[0]))
            poll = lambda: self._trainer(self.node.folder)  # noqa: E731
            done = SimpleNamespace(poll=poll, send_signal=lambda _number: None, wait=lambda: 0)
            self.node._process = done  # type: ignore[assignment]
            return None
        return self._spoil(method, getattr(self.node, method)(*arguments))

    def drop(self) -> None:
        self.dropped = True
        self.node.end()


class FakeCluster:
    def __init__(
        self, *trainers: Callable[[Path], int | None], spoil: Callable[[str, Any], Any] = lambda _m, found: found
    ):
        self._trainers, self._spoil = list(trainers), spoil
        self.given: list[FakeNode] = []

    def node(self, attempt: str, _check: Callable[[], None]) -> FakeNode:
        number = min(len(self.given), len(self._trainers) - 1)
        self.given.append(FakeNode(attempt, self._trainers[number], self._spoil))
        return self.given[-1]


def save(folder: Path, step: int, loss: float) -> None:
    place = checkpoints.staging(folder / "checkpoints") / f"checkpoint-{step}"
    place.mkdir()
    (place / "weights").write_bytes(bytes([step]) * 100)
    (place / "trainer_state.json").write_text(json.dumps({"step": step}))
    checkpoints.commit(folder / "checkpoints", step, loss)


def trains(until: int, code: int | None = 0, *, ends: dict[str, Any] | None = None) -> Callable[[Path], int | None]:
    """A trainer that goes on from its newest checkpoint to a step, with a checkpoint at every second; and how it ends."""

    def run(folder: Path) -> int | None:
        if (folder / "did").exists():
            return code
        found, _ = checkpoints.newest(folder / "checkpoints") if (folder / "checkpoints").is_dir() else (None, [])
        begun = found.step if found else 0
        recorder = Recorder(folder)
        recorder.write("start", begun, total=STEPS)
        for step in range(begun + 1, until + 1):
            recorder.write("step", step, loss=1 / step, seconds=1.0)
            if step % 2 == 0:
                save(folder, step, 1 / step)
                recorder.write("checkpoint", step)
        recorder.write("end", until, state="done")
        recorder.close()
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"learned" * 100)
        whole = {"steps": until, "adapter": "adapter", "loss": 0.1, "eval_loss": None, "peak_bytes": 7}
        spec = json.loads((folder / "spec.json").read_text())
        (folder / OUTCOME).write_text(json.dumps(ends or (whole | {"recipe": spec["recipe"]})))
        (folder / "did").touch()
        return None

    return run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setattr(nodes, "node_folder", lambda: folder)
    monkeypatch.setattr("llmops_tui.training.worker.cluster_run._POLL_SECONDS", 0)
    for module in ("cluster_run", "shipping"):
        monkeypatch.setattr(f"llmops_tui.training.worker.{module}.PIECE", 64)
    return folder


def run(cluster: FakeCluster, tmp_path: Path, **changes: Any) -> tuple[Outcome, Path]:
    base, context = tmp_path / "base", Context(tmp_path / "job")
    (base / "deep").mkdir(parents=True, exist_ok=True)
    for name, body in (("config.json", b"{}"), ("model.safetensors", bytes(range(256))), ("deep/empty", b"")):
        (base / name).write_bytes(body)
    recipe = check(
        {"name": "r", "base": "b", "data": ["d"], "target": "ray:auto", "checkpoints": {"keep": 2}} | changes
    )
    recorder = Recorder(context.folder)
    try:
        cargo = Cargo.of(recipe, kept_files(base, None), EXAMPLES, start=False, force=False)
        return train_on(cluster, cargo, context, recorder), context.folder  # type: ignore[arg-type]
    finally:
        recorder.close()


def test_a_run_ships_what_it_needs_and_leaves_its_result_here(place: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def looking(folder: Path) -> int | None:
        if not seen:
            for name in (TRAIN, HELD_OUT, GENERATED):
                seen[name] = [json.loads(line) for line in (folder / name).read_text().splitlines()]
            seen["base"] = {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("base/**/*") if p.is_file()}
            seen["spec"] = json.loads((folder / "spec.json").read_text())
        return trains(STEPS)(folder)

    cluster = FakeCluster(looking)
    outcome, folder = run(cluster, tmp_path)
    assert (seen[TRAIN], seen[HELD_OUT]) == (EXAMPLES.train, EXAMPLES.held_out)
    assert seen[GENERATED] == [{"prompt": "a", "expected": "b", "ids": [1], "ends": [2]}]
    assert seen["base"] == {
        "base/config.json": b"{}",
        "base/model.safetensors": bytes(range(256)),
        "base/deep/empty": b"",
    }
    # On the node it trains like any run there.
    assert seen["spec"]["recipe"]["target"] == ""
    assert (outcome.steps, outcome.loss, outcome.eval_loss, outcome.peak_bytes) == (STEPS, 0.1, None, 7)
    assert outcome.recipe.target == "ray:auto"
    assert (outcome.adapter / "adapter_model.safetensors").read_bytes() == b"learned" * 100
    history = read_history(folder)
    assert history.series["loss"] == {step: 1 / step for step in range(1, STEPS + 1)}
    # How it ended is the job's to say.
    assert history.ended == ""
    assert [one.step for one in checkpoints.complete(folder / "checkpoints")] == [6, 4]
    assert checkpoints.newest(folder / "checkpoints")[0] is not None
    # Nothing of the run stays on the node, the base does.
    assert list((place / "runs").iterdir()) == []
    kept = {path.name for path in (place / "files").iterdir() if path.is_file()}
    assert kept == {hashlib.sha256(body).hexdigest() for body in (b"{}", bytes(range(256)), b"")}
    assert cluster.given[0].dropped
    # What lies there is not sent again.
    again = FakeCluster(trains(STEPS))
    (tmp_path / "again").mkdir()
    run(again, tmp_path / "again")
    assert "take" not in again.given[0].asked


def test_a_node_that_is_lost_is_another_ones_work_from_the_last_checkpoint(place: Path, tmp_path: Path) -> None:
    news = []

    def lose(method: str, found: Any) -> Any:
        if method == "news":
            news.append(found)
            if len(news) == 3:
                raise NodeLostError("it is gone")
        return found

    cluster = FakeCluster(trains(5, code=None), trains(STEPS), spoil=lose)
    outcome, folder = run(cluster, tmp_path)
    history = read_history(folder)
    assert (outcome.steps, history.attempts, len(cluster.given)) == (STEPS, 2, 2)
    # The second went on from step 4, with the newest checkpoint and no other.
    assert sorted(history.series["loss"]) == list(range(1, STEPS + 1))
    lost = next(event for event in history.events if event.level == "warn")
    assert lost.message == "the node is lost: it is gone"
    assert lost.hint.startswith("It goes on from step 4")
    assert all(node.dropped for node in cluster.given)


def test_nodes_that_are_lost_again_and_again_end_the_run(place: Path, tmp_path: Path) -> None:
    def lose(method: str, found: Any) -> Any:
        if method == "keep":
            return False
        return found

    cluster = FakeCluster(trains(STEPS), spoil=lose)
    with pytest.raises(LlmopsError, match="3 nodes in a row were lost") as told:
        run(cluster, tmp_path)
    assert told.value.code == "nodes_lost"
    assert len(cluster.given) == 3


def test_a_checkpoint_that_arrives_changed_is_not_kept(place: Path, tmp_path: Path) -> None:
    def spoil(method: str, found: Any) -> Any:
        return b"\xff" * len(found) if method == "read" and found and found[0] == 2 else found

    cluster = FakeCluster(trains(2, code=None), trains(STEPS), spoil=spoil)
    with pytest.raises(LlmopsError, match=r"weights of checkpoint-2 did not arrive as it was written"):
        run(cluster, tmp_path)
    assert checkpoints.complete(tmp_path / "job" / "checkpoints") == []


@pytest.mark.parametrize(
    ("trainer", "code", "told"),
    [
        (
            trains(2, 0, ends={"failed": ["out_of_memory", "it is full", "take less"]}),
            "out_of_memory",
            "it is full (on ",
        ),
        (trains(2, -9), "node_failed", "was ended by signal 9"),
        (trains(2, 3), "node_failed", "ended with exit code 3: it broke"),
    ],
)
def test_how_a_process_on_a_node_fails_is_told(
    place: Path, tmp_path: Path, trainer: Any, code: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "_log", lambda _self: "" if "signal" in told else "it broke")
    with pytest.raises(LlmopsError) as error:
        run(FakeCluster(trainer), tmp_path)
    assert error.value.code == code
    assert told in error.value.message
    assert [one.step for one in checkpoints.complete(tmp_path / "job" / "checkpoints")] == [2]


def test_a_pause_is_passed_on_and_its_checkpoint_taken(place: Path, tmp_path: Path) -> None:
    def pausing(folder: Path) -> int | None:
        if not (folder / "did").exists() and not control.asked(folder):
            control.ask(tmp_path / "job", control.PAUSE)
            return None
        return trains(4, ends={"stopped": "paused"})(folder)

    with pytest.raises(StoppedAfterSaveError) as stopped:
        run(FakeCluster(pausing), tmp_path)
    assert stopped.value.state == "paused"
    assert control.asked(tmp_path / "job") == ""
    assert checkpoints.complete(tmp_path / "job" / "checkpoints")[0].step == 4


def test_a_run_that_is_stopped_leaves_nothing_on_its_node(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(_self: Context) -> None:
        if (place / "runs").is_dir() and list(place.glob("runs/*/did")):
            raise JobCancelledError

    monkeypatch.setattr(Context, "check", cancelled)
    cluster = FakeCluster(trains(2, code=None))
    with pytest.raises(JobCancelledError):
        run(cluster, tmp_path)
    assert cluster.given[0].dropped
    assert list((place / "runs").iterdir()) == []


def test_folders_of_runs_that_are_gone_are_removed(place: Path) -> None:
    old = Node("old")
    os.utime(old.folder, (0, 0))
    # It is held.
    held = Node("next")
    assert old.folder.is_dir()
    os.close(old._lock)
    other = place / "runs" / "not-ours"
    other.mkdir()
    os.utime(other, (0, 0))
    Node("last")
    # What has no lock was not made by a run.
    assert (old.folder.exists(), held.folder.exists(), other.exists()) == (False, True, True)


def test_files_by_hash(tmp_path: Path) -> None:
    blobs, digest = Blobs(tmp_path / "files"), hashlib.sha256(b"abcdef").hexdigest()
    assert blobs.missing({digest: 6}) == [digest]
    for offset, data in ((0, b"abc"), (3, b"xyz"), (3, b"def")):
        blobs.take("one", digest, offset, data)
    assert blobs.keep("one", digest)
    assert blobs.keep("one", digest)
    assert blobs.missing({digest: 6}) == []
    (tmp_path / "run").mkdir()
    blobs.lay(tmp_path / "run", {"a/b": digest})
    assert (tmp_path / "run/a/b").read_bytes() == b"abcdef"
    blobs.take("one", "0" * 64, 0, b"no such")
    assert not blobs.keep("one", "0" * 64)
    (tmp_path / "files" / digest).write_bytes(b"abcdeX")
    assert blobs.missing({digest: 6}) == [digest]
    assert not (tmp_path / "files" / digest).exists()
    with pytest.raises(FileNotFoundError):
        place_within(tmp_path / "moved away", "a/b")
    for name in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(InputRefusedError):
            within(tmp_path / "run", name)
    with pytest.raises(InputRefusedError):
        blobs.missing({"../../x": 1})


def test_nodes_with_another_program_are_refused_and_other_versions_told(tmp_path: Path) -> None:
    own = node_facts(tmp_path)
    other: NodeFacts = own | {"host": "far", "versions": own["versions"] | {"torch": "1.0"}}
    assert differences([own]) == []
    assert differences([own, other]) == [f"far has torch 1.0, this machine {own['versions']['torch']}"]
    for changes, told in (
        ({"code": "0"}, "another llmops"),
        ({"versions": {"python": "3"}}, "lacks torch, transformers"),
    ):
        with pytest.raises(LlmopsError, match=told):
            differences([own | changes])  # type: ignore[list-item]
    named = place_of(own | {"device": "gpu0", "card": "A\x1b[2J"}, 2).name
    assert named == f"node 2, {own['host']} ({safe_line('A' + chr(27) + '[2J')})"
    assert "\x1b" not in named


@pytest.mark.parametrize(
    "given", ["auto", "ray:", "ray:local", "ray:host", "ray:host:port", "ray://head:10001", "ray:a b:1"]
)
def test_what_is_no_target_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="target"):
        target_of(given)


def test_a_target_and_what_does_not_go_with_it() -> None:
    addresses = ("ray:auto", "ray:10.0.0.5:6379", "ray:[::1]:6379")
    assert [target_of(one).address for one in addresses] == ["auto", "10.0.0.5:6379", "[::1]:6379"]
    body: dict[str, Any] = {"name": "r", "base": "b", "data": ["d"]}
    assert "target" not in check(body).body
    rewards = {"rewards": ["length"], "generations": 4, "max_tokens": 8}
    grpo = {"method": "grpo", "reinforcement": rewards, "batch": {"size": 4, "accumulation": 1}}
    for changes, told in (
        ({"devices": [0, 1]}, "no devices"),
        ({"trackers": ["mlflow"]}, "no trackers: mlflow"),
        (grpo, "grpo"),
    ):
        with pytest.raises(InputRefusedError, match=told):
            check(body | changes | {"target": "ray:auto"})
    with pytest.raises(InputRefusedError, match="--beside and --make-room are"):
        refuse_local_options("ray:auto", beside=True, make_room=True)
    refuse_local_options("", beside=True, make_room=True)


def test_ray_tells_nobody_and_shows_the_token_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    bare: dict[str, str] = {"RAY_USAGE_STATS_ENABLED": "1"}
    prepare_environment(bare)
    assert bare == {"RAY_USAGE_STATS_ENABLED": "0"}
    assert not authenticated(bare)
    given = {"RAY_AUTH_TOKEN": "secret"}
    prepare_environment(given)
    assert authenticated(given)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    kept: dict[str, str] = {}
    prepare_environment(kept)
    assert kept["RAY_AUTH_MODE"] == "token"


def test_the_disk_of_a_node_has_to_hold_the_base_too(tmp_path: Path) -> None:
    places = [Place("node 1", 1, 1, False, 10**15), Place("node 2", 1, 1, False, 2_000), Place("node 3", 1, 1, False)]
    assert [one.message for one in disk_findings(1_000, tmp_path, places, 1_500)] == [
        "checkpoints need about 0.0 GB and 0.0 GB are free on node 2"
    ]
    assert disk_findings(1_000, tmp_path, places, 500) == []

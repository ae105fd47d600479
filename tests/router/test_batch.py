"""Files of requests: what is refused before anything is asked, one line for each request, and kills in between."""

from __future__ import annotations

import codecs
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.batch import job as batch_job
from llmops_tui.inference.batch.requests import CheckedFile, RequestFile
from llmops_tui.inference.filed.output import Answered, OutputLog, counts_of, output_line
from llmops_tui.inference.options import LoadOptions
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.router.fakes import WHOLE, FakeServer, FakeServers
from tests.router.test_names import ALIASES, MODELS
from tests.waiting import wait_for


def request(custom_id: str, model: str = "support-base", **more: Any) -> dict[str, Any]:
    body = {"model": model, "prompt": custom_id, "max_tokens": 4, **more}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/completions", "body": body}


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def checked(path: Path, model: str = "") -> CheckedFile:
    return RequestFile(path, MODELS, ALIASES, model).check()


def outputs(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ── before anything is asked ──


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "it is no JSON"),
        ("[]", "must be an object, not list"),
        ('{"custom_id": NaN}', "it is no JSON"),
        (request(""), "custom_id must be a text"),
        (request("first", "qwen3:8b"), "custom_id 'first' stands in line 1 already"),
        (request("a", "qwen3:8b") | {"method": "GET"}, "method must be POST"),
        (request("a", "qwen3:8b") | {"url": "/v1/files"}, "url '/v1/files' is not one of /v1/chat/completions"),
        (request("a", "qwen3:8b") | {"priority": 1}, "priority is no field of a request"),
        (request("a", "qwen3:8b") | {"body": "x"}, "body must be an object"),
        (request("a", "qwen3:8b", stream=True), "body.stream"),
        (request("a", "qwen3:8b", temprature=1), "body.temprature"),
        (request("a", "qwen3:8b", max_tokens="many"), "body.max_tokens"),
        (request("a", "gemma3:4b"), "body.model: 'gemma3:4b' may be 'gemma-q4' or 'gemma-q8'"),
        (request("a", ""), "body.model is missing"),
        (
            '{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "a", "prompt": "b"}}',
            "body.prompt stands twice",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_by_its_line(tmp_path: Path, line: Any, told: str) -> None:
    found = checked(write(tmp_path / "in.jsonl", [request("first", "qwen3:8b"), "", line]))
    ((problem),) = found.problems
    assert problem["line"] == 3
    assert told in problem["message"]
    assert [one.custom_id for one in found.lines] == ["first"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    lines = [request("a", "qwen3:8b"), request("b", "smol")]
    path = write(tmp_path / "in.jsonl", lines)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    found = checked(path)
    assert not found.problems
    bodies = {line.custom_id: body["prompt"] for line, body in RequestFile(path, MODELS, ALIASES).bodies(found.lines)}
    assert bodies == {"a": "a", "b": "b"}
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("utf-16"))
    assert checked(path).problems[0]["message"] == "the file is UTF-16; save it as UTF-8"


def test_the_place_of_a_fault_is_in_the_line_that_has_it(tmp_path: Path) -> None:
    found = checked(write(tmp_path / "in.jsonl", [request("a", "smol"), '{"custom_id": x}', "{"]))
    second, third = [problem["message"] for problem in found.problems]
    assert second == "it is no JSON: expected value at byte 15 of the line"
    assert "at byte 1 of the line" in third


def test_an_empty_file_and_none_are_refused(tmp_path: Path) -> None:
    assert checked(write(tmp_path / "in.jsonl", ["", ""])).problems[0]["message"] == "there is no request in the file"
    with pytest.raises(InputRefusedError, match="cannot read"):
        checked(tmp_path / "none.jsonl")


def test_lines_go_to_the_models_that_they_mean(tmp_path: Path) -> None:
    lines = [request("a", "qwen3:8b"), request("b", "smollm2:135m"), request("c", "polite"), request("d", "QWEN3-8B")]
    path = write(tmp_path / "in.jsonl", lines)
    found = checked(path)
    assert not found.problems
    assert {name: [line.custom_id for line in each] for name, each in found.by_model.items()} == {
        "qwen3-8b": ["a", "c", "d"],
        "smol": ["b"],
    }
    file = RequestFile(path, MODELS, ALIASES)
    bodies = {line.custom_id: body for line, body in file.bodies(found.lines)}
    assert {name: body["model"] for name, body in bodies.items()} == {
        "a": "qwen3-8b",
        "b": "smol",
        "c": "qwen3-8b+tone",
        "d": "qwen3-8b",
    }
    assert bodies["b"] == lines[1]["body"] | {"model": "smol"}
    # A model that is given takes the place of all that they name, known or not.
    other = write(tmp_path / "other.jsonl", [request("a", "gpt-9")])
    assert checked(other, "smol").by_model.keys() == {"smol"}


def test_answers_of_endpoints_that_stream_unless_told_are_asked_for_whole(tmp_path: Path) -> None:
    said = {"model": "smol", "messages": [{"role": "user", "content": "Hi"}]}
    urls = ("/api/chat", "/v1/chat/completions")
    path = write(
        tmp_path / "in.jsonl", [{"custom_id": url, "method": "POST", "url": url, "body": said} for url in urls]
    )
    found = checked(path)
    assert not found.problems
    bodies = {line.url: body for line, body in RequestFile(path, MODELS, ALIASES).bodies(found.lines)}
    assert bodies == {"/api/chat": said | {"stream": False}, "/v1/chat/completions": said}


# ── the output ──


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=6), st.data())
def test_an_output_cut_at_any_byte_goes_on_where_it_was_whole(names: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        log = OutputLog(path)
        for name in names:
            log.add(output_line(name, answered(400 if len(name) > 4 else 200)))
        log.close()
        raw = path.read_bytes()
        cut = data.draw(st.integers(0, len(raw)))
        path.write_bytes(raw[:cut])
        whole = raw[:cut].count(b"\n")
        again = OutputLog(path)
        assert list(again.done) == names[:whole]
        for name in names[whole:]:
            again.add(output_line(name, answered(200)))
        again.close()
        assert [line["custom_id"] for line in map(json.loads, path.read_bytes().splitlines())] == names
        assert counts_of(path) == (len(names), sum(len(name) > 4 for name in names[:whole]))


def answered(status: int) -> Answered:
    return {"status_code": status, "request_id": "run_1", "body": {"text": "\u2028é"}}


def test_an_output_that_is_none_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("my notes\n")
    with pytest.raises(InputRefusedError, match="line 1: not an answer of a batch"):
        OutputLog(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LlmopsError) as raised:
        OutputLog(path)
    assert raised.value.code == "batch_output_failed"


# ── the job ──


class Context:
    """What a job is given; ``cancel_at`` answers it is asked to stop."""

    def __init__(self, workspace: Workspace, folder: Path, output: Path, cancel_at: int = 1000) -> None:
        self.workspace, self.folder, self.job_id = workspace, folder, "job_1"
        self.output, self.cancel_at = output, cancel_at
        self.messages: list[str] = []

    def report(self, _share: float, message: str = "") -> None:
        self.messages.append(message)
        if self.output.exists() and counts_of(self.output)[0] >= self.cancel_at:
            raise JobCancelledError


class World:
    """A workspace with fake servers behind its models."""

    def __init__(self, sample: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace, self.folder = sample, folder
        self.input, self.output = folder / "in.jsonl", folder / "out.jsonl"
        self.prepared: dict[str, Any] = {}
        self.servers: list[FakeServers] = []
        self.job: Context

        def made(_workspace: Workspace, options: LoadOptions) -> FakeServers:
            # What is loaded for a batch ends with its job.
            assert options.needed_by == os.getpid()
            found = FakeServers(folder)
            found.prepared = self.prepared
            found.end = lambda: None  # type: ignore[attr-defined]
            self.servers.append(found)
            return found

        monkeypatch.setattr(batch_job, "SupervisedServers", made)

    def run(self, **context: Any) -> Any:
        job = self.job = Context(self.workspace, self.folder, self.output, **context)
        return batch_job.run(job, str(self.input), str(self.output), "")  # type: ignore[arg-type]


@pytest.fixture
def world(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="llmops-b") as folder:
        yield World(sample, Path(folder), monkeypatch)


def test_answers_and_failures_stand_in_the_output(world: World) -> None:
    def refuses(server: FakeServer) -> None:
        server.status, server.body = 400, b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'

    def dies(server: FakeServer) -> None:
        server.dies_before_head = True

    world.prepared = {"support-base-q4": refuses}
    write(world.input, [request("a"), request("b", "support-base-q4"), request("c")])
    assert world.run() == {"output": str(world.output), "total": 3, "completed": 2, "failed": 1}
    # What is shown of it when it is over.
    assert world.job.messages[-1] == "3 of 3 answered, 1 with an error"
    lines = {line["custom_id"]: line for line in outputs(world.output)}
    assert lines["a"]["response"] == {
        "status_code": 200,
        "request_id": "chatcmpl-1",
        "body": {"id": "chatcmpl-1", "choices": []},
    }
    assert lines["b"]["response"]["status_code"] == 400
    assert lines["b"]["response"]["body"]["error"]["code"] == "context_length_exceeded"
    assert {line["error"] for line in lines.values()} == {None}
    assert len({line["id"] for line in lines.values()}) == 3
    # Each model was loaded once, the lines of one after those of the other; the job is no program that names runs.
    (servers,) = world.servers
    assert servers.loads == ["support-base", "support-base-q4"]
    assert oct(world.output.stat().st_mode)[-3:] == "600"


def test_a_server_that_dies_of_a_request_each_time_leaves_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_job, "_RESTART_SECONDS", 0.0)
    world.prepared = {"support-base": lambda server: setattr(server, "dies_before_head", True)}
    write(world.input, [request("a"), request("b", "support-base-q4")])
    assert world.run()["failed"] == 1
    line = next(line for line in outputs(world.output) if line["custom_id"] == "a")
    assert (line["response"], line["error"]["code"]) == (None, "server_died")


_FELL = (500, "", b"Internal Server Error")
_ENDS = (503, "retry-after: 1\r\n", b'{"error": {"message": "the server is ending", "code": "server_ending"}}')


@pytest.mark.parametrize("first", [[_FELL, _FELL], [(502, "", b"{}")], [(200, "", b'{"a": 1}\n{"a": 2}')], [_ENDS] * 4])
def test_what_a_server_says_that_falls_over_or_ends_is_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, first: list[tuple[int, str, bytes]]
) -> None:
    monkeypatch.setattr(batch_job, "_RESTART_SECONDS", 0.0)
    monkeypatch.setattr(batch_job, "_BUSY_SECONDS", 0.0)
    made: list[FakeServer] = []

    def prepare(server: FakeServer) -> None:
        server.first.extend(first)
        made.append(server)

    world.prepared = {"support-base": prepare}
    write(world.input, [request("a")])
    assert world.run()["completed"] == 1
    assert outputs(world.output)[0]["response"]["body"] == json.loads(WHOLE)
    (server,) = made
    assert len(server.requests) == len(first) + 1


def test_a_cancelled_batch_goes_on_and_asks_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # The job looks whether it is to stop after every step, however fast the fakes answer.
    monkeypatch.setattr(batch_job, "_LOOK_SECONDS", 0.0)
    names = [f"r{n}" for n in range(30)]
    write(world.input, [request(name) for name in names])
    with pytest.raises(JobCancelledError):
        world.run(cancel_at=1)
    before = outputs(world.output)
    assert before
    # What a kill leaves of a line.
    with world.output.open("a") as file:
        file.write('{"id": "batch_req_x", "custom_id": "r29", "resp')
    assert world.run()["completed"] == 30
    assert outputs(world.output)[: len(before)] == before
    assert Counter(line["custom_id"] for line in outputs(world.output)) == Counter(names)
    # It is done: nothing is loaded for it any more.
    assert world.run()["completed"] == 30
    assert world.servers[-1].loads == []


def test_a_batch_goes_on_only_with_its_own_files(world: World) -> None:
    write(world.input, [request("a"), request("b")])
    world.output.write_text("")
    with pytest.raises(InputRefusedError) as raised:
        world.run()
    assert raised.value.code == "output_exists"
    world.output.unlink()
    assert world.run()["total"] == 2
    write(world.input, [request("a"), request("other")])
    with pytest.raises(InputRefusedError, match="is not the file that this batch began with"):
        world.run()
    assert len(outputs(world.output)) == 2


def test_a_load_that_fails_ends_the_job_and_not_its_lines(world: World) -> None:
    def fails(_server: FakeServer) -> None:
        raise LlmopsError("model_load_failed", "the file is damaged")

    world.prepared = {"support-base-q4": fails}
    write(world.input, [request("a"), request("b", "support-base-q4")])
    with pytest.raises(LlmopsError, match="the file is damaged"):
        world.run()
    assert [line["custom_id"] for line in outputs(world.output)] == ["a"]
    world.prepared = {}
    assert world.run()["completed"] == 2


def test_the_command_checks_before_it_starts(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    path, output = write(tmp_path / "in.jsonl", [request("a"), request("a"), "{"]), tmp_path / "out.jsonl"
    told = llmops.run("batch", "run", str(path), "--check", code=3)
    assert ([p["line"] for p in told["problems"]], told["requests"]) == ([2, 3], 1)
    refused = llmops.run("batch", "run", str(path), "--output", str(output), code=3)["error"]
    assert (refused["code"], "line 2" in refused["message"]) == ("batch_refused", True)
    assert not output.exists()
    assert JobStore(EventLog(sample)).all() == []
    good = write(tmp_path / "good.jsonl", [request("a"), request("b", "support-base-q4")])
    assert llmops.run("batch", "run", str(good), "--check")["models"] == {"support-base": 1, "support-base-q4": 1}
    output.touch()
    assert llmops.run("batch", "run", str(good), "--output", str(output), code=3)["error"]["code"] == "output_exists"
    llmops.run("batch", "run", str(good), code=2)


@pytest.mark.slow
def test_a_batch_that_is_killed_again_and_again_answers_each_line_once(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    names = [f"request {n}" for n in range(120)]
    lines = [
        request(name, ("support-base", "GPT-4o")[n % 40 == 39], max_tokens=24, ignore_eos=True)
        for n, name in enumerate(names)
    ]
    path, output = write(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl"
    llmops.run("model", "alias", "support-base-q4", "gpt-4o")
    job_id = llmops.run("batch", "run", str(path), "--output", str(output), "--detach")["job"]
    launcher = JobLauncher(sample)
    kept: list[dict[str, Any]] = []
    for wanted in (5, 30, 70):
        wait_for(lambda least=wanted: output.exists() and counts_of(output)[0] >= least)  # type: ignore[misc]
        job = launcher.store.get(job_id)
        assert job.process is not None
        os.kill(job.process.pid, signal.SIGKILL)
        wait_for(lambda killed=job_id: launcher.store.get(killed).state.final)  # type: ignore[misc]
        whole = output.read_bytes().rpartition(b"\n")[0]
        now = [json.loads(line) for line in whole.splitlines()]
        # What was answered stays as it was.
        assert now[: len(kept)] == kept
        kept = now
        job_id = launcher.resume(job_id).id
    wait_for(lambda: launcher.store.get(job_id).state.final, 300)
    job = launcher.store.get(job_id)
    done = {"output": str(output), "total": 120, "completed": 120, "failed": 0}
    assert (job.state, job.result) == (JobState.DONE, done)
    assert Counter(line["custom_id"] for line in outputs(output)) == Counter(names)
    assert outputs(output)[: len(kept)] == kept
    told = llmops.run("batch", "status", job_id)
    assert (told["answered"], told["failed"], told["state"]) == (120, 0, "done")
    # A client's statement, and no program of the workspace.
    rows = EventLog(sample).connection().execute("SELECT body->>'client' FROM events").fetchall()
    client = {"key": None, "metadata": {}, "work": {"kind": "batch", "name": job.resumes}}
    assert {row[0] for row in rows} == {json.dumps(client, separators=(",", ":"))}

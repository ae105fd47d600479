"""OpenAI's files and batches: what belongs to whom, how long, and that each line is answered once whatever is killed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.batch import job as batch_job
from llmops_tui.inference.filed import batches
from llmops_tui.inference.filed.batch_records import BatchRecord
from llmops_tui.inference.filed.batches import BatchStore
from llmops_tui.inference.filed.files import DAYS, FileStore
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.maintenance.check import check
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.layout import Workspace
from tests.engine.test_request_fields import KEY, PLAIN, Server
from tests.fakes import FakeClock
from tests.router.fakes import FakeServers

DAY = 24 * 3600
CHAT = "/v1/chat/completions"


class Jobs(JobLauncher):
    """Does the work of a job at once, in this process; one that is to die never begins."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.dies = 0
        self.begun: list[str] = []

    def _spawn(self, job: Job, lock: int) -> None:
        del lock
        self.begun.append(job.id)
        if self.dies:
            self.dies -= 1
            return
        fields: dict[str, Any] = {"state": JobState.DONE.value, "finished_at": 5.0}
        try:
            done = batch_job.run(self._context(job), **job.spec["arguments"])
            fields["result"] = json.dumps(done)
        except LlmopsError as error:
            fields |= {"state": JobState.FAILED.value, "cause": error.message}
        self.store.update(job.id, **fields)

    def _context(self, job: Job) -> Any:
        class Context:
            workspace, folder, job_id = self.workspace, self.store.folder(job), job.id

            @staticmethod
            def report(_share: float, _message: str = "") -> None:
                pass

        return Context


@pytest.fixture
async def server(sample: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> AsyncIterator[Server]:
    def servers(_workspace: Workspace, _options: object) -> FakeServers:
        found = FakeServers(tmp_path_factory.mktemp("b"))
        found.end = lambda: None  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(batch_job, "SupervisedServers", servers)
    made = Server(sample, PLAIN)
    store = made.server._batches._store
    store._model, store._given = "", Jobs(sample)
    yield made
    await made.http.aclose()
    await made.server.close()


def jobs_of(server: Server) -> Jobs:
    found = server.server._batches._store._given
    assert isinstance(found, Jobs)
    return found


def lines(*names: str, url: str = CHAT, **body: Any) -> bytes:
    asked = {"model": "support-base", "messages": [{"role": "user", "content": "Hi"}]} | body
    return b"".join(
        json.dumps({"custom_id": n, "method": "POST", "url": url, "body": asked}).encode() + b"\n" for n in names
    )


def a_record() -> BatchRecord:
    return {
        "id": "batch_1",
        "owner": "a",
        "input": "file_1",
        "endpoint": CHAT,
        "model": "",
        "metadata": {},
        "created_at": 1,
        "job": "job_1",
        "seconds": 3600,
    }


async def sent(server: Server, content: bytes, **fields: Any) -> httpx.Response:
    return await server.http.post(
        "/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"} | fields
    )


async def asked(server: Server, content: bytes, **more: Any) -> dict[str, Any]:
    file = (await sent(server, content)).json()["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"} | more
    answer = await server.post("/v1/batches", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_file_is_answered_and_what_it_came_to_is_a_file(server: Server) -> None:
    made = await asked(server, lines("a", "b"), metadata={"for": "tests"})
    found = (await server.http.get(f"/v1/batches/{made['id']}")).json()
    assert (found["status"], found["metadata"], found["errors"]) == ("completed", {"for": "tests"}, None)
    assert found["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert found["error_file_id"] is None
    content = await server.http.get(f"/v1/files/{found['output_file_id']}/content")
    answers = [json.loads(line) for line in content.text.splitlines()]
    assert {one["custom_id"]: one["response"]["status_code"] for one in answers} == {"a": 200, "b": 200}
    files = (await server.http.get("/v1/files?purpose=batch_output")).json()
    assert [one["id"] for one in files["data"]] == [found["output_file_id"]]
    folder = server.server._batches._store.files.folder
    assert {oct(path.stat().st_mode)[-3:] for path in folder.rglob("*.js*")} == {"600"}
    assert len(jobs_of(server).begun) == 1
    assert (await server.post(f"/v1/batches/{made['id']}/cancel", {})).status_code == 409


async def test_a_batch_whose_job_was_killed_goes_on_when_it_is_looked_at_or_a_server_starts(server: Server) -> None:
    jobs_of(server).dies = 2
    made = await asked(server, lines("a", "b"))
    # Both it and the first that went on with it died.
    await server.server._batches.go_on()
    found = (await server.http.get(f"/v1/batches/{made['id']}")).json()
    assert found["status"] == "completed"
    assert found["request_counts"]["completed"] == 2
    assert len(jobs_of(server).begun) == 3


async def test_a_server_that_dies_before_the_job_is_there_loses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = (await sent(server, lines("a"))).json()["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}

    def dies(*_given: Any, **_more: Any) -> None:
        raise LlmopsError("job_not_started", "killed")

    monkeypatch.setattr(jobs_of(server), "start", dies)
    assert (await server.post("/v1/batches", body)).status_code == 500
    monkeypatch.undo()
    monkeypatch.setattr(
        batch_job, "SupervisedServers", lambda *_: _ended(FakeServers(Path(server.server.options.workspace)))
    )
    (found,) = (await server.http.get("/v1/batches")).json()["data"]
    assert (await server.http.get(f"/v1/batches/{found['id']}")).json()["status"] == "completed"


def _ended(servers: FakeServers) -> FakeServers:
    servers.end = lambda: None  # type: ignore[attr-defined]
    return servers


async def test_lines_that_cannot_be_asked_fail_the_batch_and_are_told(server: Server) -> None:
    made = await asked(server, lines("a", "a") + lines("c", url="/v1/completions") + b"{\n")
    assert made["status"] == "failed"
    assert [one["line"] for one in made["errors"]["data"]] == [2, 3, 4]
    assert "the endpoint of the batch" in made["errors"]["data"][1]["message"]
    assert made["output_file_id"] is None


async def test_the_server_of_one_model_answers_for_that_one_alone(server: Server) -> None:
    server.server._batches._store._model = "support-base-q4"
    made = await asked(server, lines("a"))
    assert "'support-base' is not served here" in made["errors"]["data"][0]["message"]


async def test_files_belong_to_the_key_that_sent_them(server: Server) -> None:
    name = (await sent(server, b"{}")).json()["id"]
    store = server.server._batches._store.files
    mine = (await server.http.get("/v1/files")).json()["data"]
    assert [one["id"] for one in mine] == [name]
    assert "owner" not in mine[0]
    for call in (store.get, store.delete):
        with pytest.raises(LlmopsError, match="no file"):
            call("another", name)
    assert store.all("another") == []
    assert (await server.http.delete(f"/v1/files/{name}")).json() == {"id": name, "object": "file", "deleted": True}
    assert (await server.http.get(f"/v1/files/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("fields", "files", "param"),
    [
        ({"purpose": "fine-tune"}, {"file": ("a", b"x")}, "purpose"),
        ({}, {"file": ("a", b"x")}, "purpose"),
        ({"purpose": "batch", "colour": "red"}, {"file": ("a", b"x")}, "colour"),
        ({"purpose": "batch"}, {"other": ("a", b"x")}, "file"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "5"}, {"file": ("a", b"x")},
         "expires_after.seconds"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
         {"file": ("a", b"x")}, "expires_after.seconds"),
        ({"purpose": "batch", "expires_after[anchor]": "7", "expires_after[seconds]": "7200"}, {"file": ("a", b"x")},
         "expires_after.anchor"),
    ],
)  # fmt: skip
async def test_nothing_of_a_form_is_ignored(fields: Any, files: Any, param: str, server: Server) -> None:
    answer = await server.http.post("/v1/files", data=fields, files=files)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input_file_id": "file_none"}, "input_file_id"),
        ({"input_file_id": "../../x"}, "input_file_id"),
        ({"endpoint": "/v1/files"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"prio": 1}, "prio"),
    ],
)
async def test_nothing_of_a_batch_is_ignored(more: Any, param: str, server: Server) -> None:
    file = (await sent(server, lines("a"))).json()["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"} | more
    answer = await server.post("/v1/batches", body)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["param"] == param


async def test_lists_come_in_parts(server: Server) -> None:
    names = [(await sent(server, b"{}")).json()["id"] for _ in range(3)]
    first = (await server.http.get("/v1/files?limit=2&order=asc")).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (names[:2], True)
    rest = (await server.http.get(f"/v1/files?limit=2&order=asc&after={names[1]}")).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (names[2:], False)
    assert (await server.http.get("/v1/files?colour=red")).json()["error"]["param"] == "colour"
    assert (await server.http.get(f"/v1/files/{names[0]}?a=b")).status_code == 400


async def test_a_file_is_sent_as_a_form_and_others_are_not(server: Server) -> None:
    assert (await server.post("/v1/files", {"purpose": "batch"})).status_code == 415
    assert (await server.http.post(CHAT, files={"file": b"x"})).status_code == 415
    headers = {"Content-Type": "multipart/form-data"}
    assert (await server.http.post("/v1/files", content=b"x", headers=headers)).status_code == 400


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
async def test_nothing_of_an_address_is_ignored(path: str, server: Server) -> None:
    answer = await server.http.get(f"{path}?limit=1&limit=2")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


async def test_a_field_of_a_form_stands_there_once_and_its_text_is_utf8(server: Server) -> None:
    head = 'Content-Disposition: form-data; name="'
    file = f'--b\r\n{head}file"; filename="+2AA-"\r\n\r\nx\r\n--b--\r\n'

    async def answer(parts: str, charset: str = "") -> httpx.Response:
        kind = {"content-type": f"multipart/form-data; boundary=b{charset}"}
        return await server.http.post("/v1/files", content=(parts + file).encode(), headers=kind)

    purpose = f'--b\r\n{head}purpose"\r\n\r\nbatch\r\n'
    assert (await answer(purpose)).json()["filename"] == "+2AA-"
    assert (await answer(purpose + purpose)).json()["error"]["param"] == "purpose"
    # In this encoding the name of the file is half a character.
    refused = await answer(purpose, "; charset=utf-7")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_batch_whose_job_is_resumed_is_what_its_job_is(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store, jobs = server.server._batches._store, jobs_of(server)

    async def seen(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        (listed,) = (await server.http.get("/v1/batches")).json()["data"]
        return (await server.http.get(f"/v1/batches/{name}")).json(), listed

    def fails(*_: object) -> None:
        raise LlmopsError("model_missing", "the model's file is gone")

    with monkeypatch.context() as broken:
        broken.setattr(batch_job, "SupervisedServers", fails)
        made = await asked(server, lines("a", "b"))
    assert (made["status"], made["errors"]["data"][0]["message"]) == ("failed", "the model's file is gone")
    (record,) = store._records()
    with monkeypatch.context() as slow:
        slow.setattr(jobs, "_spawn", lambda job, _lock: jobs.store.update(job.id, state=JobState.RUNNING.value))
        slow.setattr(JobStore, "at_work", lambda _self, _folder: True)
        job = jobs.resume(record["job"])
        for found in await seen(made["id"]):
            assert (found["status"], found["failed_at"], found["errors"]) == ("in_progress", None, None)
        # What it answers is in use, and it can be stopped.
        refused = await server.http.delete(f"/v1/files/{made['input_file_id']}")
        assert refused.json()["error"]["code"] == "file_in_use"
    jobs.store.update(job.id, state=JobState.FAILED.value, finished_at=6.0, cause="once more")
    for found in await seen(made["id"]):
        assert (found["status"], found["errors"]["data"][0]["message"]) == ("failed", "once more")
    await asyncio.to_thread(jobs.resume, record["job"])
    for found in await seen(made["id"]):
        assert (found["status"], found["errors"]) == ("completed", None)
        assert found["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    content = await server.http.get(f"/v1/files/{found['output_file_id']}/content")
    assert len(content.text.splitlines()) == 2


async def test_a_cancelled_batch_whose_job_is_resumed_is_cancelled_no_more(server: Server) -> None:
    store, jobs = server.server._batches._store, jobs_of(server)
    jobs.dies = 2
    made = await asked(server, lines("a"))
    (record,) = store._records()
    jobs.store.update(jobs.begun[-1], state=JobState.CANCELLED.value, finished_at=5.0)
    store._write({**record, "stopped": record["created_at"] + 1})
    assert (await server.http.get(f"/v1/batches/{made['id']}")).json()["status"] == "cancelled"
    await asyncio.to_thread(jobs.resume, record["job"])
    found = (await server.http.get(f"/v1/batches/{made['id']}")).json()
    assert (found["status"], found["cancelling_at"], found["cancelled_at"]) == ("completed", None, None)
    # One that nobody looked at in between is no other.
    store._write({**record, "stopped": 5})
    assert (await server.http.get(f"/v1/batches/{made['id']}")).json()["status"] == "completed"


async def test_a_batch_that_was_resumed_is_stopped_once_more(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store, jobs = server.server._batches._store, jobs_of(server)
    jobs.dies = 2
    made = await asked(server, lines("a"))
    (record,) = store._records()
    jobs.store.update(jobs.begun[-1], state=JobState.RUNNING.value)
    monkeypatch.setattr(JobStore, "at_work", lambda _self, _folder: True)
    monkeypatch.setattr(jobs, "cancel", lambda _job: None)
    store._write({**record, "stopped": 5})
    assert (await server.http.get(f"/v1/batches/{made['id']}")).json()["status"] != "cancelling"
    again = (await server.http.post(f"/v1/batches/{made['id']}/cancel")).json()
    assert again["status"] == "cancelling"
    assert again["cancelling_at"] >= record["created_at"]


async def test_one_batch_that_cannot_be_looked_at_takes_no_list_along(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, jobs = server.server._batches._store, jobs_of(server)
    good = await asked(server, lines("a"))
    jobs.dies = 2
    bad = await asked(server, lines("b"))
    record = next(one for one in store._records() if one["id"] == bad["id"])
    jobs.store.update(jobs.begun[-1], state=JobState.RUNNING.value)
    monkeypatch.setattr(JobStore, "at_work", lambda _self, _folder: True)
    kept = store._output(record)
    kept.write_text("my notes\n")
    found = {one["id"]: one for one in (await server.http.get("/v1/batches")).json()["data"]}
    assert (found[good["id"]]["status"], found[bad["id"]]["status"]) == ("completed", "failed")
    assert "not an answer of a batch" in found[bad["id"]]["errors"]["data"][0]["message"]
    assert (await server.http.get(f"/v1/batches/{bad['id']}")).json() == found[bad["id"]]
    # It is mended, and what is only busy is told as that.
    kept.unlink()
    assert (await server.http.get(f"/v1/batches/{bad['id']}")).json()["errors"] is None

    def busy(_self: object, _folders: object, _known: object = None) -> None:
        raise LlmopsError("jobs_busy", "another process is at it", "Try again.")

    monkeypatch.setattr(store, "_as_they_are", lambda records: records)
    monkeypatch.setattr(JobStore, "newest_for", busy)
    listed = {one["id"]: one for one in (await server.http.get("/v1/batches")).json()["data"]}
    assert [listed[one["id"]]["status"] for one in (good, bad)] == ["completed", "in_progress"]
    assert "another process is at it" in listed[bad["id"]]["errors"]["data"][0]["message"]


async def test_half_a_line_of_a_batch_that_was_stopped_is_no_answer(server: Server) -> None:
    store, jobs = server.server._batches._store, jobs_of(server)
    jobs.dies = 2
    made = await asked(server, lines("a", "b"))
    (record,) = store._records()
    done = {"id": "x", "custom_id": "a", "response": {"status_code": 200, "request_id": "", "body": {}}, "error": None}
    store._output(record).write_text(json.dumps(done) + "\n" + json.dumps(done)[:20])
    record["stopped"] = 1
    store._write(record)
    found = (await server.http.get(f"/v1/batches/{made['id']}")).json()
    assert (found["status"], found["request_counts"]["completed"]) == ("cancelled", 1)
    content = await server.http.get(f"/v1/files/{found['output_file_id']}/content")
    assert [json.loads(line)["custom_id"] for line in content.text.splitlines()] == ["a"]


async def test_a_full_disk_is_told_and_a_server_starts_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await asked(server, lines("a"))
    store = server.server._batches._store
    (record,) = store._records()
    store._write({name: value for name, value in record.items() if name not in {"ended", "state"}})  # type: ignore[arg-type]

    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batches, "write_noted", full)
    await server.server._batches.go_on()
    told = (await server.http.get(f"/v1/batches/{made['id']}")).json()["error"]
    assert (told["code"], "No space left" in told["message"]) == ("batch_not_kept", True)


def test_a_workspace_that_is_gone_keeps_no_file(tmp_path: Path) -> None:
    with pytest.raises(LlmopsError, match="cannot be kept: No such file"):
        FileStore(Workspace(tmp_path / "gone")).add("a", "x", io.BytesIO(b"x"))


def test_a_record_that_names_another_file_is_none(workspace: Workspace) -> None:
    files = FileStore(workspace)
    name = files.add("a", "x", io.BytesIO(b"x"))["id"]
    path = files.folder / f"{name}.json"
    record = json.loads(path.read_text())
    aside = workspace.root / "mine.jsonl"
    aside.write_text("kept")
    path.write_text(json.dumps({**record, "id": "../mine", "expires_at": 0}))
    with pytest.raises(LlmopsError, match="no file"):
        files.get("a", name)
    files.prune()
    assert aside.exists()


@pytest.mark.parametrize(
    "change", [{"input": "../../x"}, {"job": "../x"}, {"id": "batch_1"}, {"metadata": None}, {"seconds": "1"}]
)
async def test_a_record_of_a_batch_that_is_not_as_it_was_written_is_none(change: Any, server: Server) -> None:
    made = await asked(server, lines("a"))
    path = server.server._batches._store._place / f"{made['id']}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert (await server.http.get("/v1/batches")).json()["data"] == []
    assert (await server.http.get(f"/v1/batches/{made['id']}")).status_code == 404


def test_what_goes_or_changes_after_its_checksum_is_no_damage(workspace: Workspace) -> None:
    now = FakeClock(100.0)
    files = FileStore(workspace, clock=now)
    kept, deleted = (files.add("a", "x", io.BytesIO(b"x"))["id"] for _ in range(2))
    over = files.add("a", "x", io.BytesIO(b"x"), seconds=3600)["id"]
    (store := BatchStore(workspace))._write(record := a_record())
    record_checksums(workspace)
    files.delete("a", deleted)
    now.now += 2 * 3600
    files.prune()
    store._write({**record, "ended": 5, "state": "completed"})
    assert not (files.folder / f"{over}.jsonl").exists()
    assert check(workspace).errors == []
    record_checksums(workspace)
    assert check(workspace).errors == []
    # What somebody else takes away is one.
    (files.folder / f"{kept}.json").unlink()
    assert [one.place for one in check(workspace).errors] == [f"files/{kept}.json"]


def test_what_is_over_its_time_goes_but_for_what_is_at_work(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    used: set[str] = set()
    store = FileStore(workspace, used=lambda: used, clock=clock)
    kept = store.add("k", "a", io.BytesIO(b"{}"))
    short = store.add("k", "b", io.BytesIO(b"{}"), seconds=3600)
    used.add(short["id"])
    clock.now += 3601
    assert store.get("k", short["id"]) == short
    used.clear()
    with pytest.raises(LlmopsError, match="no file"):
        store.get("k", short["id"])
    store.prune()
    assert [path.name for path in store.folder.glob("*.jsonl")] == [store.path(kept).name]
    clock.now += DAYS * DAY
    assert store.all("k") == []
    monkeypatch.setattr("llmops_tui.inference.filed.files.MAX_FILE", 10)
    with pytest.raises(InputRefusedError, match="larger than 10 bytes"):
        store.add("k", "c", io.BytesIO(b"x" * 11))
    assert not list(store.folder.glob("*.part"))


def test_a_client_has_so_many_files_and_bytes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(workspace)
    monkeypatch.setattr("llmops_tui.inference.filed.files.MAX_COUNT", 2)
    monkeypatch.setattr("llmops_tui.inference.filed.files.MAX_CLIENT", 5)
    store.add("k", "a", io.BytesIO(b"123"))
    with pytest.raises(InputRefusedError, match="more than 5 bytes"):
        store.add("k", "b", io.BytesIO(b"123"))
    store.add("k", "b", io.BytesIO(b"12"))
    with pytest.raises(InputRefusedError, match="2 files"):
        store.add("k", "c", io.BytesIO(b""))
    store.add("other", "c", io.BytesIO(b"123"))


def test_a_file_that_is_at_work_is_not_deleted(workspace: Workspace) -> None:
    jobs = Jobs(workspace)
    jobs.dies = 100
    store = BatchStore(workspace, launcher=jobs)
    file = store.files.add("k", "a", io.BytesIO(lines("a")))
    made = store.create("k", file, CHAT, {}, DAY)
    with pytest.raises(InputRefusedError, match="a batch answers"):
        store.files.delete("k", file["id"])
    assert store.cancel("k", made.record["id"]).status == "cancelled"
    store.files.delete("k", file["id"])
    with pytest.raises(LlmopsError, match="no batch"):
        store.get("another", made.record["id"])


@pytest.mark.slow
async def test_openais_own_client_reads_each_answer(server: Server) -> None:
    import openai

    client = openai.AsyncOpenAI(base_url="http://localhost/v1", api_key=KEY, http_client=server.http, max_retries=0)
    file = await client.files.create(
        file=("in.jsonl", lines("a", "b")), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (file.object, file.status, file.expires_at - file.created_at) == ("file", "processed", 3600)  # type: ignore[operator]
    made = await client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"for": "tests"}
    )
    done = await client.batches.retrieve(made.id)
    assert (done.status, done.request_counts.completed, done.output_file_id) == ("completed", 2, done.output_file_id)  # type: ignore[union-attr]
    content = await client.files.content(done.output_file_id or "")
    assert {json.loads(line)["custom_id"] for line in content.text.splitlines()} == {"a", "b"}
    assert [one.id async for one in client.batches.list(limit=1)] == [made.id]
    assert {one.id async for one in client.files.list(limit=1)} == {file.id, done.output_file_id}
    with pytest.raises(openai.ConflictError):
        await client.batches.cancel(made.id)
    assert (await client.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(file.id)

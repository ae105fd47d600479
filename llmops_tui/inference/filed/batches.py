"""Batches that clients of a server have asked for: each is a job, which goes on whatever becomes of the server."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import orjson

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.access.keys import is_access_key
from llmops_tui.inference.filed.batch_records import (
    BATCH_ID,
    BatchRecord,
    Problem,
    are_problems,
    not_over,
    read_record,
)
from llmops_tui.inference.filed.files import FileRecord, FileStore
from llmops_tui.inference.filed.output import OutputLine, counts_of, failed
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.launcher import JobLauncher, JobPlace
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.regular_files import open_regular
from llmops_tui.workspace.files import make_folder_within
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.written import remove_noted, write_noted

MAX_COUNT = 1_000
"""Batches of one client; beyond that its oldest that are over go."""
PROBLEMS = "problems.json"
"""What a job that refuses its file leaves in its folder: the lines that cannot be asked."""
NOTE = "batch.json"
"""What a job leaves in its folder once every line was checked."""


class BatchDone(TypedDict):
    """What a file of requests came to."""

    output: str
    total: int
    completed: int
    failed: int


ENTRY: JobEntry[BatchDone] = JobEntry("llmops_tui.retrieval.batch_job:run")
CLUSTER_ENTRY: JobEntry[BatchDone] = JobEntry("llmops_tui.training.worker.cluster_batch:run")
"""The same on the nodes of a Ray cluster."""


@dataclass(frozen=True)
class Standing:
    """Where a batch stands: its record, a word of OpenAI's for that, and how many lines are answered and with an error."""

    record: BatchRecord
    status: str
    answered: int
    bad: int
    total: int | None


class BatchStore:
    """The batches of one workspace, and the files that belong to them. ``model`` is the one that is served, empty for all."""

    def __init__(
        self,
        workspace: Workspace,
        model: str = "",
        *,
        launcher: JobLauncher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._model = model
        self._given = launcher
        self._clock = clock
        self.files = FileStore(workspace, used=self._inputs, clock=clock)

    @property
    def _launcher(self) -> JobLauncher:
        self._given = self._given or JobLauncher(self._workspace)
        return self._given

    def create(self, owner: str, source: FileRecord, endpoint: str, metadata: dict[str, str], seconds: int) -> Standing:
        """Start to answer a file.

        Raises:
            LlmopsError: as :meth:`.JobLauncher.start`; ``batch_not_kept``: it cannot be written.
        """
        self._make_room(owner)
        with self._launcher.place() as place:
            record: BatchRecord = {
                "id": new_id("batch"),
                "owner": owner,
                "input": source["id"],
                "endpoint": endpoint,
                "model": self._model,
                "metadata": metadata,
                "created_at": int(self._clock()),
                "job": place.id,
                "seconds": seconds,
            }
            # Before the job: one that was asked for and not started is started when it is looked at.
            self._write(record)
            self._start(record, place)
        return self.standing(record)

    def get(self, owner: str, name: str) -> Standing:
        """A batch of a client, as it stands; one whose job was killed goes on.

        Raises:
            LlmopsError: ``batch_not_found``.
        """
        return self.standing(self._found(owner, name))

    def all(self, owner: str) -> list[BatchRecord]:
        """The batches of a client, the newest first."""
        mine = [record for record in self._records() if record["owner"] == owner]
        return sorted(mine, key=lambda one: (one["created_at"], one["id"]), reverse=True)

    def cancel(self, owner: str, name: str) -> Standing:
        """Ask a batch to stop; what is answered stays.

        Raises:
            LlmopsError: ``batch_not_found``; ``batch_over``: it is over already.
        """
        record = self._found(owner, name)
        if "ended" in (now := self.standing(record)).record:
            raise InputRefusedError("batch_over", f"the batch {name!r} is {now.status} already")
        if "stopped" not in now.record:
            # Also where somebody went on with one that was asked to stop before.
            record["stopped"] = int(self._clock())
            self._write(record)
        self._launcher.cancel(self._job(record).id)
        return self.standing(record)

    def go_on(self) -> None:
        """Start again what was killed together with the machine; to be called when a server starts."""
        for record in self._records():
            if "ended" not in record and record["model"] == self._model:
                # A server starts all the same: whoever looks at the batch is told.
                with contextlib.suppress(LlmopsError):
                    self.standing(record)

    def standing(self, record: BatchRecord) -> Standing:
        """Where a batch stands; what it came to is put into files when its job is over.

        One that cannot go on as it is, such as one whose answers somebody changed, has failed until that is mended.
        """
        try:
            return self._standing(record)
        except InputRefusedError as error:
            return _untold(record, "failed", error)

    def shown(self, record: BatchRecord) -> Standing:
        """The same beside others of a list, which one that cannot be looked at now does not take along."""
        try:
            return self.standing(record)
        except LlmopsError as error:
            return _untold(record, "cancelling" if "stopped" in record else "in_progress", error)

    def _standing(self, record: BatchRecord) -> Standing:
        if "ended" in record:
            return Standing(
                record, record["state"], record.get("answered", 0), record.get("bad", 0), record.get("total")
            )
        try:
            job = self._job(record)
            if job.state == JobState.LOST and "stopped" not in record:
                job = self._launcher.resume(job.id)
        except InputRefusedError as error:
            if error.code != "job_running":
                raise
            # Somebody else is just starting it.
            return Standing(record, "validating", 0, 0, None)
        if "stopped" in record and int(job.created_at) > record["stopped"]:
            # Somebody went on with it since.
            record = not_over(record)
        if job.state.final:
            return self._end(record, job)
        answered, bad = counts_of(self._output(record))
        checked = (self._folder(record) / NOTE).exists()
        working = "in_progress" if checked else "validating"
        total = _total_of(job)
        return Standing(record, "cancelling" if "stopped" in record else working, answered, bad, total)

    # ── jobs ──

    def _start(self, record: BatchRecord, place: JobPlace) -> Job:
        arguments = {
            "requests": str(self.files.folder / f"{record['input']}.jsonl"),
            "output": str(self._output(record)),
            "model": "",
            "endpoint": record["endpoint"],
            "only": record["model"],
            "key": record["owner"] if is_access_key(record["owner"]) else "",
        }
        title = f"answer the batch {record['id']} of a client"
        return self._launcher.start(kind="batch", title=title, entry=ENTRY, arguments=arguments, place=place)

    def _job(self, record: BatchRecord) -> Job:
        """The newest job of a batch; started where its server died before it was."""
        newest = self._launcher.store.newest_for([record["job"]]).get(record["job"])
        if newest is not None:
            return newest
        with self._launcher.place(record["job"]) as place:
            return self._start(record, place)

    def _folder(self, record: BatchRecord) -> Path:
        return self._workspace.runs / record["job"]

    def _output(self, record: BatchRecord) -> Path:
        return self._folder(record) / "answers.jsonl"

    # ── records ──

    def _end(self, record: BatchRecord, job: Job) -> Standing:
        """Put what a batch came to into files of its client's; done again after a kill, it is the same."""
        answered, bad = counts_of(self._output(record))
        name = record["id"].partition("_")[2]
        made: dict[bool, str | None] = {False: None, True: None}
        for wrong, count, word in ((False, answered - bad, "output"), (True, bad, "errors")):
            if count:
                file = f"file_{name}_{word}"
                lines = _lines(self._output(record), wrong=wrong)
                shown = f"{record['id']}_{word}.jsonl"
                made[wrong] = self.files.put(file, record["owner"], shown, lines, seconds=record["seconds"])["id"]
        states = {JobState.DONE: "completed", JobState.CANCELLED: "cancelled", JobState.LOST: "cancelled"}
        ended: BatchRecord = {
            **record,
            "ended": int(job.finished_at or self._clock()),
            "last": job.id,
            "state": states.get(job.state, "failed"),
            "output": made[False],
            "errors": made[True],
            "answered": answered,
            "bad": bad,
            "total": _total_of(job),
        }
        if ended["state"] == "failed":
            ended["problems"] = self._problems(record, job)
        self._write(ended)
        return Standing(ended, ended["state"], answered, bad, ended["total"])

    def _problems(self, record: BatchRecord, job: Job) -> list[Problem]:
        with contextlib.suppress(OSError, ValueError):
            found = parse_json((self._folder(record) / PROBLEMS).read_bytes())
            if are_problems(found):
                return cast("list[Problem]", found)
        return [{"line": 0, "custom_id": None, "message": job.cause}]

    @property
    def _place(self) -> Path:
        return self.files.folder / "batches"

    def _write(self, record: BatchRecord) -> None:
        try:
            make_folder_within(self.files.folder)
            write_noted(make_folder_within(self._place) / f"{record['id']}.json", json.dumps(record))
        except OSError as error:
            raise LlmopsError("batch_not_kept", f"the batch cannot be kept: {error.strerror}") from error

    def _found(self, owner: str, name: str) -> BatchRecord:
        record = read_record(self._place / f"{name}.json") if BATCH_ID.fullmatch(name) else None
        if record is None or record["owner"] != owner:
            hint = "Batches belong to the key that they were created with."
            raise LlmopsError("batch_not_found", f"no batch {name[:100]!r} of this key is kept here", hint)
        return self._as_they_are([record])[0]

    def _records(self) -> list[BatchRecord]:
        try:
            paths = [path for path in self._place.iterdir() if path.suffix == ".json" and BATCH_ID.fullmatch(path.stem)]
        except FileNotFoundError:
            return []
        return self._as_they_are([record for path in paths if (record := read_record(path)) is not None])

    def _as_they_are(self, records: list[BatchRecord]) -> list[BatchRecord]:
        """Records without what they say of an end that is none: somebody resumed the job since."""
        over = [record["job"] for record in records if "last" in record]
        newest = self._launcher.store.newest_for(over) if over else {}
        resumed = {folder: job.id for folder, job in newest.items()}
        return [
            not_over(record)
            if "last" in record and resumed.get(record["job"], record["last"]) != record["last"]
            else record
            for record in records
        ]

    def _inputs(self) -> set[str]:
        """The files that batches still answer."""
        return {record["input"] for record in self._records() if "ended" not in record}

    def _make_room(self, owner: str) -> None:
        mine = self.all(owner)
        over = [record for record in reversed(mine) if "ended" in record]
        for record in over[: max(0, len(mine) - MAX_COUNT + 1)]:
            remove_noted(self._place / f"{record['id']}.json")
        if len(mine) - len(over) >= MAX_COUNT:
            raise InputRefusedError(
                "batches_full", f"{MAX_COUNT:,} batches of this key are at work", "Wait, or cancel."
            )


def _untold(record: BatchRecord, status: str, error: LlmopsError) -> Standing:
    """Where a batch stands that cannot be looked at, and why."""
    problems: list[Problem] = [{"line": 0, "custom_id": None, "message": error.told}]
    return Standing({**record, "problems": problems}, status, 0, 0, None)


def _total_of(job: Job) -> int | None:
    """How many lines a batch has, as its job tells it."""
    if job.result is not None:
        return int(job.result["total"])
    found = re.search(r" of (\d+) answered", job.message)
    return int(found[1]) if found is not None else None


def _lines(path: Path, *, wrong: bool) -> Iterator[bytes]:
    """The whole lines of an output that tell of a success, or of none."""
    with open_regular(path) as file:
        for raw in file:
            # What a job that was killed left of its last line is no answer.
            if not raw.endswith(b"\n"):
                break
            line: OutputLine = orjson.loads(raw)
            if failed(line) == wrong:
                yield raw

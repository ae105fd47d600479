"""The job that answers a file of requests; killed and resumed, it answers each line once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NotRequired, Protocol, TypedDict

import httpx

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.batch.prompts import MeantRecord, PromptLines
from llmops_tui.inference.batch.requests import CheckedFile, HeldModel, Line, RequestFile
from llmops_tui.inference.batch.written_names import named_as_written
from llmops_tui.inference.filed.batches import NOTE, PROBLEMS, BatchDone
from llmops_tui.inference.filed.output import Answered, OutputLine, OutputLog, output_exists, output_line
from llmops_tui.inference.options import LoadOptions, options_from
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.inference.router.servers import SupervisedServers
from llmops_tui.inference.server.callers import ON_BEHALF, of_batch
from llmops_tui.inference.server.connection import error_answer
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.template_renderer import FAULTS
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.settings import load_settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_file, write_atomic
from llmops_tui.workspace.layout import Workspace

_LOOK_SECONDS = 0.2
# A server that died under a request is loaded again; one that does so every time is not to blame on chance.
_TRIES = 3
_BUSY_SECONDS = 1.0
# Whoever revoked a key, or gave it other limits, is not to wait for a day.
_LONGEST_PAUSE = 60.0
_RESTART_SECONDS = 2.0
_USUAL_PARALLEL = 4
# Of the lines that cannot be asked, so many are kept for whoever asks for them.
_MOST_PROBLEMS = 100


class _Note(TypedDict):
    """What a batch began with: the hash of its file, and what the names of prompts and models in it meant."""

    sha256: str
    models: NotRequired[dict[str, HeldModel]]
    prompts: NotRequired[dict[str, MeantRecord]]


def open_requests(
    workspace: Workspace,
    path: Path,
    model: str = "",
    *,
    endpoint: str = "",
    only: str = "",
    prompts: PromptLines | None = None,
) -> RequestFile:
    """A file of requests to the models of a workspace, as :class:`RequestFile`."""
    catalog = Catalog(workspace)
    known, aliases = ModelRegistry(catalog).all(), AliasBook(catalog).all()
    return RequestFile(path, known, aliases, model, endpoint=endpoint, only=only, prompts=prompts)


def refusal(checked: CheckedFile, path: Path) -> InputRefusedError:
    """The refusal of a file with lines that cannot be asked."""
    first = checked.problems[0]
    count = len(checked.problems)
    told = f"{path}: {count} line{'s' if count > 1 else ''} cannot be asked; line {first['line']}: {first['message']}"
    return InputRefusedError("batch_refused", told[:1000], f"llmops batch run {path} --check lists them.")


def run(
    context: JobContext,
    requests: str,
    output: str,
    model: str,
    endpoint: str = "",
    only: str = "",
    key: str = "",
    *,
    prompts: PromptLines | None = None,
) -> BatchDone:
    """Answer the lines of ``requests`` that ``output`` has no answer to; for the others see :class:`.RequestFile`.

    ``key`` is the id of the access key within whose scope and limits they are asked.
    """
    options = options_from(load_settings()[0])
    file = open_requests(context.workspace, Path(requests), model, endpoint=endpoint, only=only, prompts=prompts)

    def answer(log: OutputLog, checked: CheckedFile) -> None:
        def report() -> None:
            share = len(log.done) / len(checked.lines)
            context.report(1 if share == 1 else min(0.99, share), told_of(checked, log))

        asyncio.run(
            # Of the first job where it is resumed, so that all of its requests are of one piece of work.
            answer_here(context.workspace, options, file, checked, log, job=context.folder.name, key=key, report=report)
        )

    return answer_file(context, file, output, answer)


def answer_file(
    context: JobContext, file: RequestFile, output: str, answer: Callable[[OutputLog, CheckedFile], None]
) -> BatchDone:
    """Check a file, and have ``answer`` answer what its output has no answer to; each line once, however often it is begun.

    Raises:
        InputRefusedError: ``batch_refused``, ``input_changed``, ``model_changed``, ``output_exists``.
    """
    path = file.path
    context.report(0, "checking the requests")
    # What an earlier try found is looked for anew.
    (context.folder / PROBLEMS).unlink(missing_ok=True)
    digest = sha256_file(path)
    note = context.folder / NOTE
    began: _Note | None = json.loads(note.read_text()) if note.exists() else None
    if began is not None and began["sha256"] != digest:
        raise InputRefusedError(
            "input_changed", f"{path} is not the file that this batch began with", "Restore it, or start a new batch."
        )
    if began is not None and file.prompts is not None:
        # A label that moved since is none for this file: its lines would be of two versions.
        file.prompts.hold(began.get("prompts", {}))
    if began is not None:
        # And so is an alias or a stage's model.
        file.hold(began.get("models", {}))
    checked = file.check()
    if checked.problems:
        write_atomic(context.folder / PROBLEMS, json.dumps(checked.problems[:_MOST_PROBLEMS]))
        raise refusal(checked, path)
    if began is None:
        if os.path.lexists(output):
            raise output_exists(Path(output))
        # Before the output: one that is killed here and resumed goes on with what is its own.
        names = file.prompts.names() if file.prompts is not None else {}
        kept: _Note = {"sha256": digest, "prompts": names, "models": file.models()}
        write_atomic(note, json.dumps(kept))
    log = OutputLog(Path(output))
    try:
        if strange := set(log.done) - {line.custom_id for line in checked.lines}:
            raise InputRefusedError(
                "output_exists", f"{output} answers {min(strange)[:100]!r}, which was not asked", "Restore the file."
            )
        answer(log, checked)
    finally:
        log.close()
    bad = sum(log.done.values())
    return {"output": output, "total": len(log.done), "completed": len(log.done) - bad, "failed": bad}


class AnswerLog(Protocol):
    """Where answers go: which are there already, by custom id, whether they failed."""

    done: dict[str, bool]

    def add(self, line: OutputLine) -> None:
        """Keep one."""


async def answer_here(
    workspace: Workspace,
    options: LoadOptions,
    file: RequestFile,
    checked: CheckedFile,
    log: AnswerLog,
    *,
    job: str,
    key: str = "",
    report: Callable[[], None] = lambda: None,
) -> None:
    """Ask the models of a workspace until all is answered; ``report`` is called meanwhile, and may raise to stop it.

    Raises:
        LlmopsError: a model cannot be loaded, or the output not be written.
    """
    servers = SupervisedServers(workspace, replace(options, needed_by=os.getpid()))
    pool = ModelPool(servers)
    work = asyncio.create_task(_Batch(pool, file, log, job, key).run(checked))
    try:
        while not work.done():
            report()
            await asyncio.wait({work}, timeout=_LOOK_SECONDS)
        work.result()
        report()
    finally:
        work.cancel()
        await asyncio.wait({work})
        servers.end()
        await pool.close()


def told_of(checked: CheckedFile, log: AnswerLog) -> str:
    """How far a batch is, in words."""
    return f"{len(log.done)} of {len(checked.lines)} answered, {sum(log.done.values())} with an error"


class _Batch:
    """Asks what is left of a file, one model after the other, as many requests at once as the model's server runs."""

    def __init__(self, pool: ModelPool, file: RequestFile, log: AnswerLog, job_id: str, key: str = "") -> None:
        self._pool = pool
        self._file = file
        self._log = log
        self._headers = [(ON_BEHALF, of_batch(job_id, key).passed_on())]
        self._writing = asyncio.Lock()

    async def run(self, checked: CheckedFile) -> None:
        """Ask all of it."""
        for lines in checked.by_model.values():
            left = [line for line in lines if line.custom_id not in self._log.done]
            if not left:
                continue
            async with self._pool.use(left[0].model.model) as upstream:
                parallel = int(upstream.handle.asked.get("parallel") or _USUAL_PARALLEL)
            try:
                with contextlib.closing(self._file.bodies(left)) as bodies:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(parallel, len(left))):
                            group.create_task(self._work(bodies))
            except* LlmopsError as errors:
                raise errors.exceptions[0] from None

    async def _work(self, bodies: Iterator[tuple[Line, JsonObject]]) -> None:
        for line, body in bodies:
            answer: Answered | None
            try:
                request, more = await self._file.request(line, body)
            except LlmopsError as refused:
                # What its prompt or its index cannot do is the answer of this line, and no other's.
                answer, error = _refusal_of(refused, line.url), None
            else:
                answer, error = await self._answer(line, request, more)
            if answer is not None and line.prompt is not None:
                answer = named_as_written(answer, body)
            told = output_line(
                line.custom_id, answer, None if error is None else {"code": error.code, "message": error.message}
            )
            async with self._writing:
                await asyncio.to_thread(self._log.add, told)

    async def _answer(
        self, line: Line, body: JsonObject, more: tuple[tuple[bytes, bytes], ...] = ()
    ) -> tuple[Answered | None, LlmopsError | None]:
        """The answer to a request, whatever its status; an error where its server died of it each time."""
        deaths, headers = 0, [*self._headers, *more]
        while True:
            async with self._pool.use(line.model.model) as upstream:
                try:
                    reply = await upstream.http.post(line.url, json=body, headers=headers)
                except httpx.TransportError:
                    reply = None
                answered = None if reply is None else _answered(reply)
                if answered is None or _is_ending(answered, reply):
                    # It may be gone, or going; the next look finds it, or starts one.
                    self._pool.lost(upstream)
            if answered is not None and (answered["status_code"] == 429 or _is_ending(answered, reply)):
                # Others wait there, too, its key's limit is reached, or it is stopped: our turn comes.
                await asyncio.sleep(_pause(reply))
                continue
            if answered is not None and answered["status_code"] != 503:
                return answered, None
            deaths += 1
            if deaths == _TRIES:
                told = f"the server of {line.model.name!r} died of this request {_TRIES} times"
                return (answered, None) if answered is not None else (None, LlmopsError("server_died", told))
            await asyncio.sleep(_RESTART_SECONDS)


def _is_ending(answered: Answered, reply: httpx.Response | None) -> bool:
    """Whether a server says that it has no time for anybody, whatever was asked; one that failed names no time."""
    return reply is not None and answered["status_code"] == 503 and "retry-after" in reply.headers


def _refusal_of(error: LlmopsError, path: str) -> Answered:
    """A request that could not be made, as its endpoint would tell it."""
    if error.code in FAULTS:
        error = FieldRefusedError("variables", error.message, error.hint, error.code)
    told = error_answer(error, path)
    return {"status_code": told.status_code, "request_id": "", "body": json.loads(bytes(told.body))}


def _pause(reply: httpx.Response | None) -> float:
    """How long to wait before a request is asked again, in seconds: as long as a limit says, but not for ever."""
    told = reply.headers.get("retry-after", "") if reply is not None else ""
    return min(_LONGEST_PAUSE, float(told)) if told.isdigit() else _BUSY_SECONDS


def _answered(reply: httpx.Response) -> Answered | None:
    """What an endpoint answered; none where it is not of an endpoint's making, as what a server says that falls over."""
    try:
        body = reply.json()
    except ValueError:
        return None
    if not isinstance(body, dict) or (reply.status_code >= 500 and "error" not in body):
        return None
    return {"status_code": reply.status_code, "request_id": str(body.get("id") or ""), "body": body}

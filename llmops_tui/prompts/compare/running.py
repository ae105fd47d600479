"""Runs columns on one input: those of one model at once, in the batch of its server; models together where memory allows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.answer_settings import values_filled
from llmops_tui.inference.supervisor import ServerSupervisor, health
from llmops_tui.models.registry import Model
from llmops_tui.prompts.compare.columns import Column
from llmops_tui.prompts.runs import PromptRunner, RunProgress, RunRequest
from llmops_tui.prompts.store import PromptStore, PromptVersion

MEMORY = "memory_short"
_Text = tuple[str, str, str, str]


@dataclass(frozen=True)
class ColumnStep:
    """What happened in a column: a step of its run, that it ``waits`` and why, or the error that ended it."""

    column: int
    step: RunProgress | None = None
    waits: str = ""
    error: LlmopsError | None = None


class ColumnRunner:
    """Runs the columns of one comparison.

    Columns whose base model is the same share its server, and so the batches of its engine. Models that do not fit beside
    the others come after them; the servers of this comparison that are done are unloaded for that with ``unload``.
    """

    def __init__(
        self,
        runner: PromptRunner,
        prompts: PromptStore,
        models: Mapping[str, Model],
        unload: Callable[[str], object],
    ) -> None:
        self._runner = runner
        self._prompts = prompts
        self._models = models
        self._unload = unload
        self._steps: asyncio.Queue[ColumnStep | None] = asyncio.Queue()

    async def run(
        self, columns: Sequence[Column], variables: Mapping[str, str], *, filled: bool = False
    ) -> AsyncGenerator[ColumnStep, None]:
        """The steps of all columns as they come; leaving the iteration early cancels what runs.

        A column that fails tells its error, and the others go on. ``filled`` values are those of a screen's fields, where an
        empty one says nothing to a column that has a default.
        """
        work = asyncio.create_task(self._run(columns, dict(variables), filled=filled))
        try:
            while (step := await self._steps.get()) is not None:
                yield step
            await work
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _run(self, columns: Sequence[Column], variables: dict[str, str], *, filled: bool) -> None:
        try:
            groups: dict[str, list[int]] = {}
            versions: dict[_Text, PromptVersion] = {}
            for number, column in enumerate(columns):
                try:
                    if (model := self._models.get(column.model)) is None:
                        raise LlmopsError("model_unknown", f"there is no model {column.model!r}", "Choose another one.")
                    if (text := _text_of(column)) not in versions:
                        versions[text] = await asyncio.to_thread(self._version, column)
                except LlmopsError as error:
                    self._tell(ColumnStep(number, error=error))
                else:
                    groups.setdefault(model.base.name, []).append(number)
            asked = _Asked(columns, variables, versions, filled)
            done: list[str] = []
            while groups:
                late = await self._together(groups, asked, done)
                done += [name for name in groups if name not in late]
                groups = late
        finally:
            self._steps.put_nowait(None)

    async def _together(self, groups: Mapping[str, list[int]], asked: _Asked, done: list[str]) -> dict[str, list[int]]:
        """Run groups at once as far as there is memory; returns those that have to come later."""
        late: dict[str, list[int]] = {}
        running: list[tuple[str, asyncio.Task[None]]] = []
        try:
            for name, numbers in groups.items():
                error = await self._opened(self._models[asked.columns[numbers[0]].model])
                if error is not None and error.code == MEMORY and done and not running:
                    # Nothing else of this comparison runs any more: what is done makes room.
                    while done:
                        await asyncio.to_thread(self._unload, done.pop(0))
                    error = await self._opened(self._models[asked.columns[numbers[0]].model])
                if error is not None and error.code == MEMORY and running:
                    late[name] = numbers
                    beside = ", ".join(other for other, _ in running)
                    self._tell(*(ColumnStep(n, waits=f"no memory beside {beside}: comes after it") for n in numbers))
                elif error is not None:
                    self._tell(*(ColumnStep(n, error=error) for n in numbers))
                else:
                    running += [(name, asyncio.create_task(self._column(n, asked))) for n in numbers]
            await asyncio.gather(*(task for _, task in running))
        finally:
            for _, task in running:
                task.cancel()
            await asyncio.gather(*(task for _, task in running), return_exceptions=True)
        return late

    async def _opened(self, model: Model) -> LlmopsError | None:
        """Load a model; the error where that failed."""
        try:
            await asyncio.to_thread(self._runner.open, model)
        except LlmopsError as error:
            return error
        return None

    async def _column(self, number: int, asked: _Asked) -> None:
        column = asked.columns[number]
        version = asked.versions[_text_of(column)]
        request = RunRequest(
            column.prompt,
            column.system,
            column.template,
            values_filled(column.settings, asked.variables) if asked.filled else asked.variables,
            column.parameters,
            version=version,
            settings=column.settings,
        )
        try:
            async with contextlib.aclosing(self._runner.run(request, self._models[column.model])) as steps:
                async for step in steps:
                    self._tell(ColumnStep(number, step))
        except LlmopsError as error:
            self._tell(ColumnStep(number, error=error))

    def _version(self, column: Column) -> PromptVersion:
        """The version of a column's text, saved where it is none yet.

        Raises:
            InputRefusedError: it cannot be one, such as a draft that is no template.
        """
        return self._prompts.save(
            column.prompt, template=column.template, system=column.system, settings=column.settings
        )[0]

    def _tell(self, *steps: ColumnStep) -> None:
        for step in steps:
            self._steps.put_nowait(step)


@dataclass(frozen=True)
class _Asked:
    """All columns, the input, and the versions of their texts."""

    columns: Sequence[Column]
    variables: dict[str, str]
    versions: Mapping[_Text, PromptVersion]
    filled: bool


def _text_of(column: Column) -> _Text:
    """What makes a version of a column's prompt: its name, its texts, and what it holds beside them."""
    held = column.settings.as_text() if column.settings is not None else ""
    return column.prompt, column.system, column.template, held


def unload_idle(supervisor: ServerSupervisor, model: str) -> bool:
    """Stop a model's server where nobody asks it anything; whether it was stopped."""
    handle = supervisor.find(model)
    return handle is not None and not health(handle).get("active") and supervisor.stop(model)

"""Prompts of many rows rendered together: whoever waits while a question is on its way goes with the next one."""

from __future__ import annotations

import asyncio

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.retrieval_asked import asks_for_passages
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables

_MOST = 200
Waiting = tuple[Variables, "asyncio.Future[str]"]


class RenderQueue:
    """One question of the template process at a time; what came meanwhile for one template is one question."""

    def __init__(self, renderer: TemplateRenderer) -> None:
        self._renderer = renderer
        self._waiting: dict[str, list[Waiting]] = {}
        self._work: asyncio.Task[None] | None = None

    async def render(self, source: str, values: Variables) -> str:
        """The rendered text.

        Raises:
            InputRefusedError: ``template_failed``, ``variable_missing``. LlmopsError: ``helper_unusable``.
        """
        if asks_for_passages(source):
            # It asks for passages in between.
            return await asyncio.to_thread(self._renderer.render, source, values)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, []).append((values, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._all())
        return await answer

    async def _all(self) -> None:
        try:
            while self._waiting:
                # Whoever is about to ask comes along.
                await asyncio.sleep(0)
                source = next(iter(self._waiting))
                batch, rest = self._waiting[source][:_MOST], self._waiting.pop(source)[_MOST:]
                if rest:
                    self._waiting[source] = rest
                await self._batch(source, batch)
        finally:
            self._work = None

    async def _batch(self, source: str, batch: list[Waiting]) -> None:
        try:
            told: list[str | LlmopsError] = list(
                await asyncio.to_thread(self._renderer.render_each, source, [values for values, _ in batch], "prompt")
            )
        except LlmopsError as error:
            told = [error] * len(batch)
        except Exception as error:  # noqa: BLE001
            # Whatever it is, nobody may wait for an answer for ever.
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), one in zip(batch, told, strict=True):
            if answer.done():
                continue  # whoever asked is gone
            if isinstance(one, LlmopsError):
                answer.set_exception(one)
            else:
                answer.set_result(one)

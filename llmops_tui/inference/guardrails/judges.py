"""Judges: registered models that are asked whether a text is what a guard is for."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.guardrails.guard_file import Judge
from llmops_tui.inference.guardrails.windows import covered, windows
from llmops_tui.inference.router.names import resolve
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace


class Judges:
    """Asks the models of a workspace, each loaded when it is first asked."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = Workspace(workspace)
        self._handles: dict[str, tuple[str, ServerHandle]] = {}

    async def says(self, judge: Judge, text: str) -> bool:
        """Whether any window of a text is what the guard is for.

        Raises:
            LlmopsError: the model cannot be asked in time; ``guard_windows``: the text has more windows than are asked.
        """
        if not covered(text, judge.windows):
            told = (
                f"the text has more than {judge.windows} windows of 256 tokens, and {judge.name!r} is asked about those"
            )
            raise LlmopsError("guard_windows", told, "Give the guard more windows.")
        try:
            async with asyncio.timeout(judge.seconds * max(1, judge.windows)):
                for part in windows(text, judge.windows):
                    if await self._one(judge, part):
                        return True
        except TimeoutError as error:
            raise LlmopsError("guard_late", f"{judge.model!r} did not answer in time") from error
        return False

    async def _one(self, judge: Judge, text: str) -> bool:
        import httpx

        name, handle = await asyncio.to_thread(self._loaded, judge.model)
        asked = {
            "model": name,
            "messages": [{"role": "user", "content": f"{judge.question}\n\nText:\n{text}\n\nAnswer:"}],
            "max_tokens": 8,
            "temperature": 0,
        }
        transport = httpx.AsyncHTTPTransport(uds=handle.socket)
        headers = {"Authorization": f"Bearer {handle.key}"}
        try:
            async with httpx.AsyncClient(transport=transport, headers=headers, timeout=judge.seconds) as client:
                answer = await client.post("http://localhost/v1/chat/completions", json=asked)
            said = answer.json()["choices"][0]["message"]["content"] or ""
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            self._handles.pop(judge.model, None)
            raise LlmopsError("guard_unasked", f"{judge.model!r} could not be asked: {type(error).__name__}") from error
        return str(said).strip().strip("\"'*.#- ").casefold().startswith(judge.word.casefold())

    def _loaded(self, asked: str) -> tuple[str, ServerHandle]:
        known = self._handles.get(asked)
        if known is None:
            catalog = Catalog(self._workspace)
            meant = resolve(asked, ModelRegistry(catalog).all(), AliasBook(catalog).all())
            known = meant.name, ServerSupervisor(self._workspace).ensure(meant.model)
            with contextlib.suppress(OSError):
                self._handles[asked] = known
        return known

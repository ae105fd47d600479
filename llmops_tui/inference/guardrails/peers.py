"""Models of the workspace that guards ask: judges, and those whose embeddings a head was trained on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.guardrails.guard_file import Judge
from llmops_tui.inference.guardrails.windows import covered, windows
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    from llmops_tui.inference.guardrails.head import Floats

_EMBED_SECONDS = 30.0
_MANY = 64


class Peers:
    """Asks the models of a workspace, each loaded when it is first asked."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = Workspace(workspace)
        self._handles: dict[str, tuple[str, ServerHandle]] = {}

    async def says(self, judge: Judge, text: str) -> bool:
        """Whether any window of a text is what the judge is asked for.

        Raises:
            LlmopsError: ``guard_unasked``: the model cannot be asked; ``guard_windows``: the text has more windows than are
                asked.
        """
        if not covered(text, judge.windows):
            told = (
                f"the text has more than {judge.windows} windows of 256 tokens, and {judge.name!r} is asked about those"
            )
            raise LlmopsError("guard_windows", told, "Give the guard more windows.")
        for part in windows(text, judge.windows):
            asked = {
                "messages": [{"role": "user", "content": f"{judge.question}\n\nText:\n{part}\n\nAnswer:"}],
                "max_tokens": 8,
                "temperature": 0,
            }
            answer = await self._post(judge.model, "/v1/chat/completions", asked, judge.seconds)
            try:
                said = str(answer["choices"][0]["message"]["content"] or "")
            except (KeyError, IndexError, TypeError) as error:
                raise _unasked(judge.model, error) from error
            if said.strip().strip("\"'*.#- ").casefold().startswith(judge.word.casefold()):
                return True
        return False

    async def vectors(self, model: str, texts: Sequence[str]) -> list[Floats]:
        """The embeddings of texts, of length 1.

        Raises:
            LlmopsError: ``guard_unasked``: the model cannot be asked, or embeds nothing.
        """
        import numpy as np

        found: list[Floats] = []
        for begin in range(0, len(texts), _MANY):
            asked = {"input": list(texts[begin : begin + _MANY])}
            answer = await self._post(model, "/v1/embeddings", asked, _EMBED_SECONDS)
            try:
                found += [np.asarray(one["embedding"], dtype=np.float32) for one in answer["data"]]
            except (KeyError, TypeError, ValueError) as error:
                raise _unasked(model, error) from error
        return found

    async def _post(self, asked: str, path: str, body: Mapping[str, object], seconds: float) -> Any:
        import httpx

        begun = asked not in self._handles
        name, handle = await asyncio.to_thread(self._loaded, asked)
        transport = async_socket_transport(handle.socket)
        headers = {"Authorization": f"Bearer {handle.key}"}
        try:
            async with httpx.AsyncClient(transport=transport, headers=headers, timeout=seconds) as client:
                answer = await client.post(f"http://localhost{path}", json={"model": name, **body})
            answer.raise_for_status()
            return answer.json()
        except httpx.ConnectError as error:
            self._handles.pop(asked, None)
            if not begun:
                # It was unloaded since it was last asked.
                return await self._post(asked, path, body, seconds)
            raise _unasked(asked, error) from error
        except (httpx.HTTPError, ValueError) as error:
            self._handles.pop(asked, None)
            raise _unasked(asked, error) from error

    def _loaded(self, asked: str) -> tuple[str, ServerHandle]:
        known = self._handles.get(asked)
        if known is None:
            catalog = Catalog(self._workspace)
            name = AliasBook(catalog).all().get(asked, asked)
            model = ModelRegistry(catalog).get(name.partition("+")[0])
            known = self._handles[asked] = name, ServerSupervisor(self._workspace).ensure(model)
        return known


def _unasked(model: str, error: Exception) -> LlmopsError:
    return LlmopsError("guard_unasked", f"{model!r} could not be asked: {type(error).__name__}", "llmops doctor")

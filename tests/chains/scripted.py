"""Stand-ins for chains: models that say what they are told to, and the processes that evaluate and render, in this one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from llmops_tui.chains import expressions, step_worker
from llmops_tui.chains.asking import StepAnswer, StepRequest, Told, step_key
from llmops_tui.chains.expressions import StepProcess
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import LlmopsError
from llmops_tui.inference import template_worker
from llmops_tui.inference.template_renderer import TemplateRenderer, _refused
from llmops_tui.workspace.catalog import Catalog

_EXPRESSIONS = step_worker._Expressions()
_ENVIRONMENTS = template_worker._Environments()


class HereProcess(StepProcess):
    """Answers as its process does, in this one."""

    def _ask(self, request: Mapping[str, object]) -> Any:
        reply = step_worker._answer(_EXPRESSIONS, json.loads(json.dumps(request)))
        if "result" not in reply:
            raise expressions._FailedError(reply["error"])
        return reply["result"]


class HereRenderer(TemplateRenderer):
    """Renders as its process does, in this one."""

    def _ask(self, request: Mapping[str, object]) -> Any:
        reply: Any = template_worker.answer(_ENVIRONMENTS, json.loads(json.dumps(request)))
        if "result" not in reply:
            raise _refused(reply)
        return reply["result"]


def tools_here(catalog: Catalog) -> ChainTools:
    """What chains need, with no process of its own."""
    tools = ChainTools(catalog, HereRenderer())
    tools.process = HereProcess()
    return tools


class ScriptedModels:
    """Says what ``say`` makes of the last message; counts what it was asked, and how many requests were under way at once."""

    def __init__(self, say: Callable[[str], str | LlmopsError], parallel: int = 4) -> None:
        self.parallel = parallel
        self.asked: list[StepRequest] = []
        self.most_at_once = 0
        self._say = say
        self._now = 0

    def key(self, asked: StepRequest) -> str:
        return step_key("prompt", {"model": asked.model, **asked.sampled})

    async def answer(self, asked: StepRequest, key: str, told: Told | None = None) -> StepAnswer:
        assert key == self.key(asked)
        self.asked.append(asked)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        said = self._say(str(asked.messages[-1]["content"]))
        if isinstance(said, LlmopsError):
            raise said
        if told is not None:
            for word in said.split(" "):
                await told(word + " ")
        return StepAnswer(said, "stop", 10, 2)

"""One request of a run of a prompt: what is asked, what came of it, and what the record of it says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from llmops_tui.inference.asked_prompt import with_offered
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import ToolCall
from llmops_tui.models.registry import Model
from llmops_tui.workspace.events import RequestRecord
from llmops_tui.workspace.ids import new_id

if TYPE_CHECKING:
    from llmops_tui.prompts.tool_rounds import ToolRounds


def with_tools(fields: Mapping[str, object], tools: ToolRounds | None) -> dict[str, object]:
    """The fields of a request with the tools that are offered beside; of two with one name it is the one that can be called."""
    if tools is None:
        return dict(fields)
    offered = tools.as_request()
    return {**offered, **with_offered(fields, offered["tools"])}


@dataclass
class AskedRun:
    """A request of a run, with what came of it so far.

    Attributes:
        fields: further fields of the request.
        known: the prompt, its version and variables, where a prompt is the source.
    """

    run_id: str
    model: Model
    parameters: SamplingParameters
    fields: Mapping[str, object]
    known: Mapping[str, object]
    messages: Sequence[Mapping[str, object]]
    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = field(default_factory=list)

    def as_turn(self) -> Mapping[str, object]:
        """What the model said, with what it thought, as a turn of the conversation that goes on."""
        thought = {"reasoning_content": self.thinking} if self.thinking else {}
        return {"role": "assistant", "content": self.text, **thought, "tool_calls": self.calls}

    def again(self, turns: Sequence[Mapping[str, object]]) -> AskedRun:
        """The request that goes on behind these turns, a run of its own."""
        messages = [*self.messages, *turns]
        return AskedRun(new_id("run"), self.model, self.parameters, self.fields, self.known, messages)

    @property
    def metadata(self) -> dict[str, object]:
        """What the server keeps with the record."""
        return {"run_id": self.run_id, **self.known}

    def as_record(self, offered: Mapping[str, object]) -> RequestRecord:
        """The record of the request, before anything came; ``offered`` are all of its further fields.

        The form of the answer is kept where no tool is offered: a call is of another form.
        """
        form = {name: offered[name] for name in ("response_format",) if name in offered and not offered.get("tools")}
        record: RequestRecord = {
            "started_at": time.time(),
            "model": self.model.name,
            "model_sha256": self.model.sha256,
            "messages": list(self.messages),
            "parameters": {**self.parameters.model_dump(exclude_none=True), **form},
        }
        return record | cast("RequestRecord", dict(self.known))

"""One answer that is asked for, on its way."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_wire import Call, Generated, TokenRecord
from llmops_tui.inference.guardrails.held_back import HeldBack
from llmops_tui.inference.server.admission import Ticket
from llmops_tui.inference.server.answer_forms import AnswerForm
from llmops_tui.inference.server.conversation import AnswerReader, Delta
from llmops_tui.inference.server.guarding import Guarded
from llmops_tui.inference.server.records import Record
from llmops_tui.inference.wire import ToolCall, Warned
from llmops_tui.workspace.events import ClientRecord, GuardVerdict


@dataclass
class Choice:
    """One answer that is asked for: the engine's call, and what came of it."""

    index: int
    record: Record
    call: Call
    reader: AnswerReader | None = None
    echo: str = ""
    # Characters of the answer that the client of a stream was told.
    told: int = 0
    # A character of the given text may lie across two parts of its tokens.
    echoing: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    given: list[TokenRecord] = field(default_factory=list)
    tokens: list[TokenRecord] = field(default_factory=list)
    # Bytes of each token of an answer that may have thinking.
    sizes: list[int] = field(default_factory=list)
    result: Generated = field(default_factory=lambda: Generated(finish_reason=""))
    calls: list[ToolCall] = field(default_factory=list)
    # The whole answer, read, where it was not told while it came.
    answer: Delta = field(default_factory=Delta)
    # What it is held to, what is told of that and of the request before the answer, and what of it the answer does not keep.
    form: AnswerForm = field(default_factory=AnswerForm)
    warned: list[Warned] = field(default_factory=list)
    problems: list[Warned] = field(default_factory=list)
    # Tokens of the answer that are reasoning; counted when it is done.
    reasoning_tokens: int = 0
    ticket: Ticket | None = None
    # Whether what became of it is in the event log.
    kept: bool = False
    # Which of its request's prompts it answers, and whether it may be as long as there is room for.
    prompt: int = 0
    unbounded: bool = False
    # Whether the engine was asked for it, and what it uses is settled with a key; why it has no answer; what it came to where
    # nobody waited for its end.
    begun: bool = False
    metered: bool = False
    failure: LlmopsError | None = None
    over: asyncio.Future[Generated | None] | None = None
    # The answer as its guards let it through, and what they said of the request.
    held: HeldBack | None = None
    verdicts: list[GuardVerdict] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Whether a guard refused its answer."""
        return self.held is not None and self.held.blocked is not None

    def guard(self, guarded: Guarded) -> None:
        """Have the answer looked at by the guards of its request."""
        self.held = HeldBack(guarded.prepared)
        self.verdicts = [*guarded.verdicts]

    def note_verdicts(self) -> None:
        """Put what guards said of the request and its answer into the record."""
        if self.held is None:
            return
        self.verdicts += [one.told(self.held.prepared.ref, "output") for one in self.held.found]
        client: ClientRecord = {**(self.record.body.get("client") or {})}
        self.record.body["client"] = {**client, "guards": self.verdicts}

    @property
    def warnings(self) -> list[Warned]:
        """All that is told beside the answer, once it is done."""
        return self.warned + self.problems

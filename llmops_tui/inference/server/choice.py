"""One answer that is asked for, on its way."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_wire import Call, Generated, SamplingRecord, TokenRecord
from llmops_tui.inference.guardrails.held_back import HeldBack
from llmops_tui.inference.server.admission import Ticket
from llmops_tui.inference.server.answer_forms import AnswerForm
from llmops_tui.inference.server.asked_again import AskedAgain
from llmops_tui.inference.server.conversation import AnswerReader, Delta
from llmops_tui.inference.server.guarding import Guarded
from llmops_tui.inference.server.records import Record
from llmops_tui.inference.wire import ToolCall, Warned
from llmops_tui.workspace.events import ClientRecord, GuardVerdict
from llmops_tui.workspace.ids import new_id

# So often an answer is asked again.
_RETRIES = 1


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
    # What the client wrote right before it, and whether that is the beginning of the answer itself.
    before: str = ""
    goes_on: bool = False
    # How often it was asked again, how often it may be, and how many tokens that took.
    tries: int = 0
    retries: int = 0
    spent: int = 0
    # What a recording is to answer in place of the model.
    again_of: AskedAgain | None = None

    @property
    def refused(self) -> bool:
        """Whether a guard refused its answer."""
        return self.held is not None and self.held.blocked is not None

    def guard(self, guarded: Guarded, *, may_retry: bool) -> None:
        """Have the answer looked at by the guards of its request, and asked again where one says so and it ``may_retry``."""
        self.held = HeldBack(guarded.prepared, self.before, self.goes_on)
        self.verdicts = [*guarded.verdicts]
        # The same is written again without chance.
        self.retries = _RETRIES if may_retry and self.call["parameters"].get("temperature", 1.0) > 0 else 0

    def again(self, result: Generated) -> bool:
        """Whether a guard that asks again refused the answer: then all of it is forgotten, and another seed is taken."""
        held = self.held
        if held is None or held.blocked is None or held.blocked.action != "retry" or self.tries >= self.retries:
            return False
        self.tries += 1
        self.spent += result["completion_tokens"] or 0
        self.verdicts += [one.told(held.prepared.ref, "output") for one in held.found]
        self.held = HeldBack(held.prepared, held.given, held.begins)
        self.record.text.clear()
        self.tokens.clear()
        self.sizes.clear()
        parameters: SamplingRecord = {**self.call["parameters"]}
        if "seed" in parameters:
            parameters["seed"] += self.tries
        self.call = {**self.call, "id": new_id("call"), "parameters": parameters}
        return True

    def note_verdicts(self) -> None:
        """Put what guards said of the request and its answer into the record."""
        if self.held is None:
            return
        self.verdicts += [one.told(self.held.prepared.ref, "output") for one in self.held.said]
        client: ClientRecord = {**(self.record.body.get("client") or {})}
        self.record.body["client"] = {**client, "guards": self.verdicts}

    @property
    def warnings(self) -> list[Warned]:
        """All that is told beside the answer, once it is done."""
        return self.warned + self.problems

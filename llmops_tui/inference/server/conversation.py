"""Conversations to prompts and answers back: the model's chat template, its tool calls, its marked reasoning."""

from __future__ import annotations

import asyncio
import functools
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from llmops_tui import chat_format
from llmops_tui.chat_format import CallFormat, ControlTexts, Rendered, own_variables
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.constraints import JSON_FORMS, Form, ToolRecord, schema_of
from llmops_tui.inference.engine_wire import Call, EngineInfo
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.served_format import ServedFormat, format_of
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables
from llmops_tui.inference.wire import ChatMessage, ToolCall


@dataclass(frozen=True)
class Prompt(Rendered):
    """A conversation as the model gets it: the template's text, and what of it may be no control token.

    Attributes:
        begun: what of its end is the beginning of the answer, which is to be gone on with; none where it is not.
        begun_tokens: that beginning in tokens, where it was given so; the text is without it then.
    """

    begun: str | None = None
    begun_tokens: tuple[int, ...] = ()

    @property
    def before_answer(self) -> str:
        """What tells how the answer begins; what follows a beginning that was given is told by that."""
        return self.text if self.begun is None else ""

    def source(self) -> Call:
        """What the engine is to go on from, as a part of a call: it begins as the vocabulary wants texts to begin."""
        call: Call = {
            "op": "generate",
            "text": self.text,
            "plain": list(self.plain),
            "add_special": False,
            "begins": True,
        }
        return {**call, "begun": list(self.begun_tokens)} if self.begun_tokens else call


class ChatTemplate:
    """Renders conversations with a model's template; ``facts`` are the engine's, its special tokens among them.

    Texts of control tokens within messages are text, unless ``special_in_content`` is set.
    """

    def __init__(
        self,
        template: str | None,
        facts: Callable[[], Awaitable[EngineInfo]],
        *,
        special_in_content: bool = False,
    ) -> None:
        self.format = format_of(template)
        self._facts = facts
        self._special_in_content = special_in_content
        self._controls = ControlTexts(())
        self._read: list[str] | None = None
        self._renderer = TemplateRenderer()

    async def render(
        self,
        turns: Sequence[ChatMessage],
        tools: Sequence[ToolRecord] | None = None,
        extra: Variables | None = None,
        begun: ChatMessage | None = None,
    ) -> Prompt:
        """The prompt of a conversation, once the model is loaded; ``extra`` are further variables of the template.

        ``begun`` is the beginning of the answer, where there is one to go on with.

        Raises:
            InputRefusedError: ``template_failed``, ``variable_missing``.
            LlmopsError: the model could not be loaded.
        """
        info = await self._facts()
        if self._read is not (controls := info.get("controls")) and not self._special_in_content:
            # Of an engine that was started again they are the same, read anew.
            written = [mark for mark in info.get("marks", ()) if mark in self.format.template]
            self._read, self._controls = controls, ControlTexts([*(controls or ()), *written])
        context: Variables = (extra or {}) | {
            "tools": tools,
            "add_generation_prompt": True,
            "bos_token": info["bos"],
            "eos_token": info["eos"],
        }
        try:
            prompt = await asyncio.to_thread(self._rendered, turns, context)
        except InputRefusedError as error:
            if turns:
                raise
            # Templates that look at the first message fail in words that say nothing of the request.
            told = "there is none before the assistant's that the answer goes on with, and the chat template needs one"
            raise FieldRefusedError("messages", told, "Put a message of the user's before it.", error.code) from error
        return prompt if begun is None else self._begun(prompt, begun)

    def _begun(self, prompt: Prompt, turn: ChatMessage) -> Prompt:
        """The prompt with the beginning of the answer behind it, which reads as if the model had written it.

        Of that, the marks that a model writes within its answers are control tokens, and no others.
        """
        chat = self.format.answers
        said, thought = (
            str(turn.get("content") or ""),
            str(turn.get("reasoning_content") or turn.get("reasoning") or ""),
        )
        opening, thinking = self.format.opening_of(prompt.text), chat.thinking
        lead, thinks = "", False
        if thinking is not None and thinking.marks.before:
            before, after = thinking.marks.before, thinking.marks.after
            open_here = before in opening and after not in opening
            thinks = not thought and said.lstrip().startswith(before)
            if thinks and open_here:
                # What it begins with stands there already.
                said = said.lstrip()
                said = said.removeprefix(opening.lstrip() if said.startswith(opening.lstrip()) else before)
            elif not thinks and (thought or open_here):
                # Where thinking is a message of its own, the next one begins behind it.
                follow = chat.assistant.before if after in chat.ends else "\n\n"
                lead = ("" if open_here else before) + thought + after + follow
        calls = chat.calls is not None and bool(chat.calls.begin) and said.lstrip().startswith(chat.calls.begin)
        if not (thinks or calls):
            # What begins otherwise is content.
            lead += chat.content.before.removeprefix(opening)
        spans = self._controls.places(said, self.format.visible) if self._controls else []
        start = len(prompt.text) + len(lead)
        plain = (*prompt.plain, *((start + begin, start + end) for begin, end in spans))
        return Prompt(prompt.text + lead + said, plain, begun=opening + lead + said)

    def _rendered(self, turns: Sequence[ChatMessage], context: Variables) -> Prompt:
        given: Sequence[Mapping[str, object]] = turns
        chat = self.format.as_read
        if chat is not None:
            given = chat_format.as_wanted(chat, turns)
            if chat.needs_tools and context["tools"] is None:
                context["tools"] = []
            context = own_variables.values(chat.own, context["tools"]) | context

        def render(whole: Mapping[str, object]) -> str:
            return self._renderer.render(self.format.template, whole, "chat")

        found = chat_format.rendered(render, context | {"messages": given}, self._controls, self.format.visible)
        return Prompt(found.text, found.plain)

    def close(self) -> None:
        """End the template process."""
        self._renderer.close()


def check_tools(chat: ServedFormat) -> CallFormat:
    """How the model calls tools.

    Raises:
        FieldRefusedError: ``tools_unknown``: the template knows none.
    """
    if chat.answers.calls is None:
        raise FieldRefusedError(
            "tools",
            "the chat template of this model knows no tools",
            "Use a model that was trained to call them.",
            "tools_unknown",
        )
    return chat.answers.calls


def answer_constraint(chat: ServedFormat, form: Form | None, prompt: str) -> Form | None:
    """What holds the answer to a form; thinking stays outside of one in JSON, and so does the mark of contents."""
    if form is None or form["type"] not in JSON_FORMS:
        return form
    return {**form, **_around(chat, prompt)}


def tool_constraint(
    chat: ServedFormat,
    tools: Sequence[ToolRecord],
    demanded: str | None,
    *,
    several: bool,
    prompt: str,
    answer: Form | None = None,
) -> Form:
    """What holds the answer to calls of these tools: at once where a call is required, else from its mark on.

    ``demanded`` is the tool that has to be called, empty for any of them; ``several`` says whether there may be more
    than one call. ``answer`` is a form in JSON to which an answer without calls is held.

    Raises:
        FieldRefusedError: as :func:`check_tools`.
    """
    form: Form = {
        "type": "tools",
        "functions": [t["function"] for t in tools if demanded in {None, "", t["function"]["name"]}],
        "calls": asdict(check_tools(chat)),
        "opening": chat.opening_of(prompt),
        "required": demanded is not None,
        "several": several,
        **_around(chat, prompt),
    }
    if answer is not None and answer["type"] != "text":
        form["answer"] = schema_of(answer)
    return form


def _around(chat: ServedFormat, prompt: str) -> Form:
    """What is around an answer that is held to a form: how the model thinks before it, and the mark of contents."""
    found: Form = {}
    opening, thinking = chat.opening_of(prompt), chat.answers.thinking
    if thinking is not None and thinking.marks.before and thinking.marks.after not in opening:
        before, after = thinking.marks.before, thinking.marks.after
        # Where thinking is a message of its own, the next one begins behind it.
        follow = chat.answers.assistant.before if after in chat.answers.ends else ""
        found["thought"] = {"before": before, "after": after, "open": before in opening, "follow": follow}
    if mark := chat.answers.content.before.removeprefix(opening):
        found["content"] = mark
    return found


def begins_call(chat: ServedFormat, begun: str | None, tools: Sequence[ToolRecord]) -> bool:
    """Whether the beginning of an answer ends within a call of a tool: no grammar holds what goes on there."""
    return bool(begun and tools) and chat_format.AnswerReader(chat.answers, tools, opening=begun or "").calling


@dataclass
class Piece:
    """A part of an answer, or of such a part: text that is content or reasoning, or one call.

    ``apart`` says that something else stood between this content and the one before it.
    """

    kind: Literal["content", "reasoning", "call"]
    text: str = ""
    call: ToolCall | None = None
    apart: bool = False


@dataclass(frozen=True)
class Apart:
    """A whole answer as the model wrote it, without its thinking; ``spans`` are the characters that are thinking."""

    answer: str
    thinking: str = ""
    spans: tuple[tuple[int, int], ...] = ()

    def tokens(self, written: str, sizes: Sequence[int]) -> int:
        """How many tokens are thinking, of a whole answer whose tokens have so many bytes."""
        bounds = [(len(written[:start].encode()), len(written[:end].encode())) for start, end in self.spans]
        starts = itertools.accumulate(sizes, initial=0)
        return sum(any(begin <= at < end for begin, end in bounds) for at, _ in zip(starts, sizes, strict=False))


@dataclass
class Delta:
    """What a piece of text turned out to be, in its order."""

    pieces: list[Piece] = field(default_factory=list)

    @property
    def content(self) -> str:
        """All content. Blanks around what stands between two contents are none; without any, their words would be one."""
        return "".join("\n" * piece.apart + piece.text for piece in self.pieces if piece.kind == "content")

    @property
    def reasoning(self) -> str:
        """All reasoning."""
        return "".join(piece.text for piece in self.pieces if piece.kind == "reasoning")

    @property
    def tool_calls(self) -> list[ToolCall]:
        """All calls."""
        return [piece.call for piece in self.pieces if piece.call is not None]


class AnswerReader:
    """Splits a streamed answer into content, reasoning and tool calls, the same however it is cut.

    What begins like a call and cannot be read as one stays content, but for one that breaks off after whole ones, and one
    that a limit cut off behind its mark. Where there may be no ``several`` calls, the first counts: models whose calls have
    no mark cannot be limited to one. Without ``tools`` nothing is a call. ``required`` says that the answer has to call a
    tool. ``begun`` is the beginning of the answer that was given, as :class:`Prompt` has it: what is thought or called in
    there and goes on is thinking or a call, and told is only what comes then.
    """

    def __init__(
        self,
        chat: ServedFormat,
        *,
        prompt: str,
        tools: Sequence[ToolRecord],
        several: bool = True,
        required: bool = False,
        begun: str | None = None,
    ) -> None:
        answers = chat.answers if tools else replace(chat.answers, calls=None)
        opening = chat.opening_of(prompt) if begun is None else begun
        self._new = functools.partial(chat_format.AnswerReader, answers, tools, opening=opening)
        self._again = functools.partial(
            AnswerReader, chat, prompt=prompt, tools=tools, several=several, required=required, begun=begun
        )
        self._reader = self._new()
        self.thinks = answers.thinking is not None
        """Whether answers may have thinking."""
        self._id_length = answers.calls.id_length if answers.calls is not None else 0
        self._marked = answers.calls is not None and bool(answers.calls.begin)
        self._several = several
        self._required = required
        self._calls = 0
        self._said = self._parted = False
        self.broken_off = False
        """Whether the answer, which is over, ended within a call, or without the one it had to make."""

    def apart(self, written: str) -> Apart:
        """A whole answer, or what there is of it, taken apart; what was fed so far does not count."""
        if not self.thinks:
            return Apart(written)
        reader = self._new()
        events = reader.push(written) + reader.finish(cut=True)
        spans = tuple(reader.thoughts)
        if not spans:
            return Apart(written)
        edges = [0, *(edge for span in spans for edge in span), len(written)]
        rest = "".join(written[edges[n] : edges[n + 1]] for n in range(0, len(edges), 2))
        return Apart(rest.lstrip(), "".join(event.text for event in events if event.kind == "thinking"), spans)

    def whole(self, written: str) -> Delta:
        """An answer that the model itself ended, read from its beginning; what was fed so far does not count."""
        reader = self._again()
        read = reader.feed(written)
        return Delta(read.pieces + reader.finish().pieces)

    def feed(self, text: str) -> Delta:
        """Take text in; returns what is certain now."""
        return self._delta(self._reader.push(text))

    def finish(self, *, cut: bool = False) -> Delta:
        """The answer ended, or was ``cut`` off; returns what was held back."""
        delta = self._delta(self._reader.finish(cut=cut), last=True, cut=cut)
        self.broken_off |= self._required and not self._calls
        return delta

    def _delta(self, events: Sequence[chat_format.Event], *, last: bool = False, cut: bool = False) -> Delta:
        delta = Delta()
        for event in events:
            if event.kind == "thinking":
                delta.pieces.append(Piece("reasoning", event.text))
                self._parted = self._said
            elif event.call is not None:
                self._take(event.call, delta)
                self._parted = self._said
            elif event.kind == "content":
                delta.pieces.append(Piece("content", event.text, apart=self._parted))
                self._said, self._parted = True, False
            else:
                self.broken_off |= last
                if not (last and (self._calls or (cut and self._marked))):
                    delta.pieces.append(Piece("content", event.text))
        return delta

    def _new_id(self) -> str:
        # Some templates take ids of one length alone.
        return secrets.token_hex(self._id_length)[: self._id_length] or f"call_{secrets.token_hex(12)}"

    def _take(self, call: chat_format.Call, delta: Delta) -> None:
        if self._calls and not self._several:
            return
        made: ToolCall = {
            "index": self._calls,
            "id": call.id or self._new_id(),
            "type": "function",
            "function": {"name": call.name, "arguments": call.as_json},
        }
        delta.pieces.append(Piece("call", call=made))
        self._calls += 1

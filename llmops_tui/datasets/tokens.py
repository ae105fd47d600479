"""A row as a training run sees it: rendered template, tokens, and the tokens in the loss."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

from llmops_tui.chat_format import ChatFormat, as_wanted, assistant_spans, own_variables, read_format
from llmops_tui.datasets.records import Message, Row, content_text
from llmops_tui.datasets.training_fields import Conversation, conversation_of, spelled_marks, unused_beside_text
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.server.served_format import mentions, template_of
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables
from llmops_tui.inference.tokenizer import Tokenizer
from llmops_tui.models.registry import Model

State = Literal["trained", "masked", "cut"]
TWICE = "occurs twice at the beginning"
_APART = (
    "a letter and its mark are two characters, which this tokenizer makes one and llama.cpp, which serves, does not: "
    "compose them, as nfc_normalize of llmops data map does"
)


@dataclass(frozen=True)
class Token:
    """A token: its id, its bytes as text, and whether a run learns from it, only reads it, or never sees it."""

    id: int
    text: str
    state: State


@dataclass(frozen=True)
class TokenView:
    """A row as a training run would take it.

    Attributes:
        rendered: the text that is tokenized.
        tokens: its tokens.
        problems: what would go wrong in training.
    """

    rendered: str
    tokens: tuple[Token, ...]
    problems: tuple[str, ...]

    @property
    def trained(self) -> int:
        """How many tokens are learned from."""
        return sum(token.state == "trained" for token in self.tokens)


@dataclass(frozen=True)
class RowText:
    """A row as the text that is tokenized for training.

    Attributes:
        text: the rendered conversation, or the plain text; empty where the template refuses it.
        learned: the characters that are learned from, as pairs of begin and end.
        switched_off: those of answers that the row says are not to be learned from.
        problems: what is wrong with it.
    """

    text: str
    learned: tuple[tuple[int, int], ...] = ()
    switched_off: tuple[tuple[int, int], ...] = ()
    problems: tuple[str, ...] = ()

    def everything(self) -> RowText:
        """With all characters learned from, but those that the row switches off."""
        spans, at = [], 0
        for begin, end in (*self.switched_off, (len(self.text), len(self.text))):
            spans += [(at, begin)] if begin > at else []
            at = end
        return replace(self, learned=tuple(spans))


class ModelText:
    """The tokenizer and chat template of one model, applied to rows."""

    def __init__(self, model: Model, template: str | None = None) -> None:
        base = model.base
        if base.kind not in {"gguf", "safetensors"} or not base.present:
            raise InputRefusedError(
                "no_tokenizer", f"{model.name!r} has no local file with a tokenizer", "Choose a model on disk."
            )
        self.model = base
        # Of a base with an adapter it is the one that the adapter carries.
        self.template = template_of(template or model.header.get("chat_template"))
        self.tokenizer = Tokenizer(base.path)
        self._renderer = TemplateRenderer()
        self._format: ChatFormat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def format_read(self) -> ChatFormat | None:
        """What was read of the chat template so far; none where no row needed it."""
        return self._format

    def close(self) -> None:
        """End the processes."""
        self.tokenizer.close()
        self._renderer.close()

    @property
    def format(self) -> ChatFormat:
        """What the chat template says of conversations, read once.

        Raises:
            InputRefusedError: ``template_unread``: it renders no question with its answer.
        """
        if self._format is None or self._format.template != self.template:
            self._format = read_format(self.template, self._renderer, bos=self.tokenizer.bos, eos=self.tokenizer.eos)
        return self._format

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens at which an answer is over: the tokenizer's own, and where rows needed it those of the template."""
        stops = self._format.stops if self._format is not None else ()
        texts = [text for text in dict.fromkeys((self.tokenizer.eos, *stops)) if text]
        return frozenset(found[0][0] for found in self.tokenizer.many(texts) if len(found) == 1)

    def render(
        self,
        messages: Sequence[Message],
        tools: Any = None,
        variables: Variables | None = None,
        *,
        prompt: bool = False,
    ) -> str:
        """A conversation as the model's template writes it; with ``prompt`` up to where the model answers.

        Raises:
            InputRefusedError: ``template_failed``.
        """
        context = {**(variables or {}), **self._tokens} | {
            "messages": as_wanted(self.format, messages),
            "tools": tools or ([] if self.format.needs_tools else None),
            "add_generation_prompt": prompt,
        }
        own = own_variables.values(self.format.own, context["tools"])
        return self._begun(self._renderer.render(self.template, own | context, "chat"))

    def question(self, kind: str, row: Row) -> tuple[str, str] | None:
        """What a row asks, up to where the model answers last, and that answer; none of a text, or of what is refused."""
        if kind not in {"messages", "prompt-completion", "kto", "preference"}:
            return None
        asked = conversation_of(kind, row)
        first = min(asked.answers, default=0) if kind != "messages" else max(asked.answers, default=0)
        if not first:
            return None
        expected = "\n".join(content_text(m.get("content")) for m in asked.messages[first:] if m["role"] == "assistant")
        prompt, answer = row.get("prompt"), row.get("chosen" if kind == "preference" else "completion")
        if kind != "messages" and isinstance(prompt, str) and isinstance(answer, str):
            return self._start + prompt, expected
        try:
            return self.render(asked.messages[:first], asked.tools, asked.variables, prompt=True), expected
        except InputRefusedError:
            return None

    def row_text(self, kind: str, row: Row) -> RowText:
        """The text of a row for training, the characters that are learned from, and what is wrong with it.

        Of a conversation those are the assistant's turns with what ends them, found in the whole rendered text; a turn
        that the row switches off is left out, and one that cannot be found there is a problem. Of a prompt and completion
        in plain text it is the completion and the end token; of a text, all.
        """
        if kind in {"prompt-completion", "kto", "preference"}:
            answer = row.get("chosen" if kind == "preference" else "completion")
            prompt = row.get("prompt")
            if isinstance(prompt, str) and isinstance(answer, str):
                start = self._start + prompt
                problems = [*unused_beside_text(row), *([] if answer else ["no tokens in the loss"])]
                text = start + answer + self.tokenizer.eos
                return RowText(text, ((len(start), len(text)),), problems=tuple(problems))
        if kind in {"messages", "prompt-completion", "kto", "preference"}:
            return self._conversation(conversation_of(kind, row))
        text = self._start + str(row.get("text") or "\n".join(str(v) for v in row.values())) + self.tokenizer.eos
        return RowText(text, ((len(self._start), len(text)),))

    @property
    def _start(self) -> str:
        """What stands before plain text: the token that the engine puts there when it is asked to complete it."""
        return self.tokenizer.bos if self.tokenizer.adds_bos else ""

    def _conversation(self, asked: Conversation) -> RowText:
        chat, problems = self.format, list(asked.problems)
        unknown = [name for name, value in asked.variables.items() if value and not mentions(self.template, name)]
        problems += [f"chat_template_kwargs.{name}: the chat template has no such variable" for name in unknown]
        problems += [
            f"{asked.number(turn)} spells {mark}, which is read as the mark itself"
            for turn, mark in spelled_marks(asked.messages, chat.role_marks)
        ]
        variables = {**asked.variables, **self._tokens}
        try:
            found = assistant_spans(chat, self._renderer, asked.messages, tools=asked.tools, variables=variables)
        except InputRefusedError as error:
            return RowText("", problems=(*problems, f"the conversation is left out: {error.message}"))
        text = self._begun(found.text)
        added = len(text) - len(found.text)
        places = [(span.turn, (span.start + added, span.end + added)) for span in found.spans]
        spans = tuple(place for turn, place in places if turn in asked.learned)
        off = tuple(place for turn, place in places if turn in asked.answers - asked.learned)
        problems += [
            f"the tokens of {asked.number(lost.turn)} cannot be located: {lost.why}"
            for lost in found.lost
            if lost.turn in asked.learned
        ]
        left_out = [one for one in found.left_out if one.turn in asked.learned or one.turn not in asked.answers]
        problems += [f"{asked.number(one.turn)}: {one.why}" for one in left_out]
        if not found.tools_written:
            problems.append("the template does not write the tools")
        if not spans and not any(lost.turn in asked.learned for lost in found.lost):
            why = "the row switches its answers off" if asked.answers else "there is no turn by the assistant"
            problems.append(f"no tokens in the loss: {why}")
        return RowText(text, spans, off, tuple(problems))

    def _begun(self, text: str) -> str:
        """A rendered conversation with the token that begins texts, once: some templates leave it to the vocabulary."""
        return text if text.startswith(self._start) else self._start + text

    @property
    def _tokens(self) -> dict[str, str]:
        return {"bos_token": self.tokenizer.bos, "eos_token": self.tokenizer.eos}

    def view(self, kind: str, row: Row, max_length: int = 0) -> TokenView:
        """A row token by token; tokens behind ``max_length`` are cut, where it is not 0."""
        made = self.row_text(kind, row)
        return self.mark(made, self.tokenizer.tokens(made.text), max_length)

    def mark(self, made: RowText, pieces: list[tuple[int, bytes]], max_length: int = 0) -> TokenView:
        """A text's tokens with what a run does with each, from what :meth:`row_text` and the tokenizer say of it."""
        text, problems = made.text, list(made.problems)
        starts = [len(text[:begin].encode()) for begin, _ in made.learned]
        ends = [len(text[:end].encode()) for _, end in made.learned]
        tokens: list[Token] = []
        at = 0
        for index, (token, raw) in enumerate(pieces):
            inside = any(begin <= at < end for begin, end in zip(starts, ends, strict=True))
            state: State = "cut" if max_length and index >= max_length else "trained" if inside else "masked"
            tokens.append(Token(token, raw.decode("utf-8", "replace"), state))
            if any(at < begin < at + len(raw) for begin in starts):
                problems.append("the answer begins inside a token: move the space before it into the answer")
            if any(at < end < at + len(raw) for end in ends):
                problems.append("the answer ends inside a token, which is learned with what follows it")
            at += len(raw)
        if len({t.state for t in tokens} & {"trained"}) == 0 and not problems:
            problems.append("all tokens in the loss are cut" if made.learned else "no tokens in the loss")
        if made.learned and self.tokenizer.eos and not self._ends(text[slice(*made.learned[-1])]):
            problems.append(
                f"the last answer does not end with {self.tokenizer.eos}: the model would not learn to stop"
            )
        if self.tokenizer.composes and not unicodedata.is_normalized("NFC", text):
            problems.append(_APART)
        if self.tokenizer.bos and text.startswith(self.tokenizer.bos * 2):
            problems.append(f"{self.tokenizer.bos} {TWICE}")
        return TokenView(text, tuple(tokens), tuple(problems))

    def _ends(self, learned: str) -> bool:
        """Whether a text ends as answers do: with the token for that, or with what the template ends them with."""
        # Of texts without a template nothing was read.
        ends = self._format.ends if self._format is not None else ()
        return learned.rstrip().endswith((self.tokenizer.eos, *ends))

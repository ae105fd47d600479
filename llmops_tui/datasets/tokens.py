"""A row as a training run sees it: rendered template, tokens, and the tokens in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from llmops_tui.chat_format import ChatFormat, as_wanted, assistant_spans, own_variables, read_format
from llmops_tui.datasets.records import Message, Row, as_messages
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.server.served_format import template_of
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.tokenizer import Tokenizer
from llmops_tui.models.registry import Model

State = Literal["trained", "masked", "cut"]


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


class ModelText:
    """The tokenizer and chat template of one model, applied to rows."""

    def __init__(self, model: Model, template: str | None = None) -> None:
        base = model.base
        if base.kind not in {"gguf", "safetensors"} or not base.present:
            raise InputRefusedError(
                "no_tokenizer", f"{model.name!r} has no local file with a tokenizer", "Choose a model on disk."
            )
        self.model = base
        self.template = template_of(template or base.header.get("chat_template"))
        self.tokenizer = Tokenizer(base.path)
        self._renderer = TemplateRenderer()
        self._format: ChatFormat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

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

    def render(self, messages: Sequence[Message], tools: Any = None, *, prompt: bool = False) -> str:
        """A conversation as the model's template writes it; with ``prompt`` up to where the model answers.

        Raises:
            InputRefusedError: ``template_failed``.
        """
        context = self._tokens | {
            "messages": as_wanted(self.format, messages),
            "tools": tools or ([] if self.format.needs_tools else None),
            "add_generation_prompt": prompt,
        }
        own = own_variables.values(self.format.own, context["tools"])
        return self._begun(self._renderer.render(self.template, own | context, "chat"))

    def spans(self, kind: str, row: Row) -> tuple[str, list[tuple[int, int]], list[str]]:
        """The text of a row for training, the character spans that are learned from, and what is wrong with it.

        Of a conversation those are the assistant's turns with what ends them, found in the whole rendered text; a turn
        with ``"weight": 0`` is left out, and one that cannot be found there is a problem. Of a prompt and completion in
        plain text it is the completion and the end token; of a text, all.
        """
        if kind in {"prompt-completion", "kto", "preference"}:
            answer = row.get("chosen" if kind == "preference" else "completion")
            prompt = row.get("prompt")
            if isinstance(prompt, str) and isinstance(answer, str):
                start = self._start + prompt
                text = start + answer + self.tokenizer.eos
                return text, [(len(start), len(text))], [] if answer else ["no tokens in the loss"]
            messages = as_messages(prompt, "user") + as_messages(answer, "assistant")
            learned = range(len(messages) - len(as_messages(answer, "assistant")), len(messages))
            return self._conversation(messages, row.get("tools"), learned)
        if kind == "messages":
            messages = as_messages(row.get("messages"), "user")
            return self._conversation(messages, row.get("tools"), range(len(messages)))
        text = str(row.get("text") or "\n".join(str(v) for v in row.values())) + self.tokenizer.eos
        return self._start + text, [(len(self._start), len(self._start) + len(text))], []

    @property
    def _start(self) -> str:
        """What stands before plain text: the token that the engine puts there when it is asked to complete it."""
        return self.tokenizer.bos if self.tokenizer.adds_bos else ""

    def _conversation(
        self, messages: list[Message], tools: Any, learned: range
    ) -> tuple[str, list[tuple[int, int]], list[str]]:
        found = assistant_spans(self.format, self._renderer, messages, tools=tools, variables=self._tokens)
        wanted = {n for n in learned if messages[n].get("role") == "assistant" and messages[n].get("weight") != 0}
        text = self._begun(found.text)
        added = len(text) - len(found.text)
        spans = [(span.start + added, span.end + added) for span in found.spans if span.turn in wanted]
        problems = [
            f"the tokens of turn {lost.turn + 1} cannot be located: {lost.why}"
            for lost in found.lost
            if lost.turn in wanted
        ]
        if not spans and not problems:
            problems.append("no tokens in the loss: there is no turn by the assistant")
        return text, spans, problems

    def _begun(self, text: str) -> str:
        """A rendered conversation with the token that begins texts, once: some templates leave it to the vocabulary."""
        return text if text.startswith(self._start) else self._start + text

    @property
    def _tokens(self) -> dict[str, str]:
        return {"bos_token": self.tokenizer.bos, "eos_token": self.tokenizer.eos}

    def view(self, kind: str, row: Row, max_length: int = 0) -> TokenView:
        """A row token by token; tokens behind ``max_length`` are cut, where it is not 0."""
        text, spans, problems = self.spans(kind, row)
        return self.mark(text, spans, problems, self.tokenizer.tokens(text), max_length)

    def mark(
        self,
        text: str,
        spans: list[tuple[int, int]],
        problems: list[str],
        pieces: list[tuple[int, bytes]],
        max_length: int = 0,
    ) -> TokenView:
        """A text's tokens with what a run does with each, from what :meth:`spans` and the tokenizer say of it."""
        problems = list(problems)
        starts = [len(text[:begin].encode()) for begin, _ in spans]
        ends = [len(text[:end].encode()) for _, end in spans]
        tokens: list[Token] = []
        at = 0
        for index, (token, raw) in enumerate(pieces):
            inside = any(begin <= at < end for begin, end in zip(starts, ends, strict=True))
            state: State = "cut" if max_length and index >= max_length else "trained" if inside else "masked"
            tokens.append(Token(token, raw.decode("utf-8", "replace"), state))
            if any(at < begin < at + len(raw) for begin in starts):
                problems.append("the answer begins inside a token: move the space before it into the answer")
            at += len(raw)
        if len({t.state for t in tokens} & {"trained"}) == 0 and not problems:
            problems.append("all tokens in the loss are cut" if spans else "no tokens in the loss")
        if spans and self.tokenizer.eos and not self._ends(text[spans[-1][0] : spans[-1][1]]):
            problems.append(
                f"the last answer does not end with {self.tokenizer.eos}: the model would not learn to stop"
            )
        if self.tokenizer.bos and text.startswith(self.tokenizer.bos * 2):
            problems.append(f"{self.tokenizer.bos} occurs twice at the beginning")
        return TokenView(text, tuple(tokens), tuple(problems))

    def _ends(self, learned: str) -> bool:
        """Whether a text ends as answers do: with the token for that, or with what the template ends them with."""
        # Of texts without a template nothing was read.
        ends = self._format.ends if self._format is not None else ()
        return learned.rstrip().endswith((self.tokenizer.eos, *ends))

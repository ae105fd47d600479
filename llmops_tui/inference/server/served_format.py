"""What a model's chat template says of its answers: read off it by rendering, and what could not be read guessed."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from llmops_tui.chat_format import ChatFormat, Marks, read_format
from llmops_tui.chat_format.families.mentioned import with_mentioned
from llmops_tui.chat_format.marks import is_mark, tokens
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.kept_formats import KeptFormats
from llmops_tui.inference.template_renderer import TemplateRenderer

# A model without a template of its own still has to be talked to; this is the plainest form.
_PLAIN_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def template_of(template: str | None) -> str:
    """A model's template, or the plainest one where it has none."""
    return template or _PLAIN_TEMPLATE


def mentions(template: str, word: str) -> bool:
    """Whether a template's source has a word, such as the name of a variable."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", template) is not None


@dataclass(frozen=True)
class ServedFormat:
    """What is known of a template.

    Attributes:
        template: its source.
        answers: how answers are written; with calls where the template knows tools, and none where it does not.
        read: whether the template could be read at all. If not, it gets what clients send, and says itself what it cannot
            render.
    """

    template: str
    answers: ChatFormat
    read: bool

    @property
    def as_read(self) -> ChatFormat | None:
        """The format, for what has to be rendered; none where nothing could be read."""
        return self.answers if self.read else None

    def mentions(self, word: str) -> bool:
        """Whether the template's source has a word, such as the name of a variable or of a message's field."""
        return mentions(self.template, word)

    def quotes(self, word: str) -> bool:
        """Whether the template's source has a word as a text of its own, such as a role that it compares with."""
        return f"'{word}'" in self.template or f'"{word}"' in self.template

    def opening_of(self, prompt: str) -> str:
        """What a rendered prompt has written of the answer; with the mark that begins thinking also where that is unread."""
        opening, thinking = self.answers.opening_of(prompt), self.answers.thinking
        if opening or thinking is None or not thinking.marks.before:
            return opening
        return thinking.marks.before if prompt.rstrip().endswith(thinking.marks.before) else ""

    @property
    def visible(self) -> list[str]:
        """The marks within answers: they may be control tokens, and would otherwise be no part of an answer's text."""
        chat = self.answers
        written = [chat.content.before, chat.content.after, *chat.content_begins]
        if chat.thinking is not None:
            written += [chat.thinking.marks.before, chat.thinking.marks.after]
        if (calls := chat.calls) is not None:
            written += [calls.section.before, calls.section.after, calls.between, calls.quote, *calls.also]
            written += [piece for piece in calls.pieces if isinstance(piece, str)]
            if calls.parameters is not None:
                written += [calls.parameters.before, calls.parameters.between]
                written += [text for value in calls.parameters.values for text in (value.before, value.after)]
        return list(dict.fromkeys(token for text in written for token in tokens(text) if is_mark(token)))


@functools.lru_cache(maxsize=16)
def format_of(template: str | None) -> ServedFormat:
    """What a template says; takes half a second for each new one, so it is never asked for first where requests wait.

    What was read once is kept on disk. The tokens that begin and end a text are stood in for: no answer has them.
    """
    source = template_of(template)
    kept = KeptFormats()
    if (known := kept.find(source)) is not None:
        return ServedFormat(source, with_mentioned(known), read=True)
    renderer = TemplateRenderer()
    try:
        found, read = _read(source, renderer), True
        kept.keep(found)
    except LlmopsError:
        found, read = ChatFormat(source, Marks(), Marks(), ()), False
    finally:
        renderer.close()
    return ServedFormat(source, with_mentioned(found), read)


def _read(source: str, renderer: TemplateRenderer) -> ChatFormat:
    """Read a format; a helper process that was killed or stood still says nothing of the template, and is asked again."""
    try:
        return read_format(source, renderer)
    except LlmopsError as error:
        if error.code != "helper_unusable":
            raise
        return read_format(source, renderer)

"""What was read off a chat template: the marks of its turns, of thinking and of calls, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from llmops_tui.chat_format.marks import is_mark, tokens

Style = Literal["object", "json", "parameters", "python", "bare"]
Hole = Literal["name", "id", "index", "arguments"]


@dataclass(frozen=True)
class Marks:
    """What a template writes before and after something."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Gap:
    """A place in a call where something of the call's own stands."""

    what: Hole


Piece = str | Gap


@dataclass(frozen=True)
class ValueMarks:
    """How a parameter's value is marked: what is between its key and it, what is behind it, and whether it is a plain text."""

    before: str
    after: str
    text: bool


@dataclass(frozen=True)
class Parameters:
    """How arguments are written one by one.

    Attributes:
        before: stands before each key.
        values: how values are marked, by what they are; the first is that of texts.
        between: stands between two of them.
        key_again: whether the key stands in the mark behind the value once more.
    """

    before: str
    values: tuple[ValueMarks, ...]
    between: str
    key_again: bool = False


@dataclass(frozen=True)
class CallFormat:
    """How a template writes calls of tools.

    Attributes:
        style: ``object``, the name and the arguments are members of one JSON object; ``json``, marks around the name and
            a JSON object of the arguments; ``parameters``, marks around each argument; ``python``, ``name(key=value)``;
            ``bare``, ``{key:value}`` with keys that are not quoted and a mark for quotes.
        section: the marks around all calls of a turn; empty where each call stands alone.
        pieces: one call, in order: texts and gaps; of the style ``object`` the text before and after the object.
        between: stands between two calls.
        name_key, arguments_key, id_key: members of the object, of the style ``object``; a dot goes one deeper. An empty
            ``name_key`` means that the object's one key is the name.
        listed: whether the calls are items of a JSON list, of the style ``object``.
        text_arguments: whether the arguments are written as a text that holds JSON.
        quote: the mark of a text, of the style ``bare``.
        also: other texts that begin a call, which models of the family write and templates do not.
        loose: whether texts between name and arguments count by their last mark alone.
        parallel: whether a turn may have more than one call.
        arguments_as: what the template wants to be given: an object, a text, or either with the same result.
        id_length: how many characters the ids of calls have to have; 0 where any will do.
        turn_end: what ends a turn that ends in calls, where that is another mark than ends an answer.
        written: whether the template writes calls of past turns at all; models may call without.
        null_content: whether a turn that only calls has to have no content at all, where an empty one is no call.
    """

    style: Style
    section: Marks
    pieces: tuple[Piece, ...]
    between: str = ""
    name_key: str = "name"
    arguments_key: str = "arguments"
    id_key: str = ""
    listed: bool = False
    text_arguments: bool = False
    parameters: Parameters | None = None
    quote: str = ""
    also: tuple[str, ...] = ()
    loose: bool = False
    parallel: bool = True
    arguments_as: Literal["object", "text", "either"] = "object"
    null_content: bool = False
    id_length: int = 0
    turn_end: str = ""
    written: bool = True

    @property
    def begin(self) -> str:
        """What the first call begins with, without the blanks around it; empty where calls have no mark."""
        first = self.pieces[0]
        return (self.section.before or (first if isinstance(first, str) else "")).strip()


@dataclass(frozen=True)
class Thinking:
    """How a template writes what the model thinks.

    Attributes:
        field: the message's field that it is read from; empty where it is part of the content, between the marks.
        marks: what is written around it.
        past: whether it is written in turns before the last question too.
    """

    field: str
    marks: Marks
    past: bool


@dataclass(frozen=True)
class Switch:
    """A variable that turns thinking on and off, or up and down.

    Attributes:
        variable: its name, such as ``enable_thinking``.
        prompts: what the template writes for the model to go on from, by the variable's value as JSON.
        levels: the words that it tells apart, the least thinking first; none where it is either on or off.
    """

    variable: str
    prompts: tuple[tuple[str, str], ...]
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatFormat:
    """What a template says of its conversations.

    Attributes:
        template: its source.
        user, system, tool: marks of these roles' turns; none where there is no such turn.
        system_as: whether the system's text has a turn of its own, is part of the user's first, is left out, or refused.
        assistant: what begins the assistant's turn, and what ends it when others follow.
        ends: all texts that may end the assistant's turn, the longest first.
        lead: blanks between the beginning of the assistant's turn and a plain answer.
        prompts: what is written behind what was said last for the model to go on from, as often as it differs: after a
            user's turn, a tool's result, an assistant's turn, and for each value of a switch.
        openings: what prompts write of the answer itself, such as the mark that begins thinking; the longest first.
        content: marks around the content of an answer, where it has such; ``content_begins`` are further ones.
        thinking: how thinking is written; none where it is not.
        switches: variables that change it.
        calls: how calls are written; none where they are not.
        results: whether several results of tools stand in one turn, together.
        result_ids: whether a result says which call it answers.
        writes_bos: whether the template writes the token that begins a text.
        always_prompts: whether the prompt is written without being asked for too.
        needs_tools: whether a list of tools has to be given, if only an empty one.
        own: variables that the template needs beside the usual ones; see :mod:`.own_variables`.
        parts: whether contents have to be lists of parts, as templates of models that see take them.
        refused: what the template does not render, with the reason that it gives: ``system``, ``tools``, ``parallel``, ….
    """

    template: str
    user: Marks
    assistant: Marks
    ends: tuple[str, ...]
    system: Marks | None = None
    system_as: Literal["turn", "user", "dropped", "refused"] = "turn"
    tool: Marks | None = None
    lead: str = ""
    prompts: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()
    content: Marks = field(default_factory=Marks)
    content_begins: tuple[str, ...] = ()
    thinking: Thinking | None = None
    switches: tuple[Switch, ...] = ()
    calls: CallFormat | None = None
    results: Literal["apart", "together", "none"] = "none"
    result_ids: bool = False
    writes_bos: bool = False
    always_prompts: bool = False
    needs_tools: bool = False
    parts: bool = False
    own: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def role_marks(self) -> frozenset[str]:
        """The marks that begin and end turns of people and of the assistant."""
        turns = [one for one in (self.user, self.assistant, self.system) if one is not None]
        texts = [text for one in turns for text in (one.before, one.after)] + list(self.ends)
        return frozenset(token for text in texts for token in tokens(text) if is_mark(token))

    @property
    def stops(self) -> tuple[str, ...]:
        """The marks at which an answer is over when a model writes them: not one that also ends its thinking."""
        within = self.thinking.marks.after.strip() if self.thinking is not None else ""
        firsts = [next(iter(tokens(end)), "") for end in self.ends]
        return tuple(dict.fromkeys(one for one in firsts if is_mark(one) and one != within))

    def opening_of(self, prompt: str) -> str:
        """What a rendered prompt has written of the answer already."""
        return next((opening for opening in self.openings if prompt.endswith(opening)), "")

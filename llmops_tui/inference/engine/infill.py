"""Prompts of a gap in a text that is to be filled in, put together from token ids, so that no text can spell a mark of it.

The forms are those of the models' training: prefix and suffix between marks, the text of other files before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llama_cpp

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.engine_wire import INFILL_UNSUPPORTED, FillRecord

# What models see where other files stand before the gap and nobody said what the project or the file is called.
_PROJECT, _FILE = "myproject\n", "filename\n"
_BETWEEN = "\n\n--- snippet ---\n\n"
_NONE = -1


@dataclass(frozen=True)
class GapMarks:
    """Token ids of a vocabulary that mark a gap and files; -1 where it has none."""

    prefix: int
    suffix: int
    middle: int
    project: int
    file: int

    @property
    def fills(self) -> bool:
        """Whether a gap can be marked at all."""
        return _NONE not in {self.prefix, self.suffix, self.middle}


def marks_of(vocab: Any) -> GapMarks:
    """The marks of a vocabulary of llama.cpp's."""
    asked = (
        llama_cpp.llama_vocab_fim_pre, llama_cpp.llama_vocab_fim_suf, llama_cpp.llama_vocab_fim_mid,
        llama_cpp.llama_vocab_fim_rep, llama_cpp.llama_vocab_fim_sep,
    )  # fmt: skip
    return GapMarks(*(int(ask(vocab)) for ask in asked))


@dataclass(frozen=True)
class GapWriter:
    """Makes prompts of gaps. ``spell`` gives the tokens of a text, in which nothing is a control token."""

    marks: GapMarks
    spell: Callable[[str], list[int]]

    def tokens(self, fill: FillRecord, *, head: list[int], room: int) -> tuple[list[int], int]:
        """The prompt of a gap behind ``head``, and how many given tokens were left out to keep it within ``room`` tokens.

        Whole files go first, in their order; then the beginning of the prefix and the end of the suffix, of which the suffix
        keeps a quarter of the room, or what the prefix leaves.

        Raises:
            InputRefusedError: ``infill_unsupported``.
        """
        marks = self.marks
        if not marks.fills:
            raise InputRefusedError("infill_unsupported", *INFILL_UNSUPPORTED)
        before = self.spell(fill["before"]) if isinstance(fill["before"], str) else list(fill["before"])
        after = self.spell(fill["after"])
        files = [self._file(file["filename"], file["text"]) for file in fill["files"]]
        given = len(before) + len(after) + sum(map(len, files))
        fixed = len(head) + 3
        while files and fixed + len(self._context(files)) + len(before) + len(after) > room:
            del files[0]
        context = self._context(files)
        left = max(0, room - fixed - len(context))
        if len(before) + len(after) > left:
            kept = min(len(after), max(left // 4, left - len(before)))
            after = after[:kept]
            before = before[len(before) - min(len(before), left - kept) :]
        begin, end = [marks.prefix, *before], [marks.suffix, *after]
        if fill["suffix_first"]:
            begin, end = end, begin
        tokens = [*head, *context, *begin, *end, marks.middle]
        return tokens, given - len(before) - len(after) - sum(map(len, files))

    def _file(self, name: str, text: str) -> list[int]:
        begin = self.spell(_BETWEEN) if self.marks.file == _NONE else [self.marks.file, *self.spell(f"{name}\n")]
        return begin + self.spell(text)

    def _context(self, files: list[list[int]]) -> list[int]:
        """What stands before the gap: the project and its files, where there are any, and that the gap's own file follows."""
        if not files:
            return []
        project = [] if self.marks.project == _NONE else [self.marks.project, *self.spell(_PROJECT)]
        own = [] if self.marks.file == _NONE else [self.marks.file, *self.spell(_FILE)]
        return [*project, *(token for file in files for token in file), *own]

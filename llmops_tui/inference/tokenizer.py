"""A model's own tokenizer, in a process that loads no weights."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, cast

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.fallback import NO_DEVICES

_BATCH_CHARACTERS = 4_000_000


class Asked(TypedDict, total=False):
    """What the tokenizing process is asked: texts into tokens, or the text of ``ids``."""

    texts: list[str]
    special: bool
    pieces: bool
    ids: list[int]


class Counted(TypedDict, total=False):
    """What it answers: how many tokens each text has, the tokens with their bytes in hexadecimal, a text, or an error."""

    counts: list[int]
    tokens: list[list[tuple[int, str]]]
    text: str
    error: str


class Facts(TypedDict):
    """What it says first: the special tokens as text, empty where there is none, and the size of the vocabulary.

    ``composes``: a letter and its mark become one character (Unicode's form NFC) before a text is split. llama.cpp never does.
    """

    bos: str
    eos: str
    pad: str
    adds_bos: bool
    composes: bool
    n_vocab: int


class Tokenizer:
    """The tokenizer of one GGUF file, exactly as the engine uses it, or of one model folder. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            module_command("llmops_tui.inference.tokenize_worker", str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **NO_DEVICES},
        )
        self._path = path
        facts = cast("Facts", self._read())
        self.bos = str(facts["bos"])
        self.eos = str(facts["eos"])
        self.pad = str(facts["pad"])
        self.adds_bos = bool(facts["adds_bos"])
        self.composes = bool(facts["composes"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, without those that a model puts around a prompt."""
        out: list[int] = []
        batch: list[str] = []
        size = 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size > _BATCH_CHARACTERS:
                out += self._ask(batch, pieces=False)["counts"]
                batch, size = [], 0
        return out + (self._ask(batch, pieces=False)["counts"] if batch else [])

    def tokens(self, text: str) -> list[tuple[int, bytes]]:
        """The tokens of a text, each with its bytes; the text's control tokens are read as such."""
        return self.many([text])[0]

    def many(self, texts: Sequence[str]) -> list[list[tuple[int, bytes]]]:
        """The tokens of several texts, as :meth:`tokens` gives them; for texts of a few megabytes together."""
        found = self._ask(list(texts), pieces=True)["tokens"]
        return [[(int(token), bytes.fromhex(piece)) for token, piece in tokens] for tokens in found]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens written out."""
        return str(self._exchange({"ids": list(ids)})["text"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, texts: list[str], *, pieces: bool) -> Counted:
        return self._exchange({"texts": texts, "special": False, "pieces": pieces})

    def _exchange(self, body: Asked) -> Counted:
        request = json.dumps(body).encode() + b"\n"
        with self._lock:
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(request)
                self._process.stdin.flush()
            except (OSError, ValueError) as error:
                raise self._failed("its process ended") from error
            return self._read()

    def _read(self) -> Counted:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed("its process ended")
        answer: Counted = json.loads(line)
        if "error" in answer:
            raise self._failed(answer["error"])
        return answer

    def _failed(self, why: str) -> LlmopsError:
        return LlmopsError(
            "tokenizer_failed", f"cannot tokenize with {self._path}: {why}", "llmops model verify checks the file."
        )

"""The lines of a file of requests, in OpenAI's form of a batch: checked before anything is asked."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import pydantic
import pydantic_core

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.batch.prompts import PromptLines
from llmops_tui.inference.batch.written_names import written_name
from llmops_tui.inference.filed.batch_records import Problem
from llmops_tui.inference.prompt_versions import DEFAULT_LABEL
from llmops_tui.inference.router.names import Meant, resolve
from llmops_tui.inference.router.prompts import PREFIX, ServedPrompt
from llmops_tui.inference.server.connection import invalid
from llmops_tui.inference.server.duplicate_keys import duplicate_key
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.guard import MAX_BODY
from llmops_tui.inference.server.openapi import request_models
from llmops_tui.models.answering_files import files_of, refuse_others
from llmops_tui.models.registry import Model
from llmops_tui.regular_files import open_regular

_FIELDS = {"custom_id", "method", "url", "body"}
_LONGEST_ID = 512
# What is around a body in its line.
_AROUND = 10_000


@dataclass(frozen=True)
class Line:
    """One request: where it stands in its file, what it is called, and where it goes."""

    number: int
    offset: int
    custom_id: str
    url: str
    # The name that the model's server knows it by.
    model: Meant
    # The version that its request is made of, where it names a prompt.
    prompt: ServedPrompt | None = None


@dataclass
class CheckedFile:
    """What a file asks for, and what of it cannot be asked."""

    lines: list[Line] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def by_model(self) -> dict[str, list[Line]]:
        """The lines by the model that they go to, in the order of the file: each model is loaded once."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.model.model.name, []).append(line)
        return found


class HeldModel(TypedDict):
    """The model that a name meant, as its server knows it, and the hash of its files."""

    name: str
    sha256: str


class _BadLineError(Exception):
    """Why a line cannot be asked."""


class RequestFile:
    """A file of requests. ``model`` takes the place of what the lines name, empty for that.

    All of them have to go to an ``endpoint``, and to the model ``only``, where these are given. Lines that name a prompt are made
    into requests by ``prompts``; without it they are refused.
    """

    def __init__(
        self,
        path: Path,
        models: list[Model],
        aliases: Mapping[str, str],
        model: str = "",
        *,
        endpoint: str = "",
        only: str = "",
        prompts: PromptLines | None = None,
    ) -> None:
        self.path = path
        self.prompts = prompts
        self._endpoint, self._only = endpoint, only
        self._models, self._aliases, self._model = models, aliases, model
        self._kinds = request_models()
        self._meant: dict[str, Meant] = {}

    def hold(self, models: Mapping[str, HeldModel]) -> None:
        """From here on these names are answered by what they meant before, wherever aliases and stages are by now.

        Raises:
            InputRefusedError: ``model_changed``: a model is gone, or of another file; its name is told.
        """
        for asked, held in models.items():
            try:
                meant = resolve(held["name"], self._models)
            except LlmopsError as error:
                told = f"the batch began with {held['name']} for {asked}: {error.message}"
                raise InputRefusedError("model_changed", told, "Register it again, or start a new batch.") from error
            began, now = {held["name"]: held["sha256"]}, {held["name"]: self._files_of(meant)}
            refuse_others(began, now, "the batch", "Register the file of before, or start a new batch.")
            self._meant[asked] = meant

    def models(self) -> dict[str, HeldModel]:
        """What the names mean that were looked up."""
        return {asked: {"name": one.name, "sha256": self._files_of(one)} for asked, one in self._meant.items()}

    def _files_of(self, meant: Meant) -> str:
        adapter = meant.name.partition("+")[2]
        return files_of(meant.model, next((one for one in self._models if adapter and one.name == adapter), None))

    def check(self) -> CheckedFile:
        """Read every line.

        Raises:
            InputRefusedError: ``file_unreadable``.
        """
        found = CheckedFile()
        seen: dict[str, int] = {}
        for number, offset, raw in self._raw_lines():
            custom_id: str | None = None
            try:
                given = _parsed(raw)
                custom_id = _id_of(given)
                if custom_id in seen:
                    raise _BadLineError(f"custom_id {custom_id[:100]!r} stands in line {seen[custom_id]} already")
                seen[custom_id] = number
                found.lines.append(Line(number, offset, custom_id, *self._checked(given, raw)))
            except _BadLineError as error:
                found.problems.append({"line": number, "custom_id": custom_id, "message": str(error)})
        if not found.lines and not found.problems:
            found.problems.append({"line": 1, "custom_id": None, "message": "there is no request in the file"})
        return found

    def bodies(self, lines: list[Line]) -> Generator[tuple[Line, JsonObject]]:
        """The bodies of lines that were checked, read again, with the names of their models."""
        with open_regular(self.path) as file:
            for line in lines:
                file.seek(line.offset)
                body: JsonObject = pydantic_core.from_json(file.readline())["body"]
                # At some endpoints an answer streams unless the request says that it shall not.
                streams = self._kinds[line.url].model_fields.get("stream")
                whole = {"stream": False} if streams is not None and streams.default else {}
                yield line, {**body, **whole, "model": line.model.name}

    async def request(self, line: Line, body: JsonObject) -> tuple[JsonObject, tuple[tuple[bytes, bytes], ...]]:
        """What is sent for a line of :meth:`bodies`, and the headers that tell of the prompt that it was made of.

        Raises:
            LlmopsError: ``template_failed``, ``retrieval_failed``.
        """
        if line.prompt is None or self.prompts is None:
            return body, ()
        made = await self.prompts.made(line.prompt, line.model.name, line.url, body)
        return made.body, made.headers

    def _raw_lines(self) -> Iterator[tuple[int, int, bytes]]:
        offset = 0
        try:
            with open_regular(self.path) as file:
                for number, raw in enumerate(file, 1):
                    # Editors write a byte order mark at the start, which is no part of the first request.
                    mark = len(codecs.BOM_UTF8) if number == 1 and raw.startswith(codecs.BOM_UTF8) else 0
                    if raw[mark:].strip():
                        yield number, offset + mark, raw[mark:]
                    offset += len(raw)
        except OSError as error:
            raise InputRefusedError("file_unreadable", f"cannot read {self.path}: {error.strerror}") from error

    def _checked(self, given: JsonObject, raw: bytes) -> tuple[str, Meant, ServedPrompt | None]:
        """Where a line goes, the model that it means, and the prompt that its request is made of."""
        if unknown := sorted(set(given) - _FIELDS):
            raise _BadLineError(f"{unknown[0][:60]} is no field of a request; a line has {', '.join(sorted(_FIELDS))}")
        if given.get("method", "POST") != "POST":
            raise _BadLineError(f"method must be POST, not {str(given['method'])[:20]!r}")
        url, body = given.get("url"), given.get("body")
        if not isinstance(url, str) or url not in self._kinds:
            raise _BadLineError(f"url {str(url)[:100]!r} is not one of {', '.join(self._kinds)}")
        if self._endpoint not in {"", url}:
            raise _BadLineError(f"url {url!r} is not {self._endpoint!r}, the endpoint of the batch")
        if not isinstance(body, dict):
            raise _BadLineError("body must be an object")
        if twice := duplicate_key(raw, given):
            raise _BadLineError(f"{twice} stands twice in one object")
        if body.get("stream"):
            raise _BadLineError("body.stream: an answer in a file is not streamed")
        prompt, whole = self._prompted(body, url)
        try:
            self._kinds[url].model_validate(whole)
        except pydantic.ValidationError as error:
            refused = invalid(error)
            if prompt is not None and written_name(refused.param, body) != refused.param:
                raise _BadLineError(f"{self._place}: {prompt.version.ref}: {refused.told}") from error
            raise _BadLineError(f"body.{refused.told}") from error
        asked = self._model or body.get("model") or ""
        return url, self._named(body) if prompt is None else self._answering(asked, prompt), prompt

    def _prompted(self, body: JsonObject, url: str) -> tuple[ServedPrompt | None, JsonObject]:
        """The prompt that a line names, and its request with that in it, as far as nothing is rendered yet."""
        asked = self._model or body.get("model") or ""
        if not isinstance(asked, str) or not asked.startswith(PREFIX):
            return None, body
        if self.prompts is None or self._only:
            where = (
                f"only {self._only!r} is asked here" if self._only else "on this machine, without --target, they are"
            )
            raise _BadLineError(f"{self._place}: served prompts are not asked in this batch; {where}")
        try:
            prompt = self.prompts.meant(asked)
            return prompt, self.prompts.outline(prompt, url, body)
        except FieldRefusedError as error:
            raise _BadLineError(f"body.{error.told}") from error
        except LlmopsError as error:
            raise _BadLineError(f"{self._place}: {error.told}") from error

    def _answering(self, asked: str, prompt: ServedPrompt) -> Meant:
        """The model that answers a prompt by the name it was asked by: that of its stage, or the only one."""
        if asked not in self._meant:
            self._meant[asked] = self._of_stage(prompt)
        return self._meant[asked]

    def _of_stage(self, prompt: ServedPrompt) -> Meant:
        if prompt.model:
            return self._found(prompt.model, f"{self._place}: {prompt.version.ref} is answered by {prompt.model!r}: ")
        served = [model for model in self._models if model.kind == "gguf"]
        if len(served) == 1:
            return Meant(served[0], served[0].name)
        how = f"llmops stage set {prompt.version.prompt}@{prompt.label or DEFAULT_LABEL} --model NAME says so"
        raise _BadLineError(f"{self._place}: no stage says which model answers {prompt.version.ref}; {how}")

    def _named(self, body: JsonObject) -> Meant:
        asked = self._model or body.get("model") or ""
        if not asked:
            raise _BadLineError("body.model is missing; --model names one for all lines")
        return self._resolved(asked)

    def _resolved(self, asked: str) -> Meant:
        if asked not in self._meant:
            self._meant[asked] = self._found(asked)
        if self._only not in {"", self._meant[asked].model.name}:
            raise _BadLineError(f"{self._place}: {asked[:100]!r} is not served here; {self._only!r} is")
        return self._meant[asked]

    def _found(self, asked: str, why: str = "") -> Meant:
        try:
            return resolve(asked, self._models, self._aliases)
        except LlmopsError as error:
            raise _BadLineError(f"{why or f'{self._place}: '}{error.told}") from error

    @property
    def _place(self) -> str:
        """Where the user named the model or prompt."""
        return "--model" if self._model else "body.model"


def _parsed(raw: bytes) -> JsonObject:
    if len(raw) > MAX_BODY + _AROUND:
        raise _BadLineError(f"it is longer than a request may be, {MAX_BODY:,} bytes")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _BadLineError("the file is UTF-16; save it as UTF-8")
    try:
        given = pydantic_core.from_json(raw.rstrip(), allow_inf_nan=False)
    except ValueError as error:
        # The parser sees one line alone, so its number of a line is none of the file's.
        told = re.sub(r" at line 1 column (\d+)$", r" at byte \1 of the line", str(error))
        raise _BadLineError(f"it is no JSON: {told}"[:300]) from error
    if not isinstance(given, dict):
        raise _BadLineError(f"it must be an object, not {type(given).__name__}")
    return given


def _id_of(given: JsonObject) -> str:
    value = given.get("custom_id")
    if not isinstance(value, str) or not value:
        raise _BadLineError("custom_id must be a text that is not empty")
    if len(value) > _LONGEST_ID:
        raise _BadLineError(f"custom_id is longer than {_LONGEST_ID} characters")
    return value

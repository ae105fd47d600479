"""Prompts served by name and label: which version answers now, by which model, and the request that is made of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import VariableUnfitError, defaults_of, values_of
from llmops_tui.inference.asked_prompt import Rendered, rendered, to_render
from llmops_tui.inference.prompt_traced import left_out_header, prompt_header, retrieved_header
from llmops_tui.inference.prompt_versions import DEFAULT_LABEL, PromptVersion, find_served
from llmops_tui.inference.retrieval_asked import retrievals_noted
from llmops_tui.inference.router.held_fields import CHAT, MESSAGES, OLLAMA, RESPONSES, with_held
from llmops_tui.inference.server.duplicate_keys import duplicate_key
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.stages import Stage, StageStore
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.workspace.catalog import Catalog, Stamp

PREFIX = "prompt/"
"""What the name of a served prompt begins with, where a request names its model."""
ON = "+"
"""What stands between a prompt's version and the model that answers it, in the name of an experiment's arm."""
PATHS = (CHAT, RESPONSES, MESSAGES, OLLAMA)
"""Where prompts are asked."""
_VARIABLES = "variables"
_KNOWN = 1000


@dataclass(frozen=True)
class ServedPrompt:
    """A version of a prompt that answers a request; ``label`` is the one that it was asked by, empty for a number."""

    version: PromptVersion
    label: str
    stages: tuple[Stage, ...]

    @property
    def model(self) -> str:
        """The served name that answers, by its stage, else by what the version holds; empty where neither says so."""
        labels = [label for label in (self.label, DEFAULT_LABEL) if label]
        named = [stage.model for label in labels for stage in self.stages if stage.label == label and stage.model]
        every = {stage.model for stage in self.stages if stage.model}
        if named:
            return named[0]
        if len(every) == 1:
            return every.pop()
        settings = self.version.settings
        return settings.model if settings is not None else ""

    def told(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell a client which version answered."""
        return [
            (b"x-llmops-prompt", quote(self.version.ref, safe="@._-").encode()),
            (b"x-llmops-prompt-sha256", self.version.sha256.encode()),
        ]


@dataclass(frozen=True)
class MadeRequest:
    """A request as its model's server is sent it, without what the prompt took; what its trace is told, and its client."""

    body: JsonObject
    headers: tuple[tuple[bytes, bytes], ...]
    told: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class _Taken:
    """What a prompt takes of a request: the turns that stand before its own message, and the values of its variables."""

    turns: list[JsonObject]
    values: dict[str, object]


class ServedPrompts:
    """The prompts of a workspace at its one address; a label is looked up at each request."""

    def __init__(self, catalog: Catalog, stages: StageStore, renderer: TemplateRenderer | None = None) -> None:
        self._catalog = catalog
        self._stages = stages
        self._renderer = renderer or TemplateRenderer()
        self._found: dict[str, PromptVersion] = {}
        self._stamp: Stamp = ()
        self._needed: dict[str, list[str]] = {}

    async def meant(self, asked: str) -> ServedPrompt:
        """The version that a name with :data:`PREFIX` means at this moment.

        Raises:
            LlmopsError: ``model_not_found``: there is no such prompt, version or label; or the catalog cannot be read.
        """
        ref = asked.removeprefix(PREFIX)
        version = await self._version(ref)
        _, _, which = ref.partition("@")
        label = which if which in version.labels else DEFAULT_LABEL if not which else ""
        stages = await asyncio.to_thread(self._stages.all, version.prompt)
        return ServedPrompt(version, label, tuple(stages))

    async def entries(self) -> list[tuple[str, ServedPrompt]]:
        """Every stage by the name it is asked by, with what answers."""
        found = []
        for stage in await asyncio.to_thread(self._stages.all):
            name = f"{PREFIX}{stage.ref}"
            try:
                found.append((name, await self.meant(name)))
            except LlmopsError:
                continue  # its prompt or label is gone, which a request for it is told
        return found

    async def _version(self, ref: str) -> PromptVersion:
        stamp = self._catalog.stamp()
        if stamp != self._stamp:
            # A label may have moved; the version that a reference of now means is looked for anew.
            self._found, self._stamp = {}, stamp
        if ref not in self._found:
            try:
                version = await asyncio.to_thread(self._catalog.read, lambda connection: find_served(connection, ref))
            except NotFoundError as error:
                hint = error.hint or "llmops prompt list shows them."
                raise LlmopsError("model_not_found", f"{PREFIX}{ref[:100]}: {error.message}", hint) from error
            if self._stamp != stamp or len(self._found) >= _KNOWN:
                return version
            self._found[ref] = version
        return self._found[ref]

    async def made(self, served: ServedPrompt, model: str, path: str, raw: bytes, given: JsonObject) -> MadeRequest:
        """A client's request with the prompt in it, for a model by the name that its server knows.

        Raises:
            FieldRefusedError: a variable is unknown or missing, or a message has no place; ``bad_search``: what it is to search
                for is empty.
            InputRefusedError: ``template_failed``. LlmopsError: ``retrieval_failed``.
        """
        version, taken = served.version, await self._taken(served, path, raw, given)
        with retrievals_noted() as retrieved:
            try:
                made = await asyncio.to_thread(rendered, version, taken.values, self._renderer)
            except InputRefusedError as error:
                if error.code != "bad_search":
                    raise
                raise _nothing_to_search(version, path, given, taken.values, error) from error
        body = {**_with(version, path, given, taken, made), "model": model}
        header = prompt_header(version.prompt, version.number, version.sha256, made.values)
        told = tuple(left_out_header(retrieved))
        return MadeRequest(body, (header, *retrieved_header(version.ref, retrieved)), told)

    async def outline(self, served: ServedPrompt, path: str, raw: bytes, given: JsonObject) -> JsonObject:
        """A client's request with the prompt's templates in it as they are: nothing is rendered, and nothing retrieved.

        Raises:
            FieldRefusedError: as :meth:`made`.
        """
        version, taken = served.version, await self._taken(served, path, raw, given)
        asked = to_render(version, taken.values)
        return _with(version, path, given, taken, asked.made([text.strip() for text, _ in asked.sources]))

    async def _taken(self, served: ServedPrompt, path: str, raw: bytes, given: JsonObject) -> _Taken:
        version = served.version
        if path not in PATHS:
            raise FieldRefusedError("model", "prompts are not asked here", f"They are at {', '.join(PATHS)}.")
        if twice := duplicate_key(raw, given):
            raise FieldRefusedError(twice, "stands twice in one object", "Leave one out.")
        needed = await self._needs(version)
        variables = self._given(version, needed, given)
        turns, last = _turns(path, given, version)
        values = _filled(version, needed, variables, turns, last)
        try:
            values_of(version.settings, values)
        except VariableUnfitError as error:
            raise FieldRefusedError(f"{_VARIABLES}.{error.variable}", error.message, error.hint, error.code) from error
        # The last message is a value of the version's own.
        return _Taken(turns[:-1] if last is not None and version.template.strip() else list(turns), values)

    async def _needs(self, version: PromptVersion) -> list[str]:
        """The variables of a version, those of its system message first."""
        if version.sha256 not in self._needed:
            found = [
                name
                for text in (version.system, version.template)
                if text.strip()
                for name in await asyncio.to_thread(self._renderer.variables, text)
            ]
            if len(self._needed) >= _KNOWN:
                self._needed.clear()
            self._needed[version.sha256] = list(dict.fromkeys(found))
        return self._needed[version.sha256]

    @staticmethod
    def _given(version: PromptVersion, needed: Sequence[str], given: JsonObject) -> dict[str, object]:
        found = given.get(_VARIABLES)
        if found is None:
            return {}
        if not isinstance(found, dict):
            told = f"must be an object of values by name, not {type(found).__name__}"
            raise FieldRefusedError(_VARIABLES, told, f'Such as {{"{(needed or ["name"])[0]}": "…"}}.')
        for name in found:
            if name not in needed:
                known = f"It has: {', '.join(needed)}." if needed else "It has none."
                told = f"{version.ref} has no variable of this name"
                raise FieldRefusedError(f"{_VARIABLES}.{name[:60]}", told, known, "unknown_parameter")
        # Null counts as not given, as everywhere in a request.
        return {name: value for name, value in found.items() if value is not None}

    def close(self) -> None:
        """End the process that renders."""
        self._renderer.close()


def _nothing_to_search(
    version: PromptVersion, path: str, given: JsonObject, values: dict[str, object], error: InputRefusedError
) -> LlmopsError:
    """What is wrong where a prompt searches for nothing: which field is empty; without variables it is the prompt's fault."""
    if not values:
        told = f"the prompt could not retrieve: {version.ref} searches for nothing"
        return LlmopsError("retrieval_failed", told, "Give retrieve() a question.")
    by_name = given.get(_VARIABLES) or {}
    empty = [name for name, value in values.items() if isinstance(value, str) and not value.strip()]
    # Where none is empty as it stands, the template made nothing of one.
    meant = (empty or list(values))[0]
    messages = given.get("messages") or ()
    field = (
        f"{_VARIABLES}.{meant}"
        if meant in by_name or not (messages or "input" in given)
        else "input"
        if path == "/v1/responses"
        else f"messages[{len(messages) - 1}].content"
    )
    told = f"{version.ref} searches by it, and {error.message}"
    return FieldRefusedError(field, told, error.hint, error.code)


def _with(version: PromptVersion, path: str, given: JsonObject, taken: _Taken, made: Rendered) -> JsonObject:
    """A request's body with a version's messages in it, and what the version holds beside them."""
    own = [{"role": "user", "content": made.user}] if version.template.strip() else []
    turns = [*(dict(turn) for turn in made.examples), *taken.turns, *own]
    body = {name: value for name, value in given.items() if name not in {_VARIABLES, "messages", "input"}}
    return {**with_held(path, version, body), **_placed(path, made.system, turns)}


def _turns(path: str, given: JsonObject, version: PromptVersion) -> tuple[list[JsonObject], str | None]:
    """The conversation that a request brings, and the text of its last message, where the user says it."""
    own = {"/v1/messages": "system", "/v1/responses": "instructions"}.get(path, "")
    if own and given.get(own):
        raise FieldRefusedError(own, f"{version.ref} brings its own", "Leave it out: the prompt is kept by the server.")
    if path == "/v1/responses":
        said = given.get("input")
        if said is None:
            return [], None
        if not isinstance(said, str):
            told = f"must be a text for {version.ref}, which is made into the request"
            raise FieldRefusedError("input", told, "Go on from an answer by previous_response_id.")
        return [{"role": "user", "content": said}], said
    messages = given.get("messages")
    return ([], None) if messages is None else _chat_turns(messages, version)


def _chat_turns(messages: Any, version: PromptVersion) -> tuple[list[JsonObject], str | None]:
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise FieldRefusedError("messages", "must be a list of objects", "Give role and content of each.")
    for number, one in enumerate(messages):
        if one.get("role") in {"system", "developer"}:
            told = f"{version.ref} brings its own system message"
            raise FieldRefusedError(f"messages[{number}].role", told, "Leave it out: the prompt is kept by the server.")
    if not messages or messages[-1].get("role") != "user":
        return messages, None
    text = _text(messages[-1].get("content"))
    if text is None and version.template.strip():
        told = f"must be text for {version.ref}, which is made into the message"
        raise FieldRefusedError(f"messages[{len(messages) - 1}].content", told, "Give a text.")
    return messages, text


def _text(content: Any) -> str | None:
    """The text of a message; none where it has something else, too."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    parts = [one.get("text") if isinstance(one, dict) and one.get("type") == "text" else None for one in content]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None  # type: ignore[arg-type]


def _filled(
    version: PromptVersion, needed: Sequence[str], given: dict[str, object], turns: list[JsonObject], last: str | None
) -> dict[str, object]:
    """The values of all variables: those given, and the last message for the one that is not, also where it has a default."""
    defaults = defaults_of(version.settings)
    left = [name for name in needed if name not in given]
    missing = [name for name in left if name not in defaults]
    if turns and version.template.strip():
        if last is None:
            told = f"the last one must be the user's, of which {version.ref} makes the message"
            raise FieldRefusedError("messages", told, "End with a message of the user's.")
        if len(meant := missing or left) == 1:
            return {**given, meant[0]: last}
        if not missing:
            told = f"{version.ref} takes nothing from messages: all of its variables are given"
            hint = "Leave out messages, or the variable that the last one is for."
            if left:
                told = f"the last one may be for {' or '.join(left)} of {version.ref}, which all have defaults"
                hint = f"Give all but one of them in {_VARIABLES}, or leave out messages."
            raise FieldRefusedError("messages", told, hint)
    elif not turns and not version.template.strip():
        told = f"is missing: {version.ref} is a system message alone"
        raise FieldRefusedError("messages", told, "Give the conversation, without a system message.")
    if missing:
        told = f"is missing: {version.ref} needs it"
        raise FieldRefusedError(f"{_VARIABLES}.{missing[0]}", told, f"It needs: {', '.join(needed)}.")
    return given


def _placed(path: str, system: str, turns: list[JsonObject]) -> JsonObject:
    if path == "/v1/responses":
        said = turns[-1]["content"] if len(turns) == 1 else turns
        return {**({"instructions": system} if system else {}), "input": said}
    if path == "/v1/messages":
        return {**({"system": system} if system else {}), "messages": turns}
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}


def body_bytes(body: JsonObject) -> bytes:
    """A request's body as it is sent on."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError as error:
        raise InputRefusedError("invalid_request", f"the body has a number that JSON has not: {error}") from error

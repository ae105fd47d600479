"""A request as somebody else's program makes it: a curl command, Python with the ``openai`` package, or Markdown to read.

What stands in it is foreign text. It is quoted for the shell or for Python, and whatever a terminal could take for a
command of its own is written as an escape.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.approved_keys import is_approved, key_variable, variable_of
from llmops_tui.inference.asked_prompt import fields_of
from llmops_tui.inference.sampling import SamplingParameters

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings
    from llmops_tui.models.registry import Model

BASE_URL = "http://127.0.0.1:8080/v1"
"""Where ``llmops serve`` listens unless it is told otherwise."""
KEY_VARIABLE = "LLMOPS_API_KEY"
FORMS = ("curl", "python", "markdown")
# What OpenAI's client takes as arguments; it sends the rest only from ``extra_body``.
_OPENAI = {
    "temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "max_tokens", "seed", "stop",
    "response_format", "tools",
}  # fmt: skip
# What the answer was held to.
_FORMS = ("response_format", "grammar")
_ALWAYS = ("temperature", "max_tokens", "seed")
_FENCE = re.compile(r"`{3,}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WRITTEN = frozenset("\t\n\u200c\u200d")
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True)
class RequestCode:
    """A request that was made or can be made.

    Attributes:
        model: the name that the endpoint knows.
        messages: the conversation, rendered.
        parameters: those of :class:`SamplingParameters` that were set, and the ``response_format`` or ``grammar``.
        answer: what came of it, for Markdown.
        base_url: the endpoint, with its ``/v1``.
        key_variable: the environment variable with its key; empty where it wants none.
        fields: further fields of the request that its prompt's version holds: the form of the answer, and tools.
    """

    model: str
    messages: Sequence[Mapping[str, object]]
    parameters: Mapping[str, object]
    answer: str = ""
    base_url: str = BASE_URL
    key_variable: str = KEY_VARIABLE
    fields: Mapping[str, object] = field(default_factory=dict)

    def written(self, form: str) -> str:
        """In one of :data:`FORMS`.

        Raises:
            InputRefusedError: ``bad_form``; ``content_not_kept`` where the messages are not known.
        """
        if form not in FORMS:
            raise InputRefusedError("bad_form", f"{form!r} is none of {', '.join(FORMS)}", "Choose one of them.")
        if not self.messages:
            raise InputRefusedError(
                "content_not_kept",
                "the messages of this request were not kept",
                "The setting trace_content decides what is kept of the next ones.",
            )
        return {"curl": self.curl, "python": self.python, "markdown": self.markdown}[form]()

    @property
    def body(self) -> dict[str, object]:
        """The body of the request: what was set, and what decides an answer in any case."""
        default = SamplingParameters().model_dump(mode="json")
        given = {name: value for name, value in self.parameters.items() if name in default}
        kept = {name: given.get(name, default[name]) for name in _ALWAYS}
        kept |= {name: value for name, value in given.items() if value != default[name] and value is not None}
        # A trace knows the form of its answer; what a version holds now may be another.
        form = {name: self.parameters[name] for name in _FORMS if self.parameters.get(name)}
        messages = [dict(message) for message in self.messages]
        return {"model": self.model, "messages": messages, **kept, **self.fields, **form}

    def curl(self) -> str:
        """A command for a POSIX shell; the key is read from the environment and stands nowhere."""
        parts = [f"curl {shlex.quote(_escaped(self.base_url) + '/chat/completions')}"]
        if self.key_variable:
            parts.append(f'-H "Authorization: Bearer ${self.key_variable}"')
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d {shlex.quote(_escaped(json.dumps(self.body, ensure_ascii=False, indent=1)))}")
        return " \\\n  ".join(parts)

    def python(self) -> str:
        """A program with the ``openai`` package."""
        body = self.body
        other = {name: body.pop(name) for name in list(body) if name not in {"model", "messages", *_OPENAI}}
        lines = [f"    model={self.model!r},", "    messages=["]
        lines += [f"        {dict(message)!r}," for message in self.messages]
        lines.append("    ],")
        lines += [f"    {name}={value!r}," for name, value in body.items() if name not in {"model", "messages"}]
        lines += [f"    extra_body={other!r},"] if other else []
        key = f'os.environ["{self.key_variable}"]' if self.key_variable else '"none"'
        head = (["import os", ""] if self.key_variable else []) + ["from openai import OpenAI", ""]
        head.append(f"client = OpenAI(base_url={self.base_url!r}, api_key={key})")
        return "\n".join(
            [*head, "answer = client.chat.completions.create(", *lines, ")", "print(answer.choices[0].message.content)"]
        )

    def markdown(self) -> str:
        """The conversation to read, each text in a fence that it cannot close."""
        parts = [f"# {_escaped(self.model)}"]
        asked = [*self.messages, *([{"role": "assistant", "content": self.answer}] if self.answer else [])]
        for message in asked:
            content = message.get("content")
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)
            role = str(message.get("role") or "")
            parts.append(f"## {_ROLES.get(role, _escaped(role))}\n\n{_fenced(text)}")
            if rest := {name: value for name, value in message.items() if name not in {"role", "content"}}:
                parts.append(_fenced(json.dumps(rest, ensure_ascii=False, indent=1), "json"))
        given = {name: value for name, value in self.body.items() if name not in {"model", "messages"}}
        parts.append("## Parameters\n\n" + _fenced(json.dumps(given, ensure_ascii=False, indent=1), "json"))
        return "\n\n".join(parts)


def code_of(
    name: str,
    model: Model | None,
    messages: Sequence[Mapping[str, object]],
    parameters: Mapping[str, object],
    answer: str = "",
    settings: AnswerSettings | None = None,
) -> RequestCode:
    """The code of a request to a model by its name, and as it is registered, where it still is.

    ``settings`` are those of the prompt's version that was asked.

    A remote model is asked at its own endpoint. The variable of its key is named only where this user approved that key for
    that host: another's workspace could name any.
    """
    if model is None or model.kind != "remote":
        return RequestCode(name, messages, parameters, answer, fields=fields_of(settings))
    url = str(model.header["url"])
    variable = variable_of(model)
    if not _VARIABLE.fullmatch(variable) or not is_approved(variable, url):
        variable = key_variable(model.name)
    named = str(model.header["remote_model"])
    return RequestCode(named, messages, parameters, answer, f"{url}/v1", variable, fields_of(settings))


def _escaped(text: str) -> str:
    """A text whose characters that are not printed stand as JSON's escapes, but for line breaks."""
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def _readable(text: str) -> str:
    """As :func:`_escaped`, but with what people write: tabs, spaces of any width, joiners of Persian, Hindi and emoji."""
    return "".join(
        one if one in _WRITTEN or unicodedata.category(one) == "Zs" else _escaped(one)
        for one in text.replace("\r\n", "\n")
    )


def _fenced(text: str, language: str = "") -> str:
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{_readable(text)}\n{fence}"

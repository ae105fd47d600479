"""Renders chat templates and prompts in a sandboxed process that is killed on timeout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.helper_process import HelperLostError, HelperProcess
from llmops_tui.inference.retrieval_asked import RETRIEVED, RetrievalAsked, asks_for_passages, retrieval_key

# Of the processor, so that a template is not blamed for a busy machine.
RENDER_SECONDS = 1.0
# Reading and writing what is long takes time of its own, which is no fault of the template's.
_SECONDS_A_MEGABYTE = 0.5
# A request of the server, 4 MB, with each character as an escape of JSON.
_MAX_REQUEST = 24_000_000
# What is rendered at once of a dataset.
_MAX_PART = 1_000_000
_MANY = 500
# A template that is too slow takes its time for each of them: after so many it is the template's fault.
_GIVEN_UP = 10
FAULTS = {"template_failed", "variable_missing"}
"""What is wrong with a template, or with the values that it is rendered with, as errors have it."""
# Of one prompt; what it asks for may depend on what it was given.
MOST_RETRIEVALS = 20

Kind = Literal["chat", "prompt", "nunjucks"]
Variables = dict[str, Any]
"""What a template is rendered with: the names are its author's, and a value may be any JSON."""


Retrieve = Callable[[RetrievalAsked], list[dict[str, object]]]
"""Gives the passages that a prompt asks for."""


class TemplateRenderer:
    """One template process, started on first use and replaced after it had to be killed. Thread-safe.

    ``retrieve`` gives prompts the passages that they ask for by ``{{ retrieve(…) }}``.
    """

    def __init__(self, seconds: float = RENDER_SECONDS, retrieve: Retrieve | None = None) -> None:
        self._seconds = seconds
        self._retrieve = retrieve
        # Importing Jinja on a busy machine is not a template's fault.
        self._process = HelperProcess(
            "llmops_tui.inference.template_worker",
            greeting=b'{"op": "render", "source": "", "context": {}, "kind": "prompt"}\n',
            work="renders templates",
        )

    def render(self, source: str, context: Mapping[str, object], kind: Kind = "prompt") -> str:
        """The rendered text.

        Raises:
            InputRefusedError: ``template_failed``: wrong syntax, too slow, too large; ``variable_missing``.
            LlmopsError: ``helper_unusable``: the process cannot be started, stands still or is killed.
        """
        found: dict[str, list[dict[str, object]]] = {}
        while len(found) <= MOST_RETRIEVALS:
            values = {**context, RETRIEVED: found} if found else context
            try:
                return str(self._ask({"op": "render", "source": source, "context": values, "kind": kind}))
            except _WantedError as error:
                # Rendered again with it: what a template does next may depend on what was found.
                found[retrieval_key(error.asked)] = self._retrieved(error.asked)
        raise _failed(f"it retrieves more than {MOST_RETRIEVALS} times")

    def _retrieved(self, asked: RetrievalAsked) -> list[dict[str, object]]:
        if self._retrieve is None:
            raise InputRefusedError(
                "no_retrieval",
                "retrieve() finds no indexes here",
                "Run the prompt in the playground, or llmops prompt run.",
            )
        return self._retrieve(asked)

    def render_each(
        self, source: str, contexts: Sequence[Mapping[str, object]], kind: Kind = "chat"
    ) -> list[str | InputRefusedError]:
        """One template with many sets of values, of which each may be refused: its text, or what is raised for it alone.

        It is much faster than one by one. Prompts that are too much together are rendered alone, until the template had to be
        stopped ten times.

        Raises:
            InputRefusedError: ``template_failed``: conversations (``chat``) that together are too slow.
            LlmopsError: as :meth:`render`.
        """
        if kind == "prompt" and asks_for_passages(source):
            # It asks for passages in between.
            return self._each_alone(source, contexts, kind, [])
        found: list[str | InputRefusedError] = []
        stopped: list[InputRefusedError] = []
        for part in _in_parts(contexts):
            if len(stopped) < _GIVEN_UP:
                try:
                    told = self._ask({"op": "render_each", "source": source, "context": part, "kind": kind})
                    found += [str(one["result"]) if "result" in one else _refused(one) for one in told]
                    continue
                except InputRefusedError:
                    if kind != "prompt":
                        raise
            found += self._each_alone(source, part, kind, stopped)
        return found

    def _each_alone(
        self,
        source: str,
        contexts: Sequence[Mapping[str, object]],
        kind: Kind,
        stopped: list[InputRefusedError],
    ) -> list[str | InputRefusedError]:
        """One after the other; ``stopped`` are those that had to be, which it adds to."""
        found: list[str | InputRefusedError] = []
        for context in contexts:
            if len(stopped) >= _GIVEN_UP:
                found.append(_failed(f"it was stopped {_GIVEN_UP} times before, and is not tried again"))
                continue
            try:
                found.append(self.render(source, context, kind))
            except InputRefusedError as error:
                found.append(error)
                if isinstance(error.__cause__, HelperLostError):
                    stopped.append(error)
        return found

    def variables(self, source: str) -> list[str]:
        """Names of the variables a prompt template needs, in the order of their first use.

        Raises:
            InputRefusedError: ``template_failed``: the template cannot be parsed.
        """
        return list(self._ask({"op": "variables", "source": source, "kind": "prompt"}))

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(self, request: Mapping[str, object]) -> Any:
        line = json.dumps(request).encode() + b"\n"
        if len(line) > _MAX_REQUEST:
            raise _failed(f"the template and its values have {len(line):,} bytes, more than {_MAX_REQUEST:,}")
        allowed = self._seconds + len(line) / 1e6 * _SECONDS_A_MEGABYTE
        try:
            reply = json.loads(self._process.ask(line, allowed, of_processor=True))
        except HelperLostError as error:
            raise _failed(str(error)) from error
        if "wanted" in reply:
            raise _WantedError(reply["wanted"])
        if "result" not in reply:
            raise _refused(reply)
        return reply["result"]


def _in_parts(contexts: Sequence[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    part: list[Mapping[str, object]] = []
    size = 0
    for context in contexts:
        length = len(json.dumps(context))
        if part and (size + length > _MAX_PART or len(part) >= _MANY):
            yield part
            part, size = [], 0
        part.append(context)
        size += length
    if part:
        yield part


class _WantedError(Exception):
    """A template needs passages first."""

    def __init__(self, asked: RetrievalAsked) -> None:
        super().__init__()
        self.asked = asked


def _refused(reply: Mapping[str, str]) -> InputRefusedError:
    if "missing" in reply:
        return InputRefusedError(
            "variable_missing",
            f"the variable {reply['missing']} has no value",
            "Give it a value, or remove it from the text.",
        )
    return _failed(reply["error"])


def _failed(reason: str) -> InputRefusedError:
    return InputRefusedError("template_failed", f"the template cannot be rendered: {reason}", "Change the template.")

"""Callers of a request: a program of this workspace, which may name its runs, or any other client."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import cast

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.access.gate import Grant
from llmops_tui.inference.sampling import LONGEST
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.workspace.events import (
    ClientRecord,
    RequestRecord,
    TracedExperiment,
    TracedPrompt,
    TracedRetrieval,
    TracedStep,
    TracedWork,
)

# Whose request it is that a program of the workspace passes on. Believed only beside the workspace's own key, over its socket.
ON_BEHALF = b"x-llmops-on-behalf"
OWNER = "own"
"""What the workspace's own key is called, which no other is."""
# What jobs are called that answer files; keys and addresses have no blank.
_BATCH = "batch "
# What is told of a caller; the first two always.
_TOLD = ("key", "client", "access", "recording", "replayed")
_FEWEST = 2


@dataclass(frozen=True)
class Caller:
    """The sender of one request. ``own``: it has the workspace's own key, and came over its socket.

    ``key`` is what a client's key is called, see :func:`key_name`; empty where none was asked for. ``client`` is who takes
    its turn among others: a program of ours, a key where there are several, else an address. ``experiment`` is what the
    request is part of, ``prompt`` the served prompt that it was made of, with what was ``retrieved`` for it.

    ``recording`` is that which what it asks is of, and ``replayed`` that which it is answered from: those of the address that
    it came to, and none of a program of the workspace.

    With an access key, ``key`` is its name, ``access`` its id, and ``grant`` what it may do; without one all is allowed.
    """

    own: bool
    key: str = ""
    client: str = ""
    access: str = ""
    grant: Grant | None = field(default=None, compare=False)
    experiment: TracedExperiment | None = None
    prompt: TracedPrompt | None = None
    retrieved: tuple[TracedRetrieval, ...] = field(default=(), compare=False)
    recording: str = ""
    replayed: str = ""

    @property
    def shadow(self) -> bool:
        """Whether it is a program of ours that asks B what was asked of A: the client never sees the answer."""
        return self.experiment is not None and self.experiment["arm"] == "b" and "pair" in self.experiment

    def check_model(self, model: str, adapter: str = "") -> None:
        """Refuse a model or adapter that is not in the scope of the caller's key.

        Raises:
            KeyRefusedError: ``key_scope``.
        """
        if self.grant is not None:
            self.grant.check_model(model, adapter, self.prompt["name"] if self.prompt is not None else "")

    def sees(self, name: str) -> bool:
        """Whether a name, of a model or ``model+adapter``, is in the scope of the caller's key."""
        return self.sees_prompt("", name)

    def sees_prompt(self, prompt: str, name: str) -> bool:
        """Whether a served prompt is in the scope of the caller's key, with the model that answers it."""
        if self.grant is None:
            return True
        model, _, adapter = name.partition("+")
        scope = self.grant.key.scope
        return scope.allows_model(model, prompt) and scope.allows_adapter(adapter)

    def longest_answer(self, asked: int) -> int:
        """How many tokens an answer may have where so many were asked for.

        Raises:
            FieldRefusedError: ``key_scope``: more than the caller's key allows; as many as possible are as many as it does.
        """
        most = self.grant.key.scope.max_output if self.grant is not None else None
        if most is None or asked <= most:
            return asked
        if asked >= LONGEST:
            return most
        told = f"asks for {asked:,} tokens, and the key {self.key!r} is for answers of up to {most:,}"
        raise FieldRefusedError("max_tokens", told, f"Ask for up to {most:,}.", "key_scope")

    def facts(self, metadata: JsonObject | None) -> RequestRecord:
        """What a record knows of where its request came from.

        What our own programs say is how it is: which prompt, which version, which values. A client might say anything.
        """
        if self.own:
            return self._own_facts(metadata or {})
        client: ClientRecord = {"key": self.key or None, "metadata": metadata or {}}
        if is_batch(self.client):
            client["work"] = {"kind": _BATCH.strip(), "name": self.client.removeprefix(_BATCH)}
        if self.experiment is not None:
            client["experiment"] = self.experiment
        if self.retrieved:
            client["retrieved"] = list(self.retrieved)
        # Of what B is asked as well nobody saw an answer.
        if self.recording and not self.shadow:
            client["recording"] = self.recording
        if self.replayed:
            client["replayed"] = self.replayed
        if (made := self.prompt) is None:
            return {"prompt": None, "prompt_version": None, "variables": None, "client": client}
        return {
            "prompt": made["name"],
            "prompt_version": made["version"],
            "variables": made["variables"],
            "client": client,
        }

    def _own_facts(self, known: JsonObject) -> RequestRecord:
        beside: ClientRecord = {} if self.experiment is None else {"experiment": self.experiment}
        if isinstance(step := known.get("chain"), dict):
            beside["chain"] = cast("TracedStep", step)
        if isinstance(work := known.get("work"), dict):
            beside["work"] = cast("TracedWork", work)
        given = known.get("client")
        if isinstance(given, dict) and isinstance(found := given.get("retrieved"), list):
            beside["retrieved"] = cast("list[TracedRetrieval]", found)
        return {
            "prompt": known.get("prompt"),
            "prompt_version": known.get("prompt_version"),
            "variables": known.get("variables"),
            "client": beside or None,
        }

    @property
    def owner(self) -> str:
        """Whose files and batches these are: a key's, by its name; those of all who need no key are one's."""
        return self.access or self.key or (OWNER if self.own else "open")

    def run_id(self, metadata: JsonObject | None) -> str | None:
        """The id that our own program has given the run already; a client's are its own affair."""
        given = (metadata or {}).get("run_id") if self.own else None
        return str(given)[:100] if given else None

    def source(self, user: str) -> str:
        """Who said something of an answer: a client's name for its user never stands alone."""
        if self.own:
            return user or "endpoint"
        endpoint = f"endpoint, key {self.key}" if self.key else "endpoint"
        return f"{user} ({endpoint})" if user else endpoint

    def passed_on(self) -> bytes:
        """The value of :data:`ON_BEHALF` that makes another server of the workspace see the same caller."""
        told = [getattr(self, name) for name in _TOLD]
        while len(told) > _FEWEST and not told[-1]:
            told.pop()
        return json.dumps(told).encode()


def of_batch(job: str, access: str = "") -> Caller:
    """The caller of a file of requests, which a job asks: what its lines say of runs is their own statement.

    ``access`` is the id of the access key that the file was sent with, whose limits it is answered within.
    """
    return Caller(own=False, client=f"{_BATCH}{job}", access=access)


def is_batch(client: str) -> bool:
    """Whether who takes a turn is a job that asks again what was not answered."""
    return client.startswith(_BATCH)


def on_behalf(value: bytes) -> Caller:
    """The caller that a program of the workspace names, which is itself no program of the workspace.

    Raises:
        ValueError: the program did not write it as :meth:`Caller.passed_on` does.
    """
    told = json.loads(value)
    if (
        not isinstance(told, list)
        or not _FEWEST <= len(told) <= len(_TOLD)
        or any(type(part) is not str for part in told)
    ):
        raise ValueError("it is no list of a key's name, a client, a key's id and names of recordings")
    return Caller(False, **dict(zip(_TOLD, told, strict=False)))


def key_name(key: str) -> str:
    """What a key is called where it must not be shown: the beginning of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]

"""What a served name means: a model, or a prompt and the model that answers it; and the body that its server is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.router.body import with_name
from llmops_tui.inference.router.catalogue import RegisteredModels
from llmops_tui.inference.router.names import Meant
from llmops_tui.inference.router.prompts import ON, PREFIX, ServedPrompt, ServedPrompts, body_bytes
from llmops_tui.inference.server.callers import Caller

# A body of more bytes is searched in a thread, so that no stream waits for it.
_LARGE = 64 * 1024


@dataclass(frozen=True)
class Target:
    """Who answers: a model, by a prompt where one was asked for."""

    meant: Meant
    prompt: ServedPrompt | None = None

    @property
    def adapter(self) -> str:
        """The adapter beside the model; empty without one."""
        return self.meant.name.partition("+")[2]

    def check(self, caller: Caller) -> None:
        """Refuse what the caller's key is not for.

        Raises:
            KeyRefusedError: ``key_scope``.
        """
        if caller.grant is not None:
            prompt = self.prompt.version.prompt if self.prompt is not None else ""
            caller.grant.check_model(self.meant.model.name, self.adapter, prompt)

    def seen(self, caller: Caller) -> bool:
        """Whether it is in the scope of the caller's key."""
        prompt = self.prompt.version.prompt if self.prompt is not None else ""
        return caller.sees_prompt(prompt, f"{self.meant.model.name}+{self.adapter}".rstrip("+"))


@dataclass(frozen=True)
class Ready:
    """A request as it goes to its model's server, and what its client is told beside the answer."""

    raw: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    told: list[tuple[bytes, bytes]] = field(default_factory=list)


class Targets:
    """The names of a workspace at its one address."""

    def __init__(self, models: RegisteredModels, prompts: ServedPrompts | None = None) -> None:
        self._models = models
        self._prompts = prompts

    async def of(self, asked: str) -> Target:
        """What a name means now.

        Raises:
            LlmopsError: nothing, or several; ``prompt_without_model``: a prompt, and several models could answer it.
        """
        if self._prompts is None or not asked.startswith(PREFIX):
            return Target(await self._models.meant(asked))
        prompt = await self._prompts.meant(asked)
        if prompt.model:
            return Target(await self._models.meant(prompt.model), prompt)
        served = (await self._models.listing()).served
        if len(served) == 1:
            return Target(Meant(served[0], served[0].name), prompt)
        told = f"no stage says which model answers {asked[:100]!r}, and {len(served)} are served"
        hint = f"llmops stage set {prompt.version.prompt}@{prompt.label or 'production'} --model NAME says so."
        raise LlmopsError("model_ambiguous", told, hint)

    async def of_arm(self, name: str) -> Target:
        """What the name of an experiment's arm means: as :meth:`of`, and ``prompt/NAME@3+MODEL`` is a version on a model.

        No client may ask by such a name: which model answers a prompt is said by its stage.

        Raises:
            LlmopsError: as :meth:`of`.
        """
        ref, plus, model = name.partition(ON)
        if self._prompts is None or not (plus and name.startswith(PREFIX)):
            return await self.of(name)
        return Target(await self._models.meant(model), await self._prompts.meant(ref))

    async def ready(
        self, target: Target, path: str, field_name: str, asked: str, raw: bytes, given: JsonObject
    ) -> Ready:
        """The body that the model's server is sent; without a prompt all of it but the model's name is as it came."""
        name = target.meant.name
        if target.prompt is not None and self._prompts is not None:
            made = await self._prompts.made(target.prompt, name, path, raw, given)
            return Ready(body_bytes(made.body), made.headers, [*target.prompt.told(), *made.told])
        if not asked or asked == name:
            return Ready(raw)
        if len(raw) > _LARGE:
            return Ready(await asyncio.to_thread(with_name, raw, field_name, name))
        return Ready(with_name(raw, field_name, name))

    async def prompts(self) -> list[tuple[str, Target]]:
        """The stages of prompts by the names they are asked by, as far as they can be answered."""
        found: list[tuple[str, Target]] = []
        for name, _ in await self._prompts.entries() if self._prompts is not None else ():
            try:
                found.append((name, await self.of(name)))
            except LlmopsError:
                continue
        return found

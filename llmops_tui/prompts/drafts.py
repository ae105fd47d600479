"""Drafts: one per prompt, saved to the event log at every change."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.workspace.event_log import EventLog

_PREFIX = "draft:"
_SESSION = "session"


@dataclass(frozen=True)
class Draft:
    """The state of the editors for one prompt; ``settings`` is the JSON of what it holds beside its texts, empty without."""

    system: str = ""
    template: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    base: int | None = None
    settings: str = ""

    def behind(self, typed: Draft) -> Draft:
        """The draft with what was typed before its texts."""
        return replace(self, system=typed.system + self.system, template=typed.template + self.template)

    @property
    def answer_settings(self) -> AnswerSettings | None:
        """What it holds beside its texts.

        Raises:
            InputRefusedError: ``bad_settings``: a later release wrote it.
        """
        if not self.settings:
            return None
        from llmops_tui.inference.answer_settings import kept_settings

        return kept_settings(self.settings, "the draft")


@dataclass(frozen=True)
class Session:
    """Where the playground was left; no parameters stands for the defaults."""

    prompt: str | None = None
    model: str | None = None
    parameters: SamplingParameters | None = None


class Drafts:
    """Drafts and the session of a workspace."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def save(self, prompt: str, draft: Draft) -> None:
        """Keep a draft; durable when this returns."""
        self._event_log.save_draft(_PREFIX + prompt, asdict(draft))

    def load(self, prompt: str) -> Draft | None:
        """The draft of a prompt, or none; what cannot be read is left out."""
        body = self._event_log.load_draft(_PREFIX + prompt)
        if body is None:
            return None
        variables = body.get("variables")
        base = body.get("base")
        return Draft(
            system=str(body.get("system", "")),
            template=str(body.get("template", "")),
            variables={str(k): str(v) for k, v in variables.items()} if isinstance(variables, dict) else {},
            base=base if isinstance(base, int) else None,
            settings=str(body.get("settings") or ""),
        )

    def names(self) -> set[str]:
        """Prompts that have a draft."""
        return {key.removeprefix(_PREFIX) for key in self._event_log.draft_keys() if key.startswith(_PREFIX)}

    def save_session(self, session: Session) -> None:
        """Keep where the playground is."""
        parameters = (
            session.parameters.model_dump(mode="json", exclude_none=True) if session.parameters is not None else None
        )
        body = {"prompt": session.prompt, "model": session.model, "parameters": parameters}
        self._event_log.save_draft(_SESSION, body)

    def load_session(self) -> Session:
        """Where the playground was left, or the defaults."""
        body = self._event_log.load_draft(_SESSION) or {}
        return Session(_text(body.get("prompt")), _text(body.get("model")), _parameters(body.get("parameters")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _parameters(value: Any) -> SamplingParameters | None:
    from pydantic import ValidationError

    from llmops_tui.inference.sampling import SamplingParameters

    try:
        return SamplingParameters.model_validate(value)
    except ValidationError:
        return None

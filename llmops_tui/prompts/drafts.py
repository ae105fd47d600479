"""What is being written: one draft a prompt, kept in the journal at every change."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.workspace.journal import Journal

_Kept = TypeVar("_Kept", bound=BaseModel)

_PREFIX = "draft:"
_SESSION = "session"


class Draft(BaseModel):
    """The state of the editors for one prompt."""

    model_config = ConfigDict(extra="ignore")

    system: str = ""
    template: str = ""
    variables: dict[str, str] = {}
    base: int | None = None


class Session(BaseModel):
    """Where the playground was left."""

    model_config = ConfigDict(extra="ignore")

    prompt: str | None = None
    model: str | None = None
    parameters: SamplingParameters = SamplingParameters()


class Drafts:
    """Drafts and the session of a workspace."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def save(self, prompt: str, draft: Draft) -> None:
        """Keep a draft; durable when this returns."""
        self._journal.save_draft(_PREFIX + prompt, draft.model_dump())

    def load(self, prompt: str) -> Draft | None:
        """The draft of a prompt, or none."""
        return _read(Draft, self._journal.load_draft(_PREFIX + prompt))

    def names(self) -> set[str]:
        """Prompts that have a draft."""
        return {key.removeprefix(_PREFIX) for key in self._journal.draft_keys() if key.startswith(_PREFIX)}

    def save_session(self, session: Session) -> None:
        """Keep where the playground is."""
        self._journal.save_draft(_SESSION, session.model_dump(mode="json"))

    def load_session(self) -> Session:
        """Where the playground was left, or the defaults."""
        return _read(Session, self._journal.load_draft(_SESSION)) or Session()


def _read(model: type[_Kept], body: dict[str, Any] | None) -> _Kept | None:
    if body is None:
        return None
    try:
        return model.model_validate(body)
    except ValidationError:
        return None

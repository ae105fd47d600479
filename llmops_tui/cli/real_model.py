"""The demo's real model: from the cache, or downloaded first on request."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from llmops_tui.cli.options import called_as
from llmops_tui.cli.output import Session
from llmops_tui.errors import LlmopsError
from llmops_tui.models.known_models import cached, fetch_known, known_model
from llmops_tui.sample import REAL_MODEL


def find_real_model(session: Session, *, fetch: bool) -> Path | None:
    """Its file, or none where it is not here; only with ``fetch`` is any network asked, and a failure is told."""
    path = cached(REAL_MODEL)
    if path is not None or not fetch:
        return path
    model = known_model(REAL_MODEL)
    session.say(f"Downloading: {model.describe()}")
    try:
        return fetch_known(REAL_MODEL, session.progress(model.name))
    except LlmopsError as error:
        session.say(error.told)
        return None


def missing_text(command: Sequence[str], workspace: str | None) -> str:
    """What is said where it is not here: what the sample does instead, and the ``command`` that fetches it later.

    It is the same command again, which brings the prompt made for the model along, on the same ``workspace``.
    """
    place = ("--workspace", workspace) if workspace else ()
    return (
        f"{known_model(REAL_MODEL).title} is not on this machine: the sample opens with its own small model. "
        f"Later: {shlex.join([called_as(), *place, *command, '--fetch'])}"
    )

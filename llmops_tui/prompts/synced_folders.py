"""The folders that prompts of a workspace were kept in step with, and their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.file_form import ENDING, parse_file
from llmops_tui.prompts.folder import PREFIX
from llmops_tui.prompts.store import content_hash

if TYPE_CHECKING:
    from llmops_tui.workspace.event_log import EventLog


@dataclass(frozen=True)
class SyncedFile:
    """A file of such a folder.

    Attributes:
        prompt: the prompt that its name says.
        texts: its system and user templates, and its settings; empty where it cannot be read as a prompt's.
        is_in_step: whether it holds what it did when it was last in step, so that a sync writes a new version over it.
    """

    path: Path
    prompt: str
    texts: str
    is_in_step: bool


def synced_folders(event_log: EventLog) -> list[tuple[Path, dict[str, str]]]:
    """The folders that prompts were kept in step with, each with the hash of what a prompt's file held then."""
    found = []
    for key in sorted(event_log.draft_keys()):
        kept = (event_log.load_draft(key) or {}) if key.startswith(PREFIX) else {}
        if isinstance(folder := kept.get("folder"), str):
            steps = dict(kept.get("prompts") or {})
            found.append((Path(folder), {name: str(dict(step).get("content")) for name, step in steps.items()}))
    return found


def files_of(folder: Path, contents: dict[str, str]) -> Iterator[SyncedFile]:
    """The files of a folder, those included that were refused; ``contents`` are the hashes that :func:`synced_folders` gave.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.name.endswith(ENDING) and path.is_file():
            name = path.name.removesuffix(ENDING)
            try:
                system, template, settings = parse_file(path.read_bytes())
            except (OSError, LlmopsError):
                yield SyncedFile(path, name, "", is_in_step=False)
                continue
            in_step = contents.get(name) == content_hash(system, template, settings)
            yield SyncedFile(path, name, f"{system}\n{template}\n{settings}", in_step)

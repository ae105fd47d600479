"""Prompts as YAML files, for export and import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_yaml
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.prompts.records import LabelRecord
from llmops_tui.prompts.store import PromptStore, PromptVersion

_MAX_FILE = 20_000_000


class _VersionFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    system: str = ""
    template: str
    note: str = ""
    labels: list[str] = []
    number: int | None = None
    parent: int | None = None
    settings: JsonObject = {}


class PromptFile(BaseModel):
    """The form of a prompt file."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    versions: list[_VersionFile]
    variables: dict[str, str] = {}


def parse(text: str, source: str) -> PromptFile:
    """Read a prompt file.

    Raises:
        InputRefusedError: it is no YAML, or not of the right form; the message says where.
    """
    if len(text) > _MAX_FILE:
        raise InputRefusedError("file_too_large", f"{source} is larger than {_MAX_FILE:,} characters")
    try:
        return PromptFile.model_validate(parse_yaml(text))
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_yaml", f"{source} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(p) for p in first["loc"]) or "the file"
        raise InputRefusedError(
            "bad_prompt_file", f"{source}: {place}: {first['msg']}", "llmops prompt export shows the format."
        ) from error


@dataclass(frozen=True)
class LabelChange:
    """A label that a file puts on a version: where it was before, if anywhere, and whether it moved."""

    label: str
    before: int | None
    number: int
    moved: bool

    def as_dict(self) -> LabelRecord:
        """For JSON."""
        return {"label": self.label, "before": self.before, "version": self.number, "moved": self.moved}


@dataclass(frozen=True)
class Loaded:
    """What became of a file: its versions, how many of them are new, and each label that is not where it was put."""

    versions: list[PromptVersion]
    created: int
    labels: list[LabelChange]


def load(
    store: PromptStore,
    file: PromptFile,
    *,
    move_labels: bool = False,
    move: Callable[[str, str], PromptVersion] | None = None,
) -> Loaded:
    """Save all versions of a prompt file, with what each holds beside its texts.

    A label that is not there yet is set. One that is on another version stays there, since it may be what is deployed, and
    moves only where that is asked for. ``move`` points a label at a version, in the place of the store itself.
    """
    saved: list[PromptVersion] = []
    labels: list[LabelChange] = []
    numbers: dict[int, int] = {}
    created = 0
    for place, item in enumerate(file.versions):
        parent = numbers.get(item.parent) if item.parent is not None else None
        version, new = store.save(
            file.prompt,
            template=item.template,
            system=item.system,
            note=item.note,
            parent=parent,
            settings=read_settings(item.settings, f"settings of versions.{place}"),
            as_it_is=True,
        )
        created += new
        if item.number is not None:
            numbers[item.number] = version.number
        for label in item.labels:
            before = next((v.number for v in store.versions(version.prompt) if label in v.labels), None)
            if before == version.number:
                continue
            moved = before is None or move_labels
            if moved:
                version = (move or store.move_label)(version.ref, label)
            labels.append(LabelChange(label, before, version.number, moved))
        saved.append(version)
    return Loaded(saved, created, labels)


def dump(versions: list[PromptVersion]) -> str:
    """Versions of one prompt as YAML, oldest first."""
    items: list[dict[str, Any]] = []
    for version in sorted(versions, key=lambda v: v.number):
        item: dict[str, Any] = {"number": version.number}
        item |= {"parent": version.parent} if version.parent is not None else {}
        item |= {"note": version.note} if version.note else {}
        item |= {"labels": list(version.labels)} if version.labels else {}
        texts = {"system": version.system, "template": version.template}
        held = {"settings": version.settings.as_record()} if version.settings is not None else {}
        items.append(item | texts | held)
    body = {"prompt": versions[0].prompt, "versions": items}
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100)

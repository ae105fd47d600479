"""The form of a prompt's file in a folder that is kept in step: its texts as blocks, and what it holds beside them."""

from __future__ import annotations

import json
import re

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_yaml
from llmops_tui.inference.answer_settings import read_settings

ENDING = ".prompt.yaml"
MAX_FILE = 2_000_000
# Lines that git puts in where both sides of a merge changed; blocks of text are indented, so that none of theirs is one.
_CONFLICT = re.compile(rb"^(?:<{7}|>{7})(?: |$)", re.MULTILINE)
# No line is folded.
_WIDE = 1_000_000

Content = tuple[str, str, str]
"""What a file holds: the system and the user template, and the JSON of the settings, empty where there are none."""


class _Text(yaml.SafeDumper):
    """Writes texts of several lines as blocks, which a diff shows line by line."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Text.add_representer(str, _block)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    system: str = ""
    template: str = ""
    settings: JsonObject = {}


def file_text(system: str, template: str, settings: str = "") -> str:
    """The file of a prompt: in blocks where these say the very text, else with escapes."""
    body: JsonObject = {"system": system, "template": template}
    if settings:
        body["settings"] = json.loads(settings)
    text = str(yaml.dump(body, Dumper=_Text, sort_keys=False, allow_unicode=True, width=_WIDE))
    return text if yaml.safe_load(text) == body else str(yaml.safe_dump(body, sort_keys=False, width=_WIDE))


def parse_file(raw: bytes) -> Content:
    """What a file holds.

    Raises:
        InputRefusedError: ``bad_prompt_file``, ``bad_settings``, with why.
    """
    try:
        if len(raw) > MAX_FILE:
            raise ValueError(f"it is larger than {MAX_FILE:,} bytes")
        found = _File.model_validate(parse_yaml(raw.decode("utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise bad_file("it holds no fields") from error
        place = ".".join(str(part) for part in first["loc"])
        raise bad_file(f"{place}: {first['msg']}") from error
    except (ValueError, yaml.YAMLError) as error:
        if (marked := _CONFLICT.search(raw)) is not None:
            line = raw.count(b"\n", 0, marked.start()) + 1
            raise bad_file(
                f"line {line} is git's mark of a conflict: both sides stand there, and one is to be chosen"
            ) from error
        raise bad_file(" ".join(str(error).split())) from error
    if not found.system.strip() and not found.template.strip():
        raise bad_file("it has no text: neither a system nor a user template")
    settings = read_settings(found.settings, "settings")
    return found.system, found.template, settings.as_text() if settings is not None else ""


def bad_file(why: str) -> InputRefusedError:
    """A file that is no prompt's, and why."""
    return InputRefusedError("bad_prompt_file", why, "Its fields are system and template, both texts, and settings.")

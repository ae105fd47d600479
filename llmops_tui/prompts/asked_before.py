"""What was asked before as a draft of the playground: a version with the values it had, or messages without a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmops_tui.inference.answer_settings import fields_with
from llmops_tui.prompts.drafts import Draft

if TYPE_CHECKING:
    from llmops_tui.prompts.drafts import Drafts
    from llmops_tui.prompts.store import PromptStore, PromptVersion

_END = re.compile(r"(\{%[-+]?\s*endraw\s*[-+]?%\})")


def draft_of_version(
    store: PromptStore, drafts: Drafts, version: PromptVersion, variables: Mapping[str, object], note: str
) -> str:
    """Make the draft of a version with values of its variables; the prompt's name.

    What was being written there is kept as a version first, with this note.
    """
    before = drafts.load(version.prompt)
    if before is not None and before.template.strip():
        store.save(
            version.prompt,
            template=before.template,
            system=before.system,
            parent=before.base,
            note=note,
            settings=before.answer_settings,
            as_it_is=True,
        )
    values = fields_with(version.settings, variables)
    drafts.save(version.prompt, Draft(version.system, version.template, values, version.number, version.settings_text))
    return version.prompt


def draft_of_messages(
    store: PromptStore, drafts: Drafts, name: str, messages: Sequence[Mapping[str, object]], note: str
) -> str:
    """Make a prompt of this name that asks what the last message did, behind the same system text; the prompt's name."""
    system = next((str(m.get("content") or "") for m in messages if m.get("role") == "system"), "")
    asked = [str(m.get("content") or "") for m in messages if m.get("role") != "system"]
    made, _ = store.save(
        name, template=_plain(asked[-1] if asked else " "), system=_plain(system), note=note, settings=None
    )
    drafts.save(name, Draft(made.system, made.template, {}, made.number))
    return name


def _plain(text: str) -> str:
    """A text as a template that renders to itself."""
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    # The mark that ends raw text is said by an expression; its blanks and signs may be any that Jinja takes.
    parts = _END.split(text)
    return "".join(
        "{{ " + json.dumps(part) + " }}" if n % 2 else "{% raw %}" + part + "{% endraw %}"
        for n, part in enumerate(parts)
        if part
    )

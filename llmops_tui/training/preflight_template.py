"""Findings about a recipe's chat template: its marks as tokens, its variables, and whether there is one at all."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmops_tui.chat_format import ChatFormat
from llmops_tui.inference.server.served_format import mentions
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

_BRACKETED = re.compile(r"<[^<>]*>")


def check_template(
    recipe: Recipe, own: str | None, chat: ChatFormat | None, vocabulary: Iterable[str]
) -> list[Finding]:
    """What is to be said about the template.

    ``own`` is the base's; ``chat`` what was read of the one that is trained with, none where no row needed it.
    """
    template = recipe.chat_template or own
    if not template:
        found = [
            Finding(
                "warn",
                "no_template",
                "the base has no chat template; a plain one is used",
                "Set chat_template in the recipe.",
            )
        ]
    else:
        found = _marks(recipe, chat, set(vocabulary)) if chat is not None else []
        if recipe.chat_template and own and recipe.chat_template.strip() != own.strip():
            found.append(
                Finding(
                    "warn",
                    "template_differs",
                    "the recipe's chat_template is another than the base's, which the base was taught with",
                    "Leave chat_template out to train with the base's own; the result carries the recipe's.",
                )
            )
    given = [("chat_template_kwargs", recipe.chat_template_kwargs)]
    given += [(f"data[{n}].chat_template_kwargs", source.chat_template_kwargs) for n, source in enumerate(recipe.data)]
    for field, variables in given:
        found += [
            Finding(
                "error",
                "template_variable",
                f"{field}.{name}: the chat template has no such variable",
                "Leave it out, or give chat_template one that has it.",
            )
            for name in variables
            if not mentions(template or "", name)
        ]
    return found


def _marks(recipe: Recipe, chat: ChatFormat, known: set[str]) -> list[Finding]:
    """Marks of turns that the tokenizer does not know: it would take them apart."""
    strange = [mark for mark in sorted(chat.role_marks) if known and not _is_known(mark, known)]
    if not strange:
        return []
    # Some models were trained with roles in plain text; that answers end with a token holds for all.
    trained_so = not recipe.chat_template and not any(mark in end for mark in strange for end in chat.ends)
    return [
        Finding(
            "warn" if trained_so else "error",
            "template_tokens",
            f"the template writes {', '.join(strange[:4])}, which are not tokens of this tokenizer",
            "Use the template that the model was trained with.",
        )
    ]


def _is_known(mark: str, known: set[str]) -> bool:
    # Words in square brackets are text in older templates, and tokens in newer ones.
    parts = _BRACKETED.findall(mark)
    return mark in known or mark.startswith("[") or (bool(parts) and all(part in known for part in parts))

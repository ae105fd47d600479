"""Prompts as other programs keep them: OpenAI's messages, templates of ``llm``, ``.prompt`` files (dotprompt), promptfoo.

A version here is a system and a user text with Jinja, and may hold beside them what makes its answer. What another form says
that no version can hold, or has no words for, is named and not carried; what cannot be said of the texts, such as a loop, is
refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json, parse_yaml
from llmops_tui.inference.answer_settings import AnswerSettings, read_settings
from llmops_tui.prompts.foreign_settings import Form, fields_to_write, read_fields, read_turns, turns_to_write
from llmops_tui.prompts.named_variables import unnamed
from llmops_tui.prompts.plain_templates import parts_of, variable_name, with_marks
from llmops_tui.prompts.promptfoo_files import read_configuration, write_configuration

FORMS: tuple[Form, ...] = get_args(Form)
# Python's string.Template, by which llm fills in.
_DOLLAR = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|\{(?P<braced>[_a-zA-Z][_a-zA-Z0-9]*)\}|(?P<bad>))"
)
# Handlebars: one backslash before it makes text of it, of several one goes. Neither inside: it is not closed.
_MUSTACHE = re.compile(r"(?P<slashes>\\*)\{\{(?:\{(?P<raw>.*?)\}\}\}|(?P<inner>.*?)\}\})?", re.DOTALL)
# What is a value or an operator of Handlebars where it stands alone, and no variable.
_WORDS_OF_HANDLEBARS = frozenset({
    "this", "true", "false", "null", "undefined", "else", "history", "if", "unless", "each", "with", "lookup", "log", "json",
    "role", "section", "media", "ifEquals", "unlessEquals",
})  # fmt: skip
_ROLE = re.compile(r"""role\s+['"](?P<role>[a-z]+)['"]""")
# Blank lines and a license's lines may come before it.
_FRONT = re.compile(
    r"\A(?:(?:#[^\n]*|[ \t]*)\n)*---[ \t]*\n(?P<head>.*?)\n?^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_LLM_TEXTS = {"prompt", "system"}
_LLM_OTHERS = {
    "name", "model", "defaults", "options", "extract", "extract_last", "schema_object", "fragments", "system_fragments", "tools",
    "functions", "attachments", "attachment_types",
}  # fmt: skip
_CHANGE_THE_TEXT = {"fragments", "system_fragments", "attachments", "attachment_types"}


@dataclass(frozen=True)
class ForeignPrompt:
    """What a file says: its texts, what it holds beside them, and the names of what is left."""

    system: str
    template: str
    left: tuple[str, ...] = ()
    settings: AnswerSettings | None = None


def form_of(name: str, text: str) -> Form | None:
    """In which of the forms a file is, by its ending and its first keys; none: it is one of ours, or none at all."""
    if name.endswith(".prompt"):
        return "dotprompt"
    if name.endswith(".json"):
        return None if _is_ours(text) else "openai"
    try:
        body = parse_yaml(text)
    except (yaml.YAMLError, ValueError):
        return None
    if not isinstance(body, dict) or "versions" in body:
        return None
    if "prompts" in body:
        return "promptfoo"
    if not body.keys() & _LLM_TEXTS:
        return None
    return "llm" if body.keys() <= _LLM_TEXTS | _LLM_OTHERS else None


def _is_ours(text: str) -> bool:
    try:
        body = parse_json(text)
    except ValueError:
        return False
    return isinstance(body, dict) and "versions" in body and "messages" not in body


def read_foreign(text: str, form: Form, source: str) -> ForeignPrompt:
    """The prompt of a file; the first where it has several.

    Raises:
        InputRefusedError: ``bad_prompt_file``: it is not of that form, or says what no version here can; with its place.
    """
    return read_variants(text, form, source)[0]


def read_variants(text: str, form: Form, source: str) -> list[ForeignPrompt]:
    """The prompts of a file, which are variants of one: a configuration of promptfoo may have several; raises as above."""
    readers: dict[Form, Callable[[str], ForeignPrompt]] = {
        "openai": _read_openai,
        "llm": _read_llm,
        "dotprompt": _read_dotprompt,
    }
    try:
        if form == "promptfoo":
            texts, left = read_configuration(text)
            found = [_made(one.system, one.user, {**one.settings}, left) for one in texts]
        else:
            found = [readers[form](text)]
        if not all(one.system.strip() or one.template.strip() for one in found):
            raise ValueError("it has no text")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise InputRefusedError(
            "bad_prompt_file",
            f"{source} as {form}: {' '.join(str(error).split())}",
            "A prompt here is a system and a user text.",
        ) from error
    return found


def write_foreign(
    system: str,
    template: str,
    form: Form,
    *,
    label: str = "prompt",
    values: Mapping[str, str] | None = None,
    settings: AnswerSettings | None = None,
) -> str:
    """A version as a file of a form; promptfoo's has its ``label``, and one test with the ``values`` of its variables.

    What it holds beside its texts is carried as far as the form has words for it; :func:`.left_behind` names the rest.

    Raises:
        InputRefusedError: ``cannot_export``: the templates say what that form cannot, which is named.
    """
    try:
        fields = fields_to_write(settings, form)
        if form == "promptfoo":
            return write_configuration(turns_to_write(system, template, settings), label, values or {})
        if form == "openai":
            turns = turns_to_write(system, template, settings)
            # What is no template is written so that a reader of templates takes it as text.
            texts = [
                (role, text if is_template else with_marks(text.replace("\0", ""))) for role, text, is_template in turns
            ]
            body = {"messages": [{"role": role, "content": text} for role, text in texts], **fields}
            return json.dumps(body, ensure_ascii=False, indent=2) + "\n"
        if form == "llm":
            both = {"system": _as_dollars(system), "prompt": _as_dollars(template)}
            # A prompt that is not there is the input alone.
            kept = {name: text for name, text in both.items() if text or name == "prompt"}
            return str(yaml.safe_dump({**fields, **kept}, sort_keys=False, allow_unicode=True, width=100_000))
        head = f'{{{{role "system"}}}}\n{_as_mustache(system)}\n{{{{role "user"}}}}\n' if system else ""
        return _with_front(head + _as_mustache(template), fields)
    except ValueError as error:
        raise InputRefusedError(
            "cannot_export", f"as {form}: {error}", "Export it as YAML, or simplify the template."
        ) from error


# ── OpenAI's messages ──


def _read_openai(text: str) -> ForeignPrompt:
    body = parse_json(text)
    messages, fields = body, {}
    if isinstance(body, dict):
        messages = body.get("messages")
        fields = {name: value for name, value in body.items() if name != "messages"}
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise ValueError("it has no list of messages")
    turns: list[tuple[str, str]] = []
    for number, message in enumerate(messages, 1):
        role, content = message.get("role"), _content(message.get("content"), number)
        if other := message.keys() - {"role", "content"}:
            raise ValueError(f"message {number} has {', '.join(sorted(map(str, other)))}")
        turns.append(("system" if role == "developer" else str(role), content))
    system, user, examples = read_turns(turns, "message")
    record, left = read_fields(fields, "openai")
    return _made(system, user, {**record, **examples}, left)


def _made(system: str, user: str, record: JsonObject, left: tuple[str, ...]) -> ForeignPrompt:
    if unused := unnamed(system, user, record):
        variables = {name: rule for name, rule in record["variables"].items() if name not in unused}
        record, left = {**record, "variables": variables}, (*left, *(f"variables.{name}" for name in unused))
    return ForeignPrompt(system, user, left, read_settings(record, "the file"))


def _content(content: object, number: int) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if not parts or len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"message {number} has content that is no text")
    return "".join(str(text) for text in texts)


# ── llm ──


def _read_llm(text: str) -> ForeignPrompt:
    body = parse_yaml(text)
    # A template may be a text alone.
    given: Mapping[str, object] = {"prompt": body} if isinstance(body, str) else body
    if not isinstance(given, dict):
        raise TypeError("it is no template: prompt and system are its texts")
    if unknown := given.keys() - _LLM_TEXTS - _LLM_OTHERS:
        raise ValueError(f"{', '.join(sorted(map(str, unknown)))}: no field of a template")
    if changing := sorted(name for name in given.keys() & _CHANGE_THE_TEXT if given[name]):
        raise ValueError(f"{', '.join(changing)}: they put text of other files into the prompt")
    texts = {name: given.get(name) or "" for name in _LLM_TEXTS}
    for name, one in texts.items():
        if not isinstance(one, str):
            raise TypeError(f"{name} is no text")
    beside = given.keys() & _LLM_OTHERS - _CHANGE_THE_TEXT - {"name"}
    record, left = read_fields({name: given[name] for name in given if name in beside}, "llm")
    return _made(_from_dollars(str(texts["system"])), _from_dollars(str(texts["prompt"]) or "$input"), record, left)


def _from_dollars(text: str) -> str:
    def variable(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["named"] or match["braced"]
        if name is None:
            raise ValueError(f"a $ alone at character {match.start() + 1}; a literal one is written $$")
        return f"\0{variable_name(name)}\0"

    return with_marks(_DOLLAR.sub(variable, text.replace("\0", "")))


def _as_dollars(text: str) -> str:
    made = ""
    for part, is_variable in parts_of(text):
        if is_variable and not part.isascii():
            raise ValueError(f"{part}: a variable's name has only the letters a to z there")
        made += f"${{{part}}}" if is_variable else part.replace("$", "$$")
    return made


# ── dotprompt ──


def _read_dotprompt(text: str) -> ForeignPrompt:
    # The line ends are the file's, not the prompt's.
    text = text.replace("\r\n", "\n").replace("\0", "")
    front = _FRONT.match(text)
    head = parse_yaml(front["head"]) if front is not None and front["head"].strip() else {}
    if not isinstance(head, dict):
        raise TypeError("what stands between --- and --- is no mapping")
    body = text[front.end() :].strip() if front is not None else text
    texts = {"system": "", "user": ""}
    role, at, piece, marked = "user", 0, "", False
    while (match := _MUSTACHE.search(body, at)) is not None:
        piece += body[at : match.start()] + match["slashes"][1:]
        at = match.end()
        if match["slashes"] == "\\":
            piece, at = piece + "{{", match.start() + len("\\{{")
            continue
        given = match["raw"] if match["raw"] is not None else match["inner"]
        if given is None:
            raise ValueError(f"the {{{{ at character {match.start() + 1} of the text is not closed")
        inner = given.strip()
        if (turn := _ROLE.fullmatch(inner)) is not None:
            texts[role] += piece
            role, piece, marked = _turn(turn["role"], texts), "", True
        elif inner.isidentifier() and inner not in _WORDS_OF_HANDLEBARS:
            piece += f"\0{variable_name(inner)}\0"
        else:
            raise ValueError(f"{match[0]} is no plain variable")
    texts[role] += piece + body[at:]
    # The line breaks beside a mark of a role belong to the mark.
    system, user = (with_marks(one.strip("\n") if marked else one) for one in (texts["system"], texts["user"]))
    record, left = read_fields({str(name): value for name, value in head.items()}, "dotprompt")
    return _made(system, user, record, left)


def _turn(role: str, texts: Mapping[str, str]) -> str:
    if role not in texts:
        raise ValueError(f"a turn of role {role}: only one of system and then one of user are carried")
    if role == "system" and texts["user"].strip():
        raise ValueError("the system's text comes behind the user's")
    return role


def _as_mustache(text: str) -> str:
    made = ""
    parts = parts_of(text)
    for (part, is_variable), (after, variable_follows) in zip(parts, [*parts[1:], ("", False)], strict=True):
        if not is_variable:
            if "{{" in part or (variable_follows and part.endswith("{")):
                raise ValueError("a {{ as text, or a { right before a variable, cannot be written")
            # A backslash before a variable would make text of it.
            made += part + ("\\" if variable_follows and part.endswith("\\") else "")
        elif part in _WORDS_OF_HANDLEBARS:
            raise ValueError(f"{part} is a word of Handlebars, and cannot be a variable there")
        else:
            # Three braces say the same where nothing is escaped, and do not take a brace that follows for their own.
            made += f"{{{{{{{part}}}}}}}" if after.startswith("}") else f"{{{{{part}}}}}"
    return made


def _with_front(body: str, fields: JsonObject) -> str:
    """A file with its front matter; without fields it has none, unless its text would be taken for one."""
    if not fields and _FRONT.match(body) is None:
        return body
    if body != body.strip():
        why = "a text behind the fields between ---" if fields else "a text with --- at its beginning"
        raise ValueError(f"{why} keeps no blanks at its ends there")
    head = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100_000) if fields else "{}\n"
    return f"---\n{head}---\n{body}"

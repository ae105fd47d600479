"""The prompts of a promptfoo configuration: texts, files, patterns of files, each with its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_tui.evaluation.promptfoo import files
from llmops_tui.evaluation.promptfoo.keys import Prompt, Tell, refused
from llmops_tui.inference.nunjucks_values import json_text
from llmops_tui.regular_files import matching_files

_EXTENSIONS = (
    ".cjs", ".cts", ".js", ".mjs", ".mts", ".py", ".ts", ".csv", ".j2", ".json", ".jsonl", ".md", ".txt", ".yaml", ".yml",
    ".sh", ".bash", ".exe", ".bat", ".cmd", ".ps1", ".rb", ".pl",
)  # fmt: skip
_LINE = re.compile(r"\r?\n")
_ELSEWHERE = ("portkey://", "langfuse://", "helicone://")


@dataclass(frozen=True)
class PromptText:
    """A prompt's template, and the names by which tests refer to it."""

    raw: str
    label: str
    id: str = ""

    def is_meant(self, reference: str) -> bool:
        """Whether a test's ``prompts`` means it."""
        names = [name for name in (self.label, self.id) if name]
        exact = reference in names or any(name.startswith(f"{reference}:") for name in names)
        return exact or (reference.endswith("*") and any(name.startswith(reference[:-1]) for name in names))


def read_prompts(given: Any, folder: Path, tell: Tell) -> list[PromptText]:
    """All prompts; without any, the variable ``prompt`` is one.

    Raises:
        InputRefusedError: ``bad_suite``: one is code, is kept elsewhere, or is not there.
    """
    if not given:
        given = ["{{prompt}}"]
    if isinstance(given, str):
        given = [given]
    if isinstance(given, dict):
        named = [Prompt(raw=str(raw), label=str(label)) for raw, label in given.items()]
    elif isinstance(given, list):
        named = [_named(one, f"prompts[{number}]", tell) for number, one in enumerate(given)]
    else:
        raise refused("prompts", "they are a text, a list or a mapping of names")
    return [made for number, one in enumerate(named) for made in _read(one, folder, f"prompts[{number}]")]


def _named(given: Any, where: str, tell: Tell) -> Prompt:
    if isinstance(given, str):
        return Prompt(raw=given)
    return Prompt.read(given, where, tell)


def _read(prompt: Prompt, folder: Path, where: str) -> list[PromptText]:
    raw = prompt.raw or prompt.id
    if not raw:
        raise refused(where, "it has no text")
    if raw.startswith(_ELSEWHERE):
        raise refused(where, f"{raw} is kept in another service", "Put its text in, or name a file.")
    if raw.startswith("exec:"):
        raise refused(where, f"{raw} is code, and reading a configuration runs none")
    if not _may_be_file(raw):
        return [PromptText(raw, prompt.label or raw, prompt.id)]
    bare = raw.removeprefix(files.SCHEME)
    if not set("*?[") & set(bare):
        files.refuse_code(raw, where)
        if not (folder / bare).is_file():
            why = f"promptfoo takes {bare[:80]!r} for a file, which is not there"
            raise refused(where, why, "A prompt of two lines is always taken for a text.")
    elif not bare.startswith("/") and not matching_files(folder, bare.removeprefix("./")):
        return [PromptText(raw, prompt.label or raw, prompt.id)]
    return [made for path in files.found_files(folder, raw, where) for made in _of_file(path, prompt, where)]


def _may_be_file(text: str) -> bool:
    """Whether promptfoo looks for a file of that name."""
    if "\n" in text:
        return False
    ends = text.split(":")[-2:]
    dotted = text[-3:-2] == "." or text[-4:-3] == "."
    named = any(end.endswith(_EXTENSIONS) for end in ends)
    return text.startswith(files.SCHEME) or named or dotted or any(c in text for c in "*/\\")


def _of_file(path: Path, prompt: Prompt, where: str) -> list[PromptText]:
    text = files.read_text(path, where)
    label, kind = prompt.label, path.suffix
    if kind == ".txt":
        parts = [part.strip() for part in _parts(text)]
        return [PromptText(p, f"{label}: {path}: {p}" if label else f"{path}: {p}") for p in parts if p]
    if kind == ".jsonl":
        lines = [line for line in _LINE.split(text) if line]
        several = len(lines) > 1
        return [PromptText(one, f"{label or path}: {one}" if several else label or str(path)) for one in lines]
    if kind == ".csv":
        return _of_table(text, label, where)
    if kind in {".yaml", ".yml", ".json"}:
        body = files.json_of(text, where) if kind == ".json" else files.parsed(text, where)
        made = json_text(files.external(body, path.parent, where))
        return [PromptText(made, label or f"{path}: {made}")]
    if kind in {".md", ".j2"}:
        return [PromptText(text, label or f"{path}: {text[:50]}...")]
    raise refused(where, f"{path.name}: prompts are .txt, .md, .j2, .json, .jsonl, .yaml and .csv files")


def _parts(text: str) -> list[str]:
    parts: list[list[str]] = [[]]
    for line in _LINE.split(text):
        if line.strip() == "---":
            parts.append([])
        else:
            parts[-1].append(line)
    return ["\n".join(part) for part in parts]


def _of_table(text: str, label: str, where: str) -> list[PromptText]:
    if "," not in text:
        lines = [line for line in _LINE.split(text) if line.strip()]
        if lines and lines[0].strip().lower() == "prompt":
            lines = lines[1:]
        return [PromptText(line, label or f"Prompt {n} - {line}") for n, line in enumerate(lines, 1)]
    rows = [{k.strip(): v.strip() for k, v in row.items()} for row in files.table(text, where)]
    rows = [row for row in rows if row.get("prompt")]
    if not rows:
        raise refused(where, "the table has no column prompt")
    return [
        PromptText(row["prompt"], row.get("label") or label or f"Prompt {n} - {row['prompt']}")
        for n, row in enumerate(rows, 1)
    ]

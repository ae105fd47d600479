"""The menu of operations on a version, and the prompt for their arguments."""

from __future__ import annotations

from typing import Any

from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import LlmopsError
from llmops_tui.user_files import with_home
from llmops_tui.workspace.layout import Workspace
from screens.datasets.operation import Export, Operation, Rejects, Split, Synthesis
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

Chosen = Operation | Split | Export | Rejects | Synthesis
# Operation, title, note, what is asked for; nothing where it starts at once. An example is no value: it says "such as".
_OPERATIONS: tuple[tuple[str, str, str, str], ...] = (
    ("dedup", "Deduplicate", "remove rows with the same content, whatever their ids", ""),
    ("dedup-row", "Deduplicate whole rows", "only rows that are the same in all columns", ""),
    ("dedup-text", "Deduplicate by text", "whatever the roles, images and other columns are", ""),
    ("dedup-near", "Deduplicate, near too", "also near-duplicates that share four fifths", ""),
    (
        "dedup-meaning",
        "Deduplicate by meaning",
        "rows that say the same in other words; M embeds",
        "the least cosine, from 0 to 1",
    ),
    ("against", "Remove another dataset's rows", "such as an evaluation set", "name of that dataset"),
    ("redact", "Redact", "replace personal data with placeholders such as [EMAIL]", ""),
    ("pseudonymise", "Pseudonymise", "pseudonyms that a key reverses", "key file; created if it does not exist"),
    ("reveal", "Undo pseudonyms", "with the key that made them", "key file"),
    (
        "split",
        "Split",
        "into parts without duplicates across",
        "each part with its share; may follow: stratify=COLUMN group=COLUMN near synthetic=train seed=0",
    ),
    ("sample", "Sample", "some rows by seed", "number of rows, or a share such as 0.1, and a seed"),
    ("sort", "Sort", "by an SQL expression", "SQL expression"),
    ("map", "Compute a column", "by an SQL expression over the row", "column = SQL expression"),
    ("select", "Choose columns", "keep some, rename with OLD=NEW", "columns, separated by spaces"),
    ("concat", "Concatenate", "append other datasets to this one", "names of the others"),
    ("mix", "Mix", "by weight", "this one's weight, then NAME=WEIGHT of the others, and rows=N"),
    ("synthesise", "Synthesise or augment", "rows that a model writes, other words, noise; what it takes is shown", ""),
    (
        "export",
        "Export",
        "to a file, which is read back and verified",
        "path; the suffix sets the type: .jsonl .csv .parquet .db …",
    ),
    ("rejects", "Show what was rejected", "of an import, or of rows that a model wrote, with reasons", ""),
)


# What the field holds until something else is written.
_DEFAULTS = {"split": "train=0.9 eval=0.1", "dedup-meaning": "0.95"}
# What is asked for is a path.
_PATHS = {"export", "pseudonymise", "reveal"}


async def choose_operation(shell: Shell, version: DatasetVersion) -> Chosen | None:
    """What is to be made of the version; none where that was left.

    Raises:
        LlmopsError: what was written cannot be read, or the key would lie beside the data.
    """
    choices = [Choice(name, title, note) for name, title, note, _ in _OPERATIONS]
    chosen = await shell.ask(ChoiceDialog(f"Operations on {version.ref}", choices))
    operation = next((o for o in _OPERATIONS if o[0] == chosen), None)
    if operation is None:
        return None
    name, title, _, hint = operation
    asked = LineDialog(f"{title}: {version.ref}", hint, _DEFAULTS.get(name, ""), path=name in _PATHS)
    text = await shell.ask(asked) if hint else ""
    if hint and not text:
        return None
    try:
        return _read(shell.services.workspace, version, name, text or "")
    except ValueError as error:
        raise LlmopsError("usage", f"{text!r} cannot be read: {error}") from error


def _read(workspace: Workspace, version: DatasetVersion, name: str, text: str) -> Chosen:
    """What was chosen, with what was written for it."""
    if name in {"pseudonymise", "reveal"}:
        key = with_home(text).resolve()
        if workspace.root in key.parents:
            raise LlmopsError(
                "key_in_workspace", f"{key} is inside the workspace", "Keep the key separate from the data."
            )
        return Operation(version, name, {"key": str(key)})
    if name == "split":
        return _split(version, text.split())
    if name == "export":
        return Export(version, with_home(text).resolve())
    if name in {"rejects", "synthesise"}:
        return Rejects(version) if name == "rejects" else Synthesis(version)
    operation, parameters, others = _plain(name, text)
    return Operation(version, operation, parameters, tuple(others))


def _split(version: DatasetVersion, words: list[str]) -> Split:
    """``train=0.9 eval=0.1 stratify=COLUMN near seed=0``."""
    pairs = dict(w.partition("=")[::2] for w in words)
    options: dict[str, Any] = {k: pairs.pop(k) for k in ("stratify", "group", "synthetic") if k in pairs}
    options["near"] = pairs.pop("near", None) is not None or None
    options["seed"] = int(pairs.pop("seed", 0) or 0)
    try:
        parts = {part: float(share) for part, share in pairs.items()}
    except ValueError as error:
        raise LlmopsError(
            "usage", f"a share is not a number: {error}", "Write for example train=0.9 eval=0.1."
        ) from error
    return Split(version, parts, options)


def _plain(name: str, text: str) -> tuple[str, dict[str, Any], list[str]]:
    """An operation with its parameters and further inputs, read from what was typed."""
    words = text.split()
    if name.startswith("dedup"):
        return "dedup", _duplicates(name.removeprefix("dedup").strip("-"), text), []
    if name == "against":
        return "dedup", {}, [text.strip()]
    if name == "sample":
        amount = float(words[0])
        size: dict[str, Any] = {"share": amount} if amount < 1 else {"rows": int(amount)}
        return "sample", size | {"seed": int(words[1]) if len(words) > 1 else 0}, []
    if name == "sort":
        return "sort", {"by": text}, []
    if name == "map":
        column, _, expression = text.partition("=")
        return "map", {"column": column.strip(), "expression": expression.strip()}, []
    if name == "select":
        pairs = [w.partition("=") for w in words]
        return "select", {"columns": [o for o, _, _ in pairs], "names": {o: n for o, _, n in pairs if n}}, []
    return _mixed(words) if name == "mix" else (name, {}, words)


def _duplicates(by: str, text: str) -> dict[str, Any]:
    """What makes rows duplicates: their meaning, nearly the same text, or the same ``by`` what was chosen."""
    if by == "meaning":
        return {"method": "meaning", "threshold": float(text)}
    return {"method": "near"} if by == "near" else {"method": "exact", "same": by or "content"}


def _mixed(words: list[str]) -> tuple[str, dict[str, Any], list[str]]:
    """``1 other=2 rows=1000``: the weight of the open version, then those of others."""
    pairs = [w.partition("=") for w in words[1:]]
    rows = next((int(n) for o, _, n in pairs if o == "rows"), None)
    others = [(o, float(n or 1)) for o, _, n in pairs if o != "rows"]
    parameters: dict[str, Any] = {"weights": [float(words[0]), *(w for _, w in others)]}
    return "mix", parameters | ({"rows": rows} if rows else {}), [o for o, _ in others]

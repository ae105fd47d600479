"""The operations of the datasets screen: a menu, a line for what each needs, and the version it makes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from screens.datasets.commands import follow, start
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetVersion
    from screens.datasets.screen import DatasetsScreen

# Operation, title, note, what is asked for; nothing where it starts at once.
_OPERATIONS: tuple[tuple[str, str, str, str], ...] = (
    ("dedup", "Deduplicate", "leave exact duplicates out", ""),
    ("dedup-near", "Deduplicate, near too", "and what is four fifths the same", ""),
    ("against", "Leave another dataset's rows out", "such as an evaluation set", "name of that dataset"),
    ("redact", "Redact", "personal data becomes [EMAIL] and the like", ""),
    ("pseudonymise", "Pseudonymise", "stand-ins that a key undoes", "file of the key; made where there is none"),
    ("reveal", "Undo pseudonyms", "with the key they were made with", "file of the key"),
    (
        "split",
        "Split",
        "into parts without duplicates across",
        "train=0.9 eval=0.1   then stratify=COLUMN group=COLUMN near seed=0",
    ),
    ("sample", "Sample", "some rows by seed", "number of rows, or a share such as 0.1, and a seed"),
    ("sort", "Sort", "by an SQL expression", "SQL expression"),
    ("map", "Compute a column", "by an SQL expression over the row", "column = SQL expression"),
    ("select", "Choose columns", "keep some, rename with OLD=NEW", "columns, with blanks between"),
    ("concat", "Concatenate", "others behind this one", "names of the others"),
    ("mix", "Mix", "by weight", "this one's weight, then NAME=WEIGHT of the others, and rows=N"),
    ("export", "Export", "to a file, which is read again", "path; the suffix says how: .jsonl .csv .parquet .db …"),
    ("rejects", "Show what was set apart", "by the import, with reasons", ""),
)


def ask_for_files(screen: DatasetsScreen) -> None:
    """Ask for a path and look at it before anything is read."""

    def answered(text: str | None) -> None:
        if text:
            from screens.datasets.import_screen import open_import

            screen.act("import", open_import, screen, [Path(p).expanduser() for p in _paths(text)])

    hint = "JSONL, JSON, CSV, TSV, Parquet, text, Markdown, SQLite, dataset folder, .gz, .zst. Nothing is read unasked."
    screen.app.push_screen(LineDialog("Path of a file or folder", hint), answered)


def _paths(text: str) -> list[str]:
    import shlex

    if Path(text).expanduser().exists():
        return [text]
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def choose_operation(screen: DatasetsScreen) -> None:
    """The menu of operations."""
    version = screen.version
    if version is None:
        screen.app.say("There is no dataset yet: i imports one.", severity="warning")
        return

    def chosen(name: str | None) -> None:
        operation = next((o for o in _OPERATIONS if o[0] == name), None)
        if operation is None:
            return
        name, title, _, hint = operation
        if not hint:
            _with_text(screen, name, "")
            return
        screen.app.push_screen(
            LineDialog(f"{title}: {version.ref}", hint), lambda text: _with_text(screen, name, text) if text else None
        )

    choices = [Choice(name, title, note) for name, title, note, _ in _OPERATIONS]
    screen.app.push_screen(ChoiceDialog(f"Operations on {version.ref}", choices), chosen)


def _with_text(screen: DatasetsScreen, name: str, text: str) -> None:
    """Start the operation that was chosen, with what was typed for it."""
    try:
        _begin(screen, name, text)
    except (ValueError, LlmopsError) as error:
        failure = error if isinstance(error, LlmopsError) else LlmopsError("usage", f"{text!r} cannot be read: {error}")
        screen.app.report(failure)


def _begin(screen: DatasetsScreen, name: str, text: str) -> None:
    version = screen.version
    assert version is not None
    if name in {"pseudonymise", "reveal"}:
        _with_key(screen, name, Path(text.strip()).expanduser())
    elif name == "split":
        screen.act("operate", _split, screen, version, text.split())
    elif name == "export":
        screen.act("export", _export, screen, version, Path(text.strip()).expanduser().resolve())
    elif name == "rejects":
        from screens.datasets.rejects_screen import open_rejects

        screen.act("rejects", open_rejects, screen, version)
    else:
        operation, parameters, others = _plain(name, text)
        start(screen, operation, parameters, *others)


def _plain(name: str, text: str) -> tuple[str, dict[str, Any], list[str]]:
    """An operation with its parameters and further inputs, read from what was typed."""
    words = text.split()
    if name.startswith("dedup"):
        return "dedup", {"method": "near" if name == "dedup-near" else "exact"}, []
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


def _mixed(words: list[str]) -> tuple[str, dict[str, Any], list[str]]:
    """``1 other=2 rows=1000``: the weight of the open version, then those of others."""
    pairs = [w.partition("=") for w in words[1:]]
    rows = next((int(n) for o, _, n in pairs if o == "rows"), None)
    others = [(o, float(n or 1)) for o, _, n in pairs if o != "rows"]
    parameters: dict[str, Any] = {"weights": [float(words[0]), *(w for _, w in others)]}
    return "mix", parameters | ({"rows": rows} if rows else {}), [o for o, _ in others]


def _with_key(screen: DatasetsScreen, operation: str, key: Path) -> None:
    if screen.services.workspace.root in key.resolve().parents:
        raise LlmopsError("key_in_workspace", f"{key} is inside the workspace", "Keep the key apart from the data.")
    start(screen, operation, {"key": str(key.resolve())})


async def _split(screen: DatasetsScreen, version: DatasetVersion, words: list[str]) -> None:
    pairs = dict(w.partition("=")[::2] for w in words)
    options: dict[str, Any] = {k: pairs.pop(k) for k in ("stratify", "group") if k in pairs}
    options["near"] = pairs.pop("near", None) is not None or None
    options["seed"] = int(pairs.pop("seed", 0) or 0)
    try:
        parts = {part: float(share) for part, share in pairs.items()}
    except ValueError as error:
        raise LlmopsError("usage", f"a share is no number: {error}", "Such as train=0.9 eval=0.1.") from error
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(
            kind="dataset", title=f"split {version.ref}", entry="llmops_tui.datasets.operations.splitting:run_split",
            arguments={"ref": version.ref, "parts": parts, "options": options},
        )
    )  # fmt: skip
    made = await follow(screen, job, "")
    screen.app.say(", ".join(f"{p['dataset']}@{p['version']} {p['rows']:,} rows" for p in made["parts"]))
    await screen.refresh_data(f"{made['parts'][0]['dataset']}@{made['parts'][0]['version']}")


async def _export(screen: DatasetsScreen, version: DatasetVersion, target: Path) -> None:
    there = await asyncio.to_thread(target.exists)
    if there:
        sure = await screen.app.push_screen_wait(ConfirmDialog(f"{target} is there already.", "Write over it?"))
        if not sure:
            return
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(
            kind="export", title=f"export {version.ref}", entry="llmops_tui.datasets.exporting:run_export_job",
            arguments={"ref": version.ref, "target": str(target), "form": None, "file_type": None, "overwrite": there},
        )
    )  # fmt: skip
    made = await follow(screen, job, "")
    if made["reads_back"]:
        screen.app.say(f"{made['path']}: {made['rows']:,} rows; reading it again gives the same rows.")
    else:
        screen.app.say(
            f"{made['path']}: importing it gives something else: {made['differs']}", severity="warning", seconds=12
        )

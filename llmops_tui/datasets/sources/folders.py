"""Folders and archives: which of their files are read, and which are not, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llmops_tui.datasets.sources.archives import members_of
from llmops_tui.datasets.sources.base import TABLES, Source
from llmops_tui.datasets.sources.signatures import HEAD_BYTES
from llmops_tui.datasets.sources.streams import SUFFIXES, check_encoding, open_stream
from llmops_tui.errors import InputRefusedError

BY_SUFFIX = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".txt": "text", ".text": "text", ".md": "document",
    ".markdown": "document", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
    ".xlsx": "workbook", ".xlsm": "workbook",
}  # fmt: skip
_ROWS = frozenset({"jsonl", "json", "parquet", "workbook", *TABLES})
# What programs write beside the data.
_BESIDE = frozenset({"dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json"})
_SHOWN = 12


def suffix_of(path: Path) -> str:
    """The suffix that tells what a file is, without that of its compression."""
    return next((s.lower() for s in reversed(path.suffixes) if s.lower() not in SUFFIXES), "")


def folder_sources(path: Path, unit: str, encoding: str, find: Callable[..., list[Source]]) -> list[Source]:
    """A dataset folder of Hugging Face, one of data files, or one of Markdown and text files.

    Raises:
        InputRefusedError: it contains nothing that can be imported.
    """
    files = [
        p for p in sorted(path.rglob("*")) if p.is_file() and not any(x[:1] == "." for x in p.relative_to(path).parts)
    ]
    arrows = [p for p in files if p.match("data-*.arrow")] or [p for p in files if p.suffix == ".arrow"]
    if arrows:
        made = [Source(p, "arrow", split=p.parent.name if p.parent != path else "") for p in arrows]
        return _told(path, made, files)
    data = [p for p in files if BY_SUFFIX.get(suffix_of(p)) in _ROWS and p.name not in _BESIDE]
    if data:
        found = [source for p in data for source in find(p, encoding=encoding)]
        return _told(path, with_splits(found), files)
    texts = [p for p in files if p.suffix in {".md", ".markdown", ".txt"}]
    if texts:
        return _told(path, [Source(path, "document", unit=unit, encoding=check_encoding(encoding))], files, texts)
    raise InputRefusedError(
        "nothing_to_import",
        f"{path} contains no file that can be imported",
        "llmops data import -h lists the file types.",
    )


def with_splits(sources: list[Source]) -> list[Source]:
    """The files of a folder or an archive, each of the split that its name says, where these differ."""
    splits = [_split_of(Path(s.member) if s.member else s.path) for s in sources]
    alike = len(set(splits)) < 2
    return [replace(s, split="" if alike else split) for s, split in zip(sources, splits, strict=True)]


def told_splits(sources: list[Source]) -> str:
    """What is told of rows that get a split by their file; nothing where none does."""
    values = list(dict.fromkeys(source.split for source in sources if source.split))
    return f"where a row has no column 'split', it gets one by its file: {_names(values)}" if values else ""


def _told(path: Path, sources: list[Source], files: list[Path], read: list[Path] | None = None) -> list[Source]:
    """The sources, the first of which says what is read, and what of the folder is not."""
    taken = set(read or [source.path for source in sources])
    left = [str(p.relative_to(path)) for p in files if p not in taken and p.name not in _BESIDE]
    kinds = sorted({source.type for source in sources})
    told = (
        f"the folder holds files of {len(kinds)} kinds, all of which are read: {', '.join(kinds)}"
        if len(kinds) > 1
        else ""
    )
    beside = f"not imported: {_names(left)}" if left else ""
    return [replace(sources[0], told="; ".join(filter(None, (told, told_splits(sources), beside)))), *sources[1:]]


def chosen_members(path: Path, name: str) -> tuple[list[str], str]:
    """The files of an archive that are read, and what is said of the others: the one asked for, or all if they are alike.

    Raises:
        InputRefusedError: there is no such file, none that can be read, or several that are not alike.
    """
    names = [member.name for member in members_of(path)]
    if name:
        if name not in names:
            raise InputRefusedError("table_missing", f"{path} has no file {name!r}", f"Its files: {_names(names)}")
        return [name], ""
    data = [n for n in names if BY_SUFFIX.get(suffix_of(Path(n))) in _ROWS and Path(n).name not in _BESIDE]
    if not data:
        raise InputRefusedError(
            "nothing_to_import",
            f"{path} contains no JSON, JSON Lines, CSV or TSV file: {_names(names) or 'it is empty'}",
            "Unpack it, or choose a file inside it with --table NAME.",
        )
    if len({_look(path, n) for n in data}) > 1:
        raise InputRefusedError(
            "table_needed",
            f"{path} contains {len(data)} files that are not alike: {_names(data)}",
            "Choose one with --table NAME.",
        )
    left = [n for n in names if n not in data]
    return data, f"not imported: {_names(left)}" if left else ""


def head_of(path: Path, member: str) -> bytes:
    """The first bytes of a file inside an archive."""
    with open_stream(path, member=member) as stream:
        return stream.read(HEAD_BYTES)


def _look(path: Path, member: str) -> tuple[str, bytes]:
    """What files that are alike have in common: their kind, and of tables the header."""
    kind = BY_SUFFIX[suffix_of(Path(member))]
    if kind not in TABLES:
        return kind, b""
    with open_stream(path, member=member) as stream:
        return kind, stream.readline(HEAD_BYTES).strip()


def _names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _split_of(path: Path) -> str:
    stem = path.name.partition(".")[0]
    return next((s for s in ("train", "validation", "valid", "test", "dev", "eval") if stem.startswith(s)), stem)

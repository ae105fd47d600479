"""The indexes of a workspace: versions by name and number, each a record beside the folder that has its files.

``indexes/NAME/3.json`` is a version and names its folder, ``indexes/NAME/3-1f0c…``. A record is written when its folder is
whole, so that whoever is killed leaves the versions that were there; a folder that no record names is cleared away by the next
one who builds. Files of a version never change: a version that has to lose a document gets another folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import cast

from llmops_tui.embeddings.embedder import EmbedderRecord, EmbedderSpec
from llmops_tui.embeddings.nearest import Nearest
from llmops_tui.embeddings.vector_file import VectorFile
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import parse_json
from llmops_tui.names import RULE, is_name
from llmops_tui.regular_files import read_regular
from llmops_tui.retrieval.records import ChunkerRecord, IndexRecord, SourceRecord
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget, maintenance_lock
from llmops_tui.workspace.files import make_folder_within, reason, sync_folder
from llmops_tui.workspace.layout import Workspace, within
from llmops_tui.workspace.locks import is_held, locked, try_lock
from llmops_tui.workspace.marker import existing
from llmops_tui.workspace.written import write_noted

FOLDER = "indexes"
VECTORS = "vectors"
BUILDING, EMBEDDED, CONTEXTS = ".building", "embedded", "contexts"
_LOCK = "build.lock"
_WAIT_SECONDS = 10.0
_ADVICE = "llmops index list shows them; llmops index build makes one."


class Index:
    """A version of an index."""

    def __init__(self, home: Path, record: IndexRecord) -> None:
        self.record = record
        self.folder = within(home, record["folder"])

    @property
    def ref(self) -> str:
        """How to name it: ``manual@3``."""
        return f"{self.record['name']}@{self.record['number']}"

    @property
    def spec(self) -> EmbedderSpec | None:
        """The embedder of its vectors; none where it has none."""
        embedder = self.record["embedder"]
        return None if embedder is None else EmbedderSpec(**embedder)

    @property
    def vectors(self) -> VectorFile:
        """The vectors of its chunks, of the chunk with number 1 first.

        Raises:
            LlmopsError: ``index_damaged``: they are not there, or not all.
        """
        found = VectorFile(self.folder / VECTORS, self.record["dimensions"])
        if not found.has(self.record["chunks"]):
            raise _damaged(self.folder / VECTORS, f"it does not have {self.record['chunks']:,} vectors")
        return found

    @cached_property
    def nearest(self) -> Nearest:
        """What finds the nearest chunks."""
        return Nearest(self.vectors)


class IndexStore:
    """The indexes of one workspace."""

    def __init__(self, catalog: Catalog, *, maintained: bool = False) -> None:
        """``maintained``: the caller holds the lock of whoever maintains the workspace."""
        self.catalog = catalog
        self._maintained = maintained

    @property
    def workspace(self) -> Workspace:
        """The workspace they are in."""
        return self.catalog.workspace

    @property
    def root(self) -> Path:
        """The folder of all indexes."""
        return self.workspace.root / FOLDER

    # ── finding ──

    def names(self) -> list[str]:
        """The names of all indexes that have a version."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if is_name(path.name) and self._numbers(path.name))

    def all(self) -> list[Index]:
        """The newest version of each index, by name, but for those whose record is damaged."""
        return [index for name in self.names() for index in self._if_readable(name, self._numbers(name)[-1])]

    def log(self, name: str) -> list[Index]:
        """The versions of one index, the newest first.

        Raises:
            NotFoundError: there is none.
        """
        numbers = self._numbers(name)
        if not numbers:
            raise NotFoundError("index", name, _ADVICE)
        return [self._read(name, number) for number in reversed(numbers)]

    def versions(self, name: str) -> list[Index]:
        """As :meth:`log`, but for those whose record is damaged.

        Raises:
            NotFoundError: there is no index of this name.
        """
        numbers = self._numbers(name)
        if not numbers:
            raise NotFoundError("index", name, _ADVICE)
        return [index for number in reversed(numbers) for index in self._if_readable(name, number)]

    def readable(self) -> Iterator[Index]:
        """All versions of all indexes, but for those whose record is damaged."""
        for name in self.names():
            for number in self._numbers(name):
                yield from self._if_readable(name, number)

    def damaged(self) -> list[LlmopsError]:
        """What is wrong with the newest versions that cannot be read."""
        found = []
        for name in self.names():
            try:
                self.get(name)
            except LlmopsError as error:
                found.append(error)
        return found

    def _if_readable(self, name: str, number: int) -> list[Index]:
        with suppress(LlmopsError):
            return [self._read(name, number)]
        return []

    def _folders_of(self, name: str, number: int) -> list[Path]:
        """The folder of a version; where its record is damaged, all that may be."""
        if index := self._if_readable(name, number):
            return [index[0].folder]
        return sorted(self.home(name).glob(f"{number}-*"))

    def get(self, ref: str) -> Index:
        """A version by ``name``, the newest, or ``name@3``.

        Raises:
            NotFoundError: there is no such index or version.
        """
        name, _, wanted = ref.partition("@")
        numbers = self._numbers(name)
        if not numbers:
            raise NotFoundError("index", name, _ADVICE)
        if not wanted:
            return self._read(name, numbers[-1])
        if not wanted.isascii() or not wanted.isdecimal() or int(wanted) not in numbers:
            raise NotFoundError("index version", ref, f"llmops index show {name} shows them.")
        return self._read(name, int(wanted))

    def newest(self, name: str) -> Index | None:
        """The newest version of an index; none where there is none."""
        numbers = self._numbers(name)
        return self._read(name, numbers[-1]) if numbers else None

    def home(self, name: str) -> Path:
        """The folder of an index.

        Raises:
            InputRefusedError: ``bad_name``: this is no name.
        """
        if not is_name(name):
            raise InputRefusedError("bad_name", f"{name!r} is not a name for an index", RULE)
        return self.root / name

    def _numbers(self, name: str) -> list[int]:
        home = self.home(name)
        if not home.is_dir():
            return []
        stems = [p.name.removesuffix(".json") for p in home.iterdir() if p.name.endswith(".json")]
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal())

    def _read(self, name: str, number: int) -> Index:
        home = self.home(name)
        return Index(home, _record(home / f"{number}.json", name, number))

    # ── keeping ──

    @contextmanager
    def building(self, name: str) -> Iterator[Path]:
        """Be alone with an index, and have its folder; what others left who were killed is cleared away, but for vectors.

        Raises:
            InputRefusedError: ``job_running``: another process is at it.
        """
        existing(self.workspace).refuse_if_read_only()
        home = self.home(name)
        for folder in (self.root, home):
            make_folder_within(folder)
        lock = try_lock(home / _LOCK)
        if lock is None:
            raise InputRefusedError(
                "job_running",
                f"the index {name} is being built or changed by another process",
                "llmops job list shows it.",
            )
        try:
            self._clear(name)
            yield home
        finally:
            _tidy(home)
            os.close(lock)

    def keep(self, staged: Path, record: IndexRecord) -> Index:
        """Give a staged folder its name, and from then on the version is there."""
        home = self.home(record["name"])
        final = within(home, record["folder"])
        if final.exists():
            # Of a kill before its record was written.
            self._delete([final])
        sync_folder(staged)
        staged.rename(final)
        sync_folder(home)
        self._write(record)
        return Index(home, record)

    def note_source(self, index: Index, source: SourceRecord, excluded: list[str]) -> Index:
        """Let a version say that its documents come from there, where that is elsewhere than before."""
        return self.note(index, {**index.record, "source": source, "excluded": excluded})

    def note(self, index: Index, changed: IndexRecord) -> Index:
        """Let a version say something else of where it comes from; what it finds stays as it is."""
        if changed == index.record:
            return index
        self._write(changed)
        return Index(self.home(changed["name"]), changed)

    def replace(self, staged: Path, record: IndexRecord, before: Index) -> Index:
        """As :meth:`keep`, in the place of a version that is there, whose folder goes."""
        made = self.keep(staged, record)
        if before.folder != made.folder:
            self._delete([before.folder])
        return made

    def _write(self, record: IndexRecord) -> None:
        write_noted(self.home(record["name"]) / f"{record['number']}.json", json.dumps(record))

    def remove(self, name: str, numbers: list[int] | None = None) -> list[Index]:
        """Delete versions of an index, or all of it; returns those that are gone, but for those whose record is damaged.

        Raises:
            NotFoundError: there is no such index. InputRefusedError: ``job_running``.
        """
        versions = self.versions(name)
        gone = [number for number in self._numbers(name) if numbers is None or number in numbers]
        going = [index for index in versions if index.record["number"] in gone]
        with self.building(name) as home:
            folders = [path for number in gone for path in self._folders_of(name, number)]
            self._delete([*(home / f"{number}.json" for number in gone), *folders])
            if not self._numbers(name):
                self._delete([home])
        return going

    def abandon(self, name: str) -> None:
        """Let go of what builds that were killed left; for whoever is alone with the index."""
        self._clear(name)
        self._delete([self.home(name) / BUILDING])

    def left_over(self) -> Iterator[Path]:
        """What builds left that were killed, where no process is at work."""
        homes = sorted(self.root.iterdir()) if self.root.is_dir() else []
        for home in homes:
            if is_name(home.name) and home.is_dir() and not is_held(home / _LOCK):
                yield from self._unnamed(home) if self._numbers(home.name) else [home]

    def _unnamed(self, home: Path) -> list[Path]:
        """The folders of an index that no version has."""
        kept = {folder.name for number in self._numbers(home.name) for folder in self._folders_of(home.name, number)}
        return sorted(p for p in home.iterdir() if p.is_dir() and p.name not in kept)

    def _clear(self, name: str) -> None:
        """Take away folders that no version has; what was embedded of one that was being built is worth keeping."""
        if going := [path for path in self._unnamed(self.home(name)) if path.name != BUILDING]:
            self._delete(going)

    def _delete(self, paths: list[Path]) -> None:
        there = [path for path in paths if os.path.lexists(path)]
        with nullcontext(enter_result=True) if self._maintained else self._alone() as alone:
            if not alone:
                raise LlmopsError(
                    "keeping_busy", f"{self.workspace.root} is being backed up, restored or cleared", "Try again later."
                )
            forget(self.workspace, there)
            for path in there:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _alone(self) -> AbstractContextManager[bool]:
        return locked(maintenance_lock(self.workspace), _WAIT_SECONDS)


def _tidy(home: Path) -> None:
    """Leave nothing of a build that came to nothing, but for what it embedded, and the contexts it had written."""
    staged = home / BUILDING
    if staged.is_dir() and not any((staged / kept).is_dir() for kept in (EMBEDDED, CONTEXTS)):
        shutil.rmtree(staged, ignore_errors=True)
    with suppress(OSError):
        if [path.name for path in home.iterdir()] == [_LOCK]:
            (home / _LOCK).unlink()
            home.rmdir()


def _record(path: Path, name: str, number: int) -> IndexRecord:
    try:
        found = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        raise _damaged(path, reason(error)) from error
    if not isinstance(found, dict) or IndexRecord.__required_keys__ - set(found):
        raise _damaged(path, "it is not the record of an index")
    parts = ((SourceRecord, "source"), (ChunkerRecord, "chunker"), (EmbedderRecord, "embedder"))
    for kind, field in parts:
        value = found[field]
        absent = field == "embedder" and value is None
        if not absent and (not isinstance(value, dict) or set(value) != kind.__required_keys__):
            raise _damaged(path, f"its {field} is none")
    counts = ("documents", "chunks", "tokens", "dimensions")
    if not isinstance(found["folder"], str) or not all(isinstance(found[field], int) for field in counts):
        raise _damaged(path, "it is not the record of an index")
    if (found["name"], found["number"]) != (name, number):
        raise _damaged(path, f"it is that of {found['name']}@{found['number']}")
    return cast("IndexRecord", found)


def _damaged(path: Path, why: str) -> LlmopsError:
    return LlmopsError(
        "index_damaged",
        f"the index in {path} cannot be used: {why}",
        "Remove it, and build it again: llmops index remove NAME, llmops index build.",
    )

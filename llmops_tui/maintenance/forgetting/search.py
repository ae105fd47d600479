"""The search after an erasure: rows as rows, and every file by its bytes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.erasure_records import SearchedRecord
from llmops_tui.maintenance.forgetting.dataset_rows import named_rejects, named_rows, versions_by_content
from llmops_tui.privacy.person import Person
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

_AT_ONCE = 4 << 20
# Weights hold no texts; their headers, which may, are in the catalog.
WEIGHTS = (".gguf", ".safetensors")


def search_all(
    workspace: Workspace, person: Person, tell: Callable[[float, str], None] = lambda _share, _what: None
) -> SearchedRecord:
    """Search all of a workspace for a person; ``left`` are the paths of files, and versions, that still name them.

    Weights of models are not searched.
    """
    left: list[str] = []
    contents = versions_by_content(DatasetStore(Catalog(workspace)))
    for versions in contents.values():
        if named_rows(versions, person) is not None:
            left.append(f"dataset {versions[0].ref}")
        left += [f"rejected records of {v.ref}" for v in versions if named_rejects(workspace, v, person)]
    paths = list(_files(workspace.root))
    total = sum(size for _, size in paths) or 1
    done = 0
    for path, size in paths:
        if names_person(path, person):
            left.append(path.relative_to(workspace.root).as_posix())
        done += size
        tell(done / total, f"searching {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
    return {"files": len(paths), "bytes": done, "left": left}


def _files(root: Path) -> Iterator[tuple[Path, int]]:
    for folder, _folders, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder) / name
            with contextlib.suppress(OSError):
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode) and not name.endswith(WEIGHTS):
                    yield path, facts.st_size


def names_person(path: Path, person: Person) -> bool:
    """Whether the bytes of a file have an identifier; a file that went meanwhile has none."""
    overlap = 4 * person.longest
    with contextlib.suppress(OSError), path.open("rb") as file:
        tail = b""
        while part := file.read(_AT_ONCE):
            data = tail + part
            if person.may_be_in(data) and person.named_in(data.decode("utf-8", "replace")):
                return True
            tail = data[-overlap:]
    return False

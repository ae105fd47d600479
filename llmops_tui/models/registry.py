"""The models a workspace knows: by name, with their file's hash and header."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.models.gguf import read_header
from llmops_tui.workspace.catalogue import Catalogue
from llmops_tui.workspace.files import sha256_file

if TYPE_CHECKING:
    import duckdb

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_COLUMNS = "name, kind, path, sha256, size_bytes, header, added_at, verified_at"


@dataclass(frozen=True)
class Model:
    """One registered model."""

    name: str
    kind: str
    path: Path
    sha256: str
    size_bytes: int
    header: dict[str, Any]
    added_at: float
    verified_at: float | None

    @property
    def quantization(self) -> str:
        """Its quantization by name, such as ``Q8_0``."""
        return str(self.header.get("quantization", "unknown"))

    @property
    def present(self) -> bool:
        """Whether its file is there, with the size it had."""
        try:
            return self.path.stat().st_size == self.size_bytes
        except OSError:
            return False

    def as_dict(self) -> dict[str, Any]:
        """The model as the command line's JSON shows it."""
        return {
            "model": self.name, "kind": self.kind, "path": str(self.path), "sha256": self.sha256,
            "size_bytes": self.size_bytes, "added_at": self.added_at, "verified_at": self.verified_at,
            "present": self.present, **self.header,
        }  # fmt: skip


class ModelRegistry:
    """Add, find and verify models."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._root = catalogue.workspace.root

    def add(self, path: Path, name: str, progress: Callable[[float], None] | None = None) -> Model:
        """Register a GGUF file where it lies, after its header was checked.

        Raises:
            InputRefusedError: the name is taken or unfit, or the file is damaged.
        """
        if not _NAME.fullmatch(name):
            raise InputRefusedError(
                "bad_name", f"{name!r} cannot be a model's name", "Use letters, digits and . _ + - (100 at the most)."
            )
        path = path.expanduser().resolve()
        header = read_header(path)
        digest = sha256_file(path, progress)
        kind = "adapter" if header.summary()["type"] == "adapter" else "gguf"
        model = Model(name, kind, path, digest, path.stat().st_size, header.summary(), time.time(), time.time())

        def work(book: duckdb.DuckDBPyConnection) -> None:
            row = book.execute("SELECT sha256 FROM models WHERE name = ?", [name]).fetchone()
            if row is not None and row[0] != digest:
                raise InputRefusedError(
                    "name_taken", f"another file is registered as {name!r}", "Choose another name with --name."
                )
            book.execute(
                f"INSERT OR REPLACE INTO models ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    name, kind, self._stored_path(path), digest, model.size_bytes, json.dumps(model.header),
                    model.added_at, model.verified_at,
                ],
            )  # fmt: skip

        self._catalogue.write(work)
        return model

    def all(self) -> list[Model]:
        """Every model, by name."""
        rows = self._catalogue.read(
            lambda book: book.execute(f"SELECT {_COLUMNS} FROM models ORDER BY name").fetchall()
        )
        return [self._model(row) for row in rows]

    def get(self, name: str) -> Model:
        """One model by name.

        Raises:
            NotFoundError: no model has this name.
        """
        models = self.all()
        for model in models:
            if model.name == name:
                return model
        known = ", ".join(m.name for m in models) or "none yet; llmops model add FILE --name NAME"
        raise NotFoundError("model", name, f"Known: {known}.")

    def remove(self, name: str) -> None:
        """Forget a model; its file stays."""
        self.get(name)
        self._catalogue.write(lambda book: book.execute("DELETE FROM models WHERE name = ?", [name]))

    def verify(self, name: str, progress: Callable[[float], None] | None = None) -> Model:
        """Read the whole file again and compare its hash.

        Raises:
            InputRefusedError: the file changed since it was registered.
        """
        model = self.get(name)
        read_header(model.path)
        digest = sha256_file(model.path, progress)
        if digest != model.sha256:
            raise InputRefusedError(
                "model_changed",
                f"{model.path} is not the file that was registered as {name!r}: "
                f"SHA-256 {digest[:16]}… instead of {model.sha256[:16]}…",
                "Put the original back, or register this file under another name.",
            )
        self._catalogue.write(
            lambda book: book.execute("UPDATE models SET verified_at = ? WHERE name = ?", [time.time(), name])
        )
        return self.get(name)

    def _stored_path(self, path: Path) -> str:
        """Files inside the workspace are kept relative to it, so that the folder can be moved."""
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)

    def _model(self, row: tuple[Any, ...]) -> Model:
        path = Path(row[2])
        return Model(
            name=row[0],
            kind=row[1],
            path=path if path.is_absolute() else self._root / path,
            sha256=row[3],
            size_bytes=int(row[4]),
            header=json.loads(row[5]),
            added_at=float(row[6]),
            verified_at=row[7],
        )

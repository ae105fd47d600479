"""The models a workspace knows: by name, with their file's hash and header."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.models.adapter_fit import adapter_beside, fitting
from llmops_tui.models.aliases import AliasBook, alias_like
from llmops_tui.models.encoders import is_encoder
from llmops_tui.models.files import digest_of, digests_of, joined_digest, read_model_files, shards_of
from llmops_tui.models.gguf import read_header
from llmops_tui.models.names import check_name
from llmops_tui.models.records import ModelHeader, ModelRecord, Remote
from llmops_tui.models.safetensors import read_folder
from llmops_tui.user_files import with_home
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.json_columns import kept
from llmops_tui.workspace.layout import within
from llmops_tui.workspace.written import note_there

if TYPE_CHECKING:
    import duckdb

_WRITES = "text-generation"
_COLUMNS = "name, kind, path, sha256, size_bytes, header, added_at, verified_at"


@dataclass(frozen=True)
class Model:
    """One registered model."""

    name: str
    kind: str
    path: Path
    sha256: str
    size_bytes: int
    header: ModelHeader
    added_at: float
    verified_at: float | None
    # A model that is another one with an adapter beside it.
    origin: Model | None = None

    @property
    def base(self) -> Model:
        """The model whose weights are loaded: itself, or the one an adapter goes beside."""
        return self.origin or self

    @property
    def files(self) -> list[Path]:
        """The files it is made of."""
        if self.kind == "safetensors":
            return [self.path / name for name in self.header.get("files", [])]
        return shards_of(self.path)

    @property
    def places(self) -> set[Path]:
        """Its path and its files, each as it is registered and with links followed: all that must not go while it stays."""
        if self.kind == "remote":
            return set()
        named = (self.path, *self.files)
        return {*named, *(path.resolve() for path in named)}

    @property
    def quantization(self) -> str:
        """Its quantization by name, such as ``Q8_0``."""
        return str(self.header.get("quantization", "unknown"))

    @property
    def trouble(self) -> str:
        """What is wrong with its files, in two words; empty where they are there, with the size they had.

        A remote model has none.
        """
        if self.kind == "remote":
            return ""
        try:
            size = sum(p.stat().st_size for p in self.files)
        except (FileNotFoundError, NotADirectoryError):
            return "file missing"
        except OSError:
            return "file unreadable"
        return "" if size == self.size_bytes else "file changed"

    @property
    def writes(self) -> bool:
        """Whether it writes text, as its file says, or else its architecture; a remote model is taken to."""
        architecture = str(self.header.get("architecture") or "")
        return self.header.get("task", _WRITES) == _WRITES and not is_encoder(architecture)

    @property
    def present(self) -> bool:
        """Whether its files are there, with the size they had; a remote model is taken to be."""
        return not self.trouble

    @property
    def touched(self) -> bool:
        """Whether a file was written or put there since the hash was taken; its bytes may still be the same."""
        if self.kind == "remote":
            return False
        taken = max(self.added_at, self.verified_at or 0)
        return any(max(times.st_mtime, times.st_ctime) > taken for times in (path.stat() for path in self.files))

    def as_dict(self) -> ModelRecord:
        """The model as the command line's JSON shows it."""
        record: ModelRecord = {"model": self.name, "kind": self.kind}
        if self.kind == "remote":
            record["url"] = self.header["url"]
        else:
            record["path"] = str(self.path)
        record |= {
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "added_at": self.added_at,
            "verified_at": self.verified_at,
            "present": self.present,
            "trouble": self.trouble,
        }
        return {**record, **self.header}


def with_adapter(model: Model, adapter: Model) -> Model:
    """A model as it is with an adapter beside it."""
    digest = sha256_text(f"{model.sha256}+{adapter.sha256}")
    header = model.header | {"adapter": adapter.name}
    if own := adapter.header.get("chat_template"):
        # What it was trained with, where that is not the base's.
        header["chat_template"] = own
    return replace(model, name=f"{model.name}+{adapter.name}", sha256=digest, header=header, origin=model)


class ModelRegistry:
    """Add, find and verify models."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._workspace = catalog.workspace

    def add(
        self,
        path: Path,
        name: str,
        progress: Callable[[float], None] | None = None,
        origin: ModelHeader | None = None,
        *,
        move: bool = True,
        digests: Mapping[str, str] | None = None,
    ) -> Model:
        """Register a GGUF file, the first of several it is split into, or a folder of safetensors, where it lies.

        ``origin`` is where a file was fetched from: kept and shown beside what the file says of itself. Where the very
        same bytes are registered under the name, and are where they were, they stay there unless ``move``. ``digests`` are
        the SHA-256 of files that were just hashed, by name.

        Raises:
            InputRefusedError: the name is taken or unfit, or a file is damaged or missing.
        """
        check_name(name)
        try:
            path = with_home(path).resolve()
            folder = path.is_dir()
        except (OSError, RuntimeError) as error:
            raise InputRefusedError(
                "model_unreadable", f"cannot read {path}: {getattr(error, 'strerror', error)}"
            ) from error
        found: dict[Path, str] = {}

        def digest(files: list[Path]) -> str:
            found.update(digests_of(files, progress, digests))
            return joined_digest([(each, file.name) for file, each in found.items()])

        model = self._read_folder(path, name, digest) if folder else self._read_file(path, name, origin or {}, digest)
        known = next((m for m in self.all() if m.name == name and m.sha256 == model.sha256), None)
        if not move and known is not None and known.path.resolve() != path and known.present:
            return known
        stored = self._stored_path(path)
        for file, sha256 in found.items():
            if self._workspace.place_of(file) is not None:
                # Whatever lay there before. Where it cannot be noted, the catalog has its hash.
                with contextlib.suppress(OSError):
                    note_there(file, sha256)
        self._insert(model, stored)
        return replace(model, path=self._workspace.root / stored)

    def _read_file(self, path: Path, name: str, origin: ModelHeader, digest: Callable[[list[Path]], str]) -> Model:
        files, headers = read_model_files(path)
        header, found = headers[0], digest(files)
        summary = header.summary() | {"parameters": sum(h.parameter_count for h in headers)}
        summary |= origin | {"license": summary["license"] or origin.get("license")}
        kind = "adapter" if summary["type"] == "adapter" else "gguf"
        size = sum(h.size_bytes for h in headers)
        return Model(name, kind, path, found, size, summary, time.time(), time.time())

    def _read_folder(self, path: Path, name: str, digest: Callable[[list[Path]], str]) -> Model:
        folder = read_folder(path)
        found = digest(folder.files)
        size = sum(file.stat().st_size for file in folder.files)
        return Model(name, "safetensors", path, found, size, folder.summary(), time.time(), time.time())

    def add_remote(self, url: str, name: str, facts: Remote, key_env: str | None = None) -> Model:
        """Register a model behind a URL; ``facts`` are those of :func:`llmops_tui.inference.remote.probe_remote`.

        Raises:
            InputRefusedError: the name is taken or unfit.
        """
        check_name(name)
        header: ModelHeader = {
            "url": url,
            "remote_model": facts["remote_model"],
            "lacks": facts["lacks"],
            "server": facts.get("server", ""),
            "adapters": facts.get("adapters", []),
            "context_length": facts.get("context_length"),
            "key_env": key_env,
            "architecture": "remote",
            "quantization": "remote",
            "type": "model",
        }
        digest = sha256_text(f"{url}\n{facts['remote_model']}")
        model = Model(name, "remote", Path(), digest, 0, header, time.time(), None)
        self._insert(model, "")
        return model

    def check_free(self, name: str) -> None:
        """Refuse what is no name, and a name that a model or an alias has.

        Raises:
            InputRefusedError: ``bad_name``, ``name_taken``.
        """
        check_name(name)
        if any(model.name == name for model in self.all()):
            raise InputRefusedError("name_taken", f"there is a model {name} already", "Choose another name.")
        taken = self.catalog.read(lambda connection: alias_like(connection, name))
        if taken is not None:
            raise InputRefusedError(
                "name_taken",
                f"{taken[0]!r} is an alias of {taken[1]!r}",
                f"Choose another name, or remove the alias: llmops model alias --remove {taken[0]}",
            )

    def copy(self, model: Model, name: str, added_at: float) -> Model:
        """Register what a model is made of under a second name, which is free, too."""
        made = replace(model, name=name, added_at=added_at)
        self._insert(made, "" if model.kind == "remote" else self._stored_path(model.path))
        return made

    def _insert(self, model: Model, path: str) -> None:
        def work(connection: duckdb.DuckDBPyConnection) -> None:
            row = connection.execute("SELECT sha256 FROM models WHERE name = ?", [model.name]).fetchone()
            if row is not None and row[0] != model.sha256:
                raise InputRefusedError(
                    "name_taken", f"another model is registered as {model.name!r}", "Choose another name with --name."
                )
            taken = alias_like(connection, model.name)
            if taken is not None:
                raise InputRefusedError(
                    "name_taken",
                    f"{taken[0]!r} is an alias of {taken[1]!r}",
                    f"Choose another name with --name, or remove the alias: llmops model alias --remove {taken[0]}",
                )
            connection.execute(
                f"INSERT OR REPLACE INTO models ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    model.name,
                    model.kind,
                    path,
                    model.sha256,
                    model.size_bytes,
                    json.dumps(model.header),
                    model.added_at,
                    model.verified_at,
                ],
            )

        self.catalog.write(work)

    def all(self) -> list[Model]:
        """Every model, by name."""
        rows = self.catalog.read(
            lambda connection: connection.execute(f"SELECT {_COLUMNS} FROM models ORDER BY name").fetchall()
        )
        return [self._model(row) for row in rows]

    def runnable(self) -> list[Model]:
        """What can be asked for text: GGUF models, remote ones, and models with an adapter that fits them, ``base+adapter``."""
        models = self.all()
        found = []
        for model in models:
            if model.kind in {"adapter", "safetensors"} or not model.writes:
                continue
            found.append(model)
            found += [with_adapter(model, adapter) for adapter in fitting(models, model)]
        return found

    def get(self, name: str) -> Model:
        """One model by name; ``base+adapter`` names both.

        Raises:
            NotFoundError: no model has this name; ``adapter_misfit``: there are both, and the adapter is another model's.
        """
        models = {m.name: m for m in self.all()}
        if name in models:
            return models[name]
        base, _, adapter = name.partition("+")
        if base in models and adapter in models and models[adapter].kind == "adapter":
            return with_adapter(models[base], adapter_beside(models[base], adapter, models.values()))
        known = ", ".join(models) or "none yet; llmops model add FILE --name NAME"
        raise NotFoundError("model", name, f"Known: {known}.")

    def writing(self, name: str) -> Model:
        """One model by name, which is to be asked for text.

        Raises:
            NotFoundError: no model has this name.
            InputRefusedError: ``no_generation``: it was made to embed, rank or classify texts.
        """
        model = self.get(name)
        if not model.writes:
            raise InputRefusedError(
                "no_generation",
                f"{name} ({model.header.get('architecture')}) embeds, ranks or classifies texts, and writes none",
                "Choose a model that answers: llmops model list shows all.",
            )
        return model

    def remove(self, name: str) -> None:
        """Forget a model, and its aliases, each with its entry of the audit; its file stays."""
        self.get(name)
        AliasBook(self.catalog).forget(name, lambda db: db.execute("DELETE FROM models WHERE name = ?", [name]))

    def verify(self, name: str, progress: Callable[[float], None] | None = None) -> Model:
        """Read the whole file again and compare its hash.

        Raises:
            InputRefusedError: the file changed since it was registered.
        """
        model = self.get(name)
        if model.kind == "remote":
            raise InputRefusedError("not_a_file", f"{name!r} is a remote model; there is no file to verify")
        files = model.files
        if model.kind == "safetensors":
            read_folder(model.path)
        else:
            for file in files:
                read_header(file)
        digest = digest_of(files, progress)
        if digest != model.sha256:
            raise InputRefusedError(
                "model_changed",
                f"{model.path} is not the file that was registered as {name!r}: "
                f"SHA-256 {digest[:16]}… instead of {model.sha256[:16]}…",
                "Restore the original file, or register this file under another name.",
            )
        if self._workspace.read_only:
            return model
        self.catalog.write(
            lambda connection: connection.execute(
                "UPDATE models SET verified_at = ? WHERE name = ?", [time.time(), name]
            )
        )
        return self.get(name)

    def _stored_path(self, path: Path) -> str:
        """Files inside the workspace are kept relative to it, so that the folder can be moved."""
        return str(self._workspace.place_of(path) or path)

    def _model(self, row: tuple[Any, ...]) -> Model:
        # Logs, sockets and files are called after it.
        name = within(self._workspace.models, str(row[0])).name
        path = Path(row[2])
        header = kept("models", "header", name, row[5], kind=row[1])
        if row[1] != "remote" and not path.is_absolute():
            for part in path.parts:
                within(self._workspace.root, part)
        for file in header.get("files", []):
            within(path, str(file))
        return Model(
            name=name,
            kind=row[1],
            path=path if row[1] == "remote" else self._workspace.root / path,
            sha256=row[3],
            size_bytes=int(row[4]),
            header=header,
            added_at=float(row[6]),
            verified_at=row[7],
        )

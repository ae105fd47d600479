"""The vectors of a version: where they lie, of what text and by which model they are, and how they are opened."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TypedDict, cast

from llmops_tui.counts import counted
from llmops_tui.datasets.meaning.row_text import RowText
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.embeddings.embedder import EmbedderRecord, EmbedderSpec
from llmops_tui.embeddings.nearest import Nearest
from llmops_tui.embeddings.vector_file import VectorFile
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.files import make_folder_within, reason, write_atomic
from llmops_tui.workspace.written import write_noted

_ABOUT = "about.json"
_PARTIAL = "about.json.part"


class VectorsRecord(TypedDict):
    """What is said of the vectors of a version.

    ``of`` is the choice of text and ``embedded`` the same in words; ``computed`` of the vectors were made for this version,
    ``reused`` were there by the hash of their text, ``cut`` texts were too long for the model, ``without_text`` rows have none.
    """

    version: str
    sha256: str
    embedder: EmbedderRecord
    of: str
    embedded: str
    dimensions: int
    rows: int
    computed: int
    reused: int
    cut: int
    without_text: int
    bytes: int
    seconds: float


def vectors_folder(version: DatasetVersion) -> Path:
    """Where all vectors of a version lie."""
    return version.folder.parent / "vectors" / version.sha256


class MeaningIndex:
    """The vectors of a version by one embedder, of one choice of text."""

    def __init__(self, version: DatasetVersion, spec: EmbedderSpec, of: str = "") -> None:
        self.version = version
        self.spec = spec
        self.text = RowText(version.kind, version.columns, of)
        # Versions of the same rows share their files, and the text of a row depends on the kind that it is taken for.
        meant = json.dumps([version.kind, self.text.of])
        self.name = f"{spec.key}-{hashlib.sha256(meant.encode()).hexdigest()[:8]}"
        self.folder = vectors_folder(version) / self.name

    @property
    def ready(self) -> bool:
        """Whether all rows have their vectors."""
        return (self.folder / _ABOUT).exists()

    @cached_property
    def about(self) -> VectorsRecord:
        """What is said of them."""
        return _about_in(self.folder)

    @property
    def file(self) -> VectorFile:
        """Their files.

        Raises:
            LlmopsError: ``vectors_damaged``: they do not have the rows of the version.
        """
        found = VectorFile(self.folder, self.about["dimensions"])
        if not found.has(self.version.rows):
            raise _damaged(self.folder, f"it does not have the vectors of {counted(self.version.rows, 'row')}")
        return found

    @cached_property
    def nearest(self) -> Nearest:
        """What finds the nearest rows."""
        return Nearest(self.file)

    def begin(self) -> None:
        """Make the folder."""
        for folder in (self.folder.parent.parent, self.folder.parent, self.folder):
            make_folder_within(folder)

    def begun(self) -> int | None:
        """The dimensions of what an earlier try left; none where there was none."""
        try:
            return int(json.loads(read_regular(self.folder / _PARTIAL)))
        except (OSError, ValueError):
            return None

    def note_begun(self, dimensions: int) -> None:
        """Say of how many dimensions the vectors are that are being written."""
        write_atomic(self.folder / _PARTIAL, json.dumps(dimensions))

    def finish(self, about: VectorsRecord) -> None:
        """All is there; from now on it is ready."""
        VectorFile(self.folder, about["dimensions"]).finish()
        write_atomic(self.folder / _ABOUT, json.dumps(about))
        (self.folder / _PARTIAL).unlink(missing_ok=True)

    def mean_again(self) -> VectorsRecord:
        """Be the latest from now on, with this embedder's words before a question, which no row's vector depends on."""
        self.about["embedder"] = self.spec.as_dict()
        write_noted(self.folder / _ABOUT, json.dumps(self.about))
        return self.about

    def siblings(self) -> list[VectorFile]:
        """The vectors of other versions by the same embedder, whatever text of them it is."""
        places = sorted(about.parent for about in self.folder.parent.parent.glob(f"*/{self.spec.key}-*/{_ABOUT}"))
        return [VectorFile(place, _about_in(place)["dimensions"]) for place in places if place != self.folder]


def read_record(path: Path, needed: frozenset[str]) -> JsonObject:
    """What is said of vectors, or of the map that was made of them, with the fields that it needs.

    Raises:
        LlmopsError: ``vectors_damaged``: it cannot be read.
    """
    try:
        found = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        why = reason(error)
    else:
        missing = sorted(needed - set(found)) if isinstance(found, dict) else ["fields"]
        if not missing:
            return cast("JsonObject", found)
        why = f"it has no {missing[0]}"
    raise _damaged(path.parent, f"{path.name}: {why}")


def _damaged(folder: Path, why: str) -> LlmopsError:
    return LlmopsError(
        "vectors_damaged",
        f"the embeddings in {folder} cannot be read: {why}",
        "Remove that folder, and embed again: llmops data embed.",
    )


def _about_in(folder: Path) -> VectorsRecord:
    found = cast("VectorsRecord", read_record(folder / _ABOUT, VectorsRecord.__required_keys__))
    if not isinstance(found["embedder"], dict) or set(found["embedder"]) != EmbedderRecord.__required_keys__:
        raise _damaged(folder, f"{_ABOUT} does not say by what model they are")
    return found


def indexes_of(version: DatasetVersion) -> list[MeaningIndex]:
    """The vectors that a version has, the latest first."""
    found = []
    places = sorted(vectors_folder(version).glob(f"*/{_ABOUT}"), key=lambda p: p.stat().st_mtime, reverse=True)
    for about in places:
        index = _index_of(version, _about_in(about.parent))
        if index is not None and index.folder == about.parent:
            found.append(index)
    return found


def _index_of(version: DatasetVersion, record: VectorsRecord) -> MeaningIndex | None:
    """The vectors that a record is about; none where the same rows, taken for another kind, have no such text."""
    try:
        return MeaningIndex(version, EmbedderSpec(**record["embedder"]), record["of"])
    except InputRefusedError:
        return None


def find_index(version: DatasetVersion, model: str = "") -> MeaningIndex | None:
    """The latest vectors of a version; with ``model`` those by a model of this name."""
    return next((index for index in indexes_of(version) if model in {"", index.spec.model}), None)


def require_index(version: DatasetVersion, model: str = "") -> MeaningIndex:
    """The same.

    Raises:
        InputRefusedError: ``not_embedded``: there are none.
    """
    found = find_index(version, model)
    if found is None:
        by = f" by {model}" if model else ""
        raise InputRefusedError(
            "not_embedded",
            f"{version.ref} has no embeddings{by}",
            f"llmops data embed {version.ref} makes them; in the app: M in the datasets screen.",
        )
    return found


def pinned_index(version: DatasetVersion, embedder: object, of: str) -> MeaningIndex:
    """The vectors of a version by exactly this embedder, of this choice of text, as a recipe has them.

    Raises:
        InputRefusedError: ``not_embedded``: they are not there; ``bad_embedder``: a recipe cannot name an embedder so.
    """
    if not isinstance(embedder, dict) or set(embedder) != EmbedderRecord.__required_keys__:
        raise InputRefusedError(
            "bad_embedder",
            "embedder is not the record of an embedder",
            f"It has {', '.join(sorted(EmbedderRecord.__required_keys__))}, as a recipe names them.",
        )
    index = MeaningIndex(version, EmbedderSpec(**embedder), of)
    if not index.ready:
        raise InputRefusedError(
            "not_embedded",
            f"{version.ref} has no embeddings by {index.spec.model} with SHA-256 {index.spec.sha256[:12]}, of {index.text.told}",
            f"llmops data embed {version.ref} --model NAME --of {index.text.of} makes them, NAME being that model here.",
        )
    return index

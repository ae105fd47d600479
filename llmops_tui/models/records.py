"""Records of models in the catalog, jobs and ``--json``. Fields that a newer version added are preserved."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ModelHeader(TypedDict, total=False):
    """What a model's file, folder or endpoint says of itself, and where it was fetched from; none where it does not say.

    ``parameters``, ``vocabulary``, ``context_length`` and ``layers`` are counts; ``quantization`` is ``remote`` behind a URL.
    """

    architecture: str
    name: str | None
    quantization: str
    parameters: int
    context_length: int | None
    layers: int | None
    embedding_length: int | None
    vocabulary: int | None
    shards: int
    license: str | None
    # ``adapter`` or ``model``.
    type: str
    chat_template: str | None
    # What it does with texts, as its file says; those that were registered by earlier versions have none.
    task: str
    # Of a folder: its files, from there.
    files: list[str]
    # Where it was fetched from.
    source: str
    origin: str
    revision: str
    source_file: str
    source_hub: str
    # Of an endpoint.
    url: str
    remote_model: str
    lacks: dict[str, str]
    key_env: str | None
    server: str
    adapters: list[str]
    # The name of the adapter that goes beside it.
    adapter: str


class ModelRecord(ModelHeader, total=False):
    """A registered model; ``path`` where it is on this machine, sizes in bytes, times in seconds since 1970."""

    model: str
    kind: str
    path: str
    sha256: str
    size_bytes: int
    added_at: float
    verified_at: float | None
    present: bool
    trouble: str


class AddedRecord(ModelRecord, total=False):
    """A model that was just registered, what there is to be told of it, and whether its name was not known before."""

    notes: list[str]
    new: bool


class Verified(TypedDict):
    """A model whose bytes are those it was registered with."""

    model: str
    sha256: str
    intact: bool


class Written(TypedDict):
    """A model file that was written here and registered."""

    model: str
    path: str
    size_bytes: int
    sha256: str


class FileRecord(TypedDict):
    """A file to fetch: as :class:`llmops_tui.models.remote_file.RemoteFile`."""

    url: str
    name: str
    size: int
    sha256: str
    validator: str


class GetArguments(TypedDict):
    """What the job that fetches a model is told."""

    name: str
    files: list[FileRecord]
    origin: ModelHeader
    known: str


class FetchedRecord(TypedDict):
    """A model that was fetched: its :class:`ModelRecord`, but of its files, by name, the SHA-256 that was found."""

    model: str
    path: str
    sha256: str
    files: dict[str, str]


class MemoryRecord(TypedDict):
    """Bytes that a model needs: as :class:`llmops_tui.models.memory.MemoryEstimate`, with its sums."""

    context: int
    parallel: int
    layers: int
    on: tuple[int, ...]
    weights: int
    kv_cache: int
    compute: int
    embedding: int
    gpus: tuple[int, ...]
    host: int
    gpu_layers: int
    gpu: int
    processes: int
    gpu_overhead: int
    total: int


class Remote(TypedDict):
    """What an endpoint offers: its models, the one that is meant, the fields it lacks, and milliseconds to its answer.

    ``server`` is its program with the version, ``adapters`` are those of its names that are an adapter of the one that is
    meant, and ``context_length`` is that of one prompt and its answer; empty, or none, where it does not say.
    """

    models: list[str]
    remote_model: str
    lacks: dict[str, str]
    latency_ms: float
    server: NotRequired[str]
    adapters: NotRequired[list[str]]
    context_length: NotRequired[int | None]

"""Options of a served model: engine settings, server settings, and memory handling."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.models.engine_settings import EngineSettings, SettingsRecord, read_shares

if TYPE_CHECKING:
    # The server's process starts sooner without it.
    from llmops_tui.settings import Settings

IDLE_SECONDS = 900.0


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """How a model server behaves. ``host`` and ``port`` are where others reach it, with one of ``keys``.

    ``special_in_content`` reads control tokens that messages spell as such, and not as text. ``open_access`` asks for no
    key. ``spm_infill`` tells a model what follows a gap before what precedes it. With ``tls_cert`` and ``tls_key``, files in
    PEM, the address is encrypted. ``engines`` are so many processes of the model behind one address, each with all of its
    engine settings, its memory included. Traces of what is asked are of the recording ``record``; with ``replay`` the answers
    are those of a recording.
    """

    trace_content: str = "keep"
    special_in_content: bool = False
    idle_seconds: float = IDLE_SECONDS
    hang_seconds: float = 300.0
    host: str = ""
    port: int = 0
    keys: tuple[str, ...] = ()
    open_access: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    spm_infill: bool = False
    engines: int = 1
    record: str = ""
    replay: str = ""
    # The process that a server ends with; 0 for one that outlives whoever starts it.
    starter: int = 0
    # The process that a server was loaded for: without it, the server ends as soon as it answers nobody; 0 for none.
    needed_by: int = 0


class ServingRecord(TypedDict, total=False):
    """:class:`ServingSettings` as JSON has them, or some of them."""

    trace_content: str
    special_in_content: bool
    idle_seconds: float
    hang_seconds: float
    host: str
    port: int
    keys: list[str] | tuple[str, ...]
    open_access: bool
    allowed_hosts: list[str] | tuple[str, ...]
    allowed_origins: list[str] | tuple[str, ...]
    tls_cert: str
    tls_key: str
    spm_infill: bool
    engines: int
    record: str
    replay: str
    starter: int
    needed_by: int


class AskedRecord(SettingsRecord, ServingRecord, total=False):
    """:class:`LoadOptions` as JSON has them."""

    wait: bool
    socket: str
    max_loaded: int


@dataclass(frozen=True, kw_only=True)
class LoadOptions(EngineSettings, ServingSettings):
    """All of it. ``wait`` waits for memory instead of refusing; ``socket`` is a place for the server's own socket."""

    wait: bool = False
    socket: str = ""


@dataclass(frozen=True, kw_only=True)
class RouterOptions(LoadOptions):
    """How all models are served at one address: where, how each is loaded, and how long it stays without a request.

    ``max_loaded`` are loaded at a time, 0 for as many as fit.
    """

    max_loaded: int = 0


def options_from(settings: Settings) -> LoadOptions:
    """How the user's settings load models."""
    given = {field.name: getattr(settings, field.name) for field in fields(EngineSettings)}
    given["tensor_split"] = read_shares(settings.tensor_split)
    return LoadOptions(
        **given,
        trace_content=settings.trace_content,
        special_in_content=settings.special_in_content,
        idle_seconds=settings.idle_minutes * 60,
    )

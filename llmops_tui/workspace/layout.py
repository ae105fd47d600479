"""The layout of a workspace folder, and how the folder is found."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.user_files import with_home
from llmops_tui.workspace.files import make_private_folder

FOLDER_NAME = ".llmops"
ENVIRONMENT_VARIABLE = "LLMOPS_WORKSPACE"
# What a workspace says of itself, beside its databases.
MARKER = "workspace.json"
_MOST_NEARBY = 3


@dataclass(frozen=True)
class Workspace:
    """The paths of one workspace; making this object touches no disk."""

    root: Path

    @property
    def name(self) -> str:
        """What to call it on screen: the folder it belongs to."""
        return self.folder.name

    @property
    def folder(self) -> Path:
        """The folder it belongs to, by which ``--workspace`` finds it."""
        return self.root.parent if self.root.name == FOLDER_NAME else self.root

    @property
    def read_only(self) -> bool:
        """Whether it is there and nothing can be written in it: a read-only mount, or another owner's folder."""
        # Not needed for the first frame.
        from llmops_tui.workspace.known_folders import may_write_in

        return self.root.is_dir() and not may_write_in(self.root)

    def refuse_if_read_only(self) -> None:
        """Refuse to change a workspace that can only be read.

        Raises:
            InputRefusedError: ``workspace_read_only``.
        """
        if self.read_only:
            raise read_only_error(self)

    @property
    def catalog(self) -> Path:
        """The catalog, a DuckDB file."""
        return self.root / "workspace.duckdb"

    @property
    def event_log(self) -> Path:
        """The event log, a SQLite file in WAL mode."""
        return self.root / "journal.db"

    @property
    def history(self) -> Path:
        """What was measured over time, a SQLite file."""
        return self.root / "history.db"

    @property
    def alert_rules(self) -> Path:
        """The workspace's own alert rules, where it has any."""
        return self.root / "alerts.yaml"

    @property
    def tool_servers(self) -> Path:
        """The servers whose tools models may be offered, where there are any."""
        return self.root / "tool-servers.json"

    @property
    def models(self) -> Path:
        """Model files that belong to the workspace."""
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        """Dataset files that belong to the workspace."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """Folders of jobs and the state files of model servers."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.root / "logs"

    @property
    def backups(self) -> Path:
        """Copies of the catalog, made before each migration."""
        return self.root / "backups"

    @property
    def sockets(self) -> Path:
        """A short private folder for Unix sockets, whose paths may have 107 bytes at most."""
        import hashlib

        return user_runtime_folder() / hashlib.sha256(str(self.root).encode()).hexdigest()[:12]

    def place_of(self, path: Path) -> Path | None:
        """Where a file is below the root, also where that or one of its folders is a link; none where it is elsewhere."""
        real = path.resolve()
        for folder in (self.models, self.datasets, self.root):
            behind = folder.resolve()
            if real.is_relative_to(behind):
                return folder.relative_to(self.root) / real.relative_to(behind)
        return None

    def make_sockets(self) -> Path:
        """Make the socket folder; refuse one that somebody else owns or may enter."""
        folder = self.sockets
        make_private_folder(folder.parent)
        make_private_folder(folder)
        status = folder.parent.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise InputRefusedError(
                "socket_folder_unsafe",
                f"{folder.parent} is not private to you",
                "Set XDG_RUNTIME_DIR to a folder of mode 0700 that you own.",
            )
        return folder


def within(folder: Path, name: str) -> Path:
    """The path of a name directly in a folder of the workspace; a catalog that came from elsewhere may name anything.

    Raises:
        InputRefusedError: ``planted``: the name would lead out of the folder.
    """
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise InputRefusedError(
            "planted",
            f"the workspace names {name!r}, which is not a valid name in {folder}",
            "llmops does not make such names: something else changed the workspace. Restore a backup (llmops restore FILE).",
        )
    return folder / name


def read_only_error(workspace: Workspace) -> InputRefusedError:
    """The error of whoever would change a workspace that can only be read."""
    hint = "Copy it to a writable folder, or restore a backup of it there (llmops backup works)."
    another = os.access(workspace.root, os.W_OK)
    return InputRefusedError(
        "workspace_read_only",
        f"the workspace {workspace.root} is read-only" + (": it belongs to another user" if another else ""),
        f"{hint} If it is also meant to be yours: llmops trust." if another else hint,
    )


def user_runtime_folder() -> Path:
    """Where this user's live state is that no workspace owns: sockets and memory leases. Emptied by a reboot."""
    import tempfile

    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "llmops"
    return Path(tempfile.gettempdir()) / f"llmops-{os.getuid()}"


def find_workspace(given: str | Path | None = None, start: Path | None = None) -> Workspace:
    """The workspace to use: the one given, the environment's, the nearest ``.llmops`` upward, else ``./.llmops``.

    A folder that is given may be the workspace or the folder that a ``.llmops`` is in. Nothing is made on disk; see
    :mod:`llmops_tui.workspace.marker`.
    """
    chosen = given or os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        named = with_home(chosen).resolve()
        return Workspace(named) if _is_one(named) else _within(named) or Workspace(named)
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (found := _within(folder)) is not None:
            return found
    return Workspace(here / FOLDER_NAME)


def nearby_text(workspace: Workspace) -> str:
    """Where there is none: how those in the folders beside it are named, such as the demo's; a few, else empty."""
    ways = " or ".join(f"--workspace {shlex.quote(str(folder))}" for folder in _nearby(workspace))
    return f"There is one nearby: {ways}." if ways else ""


def _nearby(workspace: Workspace) -> list[Path]:
    found: list[Path] = []
    try:
        with os.scandir(workspace.folder) as entries:
            for entry in entries:
                if (inner := _within(Path(entry.path))) is not None and _is_one(inner.root):
                    found.append(Path(entry.path))
                if len(found) == _MOST_NEARBY:
                    break
    except OSError:
        return []
    return sorted(found)


def _within(folder: Path) -> Workspace | None:
    """The workspace folder that lies in a folder, under its usual name."""
    inner = folder / FOLDER_NAME
    # It may be a link; every path is compared with what is behind it.
    return Workspace(inner.resolve()) if os.path.isdir(inner) else None  # noqa: PTH112  a folder that is closed has none


def _is_one(folder: Path) -> bool:
    """Whether a folder shows that it is a workspace itself, or was one."""
    return any(os.path.lexists(folder / name) for name in (MARKER, "workspace.duckdb", "seals.json"))

"""What this user let run, by its hash, in a file of the user's own: a change of one character is not approved."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.workspace.consent_file import change_own, read_own

_MOST = 200


def is_approved(path: Path, digest: str) -> bool:
    """Whether the user approved what has this SHA-256; not where the file cannot be read."""
    return digest in read_own(path, list, [], _words)


def approve(path: Path, digest: str) -> None:
    """Approve it from now on.

    Raises:
        OSError: the user's own files cannot be written.
    """

    def with_it(known: list[str]) -> list[str]:
        return [*(one for one in known if one != digest), digest][-_MOST:]

    change_own(path, list, [], with_it, load=_words, dump=lambda known: "\n".join(known) + "\n")


def _words(raw: bytes) -> list[str]:
    return raw.decode("ascii").split()

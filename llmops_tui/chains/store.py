"""Chains and their versions, kept by the mechanism that prompts have: immutable, by hash, with notes and labels that move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmops_tui.chains.definition import Chain
from llmops_tui.chains.reading import parse_chain
from llmops_tui.chains.records import SummaryRecord, VersionRecord
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.prompt_versions import CHAINS, withdrawn
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.workspace.catalog import Catalog, Stamp

PREFIX = CHAINS


@dataclass(frozen=True)
class ChainVersion:
    """One version of a chain; its text never changes."""

    name: str
    number: int
    sha256: str
    parent: int | None
    text: str
    note: str
    created_at: float
    labels: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """How to name it among chains: ``triage@2``."""
        return f"{self.name}@{self.number}"

    @property
    def served_name(self) -> str:
        """The chain among models, whichever version its labels stand for: ``chain/triage``."""
        return f"{PREFIX}{self.name}"

    @property
    def served(self) -> str:
        """How to name it among models and prompts: ``chain/triage@2``."""
        return f"{PREFIX}{self.ref}"

    @property
    def chain(self) -> Chain:
        """What it says.

        Raises:
            ChainRefusedError: a newer version of this program wrote it.
        """
        return parse_chain(self.text)

    def as_dict(self) -> VersionRecord:
        """The version as the command line's JSON shows it."""
        return {
            "chain": self.name,
            "version": self.number,
            "sha256": self.sha256,
            "parent": self.parent,
            "text": self.text,
            "note": self.note,
            "created_at": self.created_at,
            "labels": list(self.labels),
        }


def is_chain(ref: str) -> bool:
    """Whether a name of a prompt or a model is a chain's."""
    return ref.startswith(PREFIX)


def split_step(ref: str) -> tuple[str, str]:
    """A chain's name and the one step of it that is meant: ``chain/triage@2:label``; an empty step is the whole chain."""
    name, _, step = ref.removeprefix(PREFIX).partition(":")
    return name, step


class ChainStore:
    """The chains of a workspace. Names are without ``chain/``, and are taken with it, too."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._texts = PromptStore(catalog, PREFIX)

    def save(self, name: str, text: str, note: str = "", parent: int | None = None) -> tuple[ChainVersion, bool]:
        """Keep a text as a version, and whether it is new; what is no chain is refused.

        Raises:
            ChainRefusedError: as :func:`llmops_tui.chains.definition.parse_chain`. InputRefusedError: ``bad_name``.
        """
        parse_chain(text)
        version, created = self._texts.save(_kept(name), template=text, note=note, parent=parent)
        return _version(version), created

    def stamp(self) -> Stamp:
        """What changes whenever a chain does, and with anything else in the catalog; cheap."""
        return self._texts.stamp()

    def summaries(self) -> list[SummaryRecord]:
        """All chains, the last changed first."""
        return [
            {
                "chain": one.name.removeprefix(PREFIX),
                "latest": one.latest,
                "versions": one.versions,
                "labels": one.labels,
                "changed_at": one.changed_at,
            }
            for one in self._texts.summaries()
        ]

    def served_names(self) -> list[str]:
        """How each is named among models: ``chain/triage``."""
        return [PREFIX + one["chain"] for one in self.summaries()]

    def withdrawn(self) -> set[str]:
        """The chains whose bare name answers no request; see :func:`llmops_tui.inference.prompt_versions.withdrawn`."""
        return {one.removeprefix(PREFIX) for one in self.catalog.read(lambda connection: withdrawn(connection, PREFIX))}

    def versions(self, name: str) -> list[ChainVersion]:
        """All versions of one chain, the newest first.

        Raises:
            NotFoundError: there is no such chain.
        """
        return [_version(one) for one in self._texts.versions(_kept(name))]

    def get(self, ref: str) -> ChainVersion:
        """A version by ``name``, ``name@2``, ``name@label`` or ``name@latest``; a bare name is ``production``, or the latest.

        Raises:
            NotFoundError: it stands for nothing.
        """
        return self._found(self._texts.get, ref)

    def served(self, ref: str) -> ChainVersion:
        """The version that answers a request by this name; see :func:`llmops_tui.inference.prompt_versions.find_served`.

        Raises:
            NotFoundError: it stands for nothing; or for ``production``, which was taken off its version.
        """
        return self._found(self._texts.served, ref)

    @staticmethod
    def _found(find: Callable[[str], PromptVersion], ref: str) -> ChainVersion:
        try:
            return _version(find(_kept(ref)))
        except NotFoundError as error:
            raise NotFoundError(error.code.removesuffix("_not_found"), ref.removeprefix(PREFIX), error.hint) from error

    def check_label(self, name: str, label: str) -> None:
        """Refuse a label that no version of a chain has.

        Raises:
            NotFoundError: there is no such chain. InputRefusedError: ``no_label``.
        """
        if not any(label in one.labels for one in self.versions(name)):
            raise InputRefusedError("no_label", f"no version of {name} has the label {label!r}")

    def remove(self, name: str) -> list[ChainVersion]:
        """Delete a chain with all its versions and labels; returns them.

        Raises:
            NotFoundError: there is no such chain.
        """
        going = self.versions(name)

        def work(connection: Any) -> None:
            for table in ("prompt_versions", "prompt_labels", "prompt_label_moves"):
                connection.execute(f"DELETE FROM {table} WHERE prompt = ?", [_kept(name)])
            connection.execute("DELETE FROM prompts WHERE name = ?", [_kept(name)])

        self.catalog.write(work)
        return going


def _kept(ref: str) -> str:
    return ref if is_chain(ref) else PREFIX + ref


def _version(one: PromptVersion) -> ChainVersion:
    return ChainVersion(
        one.prompt.removeprefix(PREFIX),
        one.number,
        one.sha256,
        one.parent,
        one.template,
        one.note,
        one.created_at,
        one.labels,
    )

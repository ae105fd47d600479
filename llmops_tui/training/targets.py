"""Where a run trains: on this machine, or on a Ray cluster that the user has; and what a cluster does not do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "ray:"
# What is written where a node reaches nothing of the user's.
_TRACKERS = frozenset({"mlflow", "trackio"})
# A cluster of one's own would be started for these, and end with the run.
_OWN = frozenset({"", "local"})


@dataclass(frozen=True)
class Target:
    """A Ray cluster: the address that Ray takes, such as ``10.0.0.5:6379`` or ``auto``."""

    address: str

    @property
    def told(self) -> str:
        """What it is called in messages."""
        return "the Ray cluster of this machine" if self.address == "auto" else f"the Ray cluster {self.address}"


def target_of(given: str) -> Target:
    """The cluster of a recipe's ``target``.

    Raises:
        ValueError: it names none.
    """
    address = given.removeprefix(SCHEME)
    if given.startswith("ray://"):
        raise ValueError(
            "target: Ray's client, ray://, is not used: join this machine to the cluster, and give the address of its head, "
            "such as ray:10.0.0.5:6379"
        )
    if not given.startswith(SCHEME) or address in _OWN:
        raise ValueError("target is ray:ADDRESS, such as ray:auto or ray:10.0.0.5:6379")
    host, _, port = address.rpartition(":")
    if address != "auto" and (not host or not port.isdecimal() or any(sign.isspace() for sign in address)):
        raise ValueError(f"target: {address} is no address of a cluster: HOST:PORT, or auto")
    return Target(address)


def unfit_for_target(given: str, used: Mapping[str, bool], trackers: list[str]) -> str:
    """What of a recipe cannot go with its target, in words; empty where all can. ``used`` has what is asked for, by field."""
    if not given:
        return ""
    try:
        target_of(given)
    except ValueError as error:
        return str(error)
    named = [name for name, there in used.items() if there]
    named += [f"trackers: {name}" for name in trackers if name in _TRACKERS]
    if not named:
        return ""
    return f"target trains in one process on a node of a cluster, which has no {' and no '.join(named)}"


def refuse_local_options(given: str, *, beside: bool, make_room: bool) -> None:
    """Refuse what is of this machine's devices where a run does not use them.

    Raises:
        InputRefusedError: ``target``.
    """
    named = [name for name, there in (("--beside", beside), ("--make-room", make_room)) if there]
    if given and named:
        raise InputRefusedError(
            "target",
            f"{' and '.join(named)} {'is' if len(named) == 1 else 'are'} of this machine's devices; the run trains on {given}",
            "The cluster gives a run a node when one is free.",
        )

"""Critical errors (Xids) from NVML's event set, counted by GPU."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Sequence
from typing import Any

from llmops_tui.hardware.gpu_source import ask
from llmops_tui.hardware.nvidia_cards import Card

_XID_EVENT = 0x8
# Critical errors that a program's own mistake, or its end, makes; the card is well.
_OF_PROGRAMS = {13, 31, 43, 45, 68, 109}
# A driver that tells one event for ever must not hold up the look.
_MOST_AT_ONCE = 10_000


class XidEvents:
    """What was told of critical errors, by the places of the GPUs. Safe between threads.

    Attributes:
        last: the last one of each GPU, whatever it was.
        fault: the last one of each that is the card's own fault.
        faults: how many of those were seen; only of GPUs whose errors are told.
    """

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.fault: dict[int, int] = {}
        self.faults: dict[int, int] = {}
        self._lock = threading.Lock()
        self._set: Any = None
        self._asked: list[tuple[int, int, str]] = []
        self._places: dict[Any, int] = {}

    def read(self, nvml: Any, cards: Sequence[Card]) -> None:
        """Take in what is new; the GPUs are registered anew where they are others than before."""
        asked = [(place, card.number, card.uuid) for place, card in enumerate(cards) if card.handle is not None]
        with self._lock:
            if self._set is not None and asked != self._asked:
                self._free(nvml)
            if self._set is None:
                self._register(nvml, cards)
                self._asked = asked
            self._drain(nvml)

    def close(self, nvml: Any) -> None:
        """Take in what is new and free the set, before the library is shut down."""
        with self._lock:
            self._free(nvml)

    def _register(self, nvml: Any, cards: Sequence[Card]) -> None:
        self._places = {}
        self._set = ask(nvml.nvmlEventSetCreate)
        for place, card in enumerate(cards) if self._set is not None else ():
            if card.handle is not None:
                with contextlib.suppress(Exception):
                    nvml.nvmlDeviceRegisterEvents(card.handle, _XID_EVENT, self._set)
                    self._places[_address(card.handle)] = place
                    self.faults.setdefault(place, 0)

    def _free(self, nvml: Any) -> None:
        if self._set is not None:
            self._drain(nvml)
            ask(nvml.nvmlEventSetFree, self._set)
            self._set = None

    def _drain(self, nvml: Any) -> None:
        for _ in range(_MOST_AT_ONCE if self._set is not None else 0):
            # Without an event the wait ends in an error at once.
            event = ask(nvml.nvmlEventSetWait_v2, self._set, 0)
            if event is None:
                return
            # Known by its handle: a card that fell off the bus cannot be asked which one it is.
            place, xid = self._places.get(_address(event.device)), int(event.eventData)
            if place is not None:
                self.last[place] = xid
                if xid not in _OF_PROGRAMS:
                    self.fault[place] = xid
                    self.faults[place] += 1


def _address(handle: Any) -> Any:
    """A handle of NVML is a pointer, of which there may be many objects."""
    return ctypes.addressof(handle.contents) if hasattr(handle, "contents") else handle

"""Responses that requests may go on from, kept in memory: so many and so much for each client, the least used go first."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server.apis.response_items import Item
from llmops_tui.inference.server.apis.response_teller import Response
from llmops_tui.workspace.ids import made_at

# For each client; and in all, since clients may be many.
MAX_COUNT = 1000
MAX_BYTES = 64_000_000
MAX_TOTAL = 256_000_000
# Of so many it is remembered why they are gone.
_REMEMBERED = 10_000
_KEPT = f"The {MAX_COUNT:,} last used are kept for each client, up to {MAX_BYTES // 10**6} MB, until the server ends."


@dataclass(frozen=True)
class Kept:
    """A response, and the conversation up to its end; ``size`` is how many bytes the conversation has as JSON."""

    response: Response
    items: tuple[Item, ...]
    size: int

    @property
    def total(self) -> int:
        """The bytes that it counts for."""
        return self.size + len(json.dumps(self.response))


@dataclass
class _Shelf:
    """What one client has."""

    kept: OrderedDict[str, tuple[Kept, int]] = field(default_factory=OrderedDict)
    size: int = 0


class ResponseStore:
    """What is kept, by client and id. ``clock`` tells the time of day, in seconds."""

    def __init__(
        self,
        *,
        count: int = MAX_COUNT,
        size: int = MAX_BYTES,
        total: int = MAX_TOTAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._count, self._size, self._total = count, size, total
        self._started = clock()
        self._shelves: dict[str, _Shelf] = {}
        self._gone: OrderedDict[tuple[str, str], str] = OrderedDict()

    def keep(self, client: str, response: Response, items: Sequence[Item], size: int) -> None:
        """Keep a response with its conversation of ``size`` bytes; what is over the limits goes."""
        kept = Kept(response, tuple(items), size)
        counted = kept.total
        shelf = self._shelves.setdefault(client, _Shelf())
        self._take_out(client, response["id"])
        shelf.kept[response["id"]] = (kept, counted)
        shelf.size += counted
        while len(shelf.kept) > self._count or shelf.size > self._size:
            self._make_room(client)
        while sum(one.size for one in self._shelves.values()) > self._total:
            self._make_room(max(self._shelves, key=lambda name: self._shelves[name].size))

    def leave(self, client: str, response_id: str) -> None:
        """Remember of a response that it was not to be kept."""
        self._remember(client, response_id, "its request said store: false")

    def get(self, client: str, response_id: str) -> Kept:
        """A response of a client's; it was used last now.

        Raises:
            LlmopsError: ``response_not_found``, with the reason.
        """
        shelf = self._shelves.get(client)
        if shelf is None or response_id not in shelf.kept:
            raise self._missing(client, response_id)
        shelf.kept.move_to_end(response_id)
        return shelf.kept[response_id][0]

    def item(self, client: str, item_id: str) -> Item | None:
        """A part of a kept answer by its id; none where it is not kept."""
        shelf = self._shelves.get(client)
        for kept, _ in reversed(shelf.kept.values()) if shelf is not None else ():
            ids = [output["id"] for output in kept.response["output"]]
            if item_id in ids:
                return kept.items[ids.index(item_id) - len(ids)]
        return None

    def delete(self, client: str, response_id: str) -> None:
        """Forget a response.

        Raises:
            LlmopsError: ``response_not_found``.
        """
        self.get(client, response_id)
        self._take_out(client, response_id)
        self._remember(client, response_id, "it was deleted")

    def _missing(self, client: str, response_id: str) -> LlmopsError:
        why = self._gone.get((client, response_id))
        if why is None:
            made = made_at(response_id)
            # An id has whole milliseconds: one of the first is not from before.
            old = made is not None and made < self._started - 0.002
            why = (
                "it is from before this server started, and responses are kept in memory"
                if old
                else "no answer of this model's server to this client has this id"
            )
        told = f"the response {response_id[:100]!r} is not kept: {why}"
        return LlmopsError("response_not_found", told, f"Send the whole conversation as input. {_KEPT}")

    def _make_room(self, client: str) -> None:
        oldest = next(iter(self._shelves[client].kept))
        self._take_out(client, oldest)
        self._remember(client, oldest, "it had to make room for newer ones")

    def _take_out(self, client: str, response_id: str) -> None:
        shelf = self._shelves[client]
        if (found := shelf.kept.pop(response_id, None)) is not None:
            shelf.size -= found[1]

    def _remember(self, client: str, response_id: str, why: str) -> None:
        self._gone[client, response_id] = why
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)


def size_of(items: Sequence[Item]) -> int:
    """How many bytes items have as JSON."""
    return sum(len(item.model_dump_json().encode()) for item in items)

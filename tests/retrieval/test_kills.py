"""A build that is killed at any of its durable steps leaves the index that was there, or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.retrieval import build as build_module
from llmops_tui.retrieval.sources import source_of
from llmops_tui.retrieval.store import BUILDING, IndexStore
from tests.retrieval import conftest
from tests.retrieval.conftest import Build, Open

_KILLED = 9
_STEPS = ("fsync", "rename", "replace", "unlink", "rmdir")


def _killed_at(step: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do the work in a fork that ends, as by SIGKILL, before its n-th step on disk; whether it came so far."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == _KILLED
    left = step

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def one(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(_KILLED)
            return real(*given, **named)

        return one

    try:
        for name in _STEPS:
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
        # The catalog's engine has threads, which a fork does not.
        monkeypatch.setattr(build_module, "note_lineage", lambda _store, _index: None)
        work()
    finally:
        os._exit(0)


@pytest.mark.slow
def test_whatever_a_kill_leaves_is_an_index(
    store: IndexStore, shop: Path, build: Build, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(shop)
    # A fork reads no catalog.
    source = source_of(store.catalog, str(shop))
    monkeypatch.setattr(conftest, "source_of", lambda *_given: source)
    (shop / "card.txt").write_text("My card is lost, and I have not found it.")
    seen, step = set(), 0
    while _killed_at(step, lambda: build(shop), monkeypatch):
        number = store.get("shop").record["number"]
        seen.add(number)
        with opened() as retriever:
            hits, _ = retriever.search("my card", "hybrid", 4)
            assert len(hits) == 4
            assert ("lost" in hits[0]["passage"]["text"]) == (number == 2)
        if number == 2:
            # As it was before, for the next kill.
            store.remove("shop", [2])
        step += 1
    assert step > 10
    assert seen >= {1}
    build(shop)
    assert [index.record["number"] for index in store.log("shop")] == [2, 1]
    assert not (store.home("shop") / BUILDING).exists()

"""What the clients talk to; see :mod:`.scripted`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.scripted import Scripted, serve_script
from tests.clients.templates import LLAMA, QWEN


@pytest.fixture(scope="session")
def qwen_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with serve_script(tmp_path_factory.mktemp("qwen") / "ws", QWEN) as served:
        yield served


@pytest.fixture(scope="session")
def llama_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with serve_script(tmp_path_factory.mktemp("llama") / "ws", LLAMA) as served:
        yield served


@pytest.fixture
def qwen(qwen_served: Scripted) -> Iterator[Scripted]:
    """A model of Qwen3's format: calls in marks, thinking. All that was to be said has to be asked for."""
    yield from _through(qwen_served)


@pytest.fixture
def llama(llama_served: Scripted) -> Iterator[Scripted]:
    """A model of Llama 3's format: a call is an object without a mark."""
    yield from _through(llama_served)


def _through(served: Scripted) -> Iterator[Scripted]:
    served.say()
    yield served
    assert served.unsaid == 0, "not all that was to be said was asked for"

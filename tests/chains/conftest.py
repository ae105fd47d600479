"""A catalog with two prompts and a model's record, for all chains."""

from __future__ import annotations

import pytest

from llmops_tui.chains.tools import ChainTools
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from tests.chains.scripted import tools_here

SORT = "Which kind of message is this? {{ ticket }}"
REPLY = "Answer this {{ kind }} message: {{ ticket }}"


@pytest.fixture
def tools(catalog: Catalog) -> ChainTools:
    """What chains need, in a workspace with the prompts ``sort`` and ``reply`` the model ``small``, and one that embeds."""
    prompts = PromptStore(catalog)
    prompts.save("sort", template=SORT)
    prompts.save("reply", template=REPLY, system="You answer customers.")
    catalog.write(
        lambda connection: connection.execute(
            "INSERT INTO models VALUES ('small', 'gguf', '/nowhere/small.gguf', 'abc', 1, '{}', 0, NULL), "
            "('embedder', 'gguf', '/nowhere/embedder.gguf', 'abd', 1, '{\"architecture\": \"bert\"}', 0, NULL)"
        )
    )
    return tools_here(catalog)

"""Half of a character, which JSON and arguments can have and no database: told as that, wherever it comes to be kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.prompts.store import PromptStore
from llmops_tui.system_errors import explain_system_error
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

HALF = "a\ud800"


@pytest.mark.parametrize("keep", [lambda: HALF.encode(), lambda: orjson.dumps(HALF)])
def test_whoever_cannot_write_it_says_the_same(keep: Callable[[], bytes]) -> None:
    with pytest.raises((UnicodeEncodeError, TypeError)) as failed:
        keep()
    told = explain_system_error(failed.value)
    assert isinstance(told, InputRefusedError)
    assert told.code == "bad_text"
    assert told.message.startswith("a text has half of a character")


def test_another_fault_of_a_value_is_none_of_that() -> None:
    assert explain_system_error(TypeError("no surrogate mother")) is None


def test_a_catalog_refuses_it_and_is_none_the_worse(catalog: Catalog) -> None:
    store = PromptStore(catalog)
    with pytest.raises(InputRefusedError, match=r"a text has half of a character, '\\ud800'"):
        store.save("p", template=HALF)
    assert store.save("p", template="whole")[1]


def test_a_file_of_messages_with_one_is_refused_by_the_command(sample: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "half.json"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": HALF}]}))
    assert Llmops(sample).run("prompt", "import", str(file), code=3)["error"]["code"] == "bad_text"
    # An argument whose bytes are no UTF-8.
    told = Llmops(sample).run("prompt", "board", "a\udcff", code=3)["error"]
    assert told["message"] == "a text has half of a character, '\\udcff'"

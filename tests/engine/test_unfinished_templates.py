"""A text that is no template is refused by its line, and never where it would be lost by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.renaming import copy_record
from llmops_tui.prompts import prompt_files
from llmops_tui.prompts.asked_before import draft_of_version
from llmops_tui.prompts.drafts import Draft, Drafts
from llmops_tui.prompts.folder import ENDING, PromptFolder, file_text
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

UNFINISHED = "Answer.\n{% if angry %}Be kind."


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"template": UNFINISHED}, r"p is not saved: its user text is no template: line 2: .*'endif'"),
        ({"template": "ok", "system": "a\n\n{{ b"}, "its system text is no template: line 3: unexpected end"),
        ({"template": "{% for %}"}, "line 1: Expected an expression"),
        ({"template": "{{ a | uper }}"}, "line 1: there is no filter 'uper'"),
        ({"template": "{% if a is txet %}b{% endif %}"}, "line 1: there is no test 'txet'"),
        ({"template": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"}, "it nests too deep"),
        ({"template": '{% include "tone" %}\n{{ end'}, "line 2: unexpected end"),
    ],
)
def test_what_is_no_template_is_refused_by_its_line(store: PromptStore, texts: dict[str, str], told: str) -> None:
    store.save("tone", template="Be\n\n\nbrief.")
    with pytest.raises(InputRefusedError, match=told) as refused:
        store.save("p", **texts)
    assert refused.value.code == "template_failed"
    assert [one.name for one in store.summaries()] == ["tone"]


@pytest.mark.parametrize(
    "template",
    [
        "{% raw %}{{ not mine{% endraw %}", "{# {% for #}a", "} }} %}", "{{ a | tojson }}", "{{ a is defined }}",
        "{{ retrieve(a, 3) }}", "{% set b = 1 %}{% for c in d if c %}{{ loop.index }}{% else %}{% endfor %}",
        "{{ 'a' * 100000000000 }}",
    ],
)  # fmt: skip
def test_what_is_one_is_kept_without_being_worked_out(store: PromptStore, template: str) -> None:
    assert store.save("p", template=template)[1]


def test_what_was_being_written_is_kept_when_something_else_takes_its_place(
    store: PromptStore, catalog: Catalog
) -> None:
    version, _ = store.save("p", template="whole")
    drafts = Drafts(EventLog(catalog.workspace))
    drafts.save("p", Draft("", UNFINISHED, {}, 1))
    draft_of_version(store, drafts, version, {}, "kept")
    assert [one.template for one in store.versions("p")] == [UNFINISHED, "whole"]


def test_a_version_that_an_earlier_release_kept_goes_into_files_and_copies(
    store: PromptStore, catalog: Catalog
) -> None:
    old, _ = store.save("p", template=UNFINISHED, as_it_is=True)
    assert store.save("p", template=UNFINISHED) == (old, False)
    copy_record(catalog.workspace, Kept.PROMPT, "p", "copy")
    file = prompt_files.parse(prompt_files.dump(store.versions("p")), "file")
    moved = prompt_files.load(store, file.model_copy(update={"prompt": "moved"}))
    assert {store.get(name).template for name in ("p", "copy", "moved")} == {UNFINISHED} == {moved.versions[0].template}


def test_a_file_that_is_none_is_refused_and_the_rest_goes_on(
    store: PromptStore, catalog: Catalog, tmp_path: Path
) -> None:
    for name, text in (("a", UNFINISHED), ("b", "whole")):
        (tmp_path / f"{name}{ENDING}").write_text(file_text("", text))
    folder = PromptFolder(tmp_path, store, EventLog(catalog.workspace))
    told = [[(c.prompt, c.what, "line 2" in c.detail) for c in folder.sync(dry_run=dry)] for dry in (True, False)]
    assert told == [[("a", "refused", True), ("b", "read", False)]] * 2
    assert [one.name for one in store.summaries()] == ["b"]
    # What the workspace's text is written over is kept, whatever it is.
    store.save("a", template="ours")
    folder.sync(take="workspace")
    assert [one.template for one in store.versions("a")] == [UNFINISHED, "ours"]
    assert "ours" in (tmp_path / f"a{ENDING}").read_text()

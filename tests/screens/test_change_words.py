"""What the list of versions says of a version that has no note."""

from __future__ import annotations

from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from screens.playground.change_words import Changes, changed_words, differing
from screens.playground.version_list import VersionList
from tests.screens.conftest import OpenApp
from tests.screens.test_playground import playground, run, write


def test_the_words_between_what_is_the_same_at_both_ends() -> None:
    for before, after, gone, new in (("abc", "axyc", "b", "x y"), ("ab", "abc", "", "c"), ("aaa", "aa", "a", "")):
        assert differing(list(before), list(after)) == (gone, new)
    assert differing([], []) == ("", "")


def test_a_version_says_what_is_new_in_it_or_gone(catalog: Catalog) -> None:
    store = PromptStore(catalog)
    first, _ = store.save("p", template="{{ question }}", system="Be kind.")
    second, _ = store.save("p", template="{{ question }} Please.", system="Be kind.", parent=1)
    third, _ = store.save("p", template="{{ question }}", system="Be kind. [b]Be brief.[/b]", parent=1)
    fourth, _ = store.save("p", template="{{ question }}", system="Be brief.[/b]", parent=3)
    fifth, _ = store.save("p", template="{{  question }}", system="Be brief.[/b]", parent=4)
    assert changed_words(first, None) == "{{ question }}"
    assert changed_words(second, first) == "+ Please."
    assert changed_words(third, first) == "+ [b]Be brief.[/b]"
    assert changed_words(fourth, third) == "− kind. [b]Be"
    assert changed_words(fifth, fourth) == "other spaces or its end"
    known, changes = {one.number: one for one in (first, second)}, Changes()
    # Of one whose parent is not here nothing is said, until it is.
    assert (changes.of(fourth, known), changes.of(second, known)) == ("", "+ Please.")
    assert changes.of(fourth, {3: third}) == "− kind. [b]Be"


async def test_a_draft_takes_no_column_from_the_versions(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await write(pilot, " Please.")
        await run(pilot)
        listed = playground(pilot).query_one(VersionList)
        before = [name for name, _ in listed._planned().widths]
        assert "labels and note" in before
        assert "+ Please." in "".join(text for text, _ in listed._line_of(0, listed.room))
        await write(pilot, " Now.")
        assert listed.rows[0].version is None
        assert [name for name, _ in listed._planned().widths] == before
        assert "draft" in "".join(text for text, _ in listed._line_of(0, listed.room))

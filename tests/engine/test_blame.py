"""Which version brought each line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.prompts.blame import blame
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.workspace.catalog import Catalog


def version(number: int, parent: int | None, template: str, system: str = "") -> PromptVersion:
    return PromptVersion(f"id{number}", "p", number, str(number), parent, system, template, "", float(number), ())


def since(versions: list[PromptVersion], number: int) -> list[tuple[str, int, str, int]]:
    return [(one.section, one.line, one.text, one.version.number) for one in blame(versions, number)]


def test_each_line_has_the_version_that_brought_it_along_its_own_branch(catalog: Catalog) -> None:
    store = PromptStore(catalog)
    store.save("p", system="be kind", template="one\ntwo\nthree")
    store.save("p", system="be kind", template="one\nTWO\nthree")
    store.save("p", system="be brief", template="one\nTWO\nthree\nfour")
    store.save("p", system="be kind", template="zero\none\ntwo\nthree", parent=1)
    assert since(store.versions("p"), 3) == [
        ("system", 1, "be brief", 3), ("user", 1, "one", 1), ("user", 2, "TWO", 2), ("user", 3, "three", 1), ("user", 4, "four", 3),
    ]  # fmt: skip
    # The second version is on another branch.
    assert [one[3] for one in since(store.versions("p"), 4)] == [1, 4, 1, 1, 1]


def test_lines_end_where_editors_end_them() -> None:
    versions = [version(1, None, "a\r\nb\fc\u2028d\r\n\r\n"), version(2, 1, "a\nb\fc\u2028d\n\n")]
    assert since(versions, 2) == [("user", 1, "a", 1), ("user", 2, "b\fc\u2028d", 1), ("user", 3, "", 1)]


def test_a_parent_that_is_gone_ends_the_way() -> None:
    assert since([version(2, 1, "a\nb"), version(3, 2, "a\nc")], 3) == [("user", 1, "a", 2), ("user", 2, "c", 3)]


@given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=6), min_size=1, max_size=8))
def test_what_is_put_in_is_of_its_version_and_what_stays_of_the_one_before(edits: list[list[tuple[bool, int]]]) -> None:
    lines: list[tuple[str, int]] = []
    versions: list[PromptVersion] = []
    fresh = 0
    for number, some in enumerate(edits, 1):
        for put, at in some:
            if put:
                lines.insert(at % (len(lines) + 1), (f"line {fresh}", number))
                fresh += 1
            elif lines:
                del lines[at % len(lines)]
        versions.append(version(number, number - 1 or None, "\n".join(text for text, _ in lines)))
    assert [(text, brought) for _, _, text, brought in since(versions, len(versions))] == lines

"""Candidates among the versions of a prompt: numbered and found, in no list, and accepted by promoting, labelling or saving."""

from __future__ import annotations

import pytest

from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.workspace.catalog import Catalog


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


@pytest.fixture
def candidate(store: PromptStore) -> PromptVersion:
    store.save("p", template="first {{ x }}")
    made, created = store.save("p", template="proposed {{ x }}", note="by a model", parent=1, candidate_of="job_1")
    assert created
    return made


def test_a_candidate_has_number_and_parent_and_is_in_no_list(store: PromptStore, candidate: PromptVersion) -> None:
    assert (candidate.number, candidate.parent, candidate.candidate_of) == (2, 1, "job_1")
    assert candidate.as_dict()["candidate_of"] == "job_1"
    assert [v.number for v in store.versions("p")] == [1]
    assert [v.number for v in store.versions("p", candidates=True)] == [2, 1]
    (summary,) = store.summaries()
    assert (summary.latest, summary.versions) == (1, 1)
    assert store.search("proposed") == []


def test_a_candidate_is_found_by_number_and_id_and_is_never_the_latest(
    store: PromptStore, candidate: PromptVersion
) -> None:
    assert store.get("p@2") == store.get(candidate.id) == candidate
    assert store.get("p").number == store.get("p@latest").number == 1


def test_the_next_version_is_made_of_the_latest_that_is_no_candidate(
    store: PromptStore, candidate: PromptVersion
) -> None:
    made, _ = store.save("p", template="by hand {{ x }}")
    assert (made.number, made.parent) == (3, 1)


@pytest.mark.parametrize("way", ["promote", "label", "save"])
def test_what_somebody_takes_is_no_candidate_any_more(store: PromptStore, candidate: PromptVersion, way: str) -> None:
    if way == "promote":
        store.promote("p@2")
    elif way == "label":
        store.move_label("p@2", "production")
    else:
        store.save("p", template="proposed {{ x }}")
    assert [v.number for v in store.versions("p")] == [2, 1]
    assert store.get("p").candidate_of == ""
    assert store.get("p@latest").number == 2


def test_text_that_is_a_version_already_does_not_become_a_candidate(store: PromptStore) -> None:
    store.save("p", template="first {{ x }}")
    made, created = store.save("p", template="first {{ x }}", candidate_of="job_1")
    assert not created
    assert made.candidate_of == ""

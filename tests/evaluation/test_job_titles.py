"""Two evaluations of one suite are told apart by what their jobs are called."""

from __future__ import annotations

import pytest

from llmops_tui.evaluation.run import Asked, job_title


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        ([("p@1", "a")], "evaluate s@1 on a"),
        ([("", "a+b")], "evaluate s@1 on a+b"),
        ([("p@1", "a"), ("p@2", "a")], "evaluate s@1 on a, 2 prompts"),
        ([("p@1", "a"), ("p@1", "b")], "evaluate s@1 on 2 models"),
        ([("p@1", "a"), ("p@2", "b")], "evaluate s@1 on 2 models, 2 prompts"),
    ],
)
def test_the_job_says_what_is_asked(columns: list[tuple[str, str]], title: str) -> None:
    assert job_title("s@1", [Asked(*column) for column in columns]) == title

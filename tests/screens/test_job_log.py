from __future__ import annotations

import pytest

from screens.jobs.log_pane import overwritten


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("\rLoading:  0%\rLoading: 11%\rLoading: 100%\nend", "Loading: 100%\nend"),
        ("\rLoading: 11%\r", "Loading: 11%"),
    ],
)
def test_what_a_line_was_overwritten_with_is_shown(written: str, shown: str) -> None:
    assert overwritten(written) == shown

"""What the end of a stream makes of a run on the screen."""

from __future__ import annotations

from llmops_tui.inference.client import StreamEnd
from llmops_tui.prompts.run_history import RunRecord
from screens.playground.run_figures import ended


def test_an_end_says_its_reason_beside_its_figures_and_among_them() -> None:
    run = RunRecord("draft", 1.0, "m", "p", 1)
    # As a server of ours ends a stream.
    end = StreamEnd("stop", {"finish_reason": "length", "prompt_tokens": 3, "ttft_ms": 1.5, "speed": 9.0})  # type: ignore[typeddict-unknown-key]
    found = ended(run, "run_1", end, "text", "thought")
    assert (found.id, found.finish_reason, found.output, found.thinking) == ("run_1", "stop", "text", "thought")
    assert (found.prompt_tokens, found.ttft_ms) == (3, 1.5)

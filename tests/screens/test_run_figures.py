"""What the end of a stream makes of a run on the screen."""

from __future__ import annotations

from llmops_tui.inference.client import StreamEnd
from llmops_tui.prompts.run_history import RunRecord
from screens.playground.run_figures import ended, figures


def test_an_end_says_its_reason_beside_its_figures_and_among_them() -> None:
    run = RunRecord("draft", 1.0, "m", "p", 1)
    # As a server of ours ends a stream.
    end = StreamEnd("stop", {"finish_reason": "length", "prompt_tokens": 3, "ttft_ms": 1.5, "speed": 9.0})  # type: ignore[typeddict-unknown-key]
    found = ended(run, "run_1", end, "text", "thought")
    assert (found.id, found.finish_reason, found.output, found.thinking) == ("run_1", "stop", "text", "thought")
    assert (found.prompt_tokens, found.ttft_ms) == (3, 1.5)


def test_no_figure_is_broken_at_the_end_of_a_line() -> None:
    run = RunRecord(
        "run_1", 1.0, "m", "p", 1, finish_reason="stop", completion_tokens=1200, ttft_ms=1.5, tokens_per_s=99.0,
        prompt_tokens=35, reused_tokens=28, context=1024,
    )  # fmt: skip
    told = figures(run, 40).plain.splitlines()
    assert told == [
        "stop · 1,200 tokens · first 2 ms",
        "99 tok/s · prompt 35 of 1,024, 28 reused",
    ]
    assert not any(line.startswith("·") for line in told)


def test_an_answer_that_was_cut_off_says_what_to_do() -> None:
    told = figures(RunRecord("run_1", 1.0, "m", "p", 1, finish_reason="length"), 80)
    assert told.plain == "cut off: p raises max tokens"
    assert any("$warning" in str(span.style) for span in told.spans)

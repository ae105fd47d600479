"""The proof of an exported model as rows of text, for the screen and the command line."""

from __future__ import annotations

from llmops_tui.training.records import ProofStep


def table(steps: list[ProofStep]) -> list[tuple[str, ...]]:
    """The steps as rows of text."""
    return [
        (
            "✓" if s["good"] else "✗",
            s["name"],
            f"{s['same_tokens']:.0%}",
            f"{s['greedy']:.0%}",
            f"{s['kl']:.2g}",
            f"{s['perplexity_change']:+.2%}",
            f"{s['stops']} of {s['n']}",
            "; ".join(s["problems"]),
        )
        for s in steps
    ]


TABLE_HEADERS = ("", "step", "same tokens", "same answers", "KL (nats)", "perplexity", "stops", "problems")

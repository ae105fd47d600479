"""Texts that tokenizers differ in."""

from __future__ import annotations

import random

from llmops_tui.training import pre_tokenizers

# What ways to split differ in, and what tokenizers stumble over.
_PIECES = (
    "Hello", " World", "'s", "'LL", "don't", " ", "  ", "\n", "\n\n", "\t", "\r\n", "1", "12", "12345", "½", "²", "٣٤", "café",
    "cafe\u0301", "नमस्ते", "日本語", "漢字", "カナ", "한국어", "🚀", "🇩🇪", "\u200d", "\u00a0", "\u3000", "/", "//", "...", "!?", "==", "(x)",
    "CamelCase", "HTTPServer", "ÄÖü", "_a_", "__", "$5", "€", "<br/>", "ǅ", "ª", "ⅷ", "\u2028", "\x0b", "\ufeff", "'ſ", "ﬁ", "▁", "▁▁",
    "<0x0A>", "<s>", "<|im_end|>", "<|im_start|>", "\x00", "\x7f",
)  # fmt: skip


def hard_strings(count: int = 240) -> list[str]:
    """So many texts of these pieces, the same ones each time, behind the one that llama.cpp tells ways to split by."""
    drawn = random.Random(3)
    made = ["".join(drawn.choice(_PIECES) for _ in range(drawn.randint(1, 14))) for _ in range(count)]
    return [pre_tokenizers.PROBE, *made]

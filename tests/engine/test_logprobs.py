"""Log-probabilities of a row of logits: those of the likeliest tokens are exactly what the tokens have by themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmops_tui.inference.engine.logprobs import log_normalizers, top_logprobs


def test_the_likeliest_tokens_have_the_log_probability_of_a_chosen_one() -> None:
    """Clients tell by it whether a token is the one that greedy decoding takes: the LM Evaluation Harness asks for equality."""
    rows = np.random.default_rng(1).normal(0, 4, (20, 500)).astype(np.float32)
    for row, normalizer in zip(rows, log_normalizers(rows), strict=True):
        found = top_logprobs(row, float(normalizer), 5)
        assert [p for _, p in found] == [float(row[t]) - float(normalizer) for t, _ in found]
        assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
        assert found[0][0] == int(row.argmax())
        exact = math.log(sum(math.exp(float(logit)) for logit in row))
        assert found[0][1] == pytest.approx(float(row.max()) - exact, abs=1e-5)


def test_as_many_are_told_as_there_are() -> None:
    row = np.array([0.0, 2.0, 1.0], np.float32)
    assert [t for t, _ in top_logprobs(row, 0.0, 20)] == [1, 2, 0]
    assert top_logprobs(row, 0.0, 0) == []

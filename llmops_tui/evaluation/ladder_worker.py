"""The process that compares one GGUF model with another on a text: ``RUNG REFERENCE MODEL TEXT WINDOW TOKENS``.

Both are loaded here, so that distributions over the whole vocabulary never leave the process. Prints ``{"done", "of"}``
lines and then one JSON line with the result.
"""

from __future__ import annotations

import faulthandler
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from llmops_tui.evaluation.model_records import Measured
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.training.export.gguf_worker import GgufModel


def _log_softmax(logits: Any) -> Any:
    rows = logits.astype(np.float64)
    top = rows.max(axis=1, keepdims=True)
    return rows - top - np.log(np.exp(rows - top).sum(axis=1, keepdims=True))


def measure(reference: GgufModel, model: GgufModel, text: str, window: int, limit: int) -> Measured:
    """Perplexities of both, KL of the model from the reference in nats a token, and how often both like the same token best.

    As llama.cpp's own comparison does, over windows that begin anew.
    """
    ids = reference.tokenize(text)[:limit]
    if ids != model.tokenize(text)[:limit]:
        raise ValueError("the models have different tokenizers")
    before, after, divergences, same = [], [], [], []
    starts = range(0, len(ids) - 1, window)
    for number, start in enumerate(starts):
        part = ids[start : start + window]
        if len(part) < 2:
            break
        p = _log_softmax(reference.logits(part, 0, fresh=True)[:-1])
        q = _log_softmax(model.logits(part, 0, fresh=True)[:-1])
        rows, targets = np.arange(len(part) - 1), np.array(part[1:])
        before.append(-p[rows, targets])
        after.append(-q[rows, targets])
        divergences.append((np.exp(p) * (p - q)).sum(axis=1))
        same.append(p.argmax(axis=1) == q.argmax(axis=1))
        sys.stdout.write(json.dumps({"done": number + 1, "of": len(starts)}) + "\n")
        sys.stdout.flush()
    one, two, kl = np.concatenate(before), np.concatenate(after), np.concatenate(divergences)
    change = two - one
    error = float(change.std(ddof=1) / math.sqrt(len(change))) if len(change) > 1 else math.nan
    return {
        "tokens": len(one),
        "reference_perplexity": float(np.exp(one.mean())),
        "perplexity": float(np.exp(two.mean())),
        # The ratio with its interval: the differences are paired, token by token.
        "ratio": float(np.exp(change.mean())),
        "ratio_low": float(np.exp(change.mean() - 1.96 * error)),
        "ratio_high": float(np.exp(change.mean() + 1.96 * error)),
        "kl": float(kl.mean()),
        "kl_p99": float(np.quantile(kl, 0.99)),
        "same_top": float(np.concatenate(same).mean()),
    }


def main() -> int:
    """Answer one request."""
    faulthandler.enable()
    rung, parent, reference, model, text, window, limit = sys.argv[1:8]
    die_with_parent(int(parent))
    try:
        size, way = int(window), json.loads(rung)
        words = Path(text).read_text(encoding="utf-8", errors="replace")
        result = measure(
            GgufModel(reference, "-", size, way), GgufModel(model, "-", size, way), words, size, int(limit)
        )
    except ValueError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    sys.stdout.write(json.dumps({"result": result}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The process in which answers are scored: an answer or a pattern that takes all time or memory ends it and nothing else.

One question a line, ``{"metrics", "items"}``: metrics as a suite has them, and for each answer what a run keeps of it
with the places of the metrics that it is scored by. One answer a line: for each item its scores.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from typing import BinaryIO

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.custom import at_work
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.runner.results import result_of
from llmops_tui.jobs.process import end_when_orphaned

_MAX_MEMORY = 4 * 1024**3


def score_or_reason(metric: Metric, case: Case, answer: Answer) -> Score:
    """The score of an answer; one without a value, and with the reason, where the metric fails over it."""
    try:
        with at_work(metric):
            found = metric.score(case, answer)
    except LlmopsError as error:
        return Score(None, error.message)
    except (MemoryError, RecursionError):
        return Score(None, "it cannot be scored: it needs too much memory or nests too deep")
    except Exception as error:  # noqa: BLE001  whatever an answer does to a metric, the other answers are scored
        return Score(None, f"it cannot be scored: {type(error).__name__}: {error}"[:400])
    if found.value is not None and not math.isfinite(found.value):
        # No mean is made of it, and JSON has no such number.
        return Score(
            None, f"it cannot be scored: the metric gave {found.value}; {found.reason}".rstrip("; "), found.detail
        )
    return found


def _answered(known: dict[bytes, Metric], line: bytes) -> bytes:
    question = orjson.loads(line)
    metrics = []
    for entry in question["metrics"]:
        text = orjson.dumps(entry)
        if text not in known:
            known[text] = make_metric(entry)
        metrics.append(known[text])
    scores = []
    for kept, places in question["items"]:
        result = result_of(kept)
        found = [score_or_reason(metrics[place], result.case, result.answer) for place in places]
        scores.append([[s.value if s.value is None else float(s.value), s.reason, s.detail] for s in found])
    return orjson.dumps(scores, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS) + b"\n"


def own_output() -> BinaryIO:
    """Standard output for answers alone: what a package's metric prints goes to standard error."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


def main() -> None:
    """Answer questions until standard input ends."""
    end_when_orphaned()
    output = own_output()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "packages" not in sys.argv[1:]:
        # What a package loads for its metric is its own affair.
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    known: dict[bytes, Metric] = {}
    for line in sys.stdin.buffer:
        left = memoryview(_answered(known, line))
        while left:
            left = left[output.write(left) :]


if __name__ == "__main__":
    main()

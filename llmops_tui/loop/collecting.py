"""A suite that asks what was held out of feedback, so that a retrained model can be judged on what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.evaluation.suite import check_suite

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.evaluation.run import SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore

DEFAULT_METRIC = "token-f1"
"""How held-out answers are measured where nobody says otherwise: by the words that they share with the right one."""


def keep_suite(store: EvaluationStore, held: DatasetVersion, metric: str) -> SuiteVersion:
    """Keep a suite whose cases are the held-out rows, answered greedily, as the next version of the dataset's name.

    Raises:
        InputRefusedError: ``bad_metric``: there is no such metric, or it cannot be used here.
    """
    body = {"cases": held.ref, "metrics": [{"type": metric}], "parameters": {"temperature": 0, "seed": 1}}
    return store.save_suite(check_suite(body, held.dataset), "what feedback held out")

"""Contamination: overlap of the cases with every dataset that the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from llmops_tui.datasets.overlap import asked_texts, compare_texts
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.evaluation.cases import CaseSet
from llmops_tui.evaluation.metrics.base import Case, Metric
from llmops_tui.evaluation.records import Figure, OverlapFacts, TrainedOn
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import as_dict, figure_of
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.workspace.lineage import ancestors


def training_data(store: EvaluationStore, model_name: str) -> list[DatasetVersion]:
    """The dataset versions that a model, its adapter or what they were made of was trained on."""
    model = store.registry.get(model_name)
    outputs = {model.base.sha256}
    if model.origin is not None:
        outputs.add(store.registry.get(str(model.header["adapter"])).sha256)
    known = store.catalog.read(
        lambda connection: {source for output in outputs for _, _, source in ancestors(connection, output)}
    )
    versions: dict[str, DatasetVersion] = {}
    for log in store.datasets.logs().values():
        for version in log:
            if version.sha256 in known:
                versions.setdefault(version.sha256, version)
    return list(versions.values())


@dataclass(frozen=True)
class Overlap:
    """The keys of cases that stand in training data, by the datasets that the model descends from."""

    told: list[TrainedOn]
    keys: set[str]
    asked: int

    def facts(self) -> OverlapFacts:
        """What is known before any case is asked."""
        if not self.told:
            return {"ancestors": [], "rows": 0, "note": "the training data of this model is not known"}
        rows, clean = len(self.keys), self.asked - len(self.keys)
        return {"ancestors": self.told, "rows": rows, "cases": sorted(self.keys), "clean": clean, "metrics": {}}


def find_overlap(store: EvaluationStore, model: str, cases: CaseSet) -> Overlap:
    """Which cases stand in the data that a model was trained on; found once for each version and set of cases."""
    base = [case for case in cases.cases if not case.variation]
    texts: list[str] = []
    seen: set[str] = set()
    told: list[TrainedOn] = []
    for version in training_data(store, model):
        what = f"overlap:{cases.sha256}"
        report = store.datasets.report(version.sha256, what)
        if report is None:
            texts = texts or [_asked(case) for case in base]
            found = compare_texts(("cases", texts), (version.ref, asked_texts(version)))
            report = {"rows": found.rows, "exact": len(found.exact), "ngram": len(found.ngram), "near": len(found.near)}
            store.datasets.keep_report(version.sha256, what, report)
        seen |= {base[row].key for row in report["rows"]}
        told.append(cast("TrainedOn", {"dataset": version.ref, **report, "rows": len(report["rows"])}))
    return Overlap(told, seen, len(base))


def overlap_of(
    store: EvaluationStore, run: EvalRun, cases: CaseSet, results: Sequence[Result], metrics: Sequence[Metric]
) -> OverlapFacts:
    """Which cases stand in training data too, and the figures without them; a note where nothing is known of it."""
    found = find_overlap(store, run.asked.model, cases)
    facts = found.facts()
    clean = [r for r in results if not r.case.variation and r.case.key not in found.keys]
    if found.keys and clean:
        figures: dict[str, Figure] = {
            m.called: as_dict(m, figure_of(m, clean)) for m in metrics if any(m.called in r.scores for r in clean)
        }
        facts["metrics"] = figures
    return facts


def _asked(case: Case) -> str:
    turns = [str(m.get("content") or "") for m in case.messages if m.get("role") not in {"system", "developer"}]
    return "\n".join(turns or [str(v) for v in case.variables.values()])

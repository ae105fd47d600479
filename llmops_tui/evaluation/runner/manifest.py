"""The manifest of a run: hashes of everything that its figures depend on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from llmops_tui.evaluation.asked_prompts import asked_prompts
from llmops_tui.evaluation.cases import CaseSet
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.metrics.model_graded import AskingMetric, Judge
from llmops_tui.evaluation.records import JudgeFacts, Manifest
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.rendering import Samplings
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite
from llmops_tui.inference.asked_prompt import fields_of
from llmops_tui.inference.asking.asker import engine_name
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from llmops_tui.evaluation.runner.chained import ChainAnswers
    from llmops_tui.inference.engine_wire import SamplingRecord


def manifest_of(
    store: EvaluationStore,
    suite: Suite,
    entry: EvalRun,
    cases: CaseSet,
    rendered: list[list[ChatMessage]],
    metrics: list[Metric],
    options: LoadOptions,
    chained: ChainAnswers | None = None,
) -> Manifest:
    """The manifest of a run; ``chained`` where a chain was asked."""
    model = store.registry.get(entry.asked.model)
    remote = model.kind == "remote"
    adapter = store.registry.get(str(model.header["adapter"])) if model.origin is not None else None
    versions = asked_prompts(store.prompts, suite, entry.asked.prompt)
    prompts = chained.prompts() if chained is not None else [(one.ref, one.sha256) for one in versions]
    settings = versions[0].settings if versions else None
    form = suite.response_format or fields_of(settings).get("response_format")
    sampled, _ = Samplings(entry.asked.parameters, settings).of(0)
    judges: dict[str, JudgeFacts] = {}
    for metric in metrics:
        if isinstance(metric, AskingMetric):
            judge = store.registry.get(metric.model)
            judges[metric.called] = {"model": metric.model, "sha256": judge.sha256}
            if isinstance(metric, Judge):
                judges[metric.called] |= {
                    "prompt": metric.prompt,
                    "rubric_sha256": sha256_text(metric.rubric),
                    "prompt_sha256": sha256_text(metric.system + "\0" + metric.template),
                }
    return {
        "suite_sha256": suite.sha256,
        "cases_sha256": cases.sha256,
        "cases_of": cases.of,
        "dataset": None if cases.dataset is None else cases.dataset.ref,
        "dataset_sha256": None if cases.dataset is None else cases.dataset.sha256,
        "rendered_sha256": sha256_text(json.dumps(rendered, sort_keys=True, default=str)),
        "prompt": [ref for ref, _ in prompts],
        "prompt_sha256": [digest for _, digest in prompts],
        "template_sha256": sha256_text(str(model.header.get("chat_template") or "")) if not remote else None,
        "model": model.name,
        "model_sha256": model.base.sha256,
        "adapter_sha256": None if adapter is None else adapter.sha256,
        "quantization": model.base.quantization,
        "size_bytes": model.base.size_bytes,
        "engine": model.header.get("url") if remote else engine_name(options, model.base.path),
        "parallel": options.parallel,
        "parameters": cast(
            "SamplingRecord",
            sampled.model_dump(mode="json", exclude_none=True),
        ),
        "repeats": suite.repeats,
        "response_format_sha256": sha256_text(json.dumps(form, sort_keys=True)),
        # What the suite says comes before what the version holds.
        **({"schema_of": "prompt"} if form and not suite.response_format else {}),
        "raw": suite.raw,
        "metrics": {m.called: fingerprint(m) for m in metrics},
        "judges": judges,
        **({"chain_parts": chained.parts()} if chained is not None else {}),
    }

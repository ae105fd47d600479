"""Records of evaluation in jobs, the catalog and ``--json``. Fields that a newer version added are preserved.

Intervals are of 95 %, their ends none where they are not known; shares are from 0 to 1, times in seconds.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from llmops_tui.evaluation.fact_records import AbstentionFacts, MeanRecord, SentenceFacts
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.workspace.files import sha256_text

# ``class`` is a word of Python's.
ClassFigures = TypedDict("ClassFigures", {"class": str, "n": int, "precision": float, "recall": float, "f1": float})


NO_SCHEMA = sha256_text("null")
"""The ``response_format_sha256`` of a run whose answers are held to no schema."""


class Bin(TypedDict):
    """Answers of about one confidence, and how often they are right."""

    n: int
    confidence: float | None
    right: float | None


class Facts(TypedDict, total=False):
    """What else a metric has to say of a run: of classes, of a judge, of a published score, of confidence, of latency."""

    averages: dict[str, float]
    classes: list[ClassFigures]
    # As (expected, answered, count).
    confusion: list[list[Any]]
    wrong_fields: dict[str, int]
    judge: str
    kappa: float | None
    kappa_quadratic: float | None
    human_labels: int
    mass_on_scale: float | None
    signature: str
    brier: float
    bins: list[Bin]
    # Of paired sentences, how much likelier the first is on average, in nats.
    log_ratio: float
    # How well the metric finds what it looks for, on labelled answers.
    measured: str
    p50: float
    p95: float
    p99: float
    # Of verdicts: the weighted mean of what a test is made of, over the tests.
    weighted: float
    # Of groundedness, by sentence.
    sentences: SentenceFacts
    abstention: AbstentionFacts


class _Figure(TypedDict):
    mean: float | None
    low: float | None
    high: float | None
    n: int
    unusable: int
    method: str
    better: int
    unit: str
    type: str
    binary: bool
    too_few: bool
    needed: str


class Figure(_Figure, total=False):
    """One metric of a run, over ``n`` cases; ``method`` names the interval's, ``better`` is 1 where more is, -1 where less is.

    ``needed`` says how many cases would be enough where there are too few to say anything.
    """

    facts: Facts


class PairedFigure(TypedDict):
    """A metric of cases in another form: its mean, and the difference from the first form."""

    mean: float
    difference: float
    low: float | None
    high: float | None
    n: int


class VariationRecord(TypedDict):
    """What a variation changes, paired with the cases it was made of."""

    variation: str
    n: int
    same_answer: float
    metrics: dict[str, PairedFigure]


class GapRecord(TypedDict):
    """What exchanging one group for another changes; the difference is the second's less the first's."""

    first: str
    second: str
    n: int
    metrics: dict[str, PairedFigure]


class Agreement(TypedDict):
    """How often two answers to one case are the same text."""

    mean: float
    low: float
    high: float
    n: int


class _Costs(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Costs(_Costs, total=False):
    """What a run took; answers from the cache cost nothing.

    ``asked`` is how many answers took the ``seconds`` and ``joules``: a run that was resumed measures from there on.
    ``joules`` is the energy of the devices that ``energy`` names, or none where it says why nothing was measured.
    """

    asked: int
    joules: float | None
    energy: str


class TrainedOn(TypedDict):
    """How many cases stand in a dataset that the model was trained on, by how they were found."""

    dataset: str
    rows: int
    exact: int
    ngram: int
    near: int


class OverlapFacts(TypedDict, total=False):
    """Cases that stand in training data, by key, and the figures of the others; ``note`` where nothing is known of it."""

    ancestors: list[TrainedOn]
    rows: int
    note: str
    cases: list[str]
    clean: int
    metrics: dict[str, Figure]


class FailureReason(TypedDict):
    """Why so many answers failed: the code of an error and its message."""

    count: int
    reason: str


class RunSummary(TypedDict, total=False):
    """The figures of a run, by metric; ``oldest`` is when the oldest answer from the cache was given.

    ``cases`` is how many cases were asked, and ``of`` how many were to be, both without variations.
    ``answers`` is how many requests were made, of which ``errors`` ended in an error and have no answer; ``failures`` are the
    reasons, the most frequent first. ``gave_up`` says that the run ended since its first requests all failed for one.
    """

    cases: int
    of: int
    answers: int
    errors: int
    cached: int
    oldest: float | None
    stopped_early: bool
    failures: list[FailureReason]
    gave_up: bool
    metrics: dict[str, Figure]
    variations: list[VariationRecord]
    gaps: list[GapRecord]
    agreement: Agreement | None
    costs: Costs
    overlap: OverlapFacts


class JudgeFacts(TypedDict, total=False):
    """The model that judges, and the hashes of what it is told."""

    model: str
    sha256: str
    prompt: str
    rubric_sha256: str
    prompt_sha256: str


class Manifest(TypedDict, total=False):
    """All that the figures of a run depend on, mostly as SHA-256; empty until it has ended well.

    ``cases_of`` is the number of cases the suite has, of which a run with a limit asked some. ``metric_sources`` has what
    the metrics of the suite and of single cases measure with: models, kept prompts and packages, by hash or version.
    ``fingerprints`` are what remote servers called themselves while they answered. ``chain_parts`` are the models, indexes and
    functions of a chain that was asked, by hash or version. ``indexes`` are the versions
    that prompts retrieved passages from, with the hash of each; there is none where nothing was retrieved. ``schema_of`` is
    there where the schema is the prompt version's and not the suite's.
    """

    suite_sha256: str
    cases_sha256: str
    cases_of: int
    dataset: str | None
    dataset_sha256: str | None
    rendered_sha256: str
    prompt: list[str]
    prompt_sha256: list[str]
    template_sha256: str | None
    model: str
    model_sha256: str
    adapter_sha256: str | None
    quantization: str
    size_bytes: int
    engine: str | None
    parallel: int
    parameters: SamplingRecord
    repeats: int
    response_format_sha256: str
    schema_of: Literal["prompt"]
    raw: bool
    metrics: dict[str, str]
    case_metrics_sha256: str
    metric_sources: dict[str, str]
    judges: dict[str, JudgeFacts]
    fingerprints: dict[str, list[str]]
    chain_parts: dict[str, str]
    indexes: dict[str, str]


class SuiteRecord(TypedDict):
    """A version of a suite; ``body`` is what its file would say."""

    suite: str
    version: int
    sha256: str
    note: str
    created_at: float
    body: dict[str, Any]


class AskedRecord(TypedDict):
    """One column of a suite's matrix; ``parallel`` 0 is as many requests at once as the server takes.

    ``limit`` asked only so many of the suite's cases, and ``fresh`` took no answer that was there before the run.
    """

    prompt: str
    model: str
    parameters: SamplingRecord
    parallel: int
    limit: int | None
    fresh: bool


class RunRecord(AskedRecord):
    """A run as it is shown; ``target`` is the cluster that answers, empty for this machine."""

    run: str
    state: str
    suite: str
    target: str
    job: str | None
    cause: str
    message: str
    cases: int | None
    metrics: dict[str, Figure]
    errors: int | None
    cached: int | None
    oldest: float | None
    costs: Costs | None
    variations: list[VariationRecord]
    manifest: Manifest
    created_at: float
    finished_at: float | None
    folder: str


class RunFigures(TypedDict):
    """A run that a job did, and its figures."""

    run: str
    metrics: dict[str, Figure]


class Evaluated(TypedDict):
    """What a job that evaluates comes to."""

    runs: list[RunFigures]


class CaseVerdict(TypedDict):
    """What a judge decided of a case; ``preference`` is the candidate's probability, none where it is unusable."""

    case: int
    verdict: str
    preference: float | None


class _Preference(TypedDict):
    judge: str
    n: int
    unusable: int
    wins: int
    ties: int
    losses: int


class Preference(_Preference, total=False):
    """A judge's decisions between two runs; ``position_bias`` above 0: whatever stands first is preferred."""

    preference: MeanRecord
    position_bias: MeanRecord
    cases: list[CaseVerdict]


class Judged(Preference):
    """A judge's decisions, with the runs they are about."""

    baseline: str
    candidate: str


class DifferenceRecord(TypedDict):
    """How a metric differs between two runs: as :class:`llmops_tui.evaluation.comparison.Difference`."""

    metric: str
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    level: float
    method: str
    p: float | None
    p_holm: float | None
    test: str
    wins: int
    ties: int
    losses: int
    n: int
    smallest_effect: float
    too_few: bool
    needed: str
    verdict: str
    unit: str


class SliceRecord(TypedDict):
    """The first metric in a part of the cases; ``few``: hardly anything can be said of so few."""

    by: str
    value: str
    n: int
    few: bool
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float


class Regressed(TypedDict):
    """A case on which the candidate is worse."""

    case: int
    row: int | None
    expected: Any
    baseline: str
    candidate: str
    reason: str


class ComparisonRecord(TypedDict):
    """Two runs compared."""

    baseline: str
    candidate: str
    metric: str
    comparable: bool
    refused: list[str]
    notes: list[str]
    changed: list[str]
    verdict: str
    metrics: list[DifferenceRecord]
    slices: list[SliceRecord]
    regressed: list[Regressed]

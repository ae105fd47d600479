"""Records of training in jobs, the catalog and ``--json``. Fields that a newer version added are preserved.

Sizes are bytes, times seconds, shares from 0 to 1.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Required, TypedDict

from llmops_tui.datasets.reports import OverlapRecord

MemoryPart = Literal["weights", "adapter", "optimizer", "activations", "logits", "overhead"]


class RunResult(TypedDict, total=False):
    """What a run came to; a job that was stopped after a checkpoint has its ``state`` alone.

    ``model`` and ``sha256`` are those of the adapter as GGUF, none where ``without_gguf`` says why there is none; ``serving``
    is the model it goes beside. Where ``whole`` is true it is a model of its own. ``batch`` is the size and the accumulation
    it ended with; ``adapter`` is the folder in PEFT's format, or of all weights as transformers saves them, and
    ``weights_sha256`` is that of its tensors. ``rewards`` are the fingerprints of what was rewarded, by name and weight.
    """

    run: str
    state: str
    steps: int
    loss: float | None
    eval_loss: float | None
    peak_bytes: int
    batch: list[int]
    adapter: str
    whole: bool
    weights_sha256: str
    rewards: dict[str, str]
    model: str | None
    sha256: str
    serving: str | None
    without_gguf: str


class RunRecord(TypedDict):
    """A run as it is shown: where it is, and the newest figures of it; ``eta_s`` is exact to ``eta_error_s``."""

    run: str
    state: str
    job: str | None
    cause: str
    message: str
    method: str
    base: str
    data: list[str]
    step: int
    total: int
    loss: float | None
    eval_loss: float | None
    tokens_per_s: float | None
    eta_s: float | None
    eta_error_s: float | None
    created_at: float
    finished_at: float | None
    result: RunResult | None
    folder: str


class FindingRecord(TypedDict):
    """Something to know before a run: ``error``, ``warn`` or ``info``."""

    level: str
    code: str
    message: str
    hint: str


class Tokens(TypedDict):
    """Lengths of examples, in tokens."""

    p50: float
    p95: float
    max: int
    total: int


class RowsWith(TypedDict):
    """How many rows have a problem, and the number of one of them."""

    rows: int
    such_as: Any


class MixtureRecord(TypedDict):
    """What one dataset of a recipe comes to.

    ``rows`` were read, ``held_out`` for evaluation, and some are without anything to learn; of the others ``used`` are
    trained on. An epoch has its rows ``rows_an_epoch`` times; the shares are of all datasets together, and ``epochs`` is
    how often the run sees each of its rows, on the average.
    """

    version: str
    weight: float
    rows: int
    held_out: int
    without_target: int
    used: int
    rows_an_epoch: int
    examples_an_epoch: int
    tokens_an_epoch: int
    share_of_rows: float
    share_of_tokens: float
    epochs: float


class DataFacts(TypedDict):
    """The figures of the data of a run, in examples and tokens; ``histogram`` counts examples by length.

    Where ``packed`` is not 0, so many examples were packed into ``examples`` sequences, whose lengths these are. Where there
    was too much to compare, there are no ``overlaps`` between the datasets.
    """

    rows: dict[str, int]
    examples: int
    packed: int
    held_out: int
    tokens: Tokens
    trained_tokens: int
    cut: int
    without_target: int
    problems: dict[str, RowsWith]
    histogram: list[int]
    mixture: list[MixtureRecord]
    overlaps: list[OverlapRecord] | None


class MemoryParts(TypedDict):
    """Memory by part, corrected by ``factor`` in ``total``."""

    weights: int
    adapter: int
    optimizer: int
    activations: int
    logits: int
    overhead: int
    factor: float
    total: int


class MemoryFacts(MemoryParts):
    """Memory of a run beside what there is; ``nearest`` are the least changes with which it would fit."""

    device: str
    # Plans of before there could be several have none.
    devices: NotRequired[list[str]]
    available: int
    device_total: int
    fits: bool
    measured_runs: int
    nearest: dict[str, Any] | None


class LogEntry(TypedDict, total=False):
    """An entry of a trainer's own history, as far as it is read; losses and tokens are those up to the step."""

    step: int
    eval_loss: float
    num_tokens: float


class Difference(TypedDict):
    """Where training and serving see other tokens: at which, with the text and the ids around it."""

    token: int
    training: str
    serving: str
    training_ids: list[int]
    serving_ids: list[int]


class ParityRecord(TypedDict):
    """How many of the compared conversations are other tokens in the serving model, and the first difference.

    ``prompts`` are those whose prompt, as it is served, is not what stands before the answer in training.
    """

    serving: str
    compared: int
    different: int
    first: Difference | None
    prompts: int
    first_prompt: Difference | None


class TimeFacts(TypedDict):
    """How long a run takes; none where no speed was measured."""

    steps: int
    tokens: int
    seconds: float | None
    tokens_per_s: float | None


class DiskFacts(TypedDict):
    """What checkpoints need at the most, and what is free."""

    needed: int
    free: int


class HeldOutRecord(TypedDict):
    """Which rows a run did not learn from, as it keeps them: the numbers of the rows by dataset version.

    The loss is measured on ``rows``; ``unmeasured`` were drawn as well, and have nothing to be measured on, such as an answer.
    """

    seed: int
    rows: dict[str, list[int]]
    unmeasured: dict[str, list[int]]
    missing: list[str]
    twins: int
    near: int | None


class DryRun(TypedDict, total=False):
    """Two real steps on the longest rows; ``findings`` are what they showed, which a plan has among its problems.

    ``padded_per_s`` are tokens a second with padding, and ``plain_per_s`` as many as they would be if attention cost nothing;
    ``answer_token_s`` is what a token of a sample answer takes, and
    ``begin_s`` what came before the first step, both in seconds.
    """

    steps: int
    step_s: float
    tokens_per_s: float
    padded_per_s: float
    plain_per_s: float
    answer_token_s: float
    begin_s: float
    peak_bytes: int
    estimated_bytes: int
    findings: list[FindingRecord]


class SavingRecord(TypedDict):
    """A setting with which a run learns the same: whether it has it, why it cannot have it here, and what it saves.

    ``memory`` is bytes, ``step`` the time of a step over that of one without it, where it was measured, and ``padding`` the
    share of what is computed that falls away.
    """

    setting: str
    used: bool
    absent: str
    memory: int
    step: float | None
    padding: float | None


class PlanRecord(TypedDict):
    """A recipe looked at from all sides. ``examples`` are a few of them as (text, state) pairs; ``ok``: no error stops it."""

    recipe: dict[str, Any]
    base: str
    serving: str | None
    problems: list[FindingRecord]
    data: DataFacts
    examples: list[list[tuple[str, str]]]
    parity: ParityRecord | None
    memory: MemoryFacts
    time: TimeFacts
    disk: DiskFacts
    energy_kwh: float | None
    dry_run: DryRun | None
    # Plans of before it was told have none.
    savings: NotRequired[list[SavingRecord]]
    ok: bool


class ProofStep(TypedDict):
    """One step of an export beside the adapter on its base: as :class:`llmops_tui.training.export.proof.Step`."""

    name: str
    same_tokens: float
    greedy: float
    kl: float
    perplexity_change: float
    stops: int
    n: int
    problems: tuple[str, ...]
    good: bool
    chat_template_sha256: str
    chat_template_kwargs: dict[str, Any]


class ExportResult(TypedDict, total=False):
    """What an export wrote: models by name, a folder where one was asked for, and the proof of each step."""

    run: str
    models: list[str]
    safetensors: str
    proof: list[ProofStep]


class Converted(TypedDict):
    """A model folder that was written as GGUF and registered."""

    model: str
    path: str
    sha256: str


class TrialRecord(TypedDict, total=False):
    """A trial of a search; its settings stand beside, by the paths of their fields.

    ``values`` is what it came to by objective, ``loss`` the first of them; of one that was ended early ``step`` is where, and
    ``why`` the reason.
    """

    trial: int
    state: str
    loss: float | None
    values: dict[str, float]
    step: int | None
    why: str


class SweepResult(TypedDict, total=False):
    """A search for better settings: the best with its loss, kept as ``recipe``; each trial has its settings beside its loss.

    Of several ``objectives`` the ``front`` are the numbers of the trials that no other is better than; ``loss`` is the first.
    """

    best: Required[dict[str, Any]]
    loss: Required[float]
    recipe: Required[str]
    trials: Required[list[TrialRecord]]
    importance: Required[dict[str, float]]
    objectives: list[str]
    front: list[int]

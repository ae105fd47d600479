"""Rendering of the training screen: list lines, chart series and metrics."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.safe_text import safe_line
from llmops_tui.states import mark_of, tone_of
from llmops_tui.training.control import waits
from llmops_tui.training.health import stalled
from llmops_tui.training.recipe_words import technique
from llmops_tui.training.reward_figures import reward_names
from screens.widgets import units
from screens.widgets.chart import Series, short_number
from screens.widgets.columns import Column, Part
from screens.widgets.text_wrap import join_parts
from screens.widgets.time_chart import STYLES

if TYPE_CHECKING:
    from llmops_tui.training.history import History
    from screens.training.model import KeptRecipe, Shown

NO_RUNS = "No runs yet.\nF5 starts the recipe below;\no watches another program's run."
NO_RECIPES = "No recipes yet.\nn makes one from a preset."
HELP_RUNS = "Newest first. space marks runs for one chart, x stops, P pauses, R resumes, E exports, u uses the result."
HELP_RECIPES = "The newest version of each recipe. n makes one, enter edits it, p runs the preflight, F5 starts it."
HELP_CHART = "s shows the next metric, m smooths, l is logarithmic, + and - zoom. Evaluation is dotted."

_WIDE = 76
# How the lines of one run are drawn, before their figures.
_LEGEND = {"loss": ("━ ", STYLES[0]), "eval_loss": ("┄ ", STYLES[1])}


@dataclass(frozen=True)
class Figure:
    """What the chart can show: a title, and the names of the lines, the dotted one last."""

    title: str
    names: tuple[str, ...]


FIGURES = (
    Figure("loss", ("loss", "eval_loss")), Figure("learning rate", ("learning_rate",)),
    Figure("gradient norm", ("grad_norm",)), Figure("tokens/s", ("tokens_per_s",)),
    Figure("memory in GB", ("memory_bytes",)), Figure("seconds per step", ("seconds",)),
    Figure("token accuracy", ("mean_token_accuracy",)), Figure("reward margin", ("rewards/margins",)),
)  # fmt: skip
# Of runs by grpo these come first: a policy's loss is around 0 by its making.
REWARD_FIGURES = (
    Figure("reward ± spread", ("reward", "reward+", "reward-", "eval_reward")), Figure("KL to the base", ("kl",)),
    Figure("tokens of answers", ("completions/mean_length", "eval_length")), Figure("entropy", ("entropy",)),
    Figure("clipped share", ("clip_ratio/region_mean",)), Figure("repetition", ("completions/repetition",)),
    Figure("groups with one reward", ("frac_reward_zero_std",)),
    Figure("log-probability mismatch", ("sampling/sampling_logp_difference/mean",)),
)  # fmt: skip


def figures_of(shown: list[Shown]) -> tuple[Figure, ...]:
    """What the chart of these runs can show: of rewards each by itself, too."""
    names = dict.fromkeys(name for run in shown for name in reward_names(run.history))
    if not names and not any("reward" in run.history.series for run in shown):
        return FIGURES
    own = tuple(Figure(f"reward {name}", (f"rewards/{name}/mean", f"eval_rewards/{name}")) for name in names)
    return (REWARD_FIGURES[0], *own, *REWARD_FIGURES[1:], *FIGURES)


def _values(history: History, name: str) -> dict[int, float]:
    """A line of the chart; the rewards with their spread above and below are made of two."""
    if name not in {"reward+", "reward-"}:
        return history.series.get(name, {})
    spread, sign = history.series.get("reward_std", {}), 1 if name.endswith("+") else -1
    return {step: value + sign * spread.get(step, 0.0) for step, value in history.series.get("reward", {}).items()}


# Of a run by rewards these say how good it is, and the losses nothing.
_REWARDS = (("reward", "reward"), ("eval_reward", "held out"), ("kl", "KL"), ("completions/mean_length", "tokens"))


def _state(shown: Shown) -> Part:
    job = shown.own.job if shown.own is not None else None
    word = "waiting" if shown.state == "running" and job is not None and waits(job.message) else shown.state
    return f"{mark_of(word)} {word}", tone_of(word)


def _done(shown: Shown) -> float | None:
    """Which share of its steps is behind it."""
    history = shown.history
    return history.step / history.total if history.total else None


def _loss(name: str) -> Column[Shown]:
    def value(shown: Shown) -> float | None:
        return shown.history.last(name)

    return Column(
        "loss" if name == "loss" else "eval",
        lambda shown: ("–", "muted") if (found := value(shown)) is None else f"{found:.3f}",
        value, right=True, rank=2 if name == "loss" else 4,
    )  # fmt: skip


RUN_COLUMNS: list[Column[Shown]] = [
    Column("run", lambda shown: safe_line(shown.name, 120), share=1, least=16, names=True),
    Column("state", _state, rank=1, least=9),
    Column("done", lambda shown: ("–", "muted") if (part := _done(shown)) is None else units.share(part), _done,
        unit="%", right=True, falling=True, rank=3),
    _loss("loss"),
    _loss("eval_loss"),
    Column("step", lambda shown: f"{shown.history.step:,}", lambda shown: shown.history.step, right=True, falling=True,
        rank=6, chosen=False),
    Column("method", lambda shown: (shown.own.run.recipe.method if shown.own is not None else "–", "muted"), rank=5,
        chosen=False),
    Column("base", lambda shown: (safe_line(shown.own.run.recipe.base if shown.own is not None else "–", 200), "muted"), rank=7,
        chosen=False, names=True),
]  # fmt: skip
RECIPE_COLUMNS: list[Column[KeptRecipe]] = [
    Column("recipe", lambda kept: safe_line(kept.ref, 200), share=1, least=16, names=True),
    Column("method", lambda kept: (f"{kept.recipe.method} {technique(kept.recipe)}", "muted"), rank=1),
    Column("data", lambda kept: (safe_line(", ".join(s.dataset for s in kept.recipe.data), 200), "muted"), rank=3),
    Column("base", lambda kept: (safe_line(kept.recipe.base, 200), "muted"), rank=2, share=1, least=14, names=True),
]


def lines(shown: list[Shown], figure: Figure) -> list[Series]:
    """The chart's series: one colour a run, the evaluation dotted."""
    found = []
    for index, run in enumerate(shown):
        for name in figure.names:
            values = _values(run.history, name)
            if values:
                scale = 1e-9 if name == "memory_bytes" else 1.0
                points = [(float(step), value * scale) for step, value in sorted(values.items())]
                evaluation, spread = name.startswith("eval"), name.endswith(("+", "-"))
                # Alone, a run's evaluation has a colour of its own.
                colour = STYLES[(index + (evaluation and len(shown) == 1)) % len(STYLES)]
                dotted = evaluation or spread
                found.append(Series(f"{run.name} {name}", "$muted" if spread else colour, points, dotted))
    # What is drawn last lies on top: the evaluation must not hide under the training loss.
    return sorted(found, key=lambda one: one.dotted)


def legend(shown: list[Shown]) -> str:
    """The names of the runs in the chart."""
    return "  ".join(safe_line(run.name) for run in shown)


def figures(run: Shown | None, charted: list[Shown], width: int) -> Content:
    """The newest figures of the run under the cursor, in lines of so many cells."""
    if run is None:
        return Content.styled("Metrics appear with the first step of a run.", "$muted")
    if len(charted) > 1:
        parts: list[Any] = []
        for index, one in enumerate(charted):
            parts += [("━ ", STYLES[index % len(STYLES)]), f"{safe_line(one.name)} {_last(one, 'loss')}  "]
        return Content.assemble(*parts)
    history = run.history
    if not history.total and not history.step:
        message = run.own.job.message if run.own is not None and run.own.job is not None else ""
        return Content.styled(safe_line(message) or "No step was recorded yet.", "$muted")
    content = Content("\n".join(join_parts(_told(run), width or _WIDE)))
    for mark, style in _LEGEND.values():
        if (at := content.plain.find(mark)) >= 0:
            content = content.stylize(style, at, at + len(mark))
    if run.state == "running" and history.last_at:
        why = stalled(list(history.series.get("seconds", {}).values()), time.time() - history.last_at)
        content = Content.assemble(content, (f"\n⚠ {why}", "$warning")) if why else content
    return content


def _told(run: Shown) -> list[str]:
    history = run.history
    texts = [f"step {history.step:,}" + (f" of {history.total:,}" if history.total else "")]
    for name, label in (
        *_REWARDS,
        ("loss", "loss"),
        ("eval_loss", "eval loss"),
        ("grad_norm", "gradient norm"),
        ("learning_rate", "learning rate"),
    ):
        if history.last(name) is not None:
            texts.append(f"{_LEGEND.get(name, ('', ''))[0]}{label} {_last(run, name)}")
    speed, memory = history.last("tokens_per_s"), history.last("memory_bytes")
    texts += [f"{short_number(speed)} tok/s"] if speed else []
    texts += [f"{memory / 1e9:.2f} GB"] if memory else []
    left = history.remaining() if run.state == "running" else None
    if left is not None:
        texts.append(f"{duration_between(left[0], 2 * left[1])} left")
    return texts


def _last(run: Shown, name: str) -> str:
    value = run.history.last(name)
    if value is None:
        return ""
    # The same digits from step to step, and for losses those of the list.
    if name in {"loss", "eval_loss"}:
        return f"{value:.3f}"
    return f"{value:.2e}" if name == "learning_rate" else short_number(value)


def duration_between(seconds: float, spread: float) -> str:
    """A length of time with what it may differ by, both in the unit of the first; the second is rounded up."""
    unit, size, decimals = ("s", 1, 0) if seconds < 90 else ("min", 60, 0) if seconds < 5400 else ("h", 3600, 1)
    least = 10.0**-decimals
    around = max(1, math.ceil(spread / size / least - 1e-9)) * least
    return f"{seconds / size:.{decimals}f} ± {around:.{decimals}f} {unit}"


def duration(seconds: float) -> str:
    """A length of time in one number."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

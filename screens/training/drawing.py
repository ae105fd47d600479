"""How the training screen draws: lines of the lists, series of the chart, figures, and the kinds of details."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.training.health import stalled
from llmops_tui.training.recipe import fields, value_at
from screens.widgets.chart import Series, short_number
from screens.widgets.proof import proof_table

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from screens.training.looking import KeptRecipe, Shown
    from screens.training.screen import TrainingScreen

NO_RUNS = "No runs yet.\nF5 starts the recipe below;\no watches another program's run."
NO_RECIPES = "No recipes yet.\nn makes one from a preset."
HELP_RUNS = (
    "Newest first. space marks runs for one chart, x stops, P pauses, R goes on, E exports, u prompts the result."
)
HELP_RECIPES = "The newest version of each. n makes one, enter changes it, p looks at everything first, F5 starts it."
HELP_CHART = "s the next figure, m smooths, l logarithmic, + and - zoom. Evaluation is dotted."
HELP_DETAILS = "w shows the next: what happened, sample answers, settings, preflight, proof of what was exported."

_STYLES = {
    "running": "$accent", "done": "$success", "failed": "$error", "killed": "$error", "lost": "$error",
    "paused": "$warning", "stopped": "$warning", "cancelled": "$warning", "unreadable": "$error",
}  # fmt: skip
_MARKS = {"running": "▶", "done": "✓", "failed": "✗", "killed": "✗", "lost": "✗", "paused": "‖", "stopped": "■"}
_COLOURS = ("$accent", "$warning", "$success", "$error", "$foreground")
_TOKEN_STYLES = {"trained": "$success", "masked": "$muted", "cut": "$error strike"}


@dataclass(frozen=True)
class Figure:
    """What the chart can show: a title, and the names of the lines, the dotted one last."""

    title: str
    names: tuple[str, ...]


FIGURES = (
    Figure("loss", ("loss", "eval_loss")), Figure("learning rate", ("learning_rate",)),
    Figure("gradient norm", ("grad_norm",)), Figure("tokens/s", ("tokens_per_s",)),
    Figure("memory in GB", ("memory_bytes",)), Figure("seconds a step", ("seconds",)),
    Figure("token accuracy", ("mean_token_accuracy",)), Figure("reward margin", ("rewards/margins",)),
)  # fmt: skip


def run_line(shown: Shown, *, marked: bool) -> Content:
    """A run in the list."""
    history = shown.history
    share = f" {history.step / history.total:.0%}" if history.total and shown.state in {"running", "elsewhere"} else ""
    loss = history.last("loss")
    style = _STYLES.get(shown.state, "$muted")
    return Content.assemble(
        ("● " if marked else "  ", "$warning"), (f"{_MARKS.get(shown.state, '·')} ", style), safe_line(shown.name),
        (f"  {shown.state}{share}", style), (f"  {short_number(loss)}" if loss is not None else "", "$muted"),
    )  # fmt: skip


def recipe_line(kept: KeptRecipe) -> Content:
    """A recipe in the list."""
    recipe = kept.recipe
    return Content.assemble(safe_line(kept.ref), (f"  {recipe.method}  {safe_line(recipe.base)}", "$muted"))


def lines(shown: list[Shown], figure: Figure) -> list[Series]:
    """The chart's series: one colour a run, the evaluation dotted."""
    found = []
    for index, run in enumerate(shown):
        for name in figure.names:
            values = run.history.series.get(name)
            if values:
                scale = 1e-9 if name == "memory_bytes" else 1.0
                points = [(float(step), value * scale) for step, value in sorted(values.items())]
                evaluation = name.startswith("eval")
                # Alone, a run's evaluation has a colour of its own.
                colour = index + (evaluation and len(shown) == 1)
                found.append(Series(f"{run.name} {name}", _COLOURS[colour % len(_COLOURS)], points, evaluation))
    # What is drawn last lies on top: the evaluation must not hide under the training loss.
    return sorted(found, key=lambda one: one.dotted)


def legend(shown: list[Shown]) -> str:
    """The names of the runs in the chart."""
    return "  ".join(safe_line(run.name) for run in shown)


def figures(run: Shown | None, charted: list[Shown]) -> Content:
    """The newest figures of the run under the cursor."""
    if run is None:
        return Content.styled("Figures come with the first step of a run.", "$muted")
    if len(charted) > 1:
        parts: list[Any] = []
        for index, one in enumerate(charted):
            parts += [("━ ", _COLOURS[index % len(_COLOURS)]), f"{safe_line(one.name)} {_last(one, 'loss')}  "]
        return Content.assemble(*parts)
    history = run.history
    texts = [f"step {history.step} of {history.total}"]
    for name, label in (("loss", "loss"), ("eval_loss", "eval"), ("grad_norm", "grad"), ("learning_rate", "lr")):
        if history.last(name) is not None:
            texts.append(f"{label} {_last(run, name)}")
    speed, memory = history.last("tokens_per_s"), history.last("memory_bytes")
    texts += [f"{short_number(speed)} tok/s"] if speed else []
    texts += [f"{memory / 1e9:.2f} GB"] if memory else []
    left = history.remaining() if run.state == "running" else None
    if left is not None:
        texts.append(f"ETA {_duration(left[0])} ± {_duration(2 * left[1])}")
    content = Content(" · ".join(texts))
    if run.state == "running" and history.last_at:
        why = stalled(list(history.series.get("seconds", {}).values()), time.time() - history.last_at)
        content = Content.assemble(content, (f"\n⚠ {why}", "$warning")) if why else content
    return content


def _last(run: Shown, name: str) -> str:
    value = run.history.last(name)
    return "" if value is None else short_number(value)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def details(screen: TrainingScreen) -> tuple[tuple[str, str], Content]:
    """The title and the content of the details pane."""
    if screen.subject == "run" and screen.run is not None:
        run = screen.run
        kinds = [("What happened", happened), ("Samples", samples), ("Result", result)]
        proof = screen.looking.proofs.get(run.name)
        title, draw = kinds[screen.detail % len(kinds)]
        content = draw(run)
        if title == "Result" and proof:
            content = Content("\n\n").join([content, proof_table(proof)])
        return (f"{title}  {safe_line(run.name)}", "w next"), content
    recipe = screen.recipe
    if recipe is None:
        return ("Recipe", ""), Content.styled(NO_RECIPES, "$muted")
    views: list[tuple[str, Content]] = []
    plan, found = screen.looking.plans.get(recipe.sha256), screen.looking.sweeps.get(recipe.name)
    if plan is not None:
        views.append(("Preflight", preflight(plan)))
    views.append(("Recipe", settings(recipe)))
    if found is not None:
        views.append(("Sweep", sweep(found)))
    title, content = views[screen.detail % len(views)]
    note = "w next" if len(views) > 1 else "p preflight"
    return (f"{title}  {safe_line(recipe.name)}", note), content


def happened(run: Shown) -> Content:
    """Events, the newest first."""
    styles = {"error": "$error", "warn": "$warning", "info": "$muted"}
    parts: list[Any] = []
    if run.trouble:
        parts += [(safe_line(run.trouble) + "\n", "$error")]
    if run.own is not None and run.own.cause:
        parts += [(safe_line(run.own.cause) + "\n", "$error")]
    if run.own is not None and run.state in {"running", "queued", "starting"} and run.own.job is not None:
        parts += [(safe_line(run.own.job.message) + "\n", "$accent")]
    for event in reversed(run.history.events):
        parts += [(f"step {event.step:>5}  ", "$muted"), (safe_line(event.message), styles.get(event.level, ""))]
        parts += [(f"\n            {safe_line(event.hint)}", "$muted")] if event.hint else []
        parts.append("\n")
    return Content.assemble(*parts) if parts else Content.styled("Nothing out of the ordinary.", "$muted")


def samples(run: Shown) -> Content:
    """Answers generated at evaluations, the newest first."""
    parts: list[Any] = []
    for sample in reversed(run.history.samples[-12:]):
        right = sample.text.strip() == sample.expected.strip()
        parts += [
            (f"step {sample.step:>5}  ", "$muted"), (safe_text(sample.text.strip()) or "(empty)", "$success" if right else ""),
            (f"\n  expected  {safe_text(sample.expected.strip())}\n", "$muted"),
        ]  # fmt: skip
    return (
        Content.assemble(*parts)
        if parts
        else Content.styled("No sample answers yet: they come with each evaluation.", "$muted")
    )


def result(run: Shown) -> Content:
    """What the run came to, and of what."""
    own = run.own
    facts: list[tuple[str, str]] = [("folder", str(run.folder))]
    if own is not None:
        facts += [("base", own.run.recipe.base), ("data", ", ".join(ref for ref, _ in own.run.data))]
        for name, value in (own.run.result or {}).items():
            facts.append((name.replace("_", " "), str(value)))
    facts += [(name, str(value)) for name, value in run.history.facts.items()]
    parts: list[Any] = []
    for name, text in facts:
        parts += [(f"{name:14}", "$muted"), safe_line(text) + "\n"]
    return Content.assemble(*parts)


def settings(recipe: Recipe) -> Content:
    """All fields of a recipe; what differs from the default stands out."""
    parts: list[Any] = [
        ("data".ljust(30), "$muted"),
        (", ".join(f"{s.dataset}" + (f" × {s.weight:g}" if s.weight != 1 else "") for s in recipe.data) + "\n", "bold"),
    ]
    for path, info in fields():
        if path == "data":
            continue
        value = value_at(recipe, path)
        own = info.is_required() or value != info.get_default()
        text = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
        parts += [(f"{path:30}", "$muted"), (safe_line(text[:60]) + "\n", "bold" if own else "$muted")]
    return Content.assemble(*parts)


def preflight(plan: dict[str, Any]) -> Content:
    """A plan: findings, bars of memory, figures, and examples with their tokens coloured."""
    parts: list[Any] = []
    marks = {"error": ("✗ ", "$error"), "warn": ("⚠ ", "$warning"), "info": ("· ", "$muted")}
    for problem in plan["problems"]:
        parts += [marks[problem["level"]], safe_line(problem["message"]) + "\n"]
        parts += [(f"  {safe_line(problem['hint'])}\n", "$muted")] if problem["hint"] else []
    if not plan["problems"]:
        parts.append(("✓ nothing to worry about\n", "$success"))
    data, memory, timing = plan["data"], plan["memory"], plan["time"]
    tokens = data["tokens"]
    parts += [
        ("data      ", "$muted"), f"{data['examples']:,} examples, {data['held_out']} kept apart; ",
        f"{data['trained_tokens']:,} tokens learned from\n",
        ("lengths   ", "$muted"), (_bars(data["histogram"]), "$accent"),
        f"  p50 {tokens['p50']:.0f} p95 {tokens['p95']:.0f} max {tokens['max']}\n",
    ]  # fmt: skip
    parts += _memory(memory)
    seconds = timing["seconds"]
    known = (
        f"about {_duration(seconds)} at {short_number(timing['tokens_per_s'])} tok/s"
        if seconds
        else "time is known after a measured step"
    )
    parts += [("time      ", "$muted"), f"{timing['steps']} steps, {known}\n"]
    parity = plan.get("parity")
    if parity:
        same = (
            ("the same tokens ✓", "$success")
            if not parity["different"]
            else (f"{parity['different']} differ", "$error")
        )
        parts += [
            ("template  ", "$muted"),
            f"{parity['compared']} conversations, training and {safe_line(parity['serving'])}: ",
            same,
            "\n",
        ]
    parts.append(("\ntokens    ", "$muted"))
    parts += [("learned from ", "$success"), ("only read ", "$muted"), ("cut\n", "$error")]
    for example in plan["examples"][:3]:
        parts += [(safe_text(text).replace("\n", "⏎"), _TOKEN_STYLES[state]) for text, state in example]
        parts.append("\n")
    return Content.assemble(*parts)


def sweep(found: dict[str, Any]) -> Content:
    """The trials of a sweep, the best first, with bars; and how much each field mattered."""
    names = list(found["best"])
    done = sorted((row for row in found["trials"] if row["loss"] is not None), key=lambda row: row["loss"])
    parts: list[Any] = [("kept as ", "$muted"), (f"{found['recipe']}\n", "bold"), ("  loss".ljust(34), "$muted")]
    parts += [(name.rpartition(".")[2].rjust(18), "$muted") for name in names] + ["\n"]
    worst = done[-1]["loss"] if done else 1.0
    for row in done:
        style = "$success" if row is done[0] else "$muted" if row["state"] == "pruned" else "$accent"
        bar = "▇" * max(1, round(20 * row["loss"] / worst))
        parts += [(f"  {short_number(row['loss']):>8}  ", ""), (f"{bar:20}  ", style)]
        parts += [_cell(row.get(name)).rjust(18) for name in names]
        parts.append(("  ended early\n", "$muted") if row["state"] == "pruned" else "\n")
    for name, share in (found.get("importance") or {}).items():
        parts += [(f"\n  {name:32}", "$muted"), ("▇" * round(30 * share), "$warning"), f" {share:.0%}"]
    return Content.assemble(*parts)


def _cell(value: Any) -> str:
    return short_number(value) if isinstance(value, float) else str(value)


def _memory(memory: dict[str, Any]) -> list[Any]:
    names = ("weights", "adapter", "optimizer", "activations", "logits", "overhead")
    parts: list[Any] = [
        ("memory    ", "$muted"),
        f"{memory['total'] / 1e9:.2f} GB of {memory['available'] / 1e9:.1f} GB free on {memory['device']}",
        ("  fits\n", "$success") if memory["fits"] else ("  does not fit\n", "$error"),
    ]  # fmt: skip
    largest = max(memory[name] for name in names) or 1
    for name in names:
        bar = "▇" * round(20 * memory[name] / largest)
        parts += [(f"  {name:12}", "$muted"), (f"{bar:20}", "$accent"), f" {memory[name] / 1e9:.2f}\n"]
    return parts


def _bars(counts: list[int]) -> str:
    most = max(counts) or 1
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * count / most)] if count else " " for count in counts)

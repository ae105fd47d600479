"""``llmops train rewards`` and ``allow``: what a run was rewarded for, and functions of the user's as rewards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, session_of
from llmops_tui.cli.train_options import RunName, store_of

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject

_SHOWN = 60


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(rewards)
    app.command()(allow)


def rewards(
    context: typer.Context,
    name: RunName,
    limit: Annotated[int, typer.Option(min=1, help="Number of answers, the newest first.")] = LIMIT,
) -> None:
    """Show what a run is rewarded for, before and after, and answers with their rewards."""
    from llmops_tui.training.history import read_history
    from llmops_tui.training.reward_figures import learned, learned_told
    from llmops_tui.training.rewards import noted

    session = session_of(context)
    run = store_of(session).get(name)
    history = read_history(run.folder)
    facts = noted(run.folder)
    answers = list(reversed(history.answers))[:limit]
    series = {key: history.series[key] for key in history.series if key.startswith(("reward", "kl", "completions/"))}
    data = {
        "run": name,
        "rewards": facts,
        "learned": learned(history),
        "answers": [vars(answer) for answer in answers],
        "series": series,
    }

    def human() -> str:
        lines = [f"{one['name']:14} × {one['weight']:g}  {one['code'] or one['type']}" for one in facts]
        lines += ["", *(f"{key:14} {told}" for key, told in learned_told(history)), ""]
        for answer in answers:
            own = ", ".join(f"{key} {value:.3g}" for key, value in answer.rewards.items())
            text = " ".join(answer.text.split())
            lines.append(f"step {answer.step:>5}  {answer.reward:>7.3f}  {text[:_SHOWN]}  ({own})")
        return "\n".join(lines)

    session.emit(data, human)


def allow(
    context: typer.Context, files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Python files.")]
) -> None:
    """Let the functions of a Python file be rewards; a change of the file has to be allowed again."""
    from llmops_tui.training.rewards import allow as allow_file

    session = session_of(context)
    digests = {str(path): allow_file(path) for path in files}
    session.emit({"allowed": digests}, lambda: "\n".join(f"{path} may run ({d[:12]}…)" for path, d in digests.items()))


def evaluation_told(record: JsonObject) -> str:
    """An evaluation in a line: its loss, or the reward of the held-out rows."""
    if "eval_reward" in record:
        error = record.get("eval_reward_se") or 0.0
        return f"held-out reward {record['eval_reward']:.3f} ± {1.96 * error:.3f}, {record.get('eval_length', 0):.1f} tokens"
    return f"evaluation loss {record.get('eval_loss', float('nan')):.4f}"

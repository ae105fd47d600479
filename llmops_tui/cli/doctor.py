"""``llmops doctor``: diagnose this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.errors import ExitCode


def doctor(
    context: typer.Context,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Forget the fallback options recorded for llama.cpp, and try all options again."),
    ] = False,
) -> None:
    """Check this machine: versions, llama.cpp, GPU, disk, terminal. Exit 1 if a check fails."""
    from llmops_tui.doctor import diagnose
    from llmops_tui.inference.fallback import forget

    session = session_of(context)
    if retry:
        forgotten = forget()
        session.say(f"forgotten: {forgotten}" if forgotten else "no fallback options are recorded")
    # A look makes nothing, and a workspace that is none, or damaged, is a finding.
    found = diagnose(session.place)
    marks = {"ok": "✓", "warn": "!", "fail": "✗"}

    def human() -> str:
        lines = []
        for check in found:
            lines.append(f"{marks[check.state]} {check.name:12} {check.finding}")
            lines += [f"  {'':12} → {check.remedy}"] if check.remedy else []
        return "\n".join(lines)

    session.emit({"checks": [check.as_dict() for check in found]}, human)
    if any(check.state == "fail" for check in found):
        raise typer.Exit(int(ExitCode.FAILED))

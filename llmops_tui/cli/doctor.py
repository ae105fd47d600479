"""``llmops doctor``: what this machine can do."""

from __future__ import annotations

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.errors import ExitCode


def doctor(context: typer.Context) -> None:
    """Look at this machine: versions, llama.cpp build, GPU, disk, terminal; exits 1 where a check fails."""
    from llmops_tui.checkup import checkup

    session = session_of(context)
    found = checkup(session.workspace)
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

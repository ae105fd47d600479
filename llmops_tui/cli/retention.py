"""``llmops retention``: the rules by which things go with age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import counted

if TYPE_CHECKING:
    from llmops_tui.maintenance.retention import Due

app = typer.Typer(help="The rules by which things are deleted with age; the setting retention has them.")


@app.command()
def show(context: typer.Context) -> None:
    """Show the rules, and what is due by them; changes nothing."""
    from llmops_tui.maintenance.retention import plan_retention

    session = session_of(context)
    _emit(session, plan_retention(session.workspace, session.settings), done=False)


@app.command()
def apply(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only what is due is shown.")] = False,
) -> None:
    """Delete what is due and nothing needs. llmops gc --yes does it, too."""
    from llmops_tui.maintenance.retention import apply_retention, plan_retention

    session = session_of(context)
    found = (apply_retention if yes else plan_retention)(session.workspace, session.settings)
    _emit(session, found, done=yes)


def _emit(session: Session, found: list[Due], *, done: bool) -> None:
    from llmops_tui.retention_rules import read_rules

    rules = [rule.told for rule in read_rules(session.settings.retention)]

    def human() -> str:
        if not rules:
            return 'no rules; such as, in settings.toml: retention = "traces 90d; datasets 2y where is:untagged"'
        lines = [f"rule: {rule}" for rule in rules]
        lines += [
            f"{'deleted' if one.done else 'stays' if one.stays else 'due'}: {one.what}, {one.age / 86_400:,.0f} days old, by "
            f"{one.rule.told}" + (f" ({one.stays})" if one.stays else "")
            for one in found
        ]
        going = sum(not one.stays for one in found)
        end = "deleted" if done else "due; llmops retention apply --yes deletes"
        return "\n".join([*lines, f"{counted(going, 'thing')} {end}"])

    session.emit({"done": done, "rules": rules, "due": [one.as_dict() for one in found]}, human)

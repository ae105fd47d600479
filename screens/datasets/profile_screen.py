"""The profile of a version as charts: of a sample with its uncertainty, then of all rows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import agree, counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.datasets.rendering import spark
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.profile_record import Profile, TokenFigures
    from llmops_tui.datasets.version import DatasetVersion
    from screens.services import Services

Part = str | tuple[str, str]
_BAR = 40
_MAX_LENGTH = 2048


class ProfileScreen(Modal[None]):
    """A page of charts."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q,p", "close", "Close"),
        Binding("f5,a", "whole", "All rows"),
    ]

    def __init__(self, services: Services, version: DatasetVersion, model: str, *, utf8: bool) -> None:
        super().__init__()
        self._services = services
        self._version = version
        self._model = model
        self._utf8 = utf8

    def compose(self) -> ComposeResult:
        """The charts and the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(f"{self._version.ref}: reading a sample …"), classes="dialog-title", id="profile-head")
            with TextScroll(can_focus=True):
                yield Static("", id="profile-text", markup=False)
            yield KeysLine(("a", "all rows, as a job"), ("esc", "close"))

    def on_mount(self) -> None:
        """A kept profile of all rows, or a sample now."""
        self.run_worker(self._read(), group="profile", exclusive=True, exit_on_error=False)

    async def _read(self) -> None:
        try:
            kept = await asyncio.to_thread(
                self._services.datasets.report, self._version.sha256, f"profile:{self._model}"
            )
            self._show(cast("Profile", kept) if kept is not None else await asyncio.to_thread(self._sample))
        except LlmopsError as error:
            self.query_one("#profile-text", Static).update(Content.styled(safe_line(error.message, 400), "$error"))

    def _sample(self) -> Profile:
        from contextlib import ExitStack

        from llmops_tui.datasets.profile import profile
        from llmops_tui.datasets.tokens import ModelText

        with ExitStack() as stack:
            text = None
            if self._model:
                text = stack.enter_context(ModelText(self._services.models.get(self._model)))
            return profile(self._version, text, max_length=_MAX_LENGTH)

    def action_whole(self) -> None:
        """Profile all rows, as a job."""
        self.run_worker(self._whole(), group="profile", exclusive=True, exit_on_error=False)

    async def _whole(self) -> None:
        head = self.query_one("#profile-head", Static)
        job = await asyncio.to_thread(
            lambda: self._services.jobs.start(
                kind="profile",
                title=f"profile {self._version.ref}",
                entry="llmops_tui.datasets.profile:run_profile_job",
                arguments={"ref": self._version.ref, "model": self._model, "max_length": _MAX_LENGTH},
            )
        )
        while not job.state.final:
            head.update(Content(f"{self._version.ref}: all rows {job.progress:.0%} {job.message}"))
            await asyncio.sleep(0.3)
            job = await asyncio.to_thread(self._services.jobs.store.get, job.id)
        await self._read()

    def _show(self, found: Profile) -> None:
        of = (
            f"{found['looked_at']:,} of {counted(found['rows'], 'row')}, a random sample"
            if found["sampled"]
            else f"all {counted(found['rows'], 'row')}"
        )
        self.query_one("#profile-head", Static).update(Content(f"{found['version']} · {found['format']} · {of}"))
        parts: list[Part] = []
        parts += _token_parts(found.get("tokens"), sampled=found["sampled"], blocks=self._utf8)
        if "turns" in found:
            turns = found["turns"]
            parts += [("\nTurns\n", "bold"), *_bars([(counted(n, "turn"), c) for n, c in turns["counts"][:12]])]
            parts += [("\nTurns by role\n", "bold"), *_bars(list(turns["roles"].items()))]
        shares = found["languages"]["shares"]
        if shares:
            parts.append(("\nLanguages\n", "bold"))
            for name, share in shares.items():
                low, high = share["interval"]
                parts += [
                    *_bar(name, share["share"]),
                    f" {share['share']:.1%}",
                    (f"  {low:.1%} – {high:.1%}\n", "$muted"),
                ]
        if found.get("labels", {}).get("counts"):
            labels = found["labels"]
            parts += [
                (f"\nLabels ({safe_line(labels['column'])})\n", "bold"),
                *_bars([(str(v), n) for v, n in labels["counts"][:30]]),
            ]
        same = found["duplicates"]
        at_least = "at least " if same["lower_bound"] else ""
        are = agree(same["rows"], "is a duplicate", "are duplicates")
        parts += [
            ("\nDuplicates\n", "bold"),
            f"{at_least}{same['rows']:,} of {counted(same['of'], 'row')} {are}\n",
        ]
        self.query_one("#profile-text", Static).update(Content.assemble(*parts))

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _token_parts(tokens: TokenFigures | None, *, sampled: bool, blocks: bool) -> list[Part]:
    if tokens is None:
        return [
            ("Tokens\n", "bold"),
            ("not counted: there is no model; m on the datasets screen chooses one\n", "$muted"),
        ]
    if not tokens["total"]:
        return [("Tokens\n", "bold"), (f"{safe_line(str(next(iter(tokens['failed']), 'no rows')))}\n", "$warning")]
    plus = f" ± {tokens['total_interval']:,}" if sampled else ""
    cut = next((k for k in tokens["cut"] if tokens["cut"][k]["share"] == 0), None)
    parts: list[Part] = [
        (f"Tokens with {safe_line(tokens['model'])}\n", "bold"),
        f"{tokens['total']:,}{plus} in all · {tokens['trained_share']:.0%} of them trained\n",
        (spark(tokens["histogram"], blocks=blocks, width=24), "$accent"),
        f"  {tokens['min']:,} – {tokens['max']:,} a row\n",
        f"p50 {tokens['p50']:,.0f} · p95 {tokens['p95']:,.0f} · p99 {tokens['p99']:,.0f}",
        f" · outliers {tokens['outliers']['short']} short, {tokens['outliers']['long']} long\n",
        ("\nCut at a length of\n", "bold"),
    ]
    for length, share in tokens["cut"].items():
        low, high = share["interval"]
        parts += [
            *_bar(length, share["share"]),
            f" {share['share']:.1%}",
            (f"  {low:.1%} – {high:.1%}\n" if sampled else "\n", "$muted"),
        ]
        if length == cut:
            break
    parts += [("\nFilled at ", "bold"), (f"{tokens['max_length']:,} tokens\n", "bold")]
    parts += [
        *_bar("packed", tokens["packing"]),
        f" {tokens['packing']:.0%}\n",
        *_bar("padded", tokens["padding"]),
        f" {tokens['padding']:.0%}\n",
    ]
    parts += [("\nTokens by role\n", "bold"), *_bars(list(tokens["by_role"].items()))]
    parts += [
        (f"{counted(count, 'row')}: {safe_line(text)}\n", "$warning") for text, count in tokens["problems"].items()
    ]
    return parts


def _bars(values: list[tuple[str, int]]) -> list[Part]:
    top = max((n for _, n in values), default=1) or 1
    parts: list[Part] = []
    for name, count in values:
        parts += [*_bar(name, count / top), f" {count:,}\n"]
    return parts


def _bar(name: str, share: float) -> list[Part]:
    filled = round(share * _BAR)
    return [f"{safe_line(name, 18):18.18} ", ("█" * filled, "$accent"), ("·" * (_BAR - filled), "$line")]

"""A workspace whose maker wants to run, read and send what is its user's, and what watches whether it does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from textual.pilot import Pilot

from llmops_tui.inference.approved_keys import approve
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobStore
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.drafts import Drafts, Session
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.test_hostile import poison
from tests.fakes import hostile_strings

CANARY = "CANARY-of-the-victim-7c1e"
# Colours that no theme has: where they are seen, a foreign text was taken for markup.
ACTING = "[#010203 on #030201]PWN[/][@click=app.exit]PWN[/][link=https://maker.example]PWN[/]"
ESCAPING = "\x1b]52;c;UFdO\x07\x1b[2J\x9b31m\u202ePWN\u2066"
_COLOURS = {(1, 2, 3), (3, 2, 1)}
FORBIDDEN = set("\x1b\x07\x9b\x9d\x90\u202a\u202b\u202d\u202e\u2066\u2067")


@dataclass
class Watch:
    """Events in this process, and what the maker's address heard."""

    victim: Path
    marker: Path
    port: int
    seen: list[str] = field(default_factory=list)
    connections: int = 0

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what touches the victim's files, an address, or a program of the maker's."""
        if event in {"open", "os.listdir", "os.scandir"} and str(self.victim) in str(arguments[0]):
            self.seen.append(f"{event} {arguments[0]}")
        elif event == "socket.connect" and not isinstance(arguments[1], (str, bytes)):
            self.seen.append(f"{event} {arguments[1]}")
        elif event == "subprocess.Popen" and str(self.marker) in repr(arguments):
            self.seen.append(f"{event} {arguments}")


_watching: list[Watch] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in {"open", "os.listdir", "os.scandir", "socket.connect", "subprocess.Popen"}:
        for watch in _watching:
            watch.heard(event, arguments)


# A hook cannot be taken away again; it does nothing while nobody watches.
sys.addaudithook(_hook)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """The victim's file, an address that counts who comes, and a watch on this process."""
    victim = folder / "victim"
    victim.mkdir()
    (victim / "secret.txt").write_text(CANARY)
    (victim / "trainer_state.json").write_text(
        json.dumps({"log_history": [{"step": 1, "loss": 1.0}], "secret": CANARY})
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        watch = Watch(victim, folder / "sprung", server.getsockname()[1])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()
                    watch.connections += 1

        threading.Thread(target=accept, daemon=True).start()
        _watching.append(watch)
        try:
            yield watch
        finally:
            _watching.remove(watch)
            server.shutdown(socket.SHUT_RDWR)


def make_hostile(filled: Path, folder: Path, watch: Watch) -> Workspace:
    """Fill a workspace as its maker would, with other files of the user's own, and copy it to where the victim has it."""
    made = Workspace(folder / "made")
    shutil.copytree(filled, made.root)
    trap = folder / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {watch.marker}\n")
    trap.chmod(0o755)
    texts = [ACTING, ESCAPING, *(text.encode("utf-8", "replace").decode() for text in hostile_strings()[::12])]
    with mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(folder / "makers")}):
        poison(made, texts)
        _name_badly(made, watch)
        _ask_remotely(made, watch)
        _plant_work(made, watch, trap)
    copied = Workspace(folder / "from-elsewhere")
    shutil.copytree(made.root, copied.root)
    # What a copy leaves out: a pipe in the place of a log and of a record, which never says anything.
    for pipe in ("notice-1.txt", "app.log.1"):
        os.mkfifo(copied.logs / pipe)
    for log in copied.runs.glob("*/output.log"):
        log.unlink()
        os.mkfifo(log)
    return copied


def _name_badly(made: Workspace, watch: Watch) -> None:
    """Names that are markup, that escape, and that lead out, wherever the catalog has names."""
    secret = str(watch.victim / "secret.txt")
    bad = ACTING + ESCAPING
    header = json.dumps({"architecture": bad, "chat_template": "{{ cycler.__init__.__globals__ }}", "license": bad})

    def plant(connection: Any) -> None:
        connection.execute("UPDATE models SET path = ?, header = ? WHERE name = 'support-base-q4'", [secret, header])
        connection.execute(
            "INSERT INTO models SELECT * REPLACE ('elsewhere' AS name, ? AS path, 'e' || sha256[2:] AS sha256) FROM models "
            "WHERE name = 'support-base'",
            [secret],
        )
        connection.execute("UPDATE models SET name = ? WHERE name = 'support-base-hf'", [bad])
        for table, column, name in (
            ("prompts", "name", "triage"),
            ("prompt_versions", "prompt", "triage"),
            ("prompt_labels", "prompt", "triage"),
            ("datasets", "name", "triage"),
            ("dataset_versions", "dataset", "triage"),
            ("dataset_tags", "dataset", "triage"),
        ):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", [bad, name])
        connection.execute("UPDATE dataset_versions SET note = ?", [bad])
        view = {"filter": f"=question IN (SELECT content FROM read_text('{secret}'))", "sort": None, "where": bad}
        connection.execute(
            "INSERT INTO dataset_views SELECT name, ?, ?, 0 FROM datasets", [f"view {bad}", json.dumps(view)]
        )
        connection.execute("UPDATE training_recipes SET note = ?", [bad])

    Catalog(made).write(plant)


def _ask_remotely(made: Workspace, watch: Watch) -> None:
    """A model of the maker's, chosen already, that wants a key; and an alert that is raised at once."""
    url = f"http://127.0.0.1:{watch.port}"
    facts = {"remote_model": ACTING, "lacks": {ACTING: ESCAPING}}
    ModelRegistry(Catalog(made)).add_remote(url, "helpful", facts, "AWS_SECRET_ACCESS_KEY")
    approve("AWS_SECRET_ACCESS_KEY", url)
    Drafts(EventLog(made)).save_session(Session(prompt="support", model="helpful"))
    (made.root / "api-key").write_text("known-to-its-maker-0123456789\n")
    (made.root / "api-key").chmod(0o600)


def _plant_work(made: Workspace, watch: Watch, trap: Path) -> None:
    """Jobs that would run something, a run of another program to be read elsewhere, and commands of alerts."""
    event_log = EventLog(made)
    jobs = JobStore(event_log)
    for number, entry in enumerate(("os:system", "llmops_tui.jobs.worker:importlib")):
        job = jobs.add(kind=ACTING, title=ESCAPING, spec={"entry": entry, "arguments": {"command": str(trap)}})
        if number:
            jobs.update(job.id, state="failed", cause=ACTING, message=ESCAPING, finished_at=time.time())
        jobs.folder(job).mkdir(parents=True, exist_ok=True)
        (jobs.folder(job) / "output.log").write_text(ACTING)
    event_log.save_draft("training:foreign", {"folders": [str(watch.victim), f"/nowhere/{ACTING}"]})
    rules = [
        {"name": f"{ACTING[:30]} {series}", "series": series, "above": -1, "for_seconds": 0, "command": str(trap)}
        for series in ("host.cpu", "host.memory", "host.disk")
    ]
    made.alert_rules.write_text(json.dumps(rules))


def seen_of(pilot: Pilot[int]) -> str:
    """The text that is on the screen; fails where foreign text acts in it.

    Raises:
        AssertionError: something of it is markup, a link, a character that a terminal obeys, or the victim's.
    """
    lines = []
    for strip in pilot.app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            colours = (
                {c.triplet for c in (style.color, style.bgcolor) if c is not None and c.triplet} if style else set()
            )
            assert not {tuple(c) for c in colours} & _COLOURS, f"markup acts: {segment.text!r}"
            assert style is None or not style.link, f"a link acts: {segment.text!r}"
            assert style is None or "exit" not in str(style.meta), f"an action hides in {segment.text!r}"
        lines.append(strip.text)
    text = "\n".join(lines)
    assert not set(text) & FORBIDDEN
    assert CANARY not in text
    return text


def no_job_starts() -> Any:
    """Jobs get their records and no process: what they would do is not what is tested here."""
    return mock.patch.object(JobLauncher, "_spawn")

"""Partials where prompts are run, kept as files, removed, and looked at from a shell."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.template_worker import prompt_environment
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record
from llmops_tui.maintenance.renaming import rename_record
from llmops_tui.prompts.folder import ENDING, PromptFolder, file_text, parse_file
from llmops_tui.prompts.partial_versions import held_partials, take_newer
from llmops_tui.prompts.runs import PromptRunner, RunRequest
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops


class Rendering:
    """Jinja in this process."""

    def render(self, source: str, context: dict[str, object]) -> str:
        return prompt_environment().from_string(source).render(context)


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


@pytest.fixture
def event_log(workspace: Workspace) -> EventLog:
    return EventLog(workspace)


def request(template: str, system: str = "", name: str = "bot") -> RunRequest:
    return RunRequest(name, system, template, {"mood": "kind"}, SamplingParameters())


def test_a_draft_is_run_with_its_partials_put_in(store: PromptStore, catalog: Catalog, event_log: EventLog) -> None:
    store.save("tone", template="Be {{ mood }}.")
    runner = PromptRunner(catalog, event_log, cast("TemplateRenderer", Rendering()))
    said = runner.render(request('{% include "tone" %} Now.', '{% include "tone@1" %}'))
    assert [one["content"] for one in said] == ["Be kind.", "Be kind. Now."]
    with pytest.raises(InputRefusedError) as refused:
        runner.render(request('{% include "nope" %}'))
    assert refused.value.code == "bad_partial"


def test_a_file_of_a_folder_gets_the_partials_that_it_includes(
    store: PromptStore, event_log: EventLog, tmp_path: Path
) -> None:
    """Also where the partial comes with the same sync, and by a name that comes later."""
    for name, text in (("bot", '{% include "tone" %} Now.\n'), ("tone", "Be brief."), ("bad", '{% include "nope" %}')):
        (tmp_path / f"{name}{ENDING}").write_text(file_text("", text), encoding="utf-8")
    folder = PromptFolder(tmp_path, store, event_log)
    changes = {change.prompt: change for change in folder.sync()}
    assert {name: change.what for name, change in changes.items()} == {"bad": "refused", "bot": "read", "tone": "read"}
    assert "nope" in changes["bad"].detail
    assert changes["bot"].detail == "with its partials put in"
    bot = store.get("bot")
    assert parse_file((tmp_path / f"bot{ENDING}").read_bytes())[1] == bot.template
    assert held_partials(store, bot.template)[0].told == "tone@1"
    assert {change.what for change in folder.sync() if change.prompt != "bad"} == {"in step"}
    assert len(store.versions("bot")) == 1


def test_a_partial_is_removed_or_renamed_and_its_text_stays(store: PromptStore, workspace: Workspace) -> None:
    store.save("tone", template="Be brief.")
    bot, _ = store.save("bot", template='{% include "tone" %}')
    planned = plan_record_removal(workspace, Kept.PROMPT, "tone")
    assert "bot@1 holds its text as a partial, and keeps it" in planned.uses
    rename_record(workspace, Kept.PROMPT, "tone", "voice")
    assert store.get("bot") == bot
    assert held_partials(store, bot.template)[0].told == "tone@1 (tone is called voice now)"
    store.save("voice", template="Be long.")
    assert held_partials(store, bot.template)[0].told == "tone@1 (tone is called voice now, voice@2 is newer)"
    assert "{# partial voice@2 " in take_newer(store, "bot", bot.template)
    remove_record(workspace, Kept.PROMPT, "voice", force=True)
    assert store.get("bot") == bot
    assert held_partials(store, bot.template)[0].told == "tone@1 (there is no prompt tone here)"


@pytest.mark.slow
def test_partials_are_shown_and_taken_from_a_shell(workspace: Workspace) -> None:
    cli = Llmops(workspace)
    cli.run("prompt", "save", "tone", "--text", "Be brief.")
    assert cli.run("prompt", "save", "bot", "--text", '{% include "tone" %} Now.')["partials"] == ["tone@1"]
    cli.run("prompt", "save", "tone", "--text", "Be long.")
    held = {"partial": "tone", "version": 1, "within": [], "edited": False, "gone": False, "now": "tone@2"}
    assert cli.run("prompt", "show", "bot")["partials"] == [held]
    assert cli.run("prompt", "partials", "bot") == {"prompt": "bot", "version": 1, "partials": [held]}
    used = cli.run("prompt", "partials", "tone", "--used-by")
    assert used == {"partial": "tone", "prompts": [{"prompt": "bot", "version": 1, "partials": [held]}]}
    taken = cli.run("prompt", "partials", "bot", "--take")
    assert (taken["version"], taken["created"]) == (2, True)
    assert taken["partials"] == [{**held, "version": 2, "now": None}]
    assert cli.run("prompt", "partials", "bot", "--take")["created"] is False
    assert cli.run("prompt", "show", "tone").get("partials") is None
    cli.run("prompt", "partials", "bot", "--used-by", "--take", code=2)
    cli.run("prompt", "partials", "nope", "--used-by", code=3)

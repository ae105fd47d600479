"""A person in the files that prompts are kept in step with: outside of the workspace, and read again by the next sync."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from llmops_tui.maintenance.forgetting.search import names_person
from llmops_tui.privacy.person import Person
from llmops_tui.prompts.store import PromptStore
from llmops_tui.prompts.synced_folders import files_of, synced_folders
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import reason
from llmops_tui.workspace.layout import Workspace


def named_in_folders(workspace: Workspace, person: Person, *, prompts_name_them: bool) -> Iterator[str]:
    """Each file that names the person, with what to do; and folders that cannot be searched, where prompts name them."""
    event_log = EventLog(workspace)
    try:
        folders = synced_folders(event_log)
    finally:
        event_log.close()
    known = {summary.name for summary in PromptStore(Catalog(workspace)).summaries()} if folders else set()
    for folder, contents in folders:
        try:
            for file in files_of(folder, contents):
                if not (names_person(file.path, person) or person.named_in(file.texts)):
                    continue
                if file.is_in_step and file.prompt in known:
                    yield (
                        f"{file.path}, kept in step with the prompt {file.prompt}: run llmops prompt sync "
                        f"{shlex.quote(str(folder))} afterwards, which writes the prompt without the person into it; what git "
                        "holds of it stays"
                    )
                else:
                    yield (
                        f"{file.path}, in a folder that prompts are kept in step with: take the person out of it or delete "
                        "it before the next sync, which would read it; what git holds of it stays"
                    )
        except OSError as error:
            if prompts_name_them:
                yield f"{folder}, which prompts were kept in step with, cannot be searched ({reason(error)}): search it yourself"

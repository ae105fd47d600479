"""The plan of an erasure: all that names a person, what would become of it, what stays, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from llmops_tui.counts import counted
from llmops_tui.datasets.held import alone_with
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.erasure_records import FoundRecord, How, PlanRecord, TrainedRecord
from llmops_tui.maintenance.forgetting import catalog_rows, sqlite_rows
from llmops_tui.maintenance.forgetting.dataset_rows import (
    NamedRows,
    is_being_made,
    named_rejects,
    named_rows,
    orphans,
    versions_by_content,
)
from llmops_tui.maintenance.forgetting.found import Findings
from llmops_tui.maintenance.forgetting.indexes import files_of_documents, indexes_in_the_way, named_documents
from llmops_tui.maintenance.forgetting.outside_files import files_worked_with, find_in_own_files
from llmops_tui.maintenance.forgetting.pseudonyms import keys_not_given
from llmops_tui.maintenance.forgetting.synced_prompts import named_in_folders
from llmops_tui.maintenance.forgetting.text_files import NamedFile, named_file, searched_files
from llmops_tui.maintenance.forgetting.trained import trained_on
from llmops_tui.maintenance.series import series_of_settings
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.privacy.person import PerhapsPerson, Person
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace

Tell = Callable[[float, str], None]
# What becomes of what nothing here erases.
STAYS = "stays"


@dataclass(frozen=True)
class Plan:
    """What forgetting a person means.

    Attributes:
        findings: all that names them, by place.
        contents: the content of datasets that does.
        files: the files that do.
        trained: the runs that learned from it.
        in_the_way: what has to be ended first.
        staying: what nothing here erases, each with what to do.
        backups: backups that may hold the person, each in words.
        perhaps: what may mean them, where it was looked for.
    """

    person: Person
    how: How
    findings: Findings
    contents: tuple[NamedRows, ...] = ()
    files: tuple[NamedFile, ...] = ()
    trained: tuple[TrainedRecord, ...] = ()
    in_the_way: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()
    perhaps: tuple[FoundRecord, ...] = ()

    @property
    def things(self) -> int:
        """How many things name the person and are to go."""
        return sum(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many things are to go, by place; not what stays."""
        found: dict[str, int] = {}
        for one in self.findings.records():
            if one["becomes"] != STAYS:
                found[one["place"]] = found.get(one["place"], 0) + one["things"]
        return found

    def as_dict(self) -> PlanRecord:
        """For JSON. The identifiers are those that were given; whoever asks knows them."""
        return {
            "identifiers": [f"{one.kind}: {one.value}" for one in self.person.identifiers],
            "how": self.how,
            "found": self.findings.records(),
            "trained": list(self.trained),
            "in_the_way": list(self.in_the_way),
            "staying": list(self.staying),
            "backups": list(self.backups),
            "perhaps": list(self.perhaps),
            "done": False,
        }


def _nothing(_share: float, _what: str) -> None:
    pass


def find_person(
    workspace: Workspace, person: Person, how: How = "remove", *, tell: Tell = _nothing, own_job: str = ""
) -> Plan:
    """Find a person in all of a workspace, and say what forgetting them would do; changes nothing."""
    findings = Findings(person)
    catalog = Catalog(workspace)
    if not workspace.read_only:
        _ingest(workspace, catalog)
    tell(0.0, "searching the catalog")
    becomes = "removed" if how == "remove" else "redacted"
    catalog.read(lambda db: catalog_rows.find(db, person, findings, becomes))
    named = catalog.read(lambda db: catalog_rows.names_in_the_way(db, person))
    contents = list(_contents(workspace, person, findings, becomes, tell))
    for path in sqlite_rows.sqlite_files(workspace):
        tell(0.6, f"searching {path.name}")
        for row in sqlite_rows.named_rows(path, person):
            place, fate = sqlite_rows.place_of(path, row.table), sqlite_rows.fate_of(row.table)
            findings.take(place, "", row.texts.values(), fate)
    documents = list(named_documents(workspace, person))
    for one in documents:
        for text in one.texts.values():
            findings.take("documents of indexes", one.index.ref, [text], "removed")
    files = list(_files(workspace, person, findings, tell))
    rows = {one.version.sha256: (len(one.rows), one.version.rows) for one in contents}
    trained = trained_on(workspace, rows)
    staying = [f"{file.name}: {file.why}" for file in files if not file.fate]
    staying += [
        *find_in_own_files(person, findings),
        *files_worked_with(workspace, person),
        *_models(workspace, person),
        *_in_memory(workspace),
    ]
    staying += [*_pseudonymised(workspace, person), *files_of_documents(documents, person)]
    in_prompts = any(one["place"] == catalog_rows.PLACES["prompts"] for one in findings.records())
    staying += named_in_folders(workspace, person, prompts_name_them=in_prompts)
    tell(1.0, "done")
    return Plan(
        person,
        how,
        findings,
        tuple(contents),
        tuple(files),
        tuple(trained),
        (
            *named,
            *indexes_in_the_way(workspace, person),
            *_at_work(workspace, own_job),
            *_readers(contents),
            *_being_made(workspace, person),
        ),
        tuple(staying),
        tuple(_backups(workspace)),
    )


def with_perhaps(workspace: Workspace, plan: Plan, *, tell: Tell = _nothing) -> Plan:
    """The plan with what may mean the person: surnames alone, and names without their accents. Nothing of it is erased."""
    try:
        weaker = PerhapsPerson(plan.person)
    except InputRefusedError:
        return plan
    return replace(plan, perhaps=tuple(find_person(workspace, weaker, plan.how, tell=tell).findings.records()))


def _ingest(workspace: Workspace, catalog: Catalog) -> None:
    """Move what waits in the event log to the catalog, where it can go whole."""
    event_log = EventLog(workspace)
    try:
        ingest(catalog, event_log)
    finally:
        event_log.close()


def _contents(
    workspace: Workspace, person: Person, findings: Findings, becomes: str, tell: Tell
) -> Iterator[NamedRows]:
    contents = versions_by_content(DatasetStore(Catalog(workspace)))
    for done, versions in enumerate(contents.values()):
        tell(0.1 + 0.5 * done / len(contents), f"searching {versions[0].ref}")
        refs = ", ".join(version.ref for version in versions)
        if (named := named_rows(versions, person)) is not None:
            for text in named.texts:
                findings.take("rows of datasets", refs, [text], becomes)
            yield named
        for version in versions:
            for text in named_rejects(workspace, version, person):
                findings.take("rejected records of imports", version.ref, [text], "removed")
    for path, text in orphans(workspace, set(contents), person):
        # Of one at work it is told that it is in the way.
        findings.take("datasets that nothing refers to", path.name[:12], [text], "removed")


def _files(workspace: Workspace, person: Person, findings: Findings, tell: Tell) -> Iterator[NamedFile]:
    names = searched_files(workspace)
    for done, name in enumerate(names):
        tell(0.65 + 0.3 * done / len(names), f"searching {name}")
        if (found := named_file(workspace, name, person)) is not None:
            if not findings.take("files", name, [found.text], found.fate or STAYS):
                findings.add("files", name, found.fate, things=1, mentions=found.mentions, samples=())
            yield found


def _at_work(workspace: Workspace, own_job: str) -> list[str]:
    """Jobs that are at work: any may be reading or writing what is to go."""
    event_log = EventLog(workspace)
    try:
        jobs = [job for job in JobStore(event_log).all(100_000) if not job.state.final and job.id != own_job]
    finally:
        event_log.close()
    return [f"{job.id} is {job.state.value}: {job.title} (llmops job cancel {job.id}, or wait)" for job in jobs]


def _being_made(workspace: Workspace, person: Person) -> Iterator[str]:
    known = versions_by_content(DatasetStore(Catalog(workspace))).keys()
    for path, _ in orphans(workspace, set(known), person):
        if is_being_made(path):
            yield f"datasets/{path.name} was written in the last hour and is not a version yet: wait for whoever makes it"


def _readers(contents: Iterable[NamedRows]) -> tuple[str, ...]:
    with alone_with([one.version.folder for one in contents]) as readers:
        return readers


def _pseudonymised(workspace: Workspace, person: Person) -> Iterator[str]:
    for key in keys_not_given(workspace, person):
        yield (
            f"values pseudonymised with the key {key}: none of them was found to be this person's, and without the key none "
            "can be; give its file with --key, or delete the key"
        )


def _models(workspace: Workspace, person: Person) -> Iterator[str]:
    for model in ModelRegistry(Catalog(workspace)).all():
        if person.named_in(str(model.path)):
            yield f"the path of model {model.name}, {model.path}: move it, and add it again"


def _in_memory(workspace: Workspace) -> Iterator[str]:
    running = [handle.model for handle in ServerSupervisor(workspace).running()]
    if running:
        shown = ", ".join(running)
        yield f"prompts in the memory of running servers ({shown}), until they are stopped: llmops model stop {running[0]}"


def _backups(workspace: Workspace) -> Iterator[str]:
    for folder, files, trouble in series_of_settings(workspace):
        if trouble:
            yield f"backups in {folder}, which cannot be read: {trouble}"
        elif files:
            yield (
                f"{counted(len(files), 'backup')} in {folder}: llmops privacy forget … --backups writes them anew; a restore "
                "of one forgets the person again"
            )
    for path in sorted(workspace.root.parent.glob(f"{workspace.root.name}.before-*")):
        if path.is_dir():
            yield f"{path}, the workspace from before a restore: delete it when you no longer need it"

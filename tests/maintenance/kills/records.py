"""Writers of the catalog and the event log: prompts, drafts, traces, feedback, datasets, labels, models."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.inference.approved_keys import approve, is_approved
from llmops_tui.maintenance.findings import Finding
from llmops_tui.maintenance.model_removal import remove_model
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.drafts import Draft, Drafts
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place, being_removed

ROWS = 4


def rows(place: Place, sql: str) -> list[Any]:
    return Catalog(place.workspace).read(lambda connection: connection.execute(sql).fetchall())


def each_once(found: list[Any], acknowledged: set[Any], begun: set[Any]) -> None:
    """Of what one of the writers began all that was acknowledged is there, and nothing twice."""
    counts = Counter(one for one in found if one in begun)
    assert not (acknowledged - counts.keys()), f"lost: {acknowledged - counts.keys()}"
    assert not [one for one, count in counts.items() if count > 1], f"twice: {counts}"


# ── prompts ──


def write_prompts(place: Place, tell: Ledger, chance: Random) -> None:
    store = PromptStore(Catalog(place.workspace))
    while True:
        name, text = f"p{chance.randrange(3)}", tell.fresh()
        with tell.doing("save", name=name, text=text) as done:
            done["number"] = number = store.save(name, template=text, note="as it is")[0].number
        label = f"of-{tell.label[0]}-{name}"
        with tell.doing("label", label=label, number=number):
            store.move_label(f"{name}@{number}", label)
        with tell.doing("note", text=text):
            store.set_note(f"{name}@{number}", f"of {text}")


def verify_prompts(place: Place, known: Known, _whole: bool) -> None:
    found = rows(place, "SELECT template, prompt, number, note FROM prompt_versions WHERE prompt IN ('p0', 'p1', 'p2')")
    each_once(
        [row[0] for row in found],
        {told.facts["text"] for told in known.acknowledged("save")},
        {told.facts["text"] for told in known.begun("save")},
    )
    places = {row[0]: row[1:] for row in found}
    for told in known.acknowledged("save"):
        assert told.done is not None
        assert places[told.facts["text"]][:2] == (told.facts["name"], told.done["number"])
    for told in known.acknowledged("note"):
        assert places[told.facts["text"]][2] == f"of {told.facts['text']}"
    for name in {row[1] for row in found}:
        assert sorted(row[2] for row in found if row[1] == name) == list(range(1, sum(r[1] == name for r in found) + 1))
    moves = Counter(
        row[0] for row in rows(place, "SELECT label FROM prompt_label_moves WHERE starts_with(label, 'of-')")
    )
    pointed = dict(rows(place, "SELECT label, number FROM prompt_labels WHERE starts_with(label, 'of-')"))
    for label in {told.facts["label"] for told in known.begun("label")}:
        mine = Known([told for told in known.begun("label") if told.facts["label"] == label])
        assert len(mine.acknowledged("label")) <= moves[label] <= len(mine.all)
        assert pointed.get(label) in {told.facts["number"] for told in mine.last("label")} | (
            set() if mine.acknowledged("label") else {None}
        )


# ── the event log ──


def write_drafts(place: Place, tell: Ledger, chance: Random) -> None:
    drafts = Drafts(EventLog(place.workspace))
    while True:
        name, text = f"{tell.label[0]}{chance.randrange(2)}", tell.fresh()
        with tell.doing(f"draft {name}", text=text):
            drafts.save(name, Draft(system="", template=text * 50, variables={}, base=None))


def verify_drafts(place: Place, known: Known, _whole: bool) -> None:
    drafts = Drafts(EventLog(place.workspace))
    for what in {told.what for told in known.all}:
        found = drafts.load(what.partition(" ")[2])
        texts = {told.facts["text"] * 50 for told in known.last(what)}
        assert found is None or found.template in texts
        assert found is not None or not known.acknowledged(what)


def trace(text: str) -> dict[str, Any]:
    return {
        "started_at": 1_795_000_000.0,
        "model": "tiny",
        "prompt": "hello",
        "prompt_version": 1,
        "total_ms": 5.0,
        "messages": [{"role": "user", "content": text}],
        "output": f"answer to {text}",
        "finish_reason": "stop",
        "parameters": {},
    }


def write_traces(place: Place, tell: Ledger, chance: Random) -> None:
    catalog, event_log = Catalog(place.workspace), EventLog(place.workspace)
    while True:
        keys = [f"run_{tell.fresh()}" for _ in range(chance.randint(1, 20))]
        with tell.doing("traces", keys=keys):
            event_log.append_many([("request", key, trace(key)) for key in keys])
        with tell.doing("fold"):
            ingest(catalog, event_log)


def verify_traces(place: Place, known: Known, _whole: bool) -> None:
    event_log = EventLog(place.workspace)
    ingest(Catalog(place.workspace), event_log)
    begun = {key: number for number, told in enumerate(known.begun("traces")) for key in told.facts["keys"]}
    acknowledged = {key for told in known.acknowledged("traces") for key in told.facts["keys"]}
    found = [row[0] for row in rows(place, "SELECT id FROM requests") if row[0] in begun]
    each_once(found, acknowledged, set(begun))
    timed = [row[0] for row in event_log.connection().execute("SELECT id FROM timings") if row[0] in begun]
    assert Counter(timed) == Counter(found)
    # Of what was written together all is there, or nothing.
    whole = Counter(begun[key] for key in found)
    for number, told in enumerate(known.begun("traces")):
        assert whole[number] in {0, len(told.facts["keys"])}
    edges = [row[0] for row in rows(place, "SELECT output FROM lineage WHERE kind = 'run'")]
    assert max(Counter(edges).values(), default=0) <= 1


def write_feedback(place: Place, tell: Ledger, chance: Random) -> None:
    store = TraceStore(Catalog(place.workspace), EventLog(place.workspace))
    while True:
        text = tell.fresh()
        with tell.doing("give", text=text) as done:
            done["id"] = give(store, f"run_base{chance.randrange(5)}", score="up", comment=text)["feedback"]


def verify_feedback(place: Place, known: Known, _whole: bool) -> None:
    ingest(Catalog(place.workspace), EventLog(place.workspace))
    found = rows(place, "SELECT comment, id FROM feedback")
    acknowledged = {told.facts["text"]: (told.done or {})["id"] for told in known.acknowledged("give")}
    each_once([row[0] for row in found], set(acknowledged), {told.facts["text"] for told in known.begun("give")})
    assert acknowledged.items() <= dict(found).items()


# ── datasets ──


def lines(text: str) -> str:
    """A file of a few conversations that have a text, and a broken line."""
    made = [
        {"messages": [{"role": "user", "content": f"{text} {n}"}, {"role": "assistant", "content": f"{n}"}]}
        for n in range(ROWS)
    ]
    return "".join(json.dumps(row) + "\n" for row in made) + "{broken\n"


def write_imports(place: Place, tell: Ledger, chance: Random) -> None:
    store = DatasetStore(Catalog(place.workspace))
    while True:
        text, name = tell.fresh(), f"d{chance.randrange(3)}"
        file = place.folder / f"{text}.jsonl"
        file.write_text(lines(text))
        with tell.doing("import", text=text) as done:
            version = import_now(store, [file], name, "messages")
            done["ref"], done["id"] = version.ref, version.id


def verify_imports(place: Place, known: Known, _whole: bool) -> None:
    store = DatasetStore(Catalog(place.workspace))
    versions = {version.id: version for log in store.logs().values() for version in log}
    for told in known.acknowledged("import"):
        assert told.done is not None
        assert versions[told.done["id"]].ref == told.done["ref"]
        found = versions[told.done["id"]]
        assert (found.rows, found.rejected) == (ROWS, 1)
    for version in versions.values():
        # Also of one that was never acknowledged: what was rejected is there with it.
        assert len(read_rejects(place.workspace, version)) == version.rejected
        assert sum(file.stat().st_size for file in version.files) == version.size_bytes
    for name in ("d0", "d1", "d2"):
        numbers = [version.number for version in versions.values() if version.dataset == name]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def write_derived(place: Place, tell: Ledger, chance: Random) -> None:
    store = DatasetStore(Catalog(place.workspace))
    while True:
        text = tell.fresh()
        with tell.doing("derive", text=text) as done:
            parameters = {"rows": chance.randint(1, 8), "seed": chance.randrange(1000), "for": text}
            version = apply(store, "sample", ["base"], parameters, name="derived")
            done["id"] = version.id
        with tell.doing(f"tag {tell.label[0]}", number=version.number):
            store.tag(version.ref, f"of-{tell.label[0]}")
        with tell.doing("view", text=text):
            store.save_view("derived", text, {"where": text})
            store.keep_report(version.sha256, text, {"of": text})


def verify_derived(place: Place, known: Known, _whole: bool) -> None:
    store = DatasetStore(Catalog(place.workspace))
    versions = store.logs().get("derived", [])
    each_once(
        [version.recipe.parameters["for"] for version in versions],
        {told.facts["text"] for told in known.acknowledged("derive")},
        {told.facts["text"] for told in known.begun("derive")},
    )
    tags = {tag: version.number for version in versions for tag in version.tags}
    for what in {told.what for told in known.all if told.what.startswith("tag ")}:
        expected = {told.facts["number"] for told in known.last(what)} | (set() if known.acknowledged(what) else {None})
        assert tags.get(f"of-{what[-1]}") in expected
    views = store.views("derived")
    assert {told.facts["text"] for told in known.acknowledged("view")} <= views.keys()
    for told in known.acknowledged("view"):
        kept = rows(place, f"SELECT count(*) FROM dataset_reports WHERE what = '{told.facts['text']}'")
        assert kept[0][0] == 1


def write_labels(place: Place, tell: Ledger, chance: Random) -> None:
    store = DatasetStore(Catalog(place.workspace))
    task = Task.make("mood", "classify", ("good", "bad"))
    labelling = Labelling(store, store.get("base"), task, tell.label)
    while True:
        with tell.doing("say", by=tell.label) as done:
            done["id"] = labelling.say(chance.randrange(8), chance.choice(task.values)).id
        if chance.random() < 0.2:
            with tell.doing("undo") as done:
                undone = labelling.undo()
                done["id"] = "" if undone is None else undone.id
        if chance.random() < 0.1:
            with tell.doing("finish") as done:
                done["version"] = labelling.finish().id


def verify_labels(place: Place, known: Known, _whole: bool) -> None:
    said = {(told.done or {})["id"] for told in known.acknowledged("say")}
    undone = {(told.done or {})["id"] for told in known.acknowledged("undo")}
    people = {told.facts["by"] for told in known.begun("say")}
    found = {row[0] for row in rows(place, "SELECT id, annotator FROM annotations") if row[1] in people}
    lost = said - undone - found
    # One that was being taken back when the kill came may be gone.
    assert len(lost) <= len(known.begun("undo")) - len(known.acknowledged("undo"))
    assert not undone & found
    assert len(found - said) <= len(known.begun("say")) - len(known.acknowledged("say"))
    versions = {version.id for version in DatasetStore(Catalog(place.workspace)).logs()["base"]}
    assert {(told.done or {})["version"] for told in known.acknowledged("finish")} <= versions


# ── models ──


def write_models(place: Place, tell: Ledger, _chance: Random) -> None:
    registry = ModelRegistry(Catalog(place.workspace))
    tiny = registry.get("tiny")
    _mend_models(place, tell)
    while True:
        name = tell.fresh()
        file = place.root / "models" / f"{name}.gguf"
        file.write_bytes(tiny.path.read_bytes() + name.encode().ljust(64))
        with tell.doing("add", name=name):
            registry.add(file, name)
        with tell.doing("remote", name=f"far-{name}"):
            registry.add_remote(f"http://{name}.example/v1", f"far-{name}", {"remote_model": name, "lacks": {}})
        with tell.doing("approve", name=name):
            approve("SOME_KEY", f"http://{name}.example/v1")
        with tell.doing("remove", name=name):
            remove_model(place.workspace, name)


def _mend_models(place: Place, tell: Ledger) -> None:
    """What a killed removal left half is ended by asking for it again."""
    for model in ModelRegistry(Catalog(place.workspace)).all():
        if model.kind != "remote" and not model.present and model.name.startswith(tell.label[0]):
            with tell.doing("remove", name=model.name):
                remove_model(place.workspace, model.name)


def verify_models(place: Place, known: Known, whole: bool) -> None:
    models = {model.name: model for model in ModelRegistry(Catalog(place.workspace)).all()}
    removing = {told.facts["name"] for told in known.begun("remove")}
    for told in known.acknowledged("remove"):
        assert told.facts["name"] not in models
        assert not (place.root / "models" / f"{told.facts['name']}.gguf").exists()
    for told in known.acknowledged("add"):
        name = told.facts["name"]
        assert name in models or name in removing
        assert name in removing or models[name].present
    for told in known.acknowledged("remote"):
        assert models[told.facts["name"]].kind == "remote"
    for told in known.acknowledged("approve"):
        assert is_approved("SOME_KEY", f"http://{told.facts['name']}.example/v1")
    if whole:
        assert all(model.present for model in models.values() if model.kind != "remote")


def model_half_removed(finding: Finding, known: Known) -> bool:
    """A removal that was killed: the same asked again ends it."""
    name = finding.place.removeprefix("model ")
    return name not in {finding.place, "tiny"} and being_removed(known, "remove")(name)


KINDS = {
    "prompts": Kind(write_prompts, verify_prompts),
    "drafts": Kind(write_drafts, verify_drafts),
    "traces": Kind(write_traces, verify_traces),
    "feedback": Kind(write_feedback, verify_feedback),
    "imports": Kind(write_imports, verify_imports),
    "derived": Kind(write_derived, verify_derived),
    "labels": Kind(write_labels, verify_labels),
    "models": Kind(write_models, verify_models, may_find=model_half_removed),
}

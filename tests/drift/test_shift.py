"""How far probabilities moved: what the figure bounds, when it is told as a change, and what a run keeps of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from llmops_tui.drift import judged, probabilities
from llmops_tui.drift.recorded import FOUND, PROBABILITIES, Recorded, Scored, note_found, read_found, read_recorded
from llmops_tui.drift.shift import RESOLUTION, Moved, Shift, ShiftRecord, divergence_of, moved, told_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.pairwise import Decision
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.maintenance.forgetting.text_files import named_file
from llmops_tui.privacy.person import Person
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import checksum_of_file, load, record_checksums
from llmops_tui.workspace.written import is_as_noted
from tests.evaluation.test_grading import graded_run, made_model
from tests.fakes import start_no_processes


def tops(logits: np.ndarray[Any, Any], count: int) -> tuple[dict[str, float], np.ndarray[Any, Any]]:
    logs = logits - np.log(np.exp(logits).sum())
    best = np.argsort(-logs)[:count]
    return {f"t{token}": float(logs[token]) for token in best}, logs


def test_the_figure_is_never_more_than_the_divergence_of_the_whole_vocabulary() -> None:
    random = np.random.default_rng(4)
    for spread in (0.01, 0.3, 2.0):
        for _ in range(20):
            logits = random.normal(0, 3, 500)
            before, p = tops(logits, 20)
            after, q = tops(logits + random.normal(0, spread, 500), 20)
            whole = float((np.exp(p) * (p - q)).sum())
            found, rest = divergence_of(before, after)
            assert 0 <= found <= whole + 1e-9
            shared = [int(name[1:]) for name in before if name in after]
            assert rest == pytest.approx(1 - np.exp(p[shared]).sum(), abs=1e-9)
    assert divergence_of(before, before)[0] == 0
    # All of it is in two tokens that both tell: then it is the whole divergence.
    even, odd = {"a": math.log(0.5), "b": math.log(0.5)}, {"a": math.log(0.9), "b": math.log(0.1)}
    assert divergence_of(even, odd)[0] == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5))
    # Half a character stands for several tokens, so it is none by itself.
    assert divergence_of({"\ufffd": math.log(0.6), "a": math.log(0.4)}, {"a": math.log(0.4)})[1] == pytest.approx(0.6)


def test_a_shift_is_told_where_it_is_surely_more_than_noise() -> None:
    def shift(*values: float, noise: float = 0.0) -> Shift:
        return Shift(tuple(Moved(value, noise, 0.01, 10) for value in values))

    assert (shift().changed, shift(0.1).changed, shift(0.1).smallest) == (None, None, None)
    still = shift(0.0, 0.0, 0.0)
    assert (still.changed, still.smallest) == (False, RESOLUTION)
    assert shift(0.02, 0.02, 0.02).changed
    # Without noise any other figure is a change, however few there are, and whatever the interval of its size is.
    skewed = shift(0.0, 0.2, 0.0, 0.0)
    assert (skewed.changed, skewed.smallest, skewed.interval[0]) == (True, RESOLUTION, 0.0)
    assert shift(0.0, 5e-7, 0.0).changed is False
    grown = shift(0.02, 0.03, 0.025, 0.022)
    assert grown.changed
    assert grown.interval[0] < grown.mean < grown.interval[1]
    # As much as two looks at one build differ by is none.
    assert shift(0.02, 0.03, 0.01, 0.02, noise=0.02).changed is False
    one = moved([{"a": 0.0}], [{"a": 0.0}], [{"a": math.log(0.5)}])
    assert (one.divergence, one.noise, one.tokens) == (pytest.approx(math.log(2)), 0.0, 1)


@pytest.mark.slow
def test_what_is_said_to_be_seen_is_seen_and_no_shift_is_told_as_one() -> None:
    random = np.random.default_rng(9)

    def told(mean: float) -> float:
        seen = 0
        for _ in range(1000):
            # Both looks have noise, of which the second is taken off.
            values, noise = random.normal(0.1 + mean, 0.01, 30), random.normal(0.1, 0.01, 30)
            seen += bool(Shift(tuple(Moved(*one, 0.0, 5) for one in zip(values, noise, strict=True))).changed)
        return seen / 1000

    assert told(0.0) <= 0.035  # half of 5 %, for one side
    smallest = (2.045 + 0.854) * 0.01 * math.sqrt(2 / 30)
    assert 0.75 <= told(smallest) <= 0.85


class Client:
    """A model whose probabilities move by ``moves``; every character is a token."""

    model = "m"

    def __init__(self) -> None:
        self.moves, self.asked = 0.0, list[dict[str, Any]]()

    async def tokenize(self, *, messages: list[dict[str, str]]) -> dict[str, Any]:
        return {"text": "".join(turn["content"] for turn in messages) + "|"}

    async def complete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            return {"tokens": [ord(one) for one in body["content"]]}
        self.asked.append(body)
        (ids,) = body["prompt"]
        p = 0.5 + self.moves
        told: list[Any] = [{chr(token): math.log(p), "other": math.log(1 - p)} for token in ids]
        told[0] = None
        return {"choices": [{"logprobs": {"top_logprobs": told}}]}


@pytest.fixture
def store(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> EvaluationStore:
    start_no_processes(monkeypatch)
    made_model(catalog)
    return EvaluationStore(catalog.workspace)


def look(store: EvaluationStore, name: str, client: Client) -> Any:
    return probabilities._Look(store, store.get(name), client, 5, lambda _share, _told: None)  # type: ignore[arg-type]


def test_answers_are_recorded_once_and_the_same_tokens_are_looked_at_again(store: EvaluationStore) -> None:
    first = graded_run(store, [1.0] * 8, "Write to ann.miller@example.org,")
    client = Client()
    recorded = asyncio.run(look(store, first, client).record("engine 1"))
    assert (len(recorded.answers), len(client.asked)) == (5, 10)
    one = recorded.answers[0]
    # What is told is of the answer's tokens alone, and nothing of it comes from a cache.
    assert "".join(map(chr, one.ids[-one.size :]))[:-1] == "Write to ann.miller@example.org, "
    assert (client.asked[0]["logprob_start_len"], client.asked[0]["cache_prompt"]) == (len(one.ids) - one.size, False)
    probabilities.keep_recorded(store.get(first), recorded)
    kept = read_recorded(store.get(first))
    assert kept == recorded
    same = look(store, first, client)
    assert Shift(tuple(asyncio.run(same.again(recorded)))).changed is False
    client.moves = 0.2
    other = Shift(tuple(asyncio.run(same.again(recorded))))
    assert other.changed
    assert other.mean == pytest.approx(0.5 * math.log(0.5 / 0.7) + 0.5 * math.log(0.5 / 0.3))
    # A person who is named there takes the numbers of the tokens along.
    path = store.get(first).folder / PROBABILITIES
    name = path.relative_to(store.workspace.root).as_posix()
    found = named_file(store.workspace, name, Person.read(["ann.miller@example.org"]))
    assert found is not None
    assert found.fate == "removed"
    path.write_text("{")
    assert read_recorded(store.get(first)) is None


def test_what_was_found_is_kept_beside_the_run_and_told(store: EvaluationStore) -> None:
    run = store.get(graded_run(store, [1.0] * 2, "same"))
    shift: Any = {
        "recorded_by": "a", "now": "b", "recorded_at": 1.0, "canaries": 30, "left_out": 2, "tokens": 900, "mean": 0.02,
        "low": 0.01, "high": 0.03, "noise": 0.0, "smallest": 0.004, "rest": 0.02, "changed": True, "fresh": False,
        "seconds": 2.5, "retokenized": 0,
    }  # fmt: skip
    note_found(run, "first-1", {"shift": shift})
    assert read_found(run, "first-1")["shift"] == shift
    assert read_found(run, "first-2") == {}
    assert told_of(shift) == (
        "probabilities shifted by at least 0.02 nats a token (0.01 to 0.03; 98.0% of the probability is in tokens that both "
        "tell; 30 answers, 900 tokens, 2.5 s); recorded by a, now b"
    )
    assert "0.004 nats a token would have been (" in told_of(shift | {"changed": False})
    assert "would have been in four of five cases" in told_of(shift | {"changed": False, "noise": 0.01})
    assert "were recorded with b" in told_of(shift | {"changed": None, "fresh": True})
    assert "too few to say" in told_of(shift | {"changed": None, "canaries": 1})
    # Beside another run it is another matter, and what is not whole says nothing.
    note_found(run, "first-2", {})
    assert "shift" not in read_found(run)
    (run.folder / FOUND).write_text(json.dumps({"against": "x", "shift": {"mean": 1}}))
    assert read_found(run) == {"against": "x"}


def test_a_remote_model_tells_no_probabilities() -> None:
    probabilities.refuse_remote("m", "gguf")
    with pytest.raises(InputRefusedError, match="remote endpoint"):
        probabilities.refuse_remote("m", "remote")


def test_a_run_that_another_file_answered_is_held_against_nothing(
    store: EvaluationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (graded_run(store, [1.0] * 2) for _ in range(2))
    monkeypatch.setattr(probabilities, "refuse_remote", lambda *_: None)
    context: Any = type("Context", (), {"workspace": store.workspace, "job_id": "job_1"})()
    # Of both runs: --against may name one of other files.
    with pytest.raises(InputRefusedError, match=f"{before} was asked of m before its file changed") as refused:
        probabilities.run(context, before, after)
    assert refused.value.code == "model_changed"
    assert read_found(store.get(after)) == {}


def test_a_judge_is_asked_of_answers_that_are_others_alone(
    store: EvaluationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [graded_run(store, [1.0] * 6, said) for said in ("same", "same", "other")]
    asked: list[int] = []

    async def decide(_context: Any, _store: Any, pairs: list[Any], *_more: Any) -> list[Decision]:
        asked.append(len(pairs))
        return [Decision(0.2, 0.3) if n else Decision(0.1, 0.2) for n in range(len(pairs))]

    monkeypatch.setattr(judged, "decide_all", decide)
    context: Any = type("Context", (), {"workspace": store.workspace, "job_id": "job_1"})()
    same = judged.run(context, names[0], names[1], "m")
    assert (asked, same["asked"], same["changed"], same["ties"]) == ([0], 0, "", 6)
    assert "m was asked nothing" in judged.told_of(same)
    even: Any = same | {"asked": 16, "n": 8, "wins": 0, "losses": 0, "ties": 8}
    # Three of eight: what was seen in none is in fewer, in 19 of 20 cases.
    assert "no answer of 8 is better or worse than before; one on more than 38% of all" in judged.told_of(even)
    worse = judged.run(context, names[0], names[2], "m", most=4)
    assert (asked[-1], worse["asked"], worse["left_out"], worse["changed"]) == (4, 8, 2, "worse")
    assert "the newer answers are worse" in judged.told_of(worse)
    assert read_found(store.get(names[2]), names[0])["judge"]["losses"] == 4


def test_files_that_a_run_did_not_ask_tell_nothing_of_it(store: EvaluationStore) -> None:
    run = store.get(graded_run(store, [1.0] * 3, "Good morning,"))
    model = store.registry.get(run.asked.model)
    run = dataclasses.replace(run, manifest={**run.manifest, "model_sha256": model.base.sha256, "adapter_sha256": None})
    probabilities._refuse_others(store, run)
    for field in ("model_sha256", "adapter_sha256"):
        other = dataclasses.replace(run, manifest={**run.manifest, field: "0" * 64})
        with pytest.raises(InputRefusedError, match="changed: what it gives now"):
            probabilities._refuse_others(store, other)


def test_what_is_found_again_of_a_run_that_has_checksums_is_no_damage(store: EvaluationStore) -> None:
    run = store.get(graded_run(store, [1.0]))
    note_found(run, "first-1", {"shift": dict.fromkeys(ShiftRecord.__required_keys__, 1)})  # type: ignore[typeddict-item]
    probabilities.keep_recorded(run, Recorded("e", 1.0, (Scored("0", "said", (1, 2), 1, ({"a": -1.0},), ()),)))
    record_checksums(store.workspace)
    note_found(run, "first-2", {})
    probabilities.keep_recorded(run, Recorded("e", 2.0, ()))
    # Whoever looks before the checksums are recorded, because the writer was killed, sees whose writes these are.
    places = [run.folder / FOUND, run.folder / PROBABILITIES]
    assert [is_as_noted(place) for place in places] == [True, True]
    record_checksums(store.workspace)
    names = [place.relative_to(store.workspace.root).as_posix() for place in places]
    known = load(store.workspace).files
    assert [known[name] for name in names] == [checksum_of_file(store.workspace, name) for name in names]

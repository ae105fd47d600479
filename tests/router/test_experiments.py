"""Experiments at the one address: who answers, what is kept of it, and a canary that stops itself."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.experiments.outcomes import AnswerOutcome
from llmops_tui.inference.experiments.records import RATING, Counts, Experiment, Kind, Settings
from llmops_tui.inference.experiments.routing import Assigned, ExperimentRouting
from llmops_tui.inference.experiments.shadows import Shadow, ShadowQueue
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.experiments.traced import traced
from llmops_tui.inference.experiments.units import placed, unit_of
from llmops_tui.inference.server.callers import Caller
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import read_notices
from tests.router.fakes import FakeServer, FakeServers, FixedModels, running, until

MODELS = FixedModels("one", "two", "three", aliases={"support": "one"})


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="llmops-x") as made:
        yield Path(made)


def begun(workspace: Workspace, kind: Kind = "ab", name: str = "support", **more: Any) -> Experiment:
    settings: Settings = {
        "a": "one", "b": "two", "share": 0.5, "by": "conversation", "metric": RATING, "budget": None, "alpha": 0.01,
        "slower": 1.2,
    }  # fmt: skip
    return ExperimentStore(EventLog(workspace)).start(name, kind, Settings(**{**settings, **more}))  # type: ignore[typeddict-item]


def said(text: str, *later: str) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    for one in later:
        turns += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": one}]
    return turns


def told(server: FakeServer) -> list[dict[str, str]]:
    """What a model's server heard of experiments, a line for each request."""
    return [json.loads(h["x-llmops-experiment"]) for _, _, h, _ in server.requests if "x-llmops-experiment" in h]


# ── units ──


def test_a_conversation_is_known_by_how_it_begins_in_every_api() -> None:
    by = "conversation"
    first = unit_of(by, {}, "k", {"messages": said("Hello")})
    assert first == unit_of(by, {}, "k", {"messages": said("Hello", "And now?"), "temperature": 1})
    # Coding agents move this mark from turn to turn.
    marked = [{"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]}]
    plain = [{"role": "user", "content": "Hello"}]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert unit_of(by, {}, "k", {"system": system, "messages": marked}) == unit_of(
        by, {}, "k", {"system": [{"type": "text", "text": "Be brief."}], "messages": [*plain, {"role": "assistant"}]}
    )
    others = [
        unit_of(by, {}, "other key", {"messages": said("Hello")}),
        unit_of(by, {}, "k", {"messages": said("Hello"), "user": "ann"}),
        unit_of(by, {}, "k", {"messages": said("Good morning")}),
        unit_of(by, {}, "k", {"instructions": "Be brief.", "input": "Hello"}),
        unit_of(by, {}, "k", {"prompt": "Hello"}),
    ]
    assert len({first, *others}) == 1 + len(others)
    assert unit_of(by, {}, "k", {}) == ""


def test_a_unit_is_a_header_a_user_or_a_key_where_that_is_asked_for() -> None:
    given = {"user": "ann", "messages": said("Hello")}
    assert unit_of("header:X-Session", {"x-session": " s1 "}, "k", given) == "s1"
    assert unit_of("header:X-Session", {}, "k", given) == ""
    assert unit_of("user", {}, "k", given) == "ann"
    assert unit_of("user", {}, "k", {"metadata": {"user_id": "bob"}}) == "bob"
    assert unit_of("user", {}, "k", {"user": 7}) == ""
    assert unit_of("key", {}, "k", given) == "k"


def test_shares_hold_and_experiments_do_not_depend_on_each_other(workspace: Workspace) -> None:
    one = begun(workspace, share=0.2)
    other = begun(workspace, name="two", share=0.2)
    arms = [placed(one, f"u{k}")[1] == "b" for k in range(4000)]
    both = [a and placed(other, f"u{k}")[1] == "b" for k, a in enumerate(arms)]
    assert 0.17 < sum(arms) / 4000 < 0.23
    assert 0.02 < sum(both) / 4000 < 0.06
    assert placed(one, "u1")[0] != placed(other, "u1")[0]
    # What is kept of it is no name that anybody could read.
    assert "u1" not in placed(one, "u1")[0]


# ── outcomes ──


def test_an_error_within_a_stream_is_seen_wherever_it_is_cut() -> None:
    stream = b'data: {"text": "a"}\n\ndata: {"error": {"message": "it died"}}\n\n'
    for cut in range(len(stream)):
        outcome = AnswerOutcome(200)
        outcome.see(stream[:cut])
        outcome.see(stream[cut:])
        outcome.end()
        assert outcome.failed is True
    for fine in (b'data: {"text": "\\ndata: {\\"error\\":"}\n\n', b'{"answer": {"error": 1}}', b'x{"error":'):
        outcome = AnswerOutcome(200)
        for place in range(len(fine)):
            outcome.see(fine[place : place + 1])
        assert outcome.failed is None
        outcome.end()
        assert outcome.failed is False
    assert AnswerOutcome(503).failed is True
    # What its client did wrong is no failure, however its refusal is written.
    for status in (400, 404, 429):
        refused = AnswerOutcome(status)
        refused.see(b'{"error": {"message": "too hot"}}')
        refused.end()
        assert refused.failed is None
    gone = AnswerOutcome(200)
    gone.break_off()
    assert gone.failed is True


@pytest.mark.parametrize("status", [400, 404, 422, 429, 499])
@pytest.mark.parametrize(
    "body",
    [b'{"error": {"message": "no"}}', b'{"error":{"message":"no"}}', b'{"error":"no"}', b"event: error\ndata: {}\n\n"],
)
def test_what_a_client_did_wrong_says_nothing_of_a_model(status: int, body: bytes) -> None:
    outcome = AnswerOutcome(status)
    assert outcome.failed is None
    outcome.see(body)
    assert outcome.failed is None
    outcome.end()
    assert outcome.failed is None


# ── at the address ──


async def test_a_conversation_stays_with_its_model_and_its_assignment_is_kept_first(
    workspace: Workspace, folder: Path
) -> None:
    experiment = begun(workspace)
    store = ExperimentStore(EventLog(workspace))
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for _ in range(2):
            for k in range(24):
                assert (await router.ask("support", messages=said(f"Question {k}"))).status_code == 200
        heard = {arm: told(router.server(name)) for arm, name in (("a", "one"), ("b", "two"))}
        for arm, lines in heard.items():
            assert {line["arm"] for line in lines} == {arm}
            assert {line["id"] for line in lines} == {experiment.id}
            # Each conversation twice, at the same model.
            assert len(lines) == 2 * len({line["unit"] for line in lines}) > 4
        counts = store.counts(experiment.id)
        assert counts["a"].conversations + counts["b"].conversations == 24
        assert counts["b"] == Counts(len(heard["b"]) // 2, 0)
        # The name of the model that answers is the only thing in the body that changes.
        assert {json.loads(r[3])["model"] for r in router.server("two").requests} == {"two"}
        # What was asked by its own name, and what makes no answer, is no part of it.
        await router.ask("one", messages=said("Question 1"))
        await router.ask("support", "/tokenize", content="Question 1")
        assert len(told(router.server("one"))) == len(heard["a"])
    # As after a kill: another process finds the same arms.
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for k in range(24):
            await router.ask("Support:latest", messages=said(f"Question {k}"))
        again = {line["unit"] for line in told(router.server("two"))}
        assert again == {line["unit"] for line in heard["b"]}
    assert store.counts(experiment.id) == counts


async def test_requests_without_a_unit_go_to_a_and_are_counted(workspace: Workspace, folder: Path) -> None:
    experiment = begun(workspace, by="header:x-session", share=0.99)
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for _ in range(3):
            await router.ask("support", messages=said("Hello"))
        assert told(router.server("one")) == []
        assert len(router.server("one").requests) == 3
        await router.http.post(
            "/v1/chat/completions", json={"model": "support", "messages": []}, headers={"x-session": "s1"}
        )
        assert len(told(router.server("two"))) == 1
    store = ExperimentStore(EventLog(workspace))
    assert store.without(experiment.id) == 3


async def test_an_access_key_that_is_not_for_both_models_is_no_part_of_it(workspace: Workspace, folder: Path) -> None:
    experiment = begun(workspace, share=0.9)
    store, keys = ExperimentStore(EventLog(workspace)), KeyStore(EventLog(workspace))
    made = {
        name: keys.create(name, Scope(models=models))
        for name, models in (("a", ("one",)), ("ab", ("one", "two")), ("b", ("two",)))
    }
    async with running(workspace, MODELS, FakeServers(folder)) as router:

        async def codes(key: str) -> set[int]:
            headers = {"Authorization": f"Bearer {made[key].secret}"}
            asked = [{"model": "support", "messages": said(f"Question {k}")} for k in range(12)]
            return {
                (await router.http.post("/v1/chat/completions", json=one, headers=headers)).status_code for one in asked
            }

        # A answers all of them, and none is counted: whether it is part of it does not depend on the arm.
        assert await codes("a") == {200}
        assert await codes("b") == {403}
        counts = store.counts(experiment.id)
        assert counts["a"].conversations == counts["b"].conversations == 0
        assert "two" not in router.servers.live
        assert await codes("ab") == {200}
        counts = store.counts(experiment.id)
        assert counts["a"].conversations + counts["b"].conversations == 12


async def test_clients_say_nothing_of_experiments(workspace: Workspace, folder: Path) -> None:
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        forged = {"x-llmops-experiment": '{"id": "exp_1", "arm": "b", "unit": "u"}'}
        await router.http.post("/v1/chat/completions", json={"model": "one"}, headers=forged)
        assert "x-llmops-experiment" not in router.server("one").requests[0][2]


async def test_a_canary_that_fails_rolls_itself_back(workspace: Workspace, folder: Path) -> None:
    """With nobody watching; and whoever serves next goes on from there."""
    experiment = begun(workspace, "canary", share=0.5, budget=0.02)
    store = ExperimentStore(EventLog(workspace))
    servers = FakeServers(folder)

    def broken(server: FakeServer) -> None:
        server.status, server.body = 500, b'{"error": {"message": "broken"}}'

    servers.prepared["two"] = broken
    async with running(workspace, MODELS, servers) as router:
        statuses = [(await router.ask("support", messages=said(f"Question {k}"))).status_code for k in range(60)]
        asked = len(router.server("two").requests)
        # Each of a few conversations failed once; then all went to A.
        assert statuses.count(500) == asked <= 5
        assert set(statuses[-20:]) == {200}
    found = store.get(experiment.id)
    assert (found.state, found.name) == ("rolled back", "support")
    assert f"{asked} of {asked} conversations failed with two" in found.why
    assert [text for _, text in read_notices(workspace)] == [
        f"The experiment {experiment.id} on 'support' went back to 'one': {found.why}."
    ]
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for k in range(10):
            assert (await router.ask("support", messages=said(f"Later {k}"))).status_code == 200
        assert set(router.servers.live) == {"one"}
    store.stop(experiment.id, "stopped by hand")
    assert store.get("support").state == "stopped"
    assert store.get("support").why == found.why


@pytest.mark.parametrize("kind", ["canary", "ab", "shadow"])
async def test_requests_that_are_refused_end_no_experiment(workspace: Workspace, folder: Path, kind: Kind) -> None:
    experiment = begun(workspace, kind, share=0.5, budget=0.02)
    servers = FakeServers(folder)

    def refusing(server: FakeServer) -> None:
        server.status, server.body = (
            400,
            b'{"error":{"message":"the temperature is too high","code":"invalid_request"}}',
        )

    servers.prepared |= {"one": refusing, "two": refusing}
    async with running(workspace, MODELS, servers) as router:
        for k in range(30):
            assert (await router.ask("support", messages=said(f"Question {k}"))).status_code == 400
    store = ExperimentStore(EventLog(workspace))
    assert store.get(experiment.id).state == "running"
    assert [counts.failed for counts in store.counts(experiment.id).values()] == [0, 0]


async def test_b_is_not_asked_while_its_failures_cannot_be_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes nothing more would leave a canary running that nothing can stop."""
    experiment = begun(workspace, "canary", share=0.99, budget=0.02)
    store = ExperimentStore(EventLog(workspace))
    routing = ExperimentRouting(store)
    units = [said(f"Question {k}") for k in range(8)]

    async def arm(messages: list[dict[str, str]]) -> tuple[str, bool]:
        found = await routing.assigned("support", "/v1/chat/completions", {}, "k", {"messages": messages})
        assert found is not None
        return found.arm, bool(found.unit)

    found = [await routing.assigned("support", "/v1/chat/completions", {}, "k", {"messages": one}) for one in units]
    b = next(one for one in found if one is not None and one.arm == "b")

    def full(*_args: Any) -> str:
        raise LlmopsError("disk_full", "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(store, "fail", full)
        await routing.failed(b)
        # Those that are B's already, too, and they are no part of it.
        assert [await arm(one) for one in units] == [("a", False)] * 8
    routing._read_at = -1.0
    await arm(units[0])
    assert store.counts(experiment.id)["b"].failed == 1
    assert {one for one, _ in [await arm(one) for one in units]} >= {"b"}


def test_a_shadow_that_fails_is_no_failure_of_a(workspace: Workspace) -> None:
    experiment = begun(workspace, "shadow")
    store = ExperimentStore(EventLog(workspace))
    store.assign(experiment.id, "u", "a")
    store.fail(experiment, "u", "b")
    assert store.counts(experiment.id)["a"] == Counts(1, 0)
    store.fail(experiment, "u", "a")
    assert store.counts(experiment.id)["a"] == Counts(1, 1)


async def test_a_conversation_that_fails_at_every_turn_fails_once(workspace: Workspace, folder: Path) -> None:
    experiment = begun(workspace, "canary", share=0.99, budget=0.2)
    servers = FakeServers(folder)

    def broken(server: FakeServer) -> None:
        server.status = 500

    servers.prepared["two"] = broken
    async with running(workspace, MODELS, servers) as router:
        for _ in range(30):
            await router.ask("support", messages=said("Hello"))
        assert len(router.server("two").requests) == 30
    assert ExperimentStore(EventLog(workspace)).counts(experiment.id)["b"] == Counts(1, 1)


async def test_a_candidate_that_cannot_be_loaded_or_is_gone_fails(workspace: Workspace, folder: Path) -> None:
    experiment = begun(workspace, "canary", share=0.5, budget=0.02, b="three")
    servers = FakeServers(folder)
    servers.errors["three"] = LlmopsError("model_load_failed", "it is no model")
    async with running(workspace, MODELS, servers) as router:
        for k in range(40):
            await router.ask("support", messages=said(f"Question {k}"))
    assert ExperimentStore(EventLog(workspace)).get(experiment.id).state == "rolled back"
    gone = begun(workspace, "canary", name="one", share=0.5, budget=0.02, a="one", b="no such model")
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for k in range(40):
            await router.ask("one", messages=said(f"Question {k}"))
    assert ExperimentStore(EventLog(workspace)).get(gone.id).state == "rolled back"


async def test_who_goes_on_from_a_response_stays_with_its_model(workspace: Workspace, folder: Path) -> None:
    begun(workspace, share=0.5)
    servers = FakeServers(folder)
    for name in ("one", "two"):
        servers.prepared[name] = lambda server: setattr(server, "body", b'{"id": "resp_%s"}' % server.name.encode())
    async with running(workspace, MODELS, servers) as router:
        for k in range(8):
            made = (await router.ask("support", "/v1/responses", input=f"Question {k}")).json()["id"]
            after = await router.ask("support", "/v1/responses", input="And then?", previous_response_id=made)
            assert after.json()["id"] == made
        assert set(servers.live) == {"one", "two"}
        for name in ("one", "two"):
            lines = told(router.server(name))
            assert len(lines) == 2 * len({line["unit"] for line in lines})


# ── shadows ──


async def test_a_shadow_is_asked_the_same_when_nobody_waits(workspace: Workspace, folder: Path) -> None:
    experiment = begun(workspace, "shadow")
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        router.shadows._quiet = router.shadows._loading_quiet = 0.0
        router.shadows._look = 0.001
        # Asked beside a request, a shadow gives way and is asked again: here all three wait until nobody asks any more.
        somebody_asks, router.shadows._busy = router.shadows._busy, lambda: True
        for k in range(3):
            await router.ask("support", messages=said(f"Question {k}"), seed=7)
        router.shadows._busy = somebody_asks
        await until(lambda: "two" in router.servers.live and len(router.server("two").requests) == 3)
        asked, beside = router.server("one").requests, router.server("two").requests
        for mine, theirs in zip(asked, beside, strict=True):
            assert json.loads(theirs[3]) == json.loads(mine[3]) | {"model": "two"}
            assert theirs[2]["x-llmops-on-behalf"] == mine[2]["x-llmops-on-behalf"]
        pairs = [[line["pair"] for line in told(router.server(name))] for name in ("one", "two")]
        assert pairs[0] == pairs[1]
        assert len(set(pairs[0])) == 3
        assert [line["arm"] for line in told(router.server("two"))] == ["b"] * 3
    assert ExperimentStore(EventLog(workspace)).counts(experiment.id)["a"].conversations == 3


def assigned() -> Assigned:
    settings: Any = {"a": "one", "b": "two", "share": 0.5}
    return Assigned(Experiment("exp_1", "support", "shadow", settings, "", "running", "", 0.0, None), "b", "u", "p")


async def test_a_shadow_gives_way_and_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    busy, began, ended, failed = [False], 0, 0, list[Assigned]()
    hold = asyncio.Event()

    async def ask() -> bool:
        nonlocal began, ended
        began += 1
        await hold.wait()
        ended += 1
        return True

    async def loaded(name: str) -> bool:
        return name == "two"

    async def note(one: Assigned) -> None:
        failed.append(one)

    queue = ShadowQueue(lambda: busy[0], loaded, note, quiet=0.0, loading_quiet=60.0, look=0.001)
    working = asyncio.create_task(queue.run())
    try:
        queue.add(Shadow(assigned(), 10, ask))
        await until(lambda: began == 1)
        busy[0] = True
        await until(lambda: len(queue) == 1)
        assert ended == 0
        busy[0] = False
        hold.set()
        await until(lambda: ended == 1)
        await until(lambda: len(failed) == 1)
        assert began == 2
        # More than memory is there for is left out, and told.
        assert not queue.add(Shadow(assigned(), 100_000_000, ask))
        assert queue.left_out == 1
    finally:
        working.cancel()


# ── what is kept ──


def test_one_experiment_on_a_name_at_a_time(workspace: Workspace) -> None:
    store = ExperimentStore(EventLog(workspace))
    assert store.all() == store.in_force() == []
    first = begun(workspace)
    with pytest.raises(InputRefusedError, match=first.id):
        begun(workspace, name="SUPPORT")
    store.stop(first.id, "enough")
    second = begun(workspace)
    assert [one.id for one in store.all()] == [second.id, first.id]
    assert [one.id for one in store.in_force()] == [second.id]
    assert store.get("support").id == second.id
    assert store.get(first.id).why == "enough"


def test_a_trace_says_what_its_request_was_part_of() -> None:
    told_of = traced(b'{"id": "exp_1", "arm": "b", "unit": "u", "pair": "pair_1"}')
    client = Caller(own=False, key="k", client="k", experiment=told_of).facts({"a": 1})["client"]
    assert client == {"key": "k", "metadata": {"a": 1}, "experiment": told_of}
    assert Caller(own=True, experiment=told_of).facts({})["client"] == {"experiment": told_of}
    assert Caller(own=True).facts({})["client"] is None
    for wrong in (b"[]", b"{}", b'{"id": "1", "arm": "c", "unit": "u"}', b'{"id": 1, "arm": "a", "unit": "u"}', b"x"):
        with pytest.raises(ValueError):
            traced(wrong)

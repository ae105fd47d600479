"""Keys: what is kept of them, what each may make, and what ends them at once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.access import store as store_module
from llmops_tui.inference.access.asked import moment_of
from llmops_tui.inference.access.clock import LimitClock
from llmops_tui.inference.access.keys import LIMITS, Scope, hash_of, wider, within
from llmops_tui.inference.access.limiter import Limiter
from llmops_tui.inference.access.report import reports, scope_in_words
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.server.callers import of_batch, on_behalf
from llmops_tui.inference.server.limits_told import duration
from llmops_tui.maintenance.forgetting.change import Change
from llmops_tui.maintenance.forgetting.sqlite_rows import erase_rows
from llmops_tui.privacy.person import Person
from llmops_tui.user_files import known_access_keys_path
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import HI, OWN, PROMPT, SAID, opened

NAMES = st.none() | st.lists(st.sampled_from("abc"), min_size=1, unique=True).map(tuple)
ENDPOINTS = st.none() | st.lists(st.sampled_from(["chat", "keys", "rerank"]), min_size=1, unique=True).map(tuple)
NUMBER = st.none() | st.integers(1, 3)
SCOPES = st.builds(Scope, NAMES, NAMES, ENDPOINTS, *[NUMBER] * 6)


@given(SCOPES, SCOPES)
def test_what_lies_within_a_scope_allows_nothing_that_it_does_not(child: Scope, parent: Scope) -> None:
    whole = within(child, parent)
    if wider(whole, parent):
        return
    assert not wider(parent, parent)
    for name in ("a", "b", "c"):
        assert parent.allows_model(name) or not whole.allows_model(name)
        assert parent.allows_adapter(name) or not whole.allows_adapter(name)
    for name in ("chat", "keys", "rerank", "tokenize"):
        assert parent.allows_endpoint(name) or not whole.allows_endpoint(name)
    for name in ("max_context", "max_output", *LIMITS):
        theirs, mine = getattr(parent, name), getattr(whole, name)
        assert theirs is None or (mine is not None and mine <= theirs)


def store_of(workspace: Workspace) -> KeyStore:
    return KeyStore(EventLog(workspace))


def test_of_a_secret_only_its_hash_is_kept(workspace: Workspace) -> None:
    store = store_of(workspace)
    made = store.create("app", Scope(models=("m",), tokens_per_day=5), owner="Ada", expires_at=time.time() + 60)
    assert (made.secret[:7], len(made.secret)) == ("llmops-", 50)
    files = [path for path in (*workspace.root.rglob("*"), known_access_keys_path()) if path.is_file()]
    assert not [path for path in files if made.secret.encode() in path.read_bytes()]
    found = store_of(workspace).get("app")
    assert (found.hash, found.scope, found.owner) == (hash_of(made.secret.encode()), made.key.scope, "Ada")
    assert made.secret.startswith(found.begins.rstrip("…"))
    assert (found.state(time.time()), found.state(time.time() + 61)) == ("active", "expired")
    (report,) = reports(store)
    assert report.as_record()["limits"] == [
        {"unit": "tokens", "span": "day", "amount": 5, "left": 5, "whole_in_s": 0.0}
    ]
    assert scope_in_words(found) == "models m"


@pytest.mark.parametrize(
    ("name", "scope", "code"),
    [
        ("", Scope(), "bad_name"), ("own", Scope(), "bad_name"), ("a\nb", Scope(), "bad_name"), ("../x", Scope(), "bad_name"), ("app", Scope(), "key_exists"),
        ("b", Scope(endpoints=("chats",)), "bad_scope"), ("b", Scope(models=()), "bad_scope"),
        ("b", Scope(max_output=0), "bad_scope"),
    ],
)  # fmt: skip
def test_what_no_key_can_be_is_refused(workspace: Workspace, name: str, scope: Scope, code: str) -> None:
    store = store_of(workspace)
    store.create("app", Scope())
    with pytest.raises(InputRefusedError) as refused:
        store.create(name, scope)
    assert refused.value.code == code


def test_a_key_makes_only_keys_within_itself(workspace: Workspace) -> None:
    store = store_of(workspace)
    ends = time.time() + 1000
    parent = store.create("team", Scope(("m",), endpoints=("chat", "keys"), tokens_per_day=100), expires_at=ends).key
    child = store.create("one", Scope(tokens_per_day=50), parent=parent).key
    assert child.scope == dataclasses.replace(parent.scope, endpoints=("chat",), tokens_per_day=50)
    assert child.expires_at == ends
    for scope in (Scope(("other",)), Scope(endpoints=("rerank",)), Scope(tokens_per_day=101)):
        with pytest.raises(InputRefusedError, match="beyond 'team'"):
            store.create("two", scope, parent=parent)
    with pytest.raises(InputRefusedError, match="outlive"):
        store.create("two", Scope(), parent=parent, expires_at=ends + 1)
    # Those that are within go with it.
    assert [key.name for key in store.revoke(parent)] == ["team", "one"]
    assert store.revoke(parent) == []
    with pytest.raises(InputRefusedError, match="is revoked"):
        store.create("two", Scope(), parent=store.get("team"))
    with pytest.raises(NotFoundError):
        store.get("two")


def test_a_key_that_came_with_a_workspace_or_a_backup_opens_nothing(workspace: Workspace) -> None:
    store = store_of(workspace)
    made = store.create("app", Scope(tokens_per_day=5))
    with store.writing() as connection:
        before = connection.execute("SELECT * FROM access_keys").fetchall()
    store.revoke(made.key)
    with store.writing() as connection:
        # As a backup from before brings it back.
        connection.execute("DELETE FROM access_keys")
        connection.executemany("INSERT INTO access_keys VALUES (?, ?, ?, ?, ?, ?)", before)
    assert store.get("app").state(time.time()) == "foreign"
    fresh = store.rotate(store.get("app"))
    assert (store.get("app").state(time.time()), fresh.secret != made.secret) == ("active", True)
    with store.writing() as connection:
        # As somebody who can write the file gives it more.
        body = json.loads(connection.execute("SELECT body FROM access_keys").fetchone()[0])
        body["scope"]["tokens_per_day"] = 500
        connection.execute("UPDATE access_keys SET body = ?", (json.dumps(body),))
    assert store.get("app").state(time.time()) == "foreign"


async def test_a_key_makes_others_over_http_whose_use_is_its_own(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        team = doors.key("team", endpoints=("chat", "keys"), tokens_per_day=20)
        made = await doors.ask(team.secret, "/v1/keys", {"name": "one", "tokens_per_day": 20})
        assert made.status_code == 200, made.text
        beyond = await doors.ask(team.secret, "/v1/keys", {"name": "two", "tokens_per_day": 21})
        assert (beyond.status_code, "21 (it has 20)" in beyond.text) == (403, True)
        # What makes no others, and the owner, who makes any.
        assert (await doors.ask(made.json()["key"], "/v1/keys", {"name": "two"})).status_code == 403
        everything = {
            "name": "all", "owner": "Ada", "models": ["m"], "adapters": ["a"], "endpoints": ["chat"], "max_context": 1,
            "max_output": 2, "requests_per_minute": 3, "requests_per_day": 4, "tokens_per_minute": 5, "tokens_per_day": 6,
            "expires_at": 2_000_000_000,
        }  # fmt: skip
        whole = (await doors.ask(OWN, "/v1/keys", everything)).json()
        assert everything.items() <= whole.items()
        assert (await doors.chat(made.json()["key"])).status_code == 200
        # Both together have what the first one had.
        assert doors.left(team) == {"tokens a day": 20 - PROMPT - SAID}
        refused = await doors.chat(team.secret)
        assert (refused.status_code, doors.left(team)) == (429, {"tokens a day": 6})
        listed = (await doors.ask(team.secret, "/v1/keys", None, "GET")).json()["data"]
        assert [(one["name"], one["state"]) for one in listed] == [("one", "active")]
        gone = await doors.ask(team.secret, f"/v1/keys/{listed[0]['id']}", None, "DELETE")
        assert gone.json()["deleted"]
        assert (await doors.chat(made.json()["key"])).status_code == 401
        assert (await doors.ask(team.secret, f"/v1/keys/{team.key.id}", None, "DELETE")).status_code == 404


@pytest.mark.parametrize("limit", [{"requests_per_day": 1}, {"tokens_per_day": PROMPT + SAID}])
async def test_what_limits_turn_away_is_counted_without_a_later_request_that_is_let_in(
    workspace: Workspace, limit: dict[str, int]
) -> None:
    async with opened(workspace) as doors:
        key = doors.key("app", **limit)
        assert [(await doors.chat(key.secret)).status_code for _ in range(4)] == [200, 429, 429, 429]
        # The first is written as soon as it is turned away: a server that is killed later has not forgotten it.
        async with asyncio.timeout(30):
            while not reports(doors.store)[0].refused:
                await asyncio.sleep(0)
    assert reports(KeyStore(EventLog(workspace), clock=lambda: doors.time.now))[0].refused == 3


async def test_nobody_says_anything_of_the_answers_of_others(workspace: Workspace, catalog: Catalog) -> None:
    async with opened(workspace) as doors:
        team, other = doors.key("team"), doors.key("other")
        page = doors.store.create("page", Scope(endpoints=("feedback",)), parent=team.key)
        answered = (await doors.chat(team.secret)).json()["id"]

        async def said(secret: str, of: str) -> int:
            return (await doors.ask(secret, "/v1/feedback", {"id": of, "score": "up"})).status_code

        assert [await said(secret, answered) for secret in (team.secret, page.secret, OWN)] == [200] * 3
        assert await said(other.secret, answered) == 404
        inner = doors.store.create("inner", Scope(), parent=team.key)
        of_inner = (await doors.chat(inner.secret)).json()["id"]
        # Keys beside one another are of different people.
        assert [await said(secret, of_inner) for secret in (team.secret, inner.secret, page.secret)] == [200, 200, 404]
        # Those that moved on to the catalog, too, and those that no key asked.
        of_nobody = (await doors.chat(OWN)).json()["id"]
        ingest(catalog, doors.event_log)
        assert [await said(secret, of_inner) for secret in (team.secret, other.secret)] == [200, 404]
        assert await said(team.secret, of_nobody) == 404


def test_keys_that_open_nothing_take_no_place(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MOST", 2)
    now = [1000.0]
    store = KeyStore(EventLog(workspace), clock=lambda: now[0])
    first = store.create("first", Scope()).key
    store.create("second", Scope(), expires_at=2000.0)
    with pytest.raises(InputRefusedError, match="2 active keys"):
        store.create("third", Scope())
    now[0] = 2001.0
    store.create("third", Scope())
    with pytest.raises(InputRefusedError):
        store.create("fourth", Scope())
    store.revoke(first)
    store.create("fourth", Scope())


async def test_a_key_that_ended_stays_so_in_lists_too_when_the_clock_is_set_back(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        made = doors.store.create("short", Scope(requests_per_day=5), expires_at=doors.time.now + 10)
        assert (await doors.chat(made.secret)).status_code == 200
        # The system goes on by a minute; its time of day is set back by an hour.
        clock = LimitClock(lambda: doors.time.now + 60, lambda: doors.time.now - 3600, lambda: "boot")
        assert made.key.state(clock.wall) == "active"
        assert [one.state for one in reports(doors.store, Limiter(clock))] == ["expired"]


def test_a_damaged_record_keeps_nobody_from_revoking(workspace: Workspace) -> None:
    store = store_of(workspace)
    first, _ = (store.create(name, Scope()).key for name in ("first", "second"))
    with store.writing() as connection:
        connection.execute("UPDATE access_keys SET body = '{' WHERE id = ?", (first.id,))
    assert {key.name: key.state(time.time()) for key in store.all()} == {"first": "foreign", "second": "active"}
    assert {one.key.name: one.as_record()["scope"]["endpoints"] for one in reports(store)} == {
        "first": [],
        "second": None,
    }
    store.create("third", Scope())
    assert [key.name for key in store.revoke(store.get("second"))] == ["second"]
    with pytest.raises(LlmopsError, match="cannot be read") as refused:
        store.rotate(store.get("first"))
    assert "llmops key revoke first" in refused.value.hint
    assert [key.name for key in store.revoke(store.get("first"))] == ["first"]


def test_keys_that_are_called_after_a_person_are_forgotten_one_by_one(workspace: Workspace) -> None:
    store = store_of(workspace)
    made = [store.create(name, Scope(), owner="ada@bank.example") for name in ("ada@bank.example", "ADA@bank.example")]
    person = Person.read(["ada@bank.example"])
    assert erase_rows(workspace.event_log, Change(person, "remove")) == 2
    left = store_of(workspace).all()
    assert len({key.name for key in left}) == 2
    assert not [key for key in left if person.named_in(f"{key.name} {key.owner}")]
    # What they open is as it was.
    assert {key.id: key.state(time.time()) for key in left} == {one.key.id: "active" for one in made}
    assert all(store.get(key.name).id == key.id for key in left)


async def test_all_servers_of_a_workspace_count_together(workspace: Workspace) -> None:
    async with opened(workspace) as one, opened(workspace) as two:
        key = one.key(tokens_per_day=2 * (PROMPT + SAID), requests_per_day=5)
        assert [(await doors.chat(key.secret)).status_code for doors in (one, two, one, two)] == [200, 200, 429, 429]
        assert one.left(key) == two.left(key) == {"requests a day": 1, "tokens a day": 0}
        # At once, in the other process too.
        one.store.revoke(key.key)
        assert (await two.chat(key.secret)).status_code == 401


async def test_a_program_of_ours_passes_a_key_on(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        key = doors.key(requests_per_day=2, tokens_per_day=200)

        async def passed(client: str, **experiment: str) -> int:
            told = json.dumps(["whatever", client, key.key.id])
            headers = {"Authorization": f"Bearer {OWN}", "x-llmops-on-behalf": told}
            if experiment:
                headers["x-llmops-experiment"] = json.dumps({"id": "exp_1", "unit": "u", **experiment})
            body = {"messages": HI, "max_tokens": SAID}
            return (await doors.http.post("/v1/chat/completions", json=body, headers=headers)).status_code

        # What the server of all models passes on it has counted; what it evaluates nobody has.
        assert [await passed(key.key.id) for _ in range(3)] == [200] * 3
        assert doors.left(key) == {"requests a day": 2, "tokens a day": 200 - 3 * (PROMPT + SAID)}
        # What B is asked beside, nobody with the key has asked for; its answer is as long as A's may be.
        assert await passed(key.key.id, arm="b", pair="p") == 200
        assert doors.left(key)["tokens a day"] == 200 - 3 * (PROMPT + SAID)
        assert await passed(key.key.id, arm="a", pair="p") == 200
        assert await passed(key.key.id, arm="b") == 200
        assert doors.left(key)["tokens a day"] == 200 - 5 * (PROMPT + SAID)
        # The lines of a file nobody has counted.
        assert [await passed("batch job_1") for _ in range(3)] == [200, 200, 429]
        doors.store.revoke(key.key)
        assert await passed("batch job_1") == 401
    assert on_behalf(of_batch("job_1", "key_1").passed_on()) == of_batch("job_1", "key_1")


async def test_no_key_comes_over_its_limit_however_many_ask_at_once(workspace: Workspace) -> None:
    async with opened(workspace, parallel=256) as doors:
        keys = [doors.key(f"key {n}", tokens_per_minute=100 + n, requests_per_minute=30) for n in range(5)]
        answers: Counter[tuple[str, int]] = Counter()
        used: Counter[str] = Counter()

        async def ask(number: int) -> None:
            key = keys[number % len(keys)]
            # Each reserves more than it comes to use.
            answer = await doors.chat(key.secret, max_tokens=15)
            answers[key.key.name, answer.status_code] += 1
            used[key.key.name] += answer.json()["usage"]["total_tokens"] if answer.status_code == 200 else 0

        await asyncio.gather(*map(ask, range(200)))
        assert sum(used.values()) == doors.engine.evaluated
        for n, key in enumerate(keys):
            name = key.key.name
            assert {status for called, status in answers if called == name} == {200, 429}
            assert 3 * (PROMPT + SAID) <= used[name] <= 100 + n
            assert doors.left(key)["tokens a minute"] == 100 + n - used[name]
        (report, *_) = reports(doors.store)
        assert (report.requests, report.prompt_tokens + report.completion_tokens) == (30, used["key 0"])
        assert report.requests + report.refused >= 30


def test_times_as_they_are_written() -> None:
    assert [duration(seconds) for seconds in (0.34, 0.9999, 1, 59.2, 360, 86_400)] == [
        "340ms", "1000ms", "1s", "1m0s", "6m0s", "24h0m0s",
    ]  # fmt: skip
    assert moment_of("30d", 0.0) == 30 * 86_400
    assert time.localtime(moment_of("2027-01-31", 0.0))[:5] == (2027, 1, 31, 23, 59)
    for wrong in ("", "0d", "soon", "2027-13-01"):
        with pytest.raises(InputRefusedError):
            moment_of(wrong, 0.0)


async def test_a_disk_that_takes_nothing_lets_nobody_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(workspace) as doors:
        key = doors.key(requests_per_day=5)

        def full(*_args: Any) -> Any:
            raise LlmopsError("disk_full", "no space left")

        monkeypatch.setattr(doors.event_log, "transaction", full)
        answer = await doors.chat(key.secret)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "disk_full")
        assert doors.engine.calls == []

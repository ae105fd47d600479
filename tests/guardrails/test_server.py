"""Guards in a model's server: what clients are told, what traces keep, and what is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import numpy as np
import pytest

from llmops_tui.inference.guardrails.guard_file import GuardSet
from llmops_tui.inference.guardrails.head import COLUMNS, HeadModel
from llmops_tui.inference.guardrails.store import GuardStore
from llmops_tui.inference.prompt_traced import PROMPT as PROMPT_HEADER
from llmops_tui.inference.prompt_traced import prompt_header, traced_prompt
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.schemas import ChatRequest
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import OWN, PROMPT, Counting, Doors, Time
from tests.commands import Llmops

OWNER = "a-key-of-the-owner-file"


class Speaking(Counting):
    """An engine that says what it is told to, in pieces; each further answer is the next."""

    def __init__(self, *answers: list[str]) -> None:
        super().__init__()
        self.answers = [*answers]
        self.left = 0

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        if request["op"] != "generate":
            async for messages in super().call(request):
                yield messages
            return
        self.calls.append(request)
        told, pieces = {"id": request["id"]}, self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.left += 1
        for number, piece in enumerate(pieces):
            event: dict[str, Any] = {"event": "text", "text": piece}
            yield [told | event | ({"prompt_tokens": PROMPT} if number == 0 else {})]
        self.left -= 1
        result = {"finish_reason": "stop", "reused_tokens": 0, "prompt_tokens": PROMPT, "total_ms": 1.0}
        yield [told | {"event": "done", "result": result | {"completion_tokens": len(pieces)}}]


Open = Callable[..., Doors]


@pytest.fixture
def guarded(workspace: Workspace) -> Open:
    def made(*answers: list[str], guards: list[dict[str, Any]]) -> Doors:
        named = [{"name": f"g{number}", "mode": "on", **one} for number, one in enumerate(guards)]
        store = GuardStore(EventLog(workspace))
        version, _ = store.save(GuardSet.model_validate({"name": "shop", "guards": named}))
        store.use(version)
        doors = Doors(workspace, Time())
        doors.engine = Speaking(*answers)
        # What holds the engine was made with the one before.
        for holder in (doors.server, doors.server.generator, doors.server._completions, doors.server._texts):
            for name in ("engine", "_engine"):
                if hasattr(holder, name):
                    setattr(holder, name, doors.engine)
        return doors

    return made


def verdicts(workspace: Workspace) -> list[list[tuple[str, str, str, str]]]:
    rows = EventLog(workspace).connection().execute("SELECT body FROM events WHERE kind = 'request' ORDER BY seq")
    bodies = [json.loads(body) for (body,) in rows]
    return [
        [(v["guard"], v["side"], v["verdict"], v["mode"]) for v in (body.get("client") or {}).get("guards", ())]
        for body in bodies
    ]


def texts_of(stream: str) -> tuple[str, str]:
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    said = "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])
    return said, events[-1]["choices"][0]["finish_reason"]


SECRET = {"kind": "patterns", "patterns": ["code [0-9]{4}"], "on": ["output"]}


async def test_a_stream_never_shows_what_a_guard_refuses_and_ends_as_filtered(
    guarded: Open, workspace: Workspace
) -> None:
    doors = guarded(["It is ", "easy: co", "de 12", "34 opens", " all."], guards=[SECRET])
    answer = await doors.chat(OWNER, stream=True)
    said, reason = texts_of(answer.text)
    assert ("It is easy: ".startswith(said), reason) == (True, "content_filter")
    assert "1234" not in answer.text
    # The engine was left, and the trace has what was told.
    assert verdicts(workspace) == [[("g0", "output", "found", "on")]]
    kept = json.loads(EventLog(workspace).connection().execute("SELECT body FROM events").fetchone()[0])
    assert (kept["output"], kept["finish_reason"]) == (said, "content_filter")


async def test_every_form_of_answer_is_guarded_and_says_so(guarded: Open) -> None:
    doors = guarded(["The code 1234", " is it."], guards=[SECRET])
    asked = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
        "/v1/completions": {"prompt": "Hi", "max_tokens": 9},
        "/v1/responses": {"input": "Hi"},
        "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
        "/api/chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": False},
    }
    ends = {}
    for path, body in asked.items():
        answer = await doors.ask(OWNER, path, body)
        assert answer.status_code == 200, (path, answer.text)
        assert "1234" not in answer.text, path
        told = answer.json()
        ends[path] = (
            told.get("stop_reason")
            or told.get("done_reason")
            or (told.get("incomplete_details") or {}).get("reason")
            or told["choices"][0]["finish_reason"]
        )
    assert ends == {
        "/v1/chat/completions": "content_filter", "/v1/completions": "content_filter", "/v1/responses": "content_filter",
        "/v1/messages": "refusal", "/api/chat": "content_filter",
    }  # fmt: skip


async def test_text_that_the_client_begins_is_guarded_with_what_follows(guarded: Open) -> None:
    guard = {"kind": "words", "words": ["zebra secret"], "on": ["output"]}
    doors = guarded([" secret", " is it."], guards=[guard])
    begun = {"role": "assistant", "content": "the zebra"}
    asked = {
        "/v1/chat/completions": {"messages": [_user("Hi"), begun]},
        "/v1/completions": {"prompt": "the zebra", "max_tokens": 9},
        "/v1/messages": {"messages": [_user("Hi"), begun], "max_tokens": 9},
    }
    for path, body in asked.items():
        answer = await doors.ask(OWNER, path, body)
        assert answer.status_code == 200, (path, answer.text)
        assert "secret" not in answer.text, path


async def test_what_is_refused_of_a_request_is_told_by_place_and_leaves_a_trace(
    guarded: Open, workspace: Workspace
) -> None:
    doors = guarded(["Yes."], guards=[{"kind": "words", "words": ["launch code"], "on": ["input"]}])
    turns = [
        {"role": "user", "content": "launch"}, {"role": "assistant", "content": "No."},
        {"role": "user", "content": "The lаunch  cоde, please"},
    ]  # fmt: skip
    refused = await doors.chat(OWNER, messages=turns)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "content_filter", "messages[2].content")
    assert "launch" not in error["message"]
    assert not doors.engine.calls
    assert (await doors.chat(OWNER, messages=[*turns[:2], {"role": "user", "content": "Hi"}])).status_code == 200
    ids = await doors.ask(OWNER, "/v1/completions", {"prompt": [1, 2]})
    assert (ids.status_code, ids.json()["error"]["param"]) == (400, "prompt")
    await doors.server.generator.close()
    await doors.server._writer.close()
    assert verdicts(workspace)[0] == [("g0", "input", "found", "on")]


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    ("turns", "place"),
    [
        ([_user("launch code"), {"role": "assistant", "content": "Sure"}], 0),
        ([_user("launch code"), {"role": "assistant", "content": "No."}, _user("Go on")], 0),
        ([_user("Hi"), _user("The launch"), _user("code")], 1),
        ([{"role": "user", "refusal": "launch code"}], 0),
    ],
    ids=["begun answer", "history", "two messages", "refusal"],
)
async def test_nothing_that_a_user_said_goes_by_a_guard(guarded: Open, turns: list[dict[str, str]], place: int) -> None:
    doors = guarded(["Yes."], guards=[{"kind": "words", "words": ["launch code"], "on": ["input"]}])
    refused = await doors.chat(OWNER, messages=turns)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "content_filter", f"messages[{place}].content")
    assert not doors.engine.calls


async def test_history_is_redacted_each_time_and_looked_at_once(guarded: Open, workspace: Workspace) -> None:
    doors = guarded(["Yes."], guards=[{"kind": "personal", "find": ["email"], "action": "redact", "on": ["input"]}])
    turns = [
        _user("I am bob@example.com"),
        _user("or cy@example.com"),
        {"role": "assistant", "content": "Hi"},
        _user("Go"),
    ]
    for _ in range(2):
        assert (await doors.chat(OWNER, messages=turns)).status_code == 200
    assert "example.com" not in json.dumps(doors.engine.calls)
    assert "I am [EMAIL]" in json.dumps(doors.engine.calls)
    assert all(
        "example.com" not in body for (body,) in EventLog(workspace).connection().execute("SELECT body FROM events")
    )


async def test_what_stands_around_a_gap_is_looked_at_and_token_ids_are_refused(guarded: Open) -> None:
    words = {"kind": "words", "words": ["launch code"], "on": ["input"]}
    doors = guarded(["Yes."], guards=[words, {"kind": "personal", "find": ["email"], "action": "redact"}])
    doors.engine.info["fills"] = True
    body = {"input_prefix": "a", "input_suffix": "b", "input_extra": [{"text": "c"}, {"text": "bob@example.com"}]}
    assert (await doors.ask(OWNER, "/infill", body)).status_code == 200
    filled = json.dumps([call["fill"] for call in doors.engine.calls if "fill" in call])
    assert ("[EMAIL]" in filled, "bob@" in filled) == (True, False)
    for change, param in (
        ({"input_suffix": "launch code"}, "input_suffix"),
        ({"input_extra": [{"text": "x"}, {"text": "launch code"}]}, "input_extra[1].text"),
    ):
        error = (await doors.ask(OWNER, "/infill", {**body, **change})).json()["error"]
        assert (error["code"], error["param"]) == ("content_filter", param)
    ids = await doors.chat(OWNER, answer_token_ids=[1, 2])
    assert (ids.status_code, ids.json()["error"]["param"]) == (400, "answer_token_ids")


async def test_redaction_goes_both_ways_and_the_shadow_changes_nothing(guarded: Open, workspace: Workspace) -> None:
    mail = {"kind": "personal", "find": ["email"], "action": "redact"}
    answer = ['{"to": "ann@exam', 'ple.com", "n": 1}']
    doors = guarded(answer, guards=[mail])
    told = (await doors.chat(OWNER, messages=[{"role": "user", "content": "I am bob@example.com"}])).json()
    assert json.loads(told["choices"][0]["message"]["content"]) == {"to": "[EMAIL]", "n": 1}
    assert "bob@" not in json.dumps(doors.engine.calls)
    # Where answers are held back, their tokens are not told one by one.
    assert (await doors.chat(OWNER, logprobs=True)).json()["error"]["param"] == "logprobs"
    shadow = guarded(answer, guards=[{**mail, "mode": "shadow"}])
    told = (await shadow.chat(OWNER, messages=[{"role": "user", "content": "I am bob@example.com"}])).json()
    assert json.loads(told["choices"][0]["message"]["content"])["to"] == "ann@example.com"
    found = verdicts(workspace)[-1]
    assert found == [("g0", "input", "found", "shadow"), ("g0", "output", "found", "shadow")]


async def test_a_refused_answer_is_asked_once_more_where_a_guard_says_so(guarded: Open, workspace: Workspace) -> None:
    again = {**SECRET, "action": "retry"}
    doors = guarded(["code 1234"], ["Better ", "not."], guards=[again])
    told = (await doors.chat(OWNER, temperature=1, seed=5)).json()
    assert (told["choices"][0]["message"]["content"], told["usage"]["completion_tokens"]) == ("Better not.", 3)
    seeds = [call["parameters"]["seed"] for call in doors.engine.calls if call["op"] == "generate"]
    assert seeds == [5, 6]
    assert verdicts(workspace)[-1] == [("g0", "output", "found", "on"), ("g0", "output", "pass", "on")]
    # Once, not for ever; never where chance plays no part, or a key's tokens were reserved for one answer.
    worse = guarded(["code 1234"], guards=[again])
    limited = worse.key(tokens_per_day=10_000).secret
    for secret, more, asked in (
        (OWNER, {"temperature": 1}, 2),
        (OWNER, {"temperature": 0}, 1),
        (limited, {"temperature": 1}, 1),
    ):
        before = len(worse.engine.calls)
        told = (await worse.chat(secret, **more)).json()
        assert told["choices"][0]["finish_reason"] == "content_filter"
        assert sum(call["op"] == "generate" for call in worse.engine.calls[before:]) == asked


async def test_the_owner_over_the_socket_is_not_guarded(guarded: Open) -> None:
    doors = guarded(["code 1234"], guards=[SECRET])
    assert "1234" not in (await doors.chat(OWNER)).text
    assert (await doors.chat(OWN)).status_code in {200, 401}


async def test_a_set_is_read_anew_only_where_another_is_in_force_or_a_head_was_trained(
    guarded: Open, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_tui.inference.server.guarding._FRESH_SECONDS", 0.0)
    doors = guarded(["Yes."], guards=[SECRET])
    guarding, store = doors.server._completions._guarding, GuardStore(EventLog(workspace))
    first = await guarding._in_force()
    assert await guarding._in_force() is first
    store.save_head("h", HeadModel(np.zeros(COLUMNS, np.float32), 0.0, 0.5), {})
    second = await guarding._in_force()
    assert second is not first
    assert first is not None
    assert second is not None
    assert second.ref == first.ref
    with EventLog(workspace).transaction() as connection:
        connection.execute("UPDATE guard_sets SET body = '{}'")
    store.save_head("h", HeadModel(np.zeros(COLUMNS, np.float32), 0.0, 0.5), {})
    # A set that cannot be read refuses, and says nothing of what it is about.
    answer = await doors.chat(OWNER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "guards_unreadable")
    store.stop()
    assert (await doors.chat(OWNER)).status_code == 200


async def test_values_in_the_system_message_of_a_served_prompt_are_looked_at(guarded: Open) -> None:
    words: dict[str, Any] = {"kind": "words", "words": ["launch code"], "on": ["input"]}
    doors = guarded(["Yes."], guards=[words, {"kind": "personal", "find": ["email"], "action": "redact"}])
    guarding = doors.server._completions._guarding

    async def looked_at(system: str, **values: object) -> tuple[str, str]:
        name, header = prompt_header("p", 1, "0" * 64, values)
        assert name == PROMPT_HEADER
        caller = Caller(own=False, prompt=traced_prompt(header))
        guarding_of = await guarding.begin(caller)
        assert guarding_of is not None
        turns = [{"role": "system", "content": system}, _user("Go")]
        body = ChatRequest.model_validate({"messages": turns})
        return await guarding.chat(guarding_of, body), body.messages[0].content or ""

    # The owner's own words are; a value is a user's, wherever the prompt has it.
    assert await looked_at("Tell no launch code to ann@example.com. Shop: Ada", shop="Ada") == (
        "", "Tell no launch code to ann@example.com. Shop: Ada",
    )  # fmt: skip
    assert (await looked_at("Asked: the launch code", asked=["the launch code"]))[0] == "variables"
    assert await looked_at("From bob@example.com.", who={"mail": "bob@example.com"}) == ("", "From [EMAIL].")
    # What a template made something else of cannot be taken out; what is too long for the header is in the message.
    assert (await looked_at("From BOB@EXAMPLE.COM.", who="bob@example.com"))[0] == "variables"
    long = "x " * 4000 + "launch code"
    assert (await looked_at(f"Asked: {long}", asked=long))[0] == "variables"
    many = {f"v{number}": "x" * 50 for number in range(300)} | {"last": "launch code"}
    assert (await looked_at("Asked: launch code", **many))[0] == "variables"


async def test_a_place_at_the_engine_is_free_while_a_guard_looks_at_the_whole(
    guarded: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: list[int] = []

    async def says(*_asked: object) -> bool:
        free.append(doors.server.generator._turns._free)
        return False

    monkeypatch.setattr("llmops_tui.inference.guardrails.peers.Peers.says", says)
    doors = guarded(["Yes."], guards=[{"kind": "judge", "model": "m", "on": ["output"]}])
    before = doors.server.generator._turns._free
    for stream in (False, True):
        assert (await doors.chat(OWNER, stream=stream)).status_code == 200
    # A judge that is the model itself would wait for the place of the answer that it is to look at.
    assert free == [before, before]


async def test_a_key_with_nothing_left_has_no_judge_asked_for_it(guarded: Open) -> None:
    doors = guarded(["Yes."], guards=[{"kind": "judge", "model": "j", "question": "Is it bad?", "on": ["input"]}])
    asked: list[str] = []

    async def judge(_guard: object, text: str) -> bool:
        asked.append(text)
        return False

    doors.server._completions._guarding._peers.says = judge  # type: ignore[assignment,method-assign]
    key = doors.key(tokens_per_day=PROMPT + 1)
    assert (await doors.chat(key.secret, max_tokens=1)).status_code == 200
    assert len(asked) == 1
    refused = await doors.chat(key.secret, max_tokens=1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) > 1
    assert len(asked) == 1


async def test_an_answer_that_its_client_left_keeps_what_guards_said(guarded: Open, workspace: Workspace) -> None:
    doors = guarded(["It is", " all", " good."], guards=[{"kind": "words", "words": ["bomb"], "on": ["input"]}, SECRET])
    generator = doors.server.generator
    run, begun = generator._try, []

    async def left(choice: object) -> AsyncGenerator[list[dict[str, Any]]]:
        async for messages in run(choice):  # type: ignore[arg-type]
            begun.append(messages)
            yield messages  # type: ignore[misc]
            raise GeneratorExit

    generator._try = left  # type: ignore[assignment,method-assign]
    with contextlib.suppress(BaseException):
        await doors.chat(OWNER)
    await asyncio.sleep(0)
    await doors.server._writer.close()
    assert begun
    assert verdicts(workspace) == [[("g0", "input", "pass", "on")]]


def test_one_damaged_set_hides_no_other(workspace: Workspace) -> None:
    event_log = EventLog(workspace)
    store = GuardStore(event_log)
    whole, _ = store.save(GuardSet.model_validate({"name": "shop", "guards": [{"name": "g", **SECRET}]}))
    broken, _ = store.save(GuardSet.model_validate({"name": "broken", "guards": [{"name": "g", **SECRET}]}))
    store.use(whole, "m")
    store.use(broken)
    with event_log.transaction() as connection:
        connection.execute("UPDATE guard_sets SET body = '{' WHERE name = 'broken'")
    assert [one.ref for one in store.all()] == ["shop@1"]
    assert [one.version.ref for one in store.in_force()] == ["shop@1"]
    ((damaged),) = store.damaged()
    assert (damaged["set"], damaged["version"], damaged["used_for"]) == ("broken", 1, [""])
    listed = Llmops(workspace).run("guard", "list")
    assert [one["set"] for one in listed["sets"]] == ["shop"]
    assert listed["damaged"][0]["why"]

"""Prompts served by name and label: which version answers, what is made of a request, and whose keys are for them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.inference.experiments.records import RATING, Settings
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.prompt_traced import PROMPT, prompt_header, traced_prompt
from llmops_tui.inference.stages import Stage, StageStore, StageSubject
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.router.fakes import FakeServers, FixedModels, running

MODELS = FixedModels("one", "two")
SYSTEM = "You answer for {{ shop }}."


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="llmops-p") as made:
        yield Path(made)


@pytest.fixture
def prompts(workspace: Workspace) -> PromptStore:
    store = PromptStore(Catalog(workspace))
    store.save("support", system=SYSTEM, template="Question: {{ question }}")
    store.save("support", system=SYSTEM, template="Q: {{ question }}")
    store.save("chatty", system="Be kind.", template="")
    store.move_label("support@1", "production")
    store.move_label("chatty@1", "production")
    stages = StageStore(EventLog(workspace))
    for name, model in (("support", "two"), ("chatty", "one")):
        stages.set(Stage(name, "production", model), StageSubject("pv_1"))
    return store


def sent(answer: httpx.Response, router: Any, model: str = "two") -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(router.server(model).requests[-1][3])
    return found


async def test_an_application_sends_variables_and_carries_no_prompt(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        name, given = "prompt/support@production", {"shop": "Ada's", "question": "Open?"}
        first = await router.ask(name, variables=given, temperature=0)
        wanted = [
            {"role": "system", "content": "You answer for Ada's."},
            {"role": "user", "content": "Question: Open?"},
        ]
        assert sent(first, router) == {"model": "two", "temperature": 0, "messages": wanted}
        assert first.headers["x-llmops-prompt"] == "support@1"
        assert first.headers["x-llmops-prompt-sha256"] == prompts.get("support@1").sha256
        told = traced_prompt(router.server("two").requests[-1][2][PROMPT.decode()].encode())
        assert (told["name"], told["version"], told["variables"]) == ("support", 1, given)
        # A label is looked up at each request: nothing is started again.
        prompts.move_label("support@2", "production")
        last = await router.ask(name, variables={"shop": "Ada's"}, messages=[{"role": "user", "content": "Open?"}])
        assert sent(last, router)["messages"][-1] == {"role": "user", "content": "Q: Open?"}
        assert last.headers["x-llmops-prompt"] == "support@2"
        # By number it is that version, whatever the label is on; by the model of its stage.
        pinned = await router.ask("prompt/support@1", variables=given)
        assert sent(pinned, router)["messages"] == wanted
        listed = (await router.http.get("/v1/models")).json()["data"]
        assert {(one["id"], one["alias_of"], one["prompt"]) for one in listed if "prompt" in one} == {
            ("prompt/support@production", "two", "support@2"),
            ("prompt/chatty@production", "one", "chatty@1"),
        }


async def test_a_system_message_alone_leads_a_conversation_in_each_form(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": [{"type": "text", "text": "Open?"}]},
    ]
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        name = "prompt/chatty"
        said = sent(await router.ask(name, messages=turns), router, "one")
        assert said["messages"] == [{"role": "system", "content": "Be kind."}, *turns]
        said = sent(await router.ask(name, path="/v1/messages", messages=turns, max_tokens=9), router, "one")
        assert (said["system"], said["messages"]) == ("Be kind.", turns)
        said = sent(await router.ask(name, path="/v1/responses", input="Hello"), router, "one")
        assert (said["instructions"], said["input"]) == ("Be kind.", "Hello")
        variables = {"shop": "A"}
        said = sent(await router.ask("prompt/support", path="/v1/responses", input="Hi", variables=variables), router)
        assert (said["instructions"], said["input"], "variables" in said) == (
            "You answer for A.", "Question: Hi", False,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("variables.colour", {"variables": {"colour": "red", "shop": "A", "question": "B"}}),
        ("variables.shop", {"variables": {"question": "B"}}),
        ("variables.shop", {"variables": {"question": "B", "shop": None}}),
        ("variables.shop", {"variables": {"question": "B", "shop": {"a": 1}}}),
        ("variables", {"variables": ["shop"]}),
        ("messages[0].role", {"variables": {"shop": "A"}, "messages": [{"role": "system", "content": "Obey."}]}),
        ("messages", {"variables": {"shop": "A", "question": "B"}, "messages": [{"role": "user", "content": "C"}]}),
        ("messages", {"variables": {"shop": "A"}, "messages": [{"role": "assistant", "content": "C"}]}),
        ("messages[0].content", {"variables": {"shop": "A"}, "messages": [{"role": "user", "content": [{"type": "image"}]}]}),
    ],
)  # fmt: skip
async def test_what_a_prompt_cannot_take_is_refused_by_name(
    workspace: Workspace, folder: Path, prompts: PromptStore, param: str, body: dict[str, Any]
) -> None:
    rules = read_settings({"variables": {"shop": {}}}, "here")
    prompts.save("support", system=SYSTEM, template="Question: {{ question }}", settings=rules)
    prompts.move_label("support@3", "production")
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        refused = await router.ask("prompt/support", **body)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == param
        assert not router.servers.live


async def test_names_that_stand_for_nothing_and_other_doors_are_refused(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    prompts.save("unplaced", template="Hi")
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for name in ("prompt/none", "prompt/support@staging"):
            assert (await router.ask(name)).status_code == 404
        several = await router.ask("prompt/unplaced")
        assert (several.status_code, "llmops stage set unplaced" in several.text) == (404, True)
        other = await router.ask("prompt/chatty", path="/v1/embeddings", input="a")
        assert (other.status_code, other.json()["error"]["param"]) == (400, "model")
        twice = b'{"model": "prompt/chatty", "messages": [], "n": 1, "n": 2}'
        doubled = await router.http.post(
            "/v1/chat/completions", content=twice, headers={"content-type": "application/json"}
        )
        assert doubled.json()["error"]["param"] == "n"


async def test_a_bare_name_is_refused_once_production_is_taken_off(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    given = {"shop": "Ada's", "question": "Open?"}
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        assert (await router.ask("prompt/support", variables=given)).headers["x-llmops-prompt"] == "support@1"
        prompts.remove_label("support", "production")
        for name in ("prompt/support", "prompt/support@production"):
            assert (await router.ask(name, variables=given)).status_code == 404
        newest = await router.ask("prompt/support@latest", variables=given)
        assert newest.headers["x-llmops-prompt"] == "support@2"
        prompts.move_label("support@1", "production")
        assert (await router.ask("prompt/support", variables=given)).headers["x-llmops-prompt"] == "support@1"


async def test_a_key_may_be_for_prompts_and_then_for_no_model_by_itself(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    keys = KeyStore(EventLog(workspace))
    secrets = {
        "shop": keys.create("shop", Scope(prompts=("support",))).secret,
        "model one": keys.create("model one", Scope(models=("one",))).secret,
    }
    turns = [{"role": "user", "content": "Hello"}]
    asked = {
        "prompt/support": {"variables": {"shop": "A", "question": "B"}},
        "prompt/chatty": {"messages": turns},
        "one": {"messages": turns},
        "two": {"messages": turns},
    }
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        allowed = {
            name: {
                model
                for model, body in asked.items()
                if (
                    await router.http.post(
                        "/v1/chat/completions",
                        json={"model": model, **body},
                        headers={"authorization": f"Bearer {secret}"},
                    )
                ).status_code
                == 200
            }
            for name, secret in secrets.items()
        }
        assert allowed == {"shop": {"prompt/support"}, "model one": {"prompt/chatty", "one"}}
        listed = await router.http.get("/v1/models", headers={"authorization": f"Bearer {secrets['shop']}"})
        assert [one["id"] for one in listed.json()["data"]] == ["prompt/support@production"]


async def test_an_experiment_has_two_versions_of_a_prompt_as_its_arms(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    settings: Settings = {
        "a": "prompt/support@1", "b": "prompt/support@2", "share": 0.5, "by": "conversation", "metric": RATING,
        "budget": None, "alpha": 0.01, "slower": 1.2,
    }  # fmt: skip
    ExperimentStore(EventLog(workspace)).start("prompt/support@production", "ab", settings)
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        seen = set()
        for number in range(24):
            answer = await router.ask("prompt/support@production", variables={"shop": "A", "question": str(number)})
            arm = json.loads(router.server("two").requests[-1][2]["x-llmops-experiment"])["arm"]
            seen.add((arm, answer.headers["x-llmops-prompt"], sent(answer, router)["messages"][-1]["content"][:2]))
        assert seen == {("a", "support@1", "Qu"), ("b", "support@2", "Q:")}


async def test_an_experiment_has_one_version_of_a_prompt_on_two_models_as_its_arms(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    settings: Settings = {
        "a": "prompt/support@1+two", "b": "prompt/support@1+one", "share": 0.5, "by": "conversation", "metric": RATING,
        "budget": None, "alpha": 0.01, "slower": 1.2,
    }  # fmt: skip
    ExperimentStore(EventLog(workspace)).start("prompt/support@production", "ab", settings)
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        for number in range(24):
            answer = await router.ask("prompt/support@production", variables={"shop": "A", "question": str(number)})
            assert (answer.status_code, answer.headers["x-llmops-prompt"]) == (200, "support@1")
        for model, arm in (("two", "a"), ("one", "b")):
            requests = router.server(model).requests
            assert {json.loads(one[2]["x-llmops-experiment"])["arm"] for one in requests} == {arm}
            assert {json.loads(one[3])["model"] for one in requests} == {model}
        # What an arm is called by is no name for clients: which model answers a prompt is not theirs to say.
        refused = await router.ask("prompt/support@1+one", variables={"shop": "A", "question": "1"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_what_a_trace_is_told_has_room_for_long_values() -> None:
    name, value = prompt_header("Ümläut", 3, "ab", {"short": 1, "long": "ü" * 50_000})
    assert name == PROMPT
    assert len(value) < 8000
    told = traced_prompt(value)
    assert told["variables"]["short"] == 1
    assert "50,000 characters" in str(told["variables"]["long"])
    for wrong in (b"[]", b'{"name": 1}', b'{"name": "a", "version": "1", "sha256": "", "variables": {}}'):
        with pytest.raises(ValueError, match=r"no prompt|a part"):
            traced_prompt(wrong)


async def test_a_key_for_one_prompt_is_not_told_which_others_there_are(
    workspace: Workspace, folder: Path, prompts: PromptStore
) -> None:
    secret = KeyStore(EventLog(workspace)).create("shop", Scope(prompts=("support",))).secret
    async with running(workspace, MODELS, FakeServers(folder)) as router:
        router.http.headers["authorization"] = f"Bearer {secret}"
        told = []
        for name in ("prompt/chatty", "prompt/nobodys", "prompt/chatty@7"):
            asked = await router.ask(name, messages=[])
            looked = await router.http.get(f"/v1/models/{name}")
            told.append((asked.status_code, asked.json()["error"]["code"], looked.status_code))
        assert told == [(403, "key_scope", 403)] * 3

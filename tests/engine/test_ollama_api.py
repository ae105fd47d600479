"""Ollama's API: the whole server answers in its form, a model that follows a script speaks, and nothing in a request is ignored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from llmops_tui.models.gguf import read_header
from llmops_tui.workspace.layout import Workspace
from tests.clients.scripted import Say, Scripted, serve_script
from tests.clients.templates import QWEN, called, thinking
from tests.engine.engines import MODEL
from tests.engine.test_request_fields import KNOWING, PLAIN, Server, opened
from tests.waiting import wait_for

CHAT, GENERATE, EMBED = "/api/chat", "/api/generate", "/api/embed"
HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
]  # fmt: skip
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": HI}, GENERATE: {"model": "m", "prompt": "Hi"}, EMBED: {"model": "m", "input": "Hi"},
    "/api/embeddings": {"model": "m", "prompt": "Hi"}, "/api/show": {"model": "m"},
}  # fmt: skip
ROME = '{"city": "Rome"}'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with serve_script(tmp_path_factory.mktemp("ollama") / "ws", QWEN) as made:
        yield made


def ask(served: Scripted, path: str, **body: Any) -> list[dict[str, Any]]:
    """The objects of an answer, one where it does not stream."""
    given = {"model": f"{served.model}:latest"} | body
    headers = {"Authorization": f"Bearer {served.key}"}
    with httpx.stream("POST", served.root + path, json=given, headers=headers, timeout=120) as answer:
        lines = answer.read().decode().splitlines()
        assert answer.status_code == 200, lines
        kind = answer.headers["content-type"].partition(";")[0]
    assert kind == ("application/json" if body.get("stream") is False else "application/x-ndjson")
    return [json.loads(line) for line in lines]


def joined(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a stream's messages come to."""
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    whole: dict[str, Any] = {"role": "assistant", "content": "", "thinking": "", "tool_calls": []}
    for line in lines:
        for name in ("content", "thinking", "tool_calls"):
            whole[name] += line["message"].get(name, type(whole[name])())
    return {name: value for name, value in whole.items() if value or name in {"role", "content"}}


def test_a_stream_of_lines_comes_to_the_same_as_a_whole_answer(served: Scripted) -> None:
    written = called("qwen", ("weather", ROME), ("weather", '{"city": "Oslo"}'), said="I look.", thought="Rome, hm.")
    served.say(written, again=True)
    (whole,) = ask(served, CHAT, messages=HI, tools=TOOLS, stream=False)
    assert whole["message"]["thinking"] == "Rome, hm."
    assert whole["message"]["content"] == "I look."
    functions = [call["function"] for call in whole["message"]["tool_calls"]]
    assert [(f["index"], f["name"], f["arguments"]) for f in functions] == [
        (0, "weather", {"city": "Rome"}), (1, "weather", {"city": "Oslo"}),
    ]  # fmt: skip
    lines = ask(served, CHAT, messages=HI, tools=TOOLS)
    assert len(lines) > 4
    found = joined(lines)
    for message in (found, whole["message"]):
        for call in message["tool_calls"]:
            assert call.pop("id")
    assert found == whole["message"]
    for last in (lines[-1], whole):
        assert last["model"] == served.model
        assert (last["done"], last["done_reason"]) == (True, "stop")
        assert last["eval_count"] > 0
        assert last["total_duration"] == last["prompt_eval_duration"] + last["eval_duration"] == 2_000_000
        assert last["created_at"].endswith("Z")
    assert lines[-1]["message"] == {"role": "assistant", "content": ""}


def test_an_answer_that_is_cut_says_so_and_stops_are_kept(served: Scripted) -> None:
    served.say("one two three four", again=True)
    (cut,) = ask(served, CHAT, messages=HI, stream=False, options={"num_predict": 2})
    assert (cut["message"]["content"], cut["done_reason"], cut["eval_count"]) == ("one two ", "length", 2)
    lines = ask(served, GENERATE, prompt="Hi", options={"stop": ["three"]})
    assert "".join(line["response"] for line in lines) == "one two "
    assert lines[-1]["done_reason"] == "stop"


def test_results_of_tools_find_their_calls(served: Scripted) -> None:
    served.say("It rains.")
    asked = [{"function": {"name": "weather", "arguments": {"city": city}}} for city in ("Rome", "Oslo")]
    turns = [
        *HI, {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": asked},
        {"role": "tool", "tool_name": "weather", "content": "rain"}, {"role": "tool", "content": "snow"},
    ]  # fmt: skip
    (answer,) = ask(served, CHAT, messages=turns, tools=TOOLS, stream=False)
    assert answer["message"]["content"] == "It rains."
    assert called("qwen", ("weather", ROME)) in served.prompts[0]
    assert "<tool_response>\nrain\n</tool_response><tool_response>\nsnow\n</tool_response>" in served.prompts[0]


def test_forms_are_enforced_and_thinking_is_switched(served: Scripted) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    served.say('{"a": 3}', again=True)
    (answer,) = ask(served, CHAT, messages=HI, format=schema, stream=False, think=False)
    assert json.loads(answer["message"]["content"]) == {"a": 3}
    assert served.calls[0]["grammar"]
    assert served.prompts[0].endswith("<think>\n\n</think>\n\n")
    ask(served, GENERATE, prompt="Hi", format="json", stream=False)
    assert served.calls[1]["grammar"]
    served.say(thinking("hm", "yes"))
    (answer,) = ask(served, GENERATE, prompt="Hi", think=True, stream=False)
    assert (answer["response"], answer["thinking"]) == ("yes", "hm")
    assert served.prompts[0].endswith("<|im_start|>assistant\n")


def test_a_prompt_is_a_question_and_raw_text_goes_on(served: Scripted) -> None:
    served.say("yes", again=True)
    (answer,) = ask(served, GENERATE, prompt="Is it?", system="Be brief.", stream=False)
    assert answer["response"] == "yes"
    assert served.prompts[0].startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nIs it?<|im_end|>")
    lines = ask(served, GENERATE, prompt="once upon", raw=True)
    assert (served.prompts[1], "".join(line["response"] for line in lines)) == ("once upon", "yes")


def test_log_probabilities_are_told(served: Scripted) -> None:
    served.say("a b c d", again=True)
    (whole,) = ask(served, CHAT, messages=HI, logprobs=True, top_logprobs=2, stream=False)
    streamed = [
        entry
        for line in ask(served, CHAT, messages=HI, logprobs=True, top_logprobs=2)
        for entry in line.get("logprobs", [])
    ]
    assert whole["logprobs"] == streamed
    assert [len(entry["top_logprobs"]) for entry in streamed] == [2] * len(streamed)
    assert "".join(entry["token"] for entry in streamed) == "a b c d"


def test_leaving_ends_the_work_and_a_failure_ends_the_stream_with_its_reason(served: Scripted) -> None:
    served.say(Say("one two three four five", still_after=2))
    headers = {"Authorization": f"Bearer {served.key}"}
    body = {"model": served.model, "messages": HI}
    with httpx.stream("POST", served.root + CHAT, json=body, headers=headers, timeout=120) as answer:
        assert json.loads(next(answer.iter_lines()))["message"]["content"]
    wait_for(served.left.is_set)
    served.say()
    refused = httpx.post(served.root + CHAT, json=body, headers=headers)
    assert refused.status_code == 500
    assert refused.json()["error"].startswith("the script is over")


def test_a_request_that_says_nothing_only_asks_for_the_model(served: Scripted) -> None:
    served.say()
    for path, more in (
        (CHAT, {"messages": []}),
        (CHAT, {}),
        (GENERATE, {}),
        (GENERATE, {"prompt": "", "keep_alive": -1}),
    ):
        (answer,) = ask(served, path, stream=False, **more)
        assert (answer["done"], answer["done_reason"]) == (True, "load")
    assert served.calls == []
    headers = {"Authorization": f"Bearer {served.key}"}
    for method, said in (("GET", "Ollama is running"), ("HEAD", "")):
        answered = httpx.request(method, f"{served.root}/", headers=headers)
        assert (answered.status_code, answered.text) == (200, said)


def test_errors_are_one_text_also_at_the_door(served: Scripted) -> None:
    refused = httpx.post(served.root + CHAT, json={"model": served.model, "messages": HI})
    assert (refused.status_code, refused.json()) == (401, {"error": "the API key is missing or wrong."})
    headers = {"Authorization": f"Bearer {served.key}"}
    missing = httpx.post(served.root + CHAT, json={"model": "other:latest", "messages": HI}, headers=headers)
    assert missing.status_code == 404
    assert "not 'other'" in missing.json()["error"]
    for method, name, hint in (
        ("POST", "pull", "llmops model get"), ("POST", "create", "llmops model add"), ("DELETE", "delete", "llmops model remove"),
        ("POST", "copy", "another name"), ("POST", "push", "sent anywhere"), ("POST", "blobs/sha256:00", "llmops model add"),
    ):  # fmt: skip
        answer = httpx.request(method, f"{served.root}/api/{name}", json={"model": "x"}, headers=headers)
        assert answer.status_code == 400
        assert list(answer.json()) == ["error"]
        assert hint in answer.json()["error"]
        assert name.partition("/")[0] in answer.json()["error"]
    assert httpx.get(f"{served.root}/api/nothing", headers=headers).json() == {"error": "there is nothing here."}


def test_what_is_told_of_the_model_is_what_its_file_says(served: Scripted) -> None:
    headers = {"Authorization": f"Bearer {served.key}"}
    header = read_header(MODEL)
    (listed,) = httpx.get(f"{served.root}/api/tags", headers=headers).json()["models"]
    assert (listed["name"], listed["model"], listed["size"]) == (served.model, served.model, MODEL.stat().st_size)
    assert listed["details"]["family"] == header.architecture
    assert listed["details"]["quantization_level"] == "Q8_0"
    assert listed["details"]["parameter_size"] == "4.5M"
    (loaded,) = httpx.get(f"{served.root}/api/ps", headers=headers).json()["models"]
    assert (loaded["name"], loaded["context_length"]) == (served.model, 4096)
    shown = httpx.post(f"{served.root}/api/show", json={"name": f"{served.model}:latest"}, headers=headers).json()
    assert shown["template"] == header.chat_template
    assert shown["model_info"]["general.architecture"] == header.architecture
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    assert set(shown["capabilities"]) == {"completion", "embedding", "tools", "thinking"}
    assert int(httpx.get(f"{served.root}/api/version", headers=headers).json()["version"].split(".")[1]) >= 12


# With an engine that keeps what it is asked


@pytest.fixture
async def plain(workspace: Workspace) -> AsyncIterator[Server]:
    async for server in opened(workspace, PLAIN):
        yield server


@pytest.fixture
async def knowing(workspace: Workspace) -> AsyncIterator[Server]:
    async for server in opened(workspace, KNOWING):
        yield server


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "max_tokens": 1_000_000, "stop": ()}),
        ({"num_predict": 7, "temperature": 0.1, "top_k": 3}, {"max_tokens": 7, "temperature": 0.1, "top_k": 3}),
        ({"num_predict": -2, "top_p": 0.5, "min_p": 0.2}, {"max_tokens": 1_000_000, "top_p": 0.5, "min_p": 0.2}),
        ({"seed": 9, "stop": "x", "repeat_penalty": 1.1}, {"seed": 9, "stop": ("x",), "repeat_penalty": 1.1}),
        ({"presence_penalty": 1, "frequency_penalty": -1}, {"presence_penalty": 1.0, "frequency_penalty": -1.0}),
        ({"num_ctx": 512, "mirostat": 0, "num_gpu": 99, "mirostat_tau": 5.0, "num_keep": 4}, {"temperature": 0.8}),
    ],
)
@pytest.mark.parametrize("path", [CHAT, GENERATE])
async def test_options_reach_the_engine(
    plain: Server, path: str, options: dict[str, Any], told: dict[str, Any]
) -> None:
    answer = await plain.post(path, LEAST[path] | {"options": options})
    assert answer.status_code == 200, answer.text
    parameters = plain.engine.calls[-1]["parameters"]
    assert {name: parameters[name] for name in told} == told


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (CHAT, {"messages": [{"role": "tool", "tool_name": "f", "content": "1"}]}, "messages[0].tool_name", "one result"),
    (CHAT, {"options": {"num_predict": 0}}, "options.num_predict", "Give -1"),
    (CHAT, {"options": {"num_predict": -3}}, "options.num_predict", ""),
    (CHAT, {"options": {"num_ctx": 513}}, "options.num_ctx", "--context 513"),
    (EMBED, {"options": {"num_ctx": 513}}, "options.num_ctx", "--context 513"),
    (CHAT, {"options": {"mirostat": 2}}, "options.mirostat", "switched off"),
    (CHAT, {"options": {"typical_p": 0.5}}, "options.typical_p", "switched off"),
    (CHAT, {"options": {"repeat_last_n": 128}}, "options.repeat_last_n", "64 tokens"),
    (CHAT, {"options": {"temprature": 1}}, "options.temprature", "Did you mean temperature?"),
    (CHAT, {"options": {"temperature": 9}}, "options.temperature", ""),
    (CHAT, {"options": {"stop": ["x"] * 10_000}}, "options.stop", ""),
    (CHAT, {"model": ""}, "model", ""),
    (CHAT, {"formt": "json"}, "formt", "Did you mean format?"),
    (CHAT, {"format": {"type": "objekt"}}, "objekt", ""),
    (CHAT, {"think": True}, "think", "does not think"),
    (CHAT, {"think": "high"}, "think", "does not think"),
    (CHAT, {"think": "much"}, "think", ""),
    (CHAT, {"keep_alive": True}, "keep_alive", "no duration"),
    (CHAT, {"keep_alive": [5]}, "keep_alive", "Give seconds"),
    (CHAT, {"keep_alive": "soon"}, "keep_alive", "Give seconds"),
    (CHAT, {"keep_alive": "1" * 100_000}, "keep_alive", "Give seconds"),
    (EMBED, {"keep_alive": {}}, "keep_alive", "Give seconds"),
    (CHAT, {"messages": [], "keep_alive": 0}, "keep_alive", "llmops model stop"),
    (GENERATE, {"prompt": "", "keep_alive": "0s"}, "keep_alive", "llmops model stop"),
    (CHAT, {"shift": True}, "shift", "context does"),
    (CHAT, {"tools": TOOLS}, "tools", "knows no tools"),
    (CHAT, {"tools": [{"function": {}}]}, "tools[0].function.name", ""),
    (CHAT, {"top_logprobs": 2}, "top_logprobs", "Set logprobs"),
    (CHAT, {"messages": [{"role": "user", "content": "x", "images": ["aa"]}]}, "messages[0].images", "Only text"),
    (CHAT, {"messages": [{"role": "user"}, {"role": "user", "tool_name": "x", "content": "x"}]}, "messages[1].tool_name", ""),
    (CHAT, {"messages": [{"role": "critic", "content": "x"}]}, "messages[0].role", "Roles are"),
    (GENERATE, {"template": "{{ .Prompt }}"}, "template", "own chat template"),
    (GENERATE, {"context": [1, 2]}, "context", "/api/chat"),
    (GENERATE, {"images": ["aa"]}, "images", "Only text"),
    (GENERATE, {"raw": True, "system": "x"}, "system", "no system message"),
    (GENERATE, {"suffix": "x", "think": True}, "think", "Leave out raw"),
    (GENERATE, {"suffix": "x"}, "suffix", "code model"),
    (GENERATE, {"width": 100}, "width", "No images"),
    (EMBED, {"input": []}, "input", ""),
    (EMBED, {"truncate": True}, "truncate", "embedded whole"),
    ("/api/show", {"verbose": True}, "verbose", "vocabularies"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "more", "param", "hint"), REFUSED)
async def test_what_cannot_be_done_is_refused_by_its_name_there(
    plain: Server, path: str, more: dict[str, Any], param: str, hint: str
) -> None:
    answer = await plain.post(path, LEAST[path] | more)
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert list(told) == ["error"]
    assert param in told["error"]
    assert hint in told["error"]
    assert plain.engine.calls == []


async def test_values_that_ask_for_nothing_are_as_if_not_given(plain: Server) -> None:
    none: dict[str, dict[str, Any]] = {
        CHAT: {"format": "", "tools": [], "think": False, "keep_alive": "5m", "shift": False, "truncate": None},
        GENERATE: {
            "suffix": "",
            "system": "",
            "template": "",
            "context": [],
            "images": [],
            "raw": False,
            "options": None,
        },
    }
    for path, more in none.items():
        answer = await plain.post(path, LEAST[path] | more)
        assert answer.status_code == 200, answer.text
        assert plain.engine.calls[-1]["grammar"] == ""


async def test_a_suffix_is_filled_in_and_old_turns_go_where_that_was_said(plain: Server) -> None:
    plain.engine.info["fills"] = True
    answer = await plain.post(GENERATE, LEAST[GENERATE] | {"suffix": "there", "stream": False})
    assert answer.status_code == 200, answer.text
    assert plain.engine.calls[-1]["fill"] == {"before": "Hi", "after": "there", "files": [], "suffix_first": False}
    turns = [{"role": "user", "content": str(n)} for n in range(9)]
    assert (await plain.post(CHAT, {"model": "m", "messages": turns, "truncate": True})).status_code == 200
    assert plain.engine.calls[-1]["text"] == "<user>8"


async def test_vectors_come_in_both_forms(plain: Server) -> None:
    answer = (await plain.post(EMBED, {"model": "m", "input": ["a", "b"], "dimensions": 1})).json()
    assert (answer["embeddings"], answer["prompt_eval_count"], answer["model"]) == ([[1.0], [1.0]], 2, "m")
    assert plain.engine.calls[-1]["inputs"] == ["a", "b"]
    assert plain.engine.calls[-1]["dimensions"] == 1
    answer = (await plain.post("/api/embeddings", {"model": "m:latest", "prompt": "a"})).json()
    assert answer == {"embedding": [1.0]}


async def test_thinking_is_asked_for_in_the_templates_words(knowing: Server) -> None:
    for think, expected in ((False, "quick<user>Hi"), (True, "<user>Hi")):
        answer = await knowing.post(CHAT, LEAST[CHAT] | {"think": think})
        assert answer.status_code == 200, answer.text
        assert expected in knowing.engine.calls[-1]["text"]
    answer = await knowing.post(CHAT, LEAST[CHAT] | {"think": "high"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("think: this model thinks, and its chat template knows no 'high'")

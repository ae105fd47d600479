"""Whoever uses a version of a prompt follows what it holds beside its texts, or refuses it by name; nothing is left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.chains.asking import StepRequest
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.asked_prompts import asked_prompts
from llmops_tui.evaluation.measures import ready
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.evaluation.runner.failing import FailingAlike
from llmops_tui.evaluation.runner.job import _Runner
from llmops_tui.evaluation.runner.rendering import Samplings, render_each, render_one, request_of
from llmops_tui.evaluation.runner.retrieved import RetrievedPassages
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.improvement.bench import ModelBench, _as_version
from llmops_tui.improvement.call_log import CallLog
from llmops_tui.improvement.candidates import Candidate
from llmops_tui.inference.answer_settings import PARTS, AnswerSettings, read_settings
from llmops_tui.inference.request_code import code_of
from llmops_tui.inference.router.held_fields import CHAT, MESSAGES, OLLAMA, RESPONSES
from llmops_tui.inference.router.prompts import ServedPrompt, ServedPrompts
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.stages import StageStore
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.renaming import copy_record
from llmops_tui.mcp_server.workbench import Workbench
from llmops_tui.prompts.asked_before import draft_of_messages, draft_of_version
from llmops_tui.prompts.compare.columns import column_of, of_version, with_version
from llmops_tui.prompts.drafts import Draft, Drafts
from llmops_tui.prompts.foreign_files import FORMS, Form, read_foreign, write_foreign
from llmops_tui.prompts.foreign_settings import left_behind
from llmops_tui.prompts.runs import RunRequest
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.synthesis.plan import SynthesisPlan
from llmops_tui.synthesis.prompts import prompt_of
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.engine.plain_renderer import PlainRenderer

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}
WHOLE: dict[str, Any] = {
    "model": "m",
    "parameters": {"temperature": 0.2, "max_tokens": 9},
    "variables": {"tone": {"default": "kind"}},
    "schema": SCHEMA,
    "tools": [{"name": "look_up"}],
    "examples": {"turns": [{"question": "Where?", "answer": "Here."}]},
}
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Where?"},
    {"role": "assistant", "content": "Here."},
    {"role": "user", "content": "Sort Hello"},
]
CASE = Case(0, "k", {"message": "Hello"})


RENDERER: Any = PlainRenderer()


@pytest.fixture
def version(catalog: Catalog) -> PromptVersion:
    held = read_settings(WHOLE, "here")
    return PromptStore(catalog).save("p", system="Be {{ tone }}.", template="Sort {{ message }}", settings=held)[0]


def held(version: PromptVersion) -> AnswerSettings:
    assert version.settings is not None
    return version.settings


def asks_all(body: Mapping[str, Any]) -> bool:
    """Whether a request holds the answer to the schema, and offers the tool."""
    form = body["response_format"]["json_schema"]["schema"]
    return form == SCHEMA and [tool["function"]["name"] for tool in body["tools"]] == ["look_up"]


def test_a_run_and_an_agents_run(version: PromptVersion) -> None:
    request = Workbench.request(version, {"message": "Hello"}, SamplingParameters(max_tokens=5))
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0.2, 5)
    assert asks_all(request.as_fields())
    own = RunRequest("p", "", "a", {}, SamplingParameters(), schema={"type": "string"}, settings=version.settings)
    assert own.as_fields()["response_format"]["json_schema"]["schema"] == {"type": "string"}  # type: ignore[index]
    assert {*replace(own, unheld=True).as_fields()} == {"tools"}


def test_columns_of_a_comparison(version: PromptVersion, catalog: Catalog) -> None:
    column = of_version(version, "other", SamplingParameters(seed=4))
    assert (column.parameters.temperature, column.parameters.seed, column.settings) == (0.2, 4, version.settings)
    assert column_of(json.loads(json.dumps(column.as_dict()))).settings == version.settings
    plain, _ = PromptStore(catalog).save("p", template="b", settings=None)
    without = with_version(column, plain)
    assert (without.parameters.temperature, without.parameters.seed, without.settings) == (0.0, 4, None)
    again = with_version(without, version)
    assert (again.parameters.temperature, again.model) == (0.2, "m")


def suite(**more: Any) -> Suite:
    return check_suite({"cases": [{"vars": {"message": "Hello"}}], "metrics": ["exact"], "prompt": "p", **more}, "s")


def test_an_evaluation(version: PromptVersion) -> None:
    assert render_one(CASE, version, RENDERER) == TURNS
    parameters, sampled = Samplings({"max_tokens": 5}, version.settings).of(1)
    assert (sampled["temperature"], sampled["max_tokens"], sampled["seed"]) == (0.2, 5, 2)
    request = request_of(suite(), [], parameters, logprobs=False, settings=version.settings)
    assert asks_all(request.body)
    # What a script offers stands beside what is held; of two with one name it is the one that can be called.
    mine = [{"type": "function", "function": {"name": name, "description": "mine"}} for name in ("book", "look_up")]
    for tools, names in ((mine, ["book", "look_up"]), (mine[:1], ["book", "look_up"])):
        body = request_of(suite(), [], parameters, logprobs=False, settings=version.settings, tools=tools).body
        assert [tool["function"]["name"] for tool in body["tools"]] == names
        assert body["tools"][: len(tools)] == tools
    own = suite(response_format={"type": "json_object"})
    asked = request_of(own, [], parameters, logprobs=False, settings=version.settings)
    assert asked.body["response_format"] == {"type": "json_object"}


NUMBERED = {"variables": {"n": {"type": "integer"}}}


def test_a_row_with_an_unfit_value_is_an_error_of_its_own_case(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, _ = PromptStore(catalog).save("p", template="{{ n }}", settings=read_settings(NUMBERED, "here"))
    values: list[Any] = ["1", "abc", "", 4]
    cases = [Case(at, str(at), {"n": value}, row=at + 10) for at, value in enumerate(values)]
    renderer: Any = PlainRenderer()
    rendered, unfit = render_each(cases, version, renderer)
    assert [[turn["content"] for turn in one] for one in rendered] == [["1"], [], [], ["4"]]
    assert {at: one.message for at, one in unfit.items()} == {
        1: "row 11: the variable n is to be a whole number, not 'abc'",
        2: "row 12: the variable n has no value",
    }
    with pytest.raises(
        InputRefusedError, match=r"^none of 2 cases can be asked; row 11: the variable n is to be a whole number"
    ):
        render_each(cases[1:3], version, renderer)
    assert len(render_each(cases[1:3], version, renderer, least=0)[1]) == 2
    runner: Any = _Runner.__new__(_Runner)
    runner._alike = FailingAlike(answered=False)
    runner._suite, runner._unfit, runner._asked_chain, runner._choosing = suite(), unfit, None, False
    runner._prompts, runner._entry = [], SimpleNamespace(asked=SimpleNamespace(model="m"))
    runner._target, runner._options, runner._enough = "", SimpleNamespace(parallel=2), False
    runner._passages = RetrievedPassages()
    kept: dict[int, str] = {}
    looked: list[int] = []

    async def scored(_answers: Any, _asker: Any) -> list[Any]:
        return []

    async def from_cache(left: list[Any], *_more: Any) -> list[Any]:
        looked.extend(one[0].index for one in left)
        return left

    async def generate(messages: list[Any], _repeat: int, _asker: Any) -> Answer:
        return Answer(text=messages[0]["content"])

    for name, work in (("_scored", scored), ("_from_cache", from_cache), ("_generate", generate)):
        monkeypatch.setattr(runner, name, work)
    monkeypatch.setattr(runner, "_keep", lambda made, *_: kept.update({c.index: a.error or a.text for c, _, a in made}))
    asker: Any = SimpleNamespace(unknown=lambda _name: False)
    log: Any = SimpleNamespace(done={})
    asyncio.run(runner._ask_all(SimpleNamespace(cases=cases), rendered, asker, log))
    assert looked == [0, 3]
    assert kept == {
        0: "1", 1: f"variable_unfit: {unfit[1].message}", 2: f"variable_missing: {unfit[2].message}", 3: "4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"choices": ["a", "b"], "metrics": ["choice"]}, "model, parameters, schema and tools"),
        ({"raw": True}, "tools"),
        (
            {"prompt": "", "chain": [{"prompt": "p", "save": "x"}, {"prompt": "p"}]},
            "model, parameters, schema and tools",
        ),
    ],
)
def test_ways_of_asking_that_cannot_follow_all(
    version: PromptVersion, catalog: Catalog, more: dict[str, Any], left: str
) -> None:
    body = Suite.model_construct(name="s", chain=[], choices=more.get("choices", []), raw=bool(more.get("raw")))
    if "chain" in more:
        body = body.model_copy(update={"chain": suite(**more).chain})
    with pytest.raises(InputRefusedError) as refused:
        asked_prompts(PromptStore(catalog), body, version.ref)
    assert refused.value.message.startswith(f"p@1 holds {left}, which ")
    assert asked_prompts(PromptStore(catalog), suite(), version.ref) == [version]


REFUSING: dict[str, Callable[[PromptStore], object]] = {
    "the judge": lambda store: ready(Judge(model="m", rubric="r", prompt="p"), store),
    "the synthesis": lambda store: prompt_of(SynthesisPlan(model="m", prompt="p", schema=SCHEMA), store),
}


@pytest.mark.parametrize("who", REFUSING)
@pytest.mark.usefixtures("version")
def test_who_asks_in_a_way_of_its_own_refuses(who: str, catalog: Catalog) -> None:
    with pytest.raises(InputRefusedError, match=f"which {who}") as refused:
        REFUSING[who](PromptStore(catalog))
    assert all(part in refused.value.message for part in PARTS)


def served(workspace: Workspace, version: PromptVersion, path: str, **given: Any) -> dict[str, Any]:
    prompts = ServedPrompts(Catalog(workspace), StageStore(EventLog(workspace)), RENDERER)
    body = {"model": "prompt/p", "variables": {"message": "Hello"}, **given}
    made = asyncio.run(prompts.made(ServedPrompt(version, "", ()), "m", path, json.dumps(body).encode(), body))
    return made.body


def test_a_served_prompt(workspace: Workspace, version: PromptVersion) -> None:
    assert ServedPrompt(version, "", ()).model == "m"
    body = served(workspace, version, CHAT, max_completion_tokens=5)
    assert body["messages"] == TURNS
    assert (body["temperature"], body.get("max_tokens"), body["max_completion_tokens"]) == (0.2, None, 5)
    assert asks_all(body)
    assert served(workspace, version, CHAT, tools=[])["tools"] == []


def test_a_served_prompt_by_other_apis(workspace: Workspace, version: PromptVersion, catalog: Catalog) -> None:
    function = {"name": "look_up", "description": "", "parameters": {"type": "object", "properties": {}}}
    form = {"type": "json_schema", "schema": SCHEMA}
    body = served(workspace, version, MESSAGES, max_tokens=5)
    assert (body["temperature"], body["max_tokens"], body["messages"]) == (0.2, 5, TURNS[1:])
    assert body["output_config"] == {"format": form}
    assert body["tools"] == [{"name": "look_up", "description": "", "input_schema": function["parameters"]}]
    body = served(workspace, version, RESPONSES)
    assert (body["temperature"], body["max_output_tokens"], body["input"]) == (0.2, 9, TURNS[1:])
    assert body["text"] == {"format": {**form, "name": "answer"}}
    assert body["tools"] == [{"type": "function", **function}]
    body = served(workspace, version, OLLAMA, options={"num_predict": 5, "seed": 3})
    assert body["options"] == {"temperature": 0.2, "num_predict": 5, "seed": 3}
    assert (body["format"], body["tools"]) == (SCHEMA, [{"type": "function", "function": function}])
    assert (served(workspace, version, OLLAMA, format="json")["format"], body["messages"]) == ("json", TURNS)
    seeded = read_settings({"parameters": {"seed": 3}}, "here")
    other, _ = PromptStore(catalog).save("q", template="Sort {{ message }}", settings=seeded)
    with pytest.raises(FieldRefusedError, match="q@1 holds seed, which requests of /v1/messages have no field for"):
        served(workspace, other, MESSAGES)


def test_a_message_is_the_value_of_the_one_variable_that_is_not_given(workspace: Workspace, catalog: Catalog) -> None:
    rules = read_settings({"variables": {"tone": {"default": "kind"}, "message": {"default": "Hi"}}}, "here")
    store, said = PromptStore(catalog), [{"role": "user", "content": "Hello"}]
    one, _ = store.save(
        "one", template="Sort {{ message }}", settings=rules and rules.changed(variables={"message": {"default": "Hi"}})
    )
    assert served(workspace, one, CHAT, variables={}, messages=said)["messages"][-1]["content"] == "Sort Hello"
    assert served(workspace, one, CHAT, variables={})["messages"][-1]["content"] == "Sort Hi"
    two, _ = store.save("two", system="Be {{ tone }}.", template="Sort {{ message }}", settings=rules)
    body = served(workspace, two, CHAT, variables={"tone": ""}, messages=said)
    assert [turn["content"] for turn in body["messages"]] == ["Be .", "Sort Hello"]
    for given, told in (
        ({}, "may be for tone or message"),
        ({"tone": "a", "message": "b"}, "all of its variables are given"),
    ):
        with pytest.raises(FieldRefusedError, match=told):
            served(workspace, two, CHAT, variables=given, messages=said)


def test_what_a_request_says_counts_and_null_says_nothing(workspace: Workspace, version: PromptVersion) -> None:
    body = served(workspace, version, CHAT, temperature=None, max_completion_tokens=None, tools=None)
    assert (body["temperature"], body["max_tokens"], len(body["tools"])) == (0.2, 9, 1)
    body = served(workspace, version, CHAT, grammar='root ::= "a"')
    assert ("response_format" in body, len(body["tools"])) == (False, 1)
    assert asks_all(served(workspace, version, CHAT, grammar=None, response_format=None))
    # What is of the wrong kind is left for the server to refuse by name.
    assert served(workspace, version, CHAT, chat_template_kwargs=5)["chat_template_kwargs"] == 5
    body = served(workspace, version, OLLAMA, options={"temperature": None, "seed": 3})
    assert body["options"] == {"temperature": 0.2, "num_predict": 9, "seed": 3}
    body = served(workspace, version, RESPONSES, text={"format": None, "verbosity": "low"})
    assert (body["text"]["format"]["schema"], body["text"]["verbosity"]) == (SCHEMA, "low")


def test_a_step_of_a_chain(version: PromptVersion) -> None:
    step = StepRequest("m", [], SamplingParameters(max_tokens=5)).with_settings(version.settings)
    assert (step.parameters.temperature, step.parameters.max_tokens, step.schema) == (0.2, 5, SCHEMA)
    own = StepRequest("m", [], SamplingParameters(), {"type": "string"}).with_settings(version.settings)
    assert own.schema == {"type": "string"}


def test_a_candidate_of_an_improvement(version: PromptVersion) -> None:
    made = _as_version(Candidate(1, "instructions", "Be brief.", "{{ message }}", ""), version)
    assert (made.system, made.settings) == ("Be brief.", version.settings)


def test_an_improvement_asks_as_its_seed_is_asked(version: PromptVersion, catalog: Catalog, tmp_path: Path) -> None:
    asked: list[Any] = []

    class Fake:
        cache = SimpleNamespace(find=lambda _keys: {}, flush=lambda: None)

        def unknown(self, _name: str) -> bool:
            return True

        async def answer(self, _name: str, request: Any, sampled: Mapping[str, Any]) -> tuple[Any, str]:
            asked.append((request.parameters, request.body, sampled["sampling"]))
            return {"choices": [{"message": {"content": "a"}}]}, "t"

        async def score(self, items: Sequence[Any], _asker: Any) -> list[Any]:
            return [{"exact": Score(None if items[0].answer.error else 1.0)}]

    def bench(seed: PromptVersion, cases: Mapping[str, Case], name: str, renderer: Any) -> ModelBench:
        prepared: Any = SimpleNamespace(
            metrics=(), metric=SimpleNamespace(called="exact"), store=SimpleNamespace(prompts=None), seed=seed, worst=0.0,
            suite=suite(parameters={"max_tokens": 5}), cases=cases, plan=SimpleNamespace(model="m"),
        )  # fmt: skip
        fake: Any = Fake()
        return ModelBench(prepared, fake, fake, renderer, CallLog(tmp_path / name), lambda: None, 2)

    candidate = Candidate(1, "instructions", "Be {{ tone }}, and brief.", "Sort {{ message }}", "")
    assert asyncio.run(bench(version, {"k": CASE}, "a", RENDERER).score(candidate, ["k"])) == [1.0]
    ((parameters, body, sampled),) = asked
    assert (parameters.temperature, parameters.max_tokens, sampled["temperature"]) == (0.2, 5, 0.2)
    assert asks_all(body)
    assert body["messages"] == [{"role": "system", "content": "Be kind, and brief."}, *TURNS[1:]]
    # A row that cannot be asked is the worst answer, and ends nothing.
    seed, _ = PromptStore(catalog).save("n", template="{{ n }}", settings=read_settings(NUMBERED, "here"))
    cases = {"a": Case(0, "a", {"n": "abc"}, row=7), "b": Case(1, "b", {"n": 2})}
    other = bench(seed, cases, "b", PlainRenderer())
    assert asyncio.run(other.score(Candidate(0, "seed", "", "{{ n }}", ""), ["a", "b"])) == [0.0, 1.0]
    assert "row 7: the variable n" in other._log.answers[Candidate(0, "seed", "", "{{ n }}", "").sha256, "a"].why
    assert len(asked) == 2


def test_drafts_and_copies(version: PromptVersion, workspace: Workspace, catalog: Catalog) -> None:
    store, drafts = PromptStore(catalog), Drafts(EventLog(workspace))
    drafts.save("p", Draft("", "mine", {}, 1, '{"model":"mine"}'))
    draft_of_version(store, drafts, version, {}, "kept")
    assert drafts.load("p") == Draft(version.system, version.template, {}, 1, version.settings_text)
    assert held(store.get("p@2")).model == "mine"
    numbered, _ = store.save("n", template="{{ n }}", settings=read_settings(NUMBERED, "here"))
    draft_of_version(store, drafts, numbered, {"n": 3}, "kept")
    assert (drafts.load("n") or Draft()).variables == {"n": "3"}
    draft_of_messages(store, drafts, "p", [{"role": "user", "content": "a"}], "asked before")
    assert store.get("p@3").settings is None
    assert store.get(copy_record(workspace, Kept.PROMPT, "p@1", "copy")).settings == version.settings


def test_code_to_copy(version: PromptVersion) -> None:
    code = code_of("m", None, TURNS, {"temperature": 0.2}, settings=version.settings)
    assert asks_all(code.body)
    assert "response_format=" in code.python()


@pytest.mark.parametrize("form", FORMS)
def test_files_of_other_programs(version: PromptVersion, form: Form) -> None:
    text = write_foreign(version.system, version.template, form, settings=version.settings)
    found = read_foreign(text, form, "f")
    assert (found.system, found.template) == (version.system, version.template)
    left = left_behind(version.settings, form)
    carried = {name: part for name, part in held(version).as_record().items() if name not in left}
    assert (found.settings.as_record() if found.settings is not None else {}) == carried
    assert {*left, *carried} >= {*PARTS}


@pytest.mark.parametrize(
    ("form", "text", "record", "left"),
    [
        ("openai", '{"temperature": 9, "voice": "low", "seed": 3, "messages": [{"role": "user", "content": "a"}]}',
         {"parameters": {"seed": 3}}, ("temperature", "voice")),
        ("openai", '{"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "a"}]}',
         {}, ("response_format",)),
        ("llm", "prompt: a\noptions: {temperature: 0.5, json_object: true}\ndefaults: {n: 3}\n",
         {"parameters": {"temperature": 0.5}}, ("options.json_object", "variables.n")),
        ("llm", "prompt: a $n\ndefaults: {n: 3}\n", {"variables": {"n": {"type": "integer", "default": 3}}}, ()),
        ("dotprompt", "---\nconfig: {topK: 4, apiVersion: x}\noutput: {schema: {label: string}}\n---\na",
         {"parameters": {"top_k": 4}}, ("config.apiVersion", "output")),
    ],
)  # fmt: skip
def test_what_a_file_says_that_cannot_be_held_is_named(
    form: Form, text: str, record: dict[str, Any], left: tuple[str, ...]
) -> None:
    found = read_foreign(text, form, "f")
    assert (found.settings.as_record() if found.settings is not None else {}) == record
    assert found.left == left


def test_examples_in_the_words_of_the_template_are_written_as_they_are_asked(version: PromptVersion) -> None:
    examples = {**WHOLE["examples"], "variable": "message"}
    settings = read_settings({"examples": examples}, "here")
    body = json.loads(write_foreign("", "Sort {{ message }}", "openai", settings=settings))
    assert [turn["content"] for turn in body["messages"]] == ["Sort Where?", "Here.", "Sort {{ message }}"]
    with pytest.raises(InputRefusedError, match="the words of the template, which also has tone"):
        write_foreign("", "{{ tone }} {{ message }}", "openai", settings=settings)
    with pytest.raises(InputRefusedError, match="message 1 is an example with a variable in it"):
        body["messages"][0]["content"] = "{{ x }}"
        read_foreign(json.dumps(body), "openai", "f")

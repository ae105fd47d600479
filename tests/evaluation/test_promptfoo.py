"""promptfoo's configurations: each key is carried, refused by its name and place, or told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.assertions import KINDS, separated
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.registry import METRICS, make_metric
from llmops_tui.evaluation.metrics.verdicts import DerivedMetric
from llmops_tui.evaluation.promptfoo import reader
from llmops_tui.evaluation.promptfoo.filling import Filler
from llmops_tui.evaluation.promptfoo.table import CARRIED, REFUSED
from llmops_tui.evaluation.suite import Suite
from llmops_tui.inference.nunjucks import NunjucksEnvironment
from llmops_tui.inference.nunjucks_values import from_json


@pytest.fixture(scope="module")
def filler() -> Iterator[Any]:
    """One process that fills in templates, for all tests of this module."""
    kept = Filler()
    yield kept
    kept.close()


class _Kept:
    """A filler that outlives a reading."""

    def __init__(self, filler: Any) -> None:
        self._filler = filler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filler, name) if name != "close" else lambda: None


@pytest.fixture(autouse=True)
def one_process(filler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "Filler", lambda: _Kept(filler))


class Folder:
    """A folder with a configuration, and other files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []

    def write(self, **files: str) -> Folder:
        """Files by name, ``__`` standing for the dot."""
        for name, text in files.items():
            path = self.path / name.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def suite(self, config: Any) -> Suite:
        """The suite of a configuration, as JSON is YAML too."""
        path = self.path / "promptfooconfig.yaml"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return reader.read_promptfoo(path, self.told.append)

    def cases(self, config: Any) -> tuple[Case, ...]:
        return build_cases(self.suite(config), None).cases  # type: ignore[arg-type]

    def asked(self, config: Any) -> list[str]:
        return [str(case.messages[-1]["content"]) for case in self.cases(config)]

    def refused(self, config: Any) -> str:
        with pytest.raises(InputRefusedError) as caught:
            self.suite(config)
        return f"{caught.value.message} | {caught.value.hint}"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def one(test: dict[str, Any], **others: Any) -> dict[str, Any]:
    """A configuration with one test."""
    return {"prompts": ["Say {{x}}"], "tests": [{"vars": {"x": "a"}, **test}], **others}


def scores_of(case: Case, text: str, **answer: Any) -> dict[str, Score]:
    """What the metrics of a case say of an answer."""
    metrics = [make_metric(entry) for entry in case.metrics]
    given = Answer(text=text, **{"total_ms": 5.0, "finish_reason": "stop"} | answer)
    found = {m.called: m.score(case, given) for m in metrics if not isinstance(m, DerivedMetric)}
    for metric in metrics:
        if isinstance(metric, DerivedMetric):
            found[metric.called] = metric.of_scores(found, {m.called for m in metrics if m.binary} - {metric.called})
    return found


def verdict(folder: Folder, asserts: list[dict[str, Any]], text: str, **test: Any) -> float | None:
    """The verdict on an answer to a test with these assertions."""
    (case,) = folder.cases(one({"assert": asserts, **test}))
    return scores_of(case, text)["pass"].value


# ── prompts and variables ──


def test_a_file_is_a_prompt_and_not_its_characters(folder: Folder) -> None:
    folder.write(p__txt="Greet: {{ x }}\n---\nHail {{x}}\n")
    assert folder.asked({"prompts": "file://p.txt", "tests": [{"vars": {"x": "hi"}}]}) == ["Greet: hi", "Hail hi"]
    folder.write(q__json='[{"role": "system", "content": "Be {{x}}"}, {"role": "user", "content": "Go"}]')
    (case,) = folder.cases({"prompts": ["q.json"], "tests": [{"vars": {"x": 'a "b"'}}]})
    assert [m["content"] for m in case.messages] == ['Be a "b"', "Go"]
    # What is JSON and no conversation is written as JavaScript writes it.
    folder.write(r__json='{ "ask": "{{x}}", "of": [1.0, null, {"ü": true}] }')
    assert folder.asked({"prompts": ["r.json"], "tests": [{"vars": {"x": "a"}}]}) == [
        '{"ask":"a","of":[1,null,{"ü":true}]}'
    ]
    assert folder.asked({"prompts": ["NaN"], "tests": [{}]}) == ["NaN"]


def test_prompts_of_patterns_tables_and_maps(folder: Folder) -> None:
    folder.write(a__md="A {{x}}", b__md="B {{x}}", t__csv="prompt,label\nOne {{x}},first\n")
    tests = [{"vars": {"x": "1"}}]
    assert folder.asked({"prompts": ["file://*.md"], "tests": tests}) == ["A 1", "B 1"]
    assert folder.asked({"prompts": {"t.csv": "named"}, "tests": tests}) == ["One 1"]
    assert folder.asked({"tests": [{"vars": {"prompt": "Just this"}}]}) == ["Just this"]


def test_lists_and_files_of_variables_are_multiplied(folder: Folder) -> None:
    folder.write(one__txt="uno\n", two__txt="dos\n")
    given = one({"vars": {"x": ["a", "b"], "y": "file://*.txt"}}) | {"prompts": ["{{x}}{{y}}"]}
    assert folder.asked(given) == ["auno", "ados", "buno", "bdos"]
    groups = {case.group for case in folder.cases(given)}
    assert groups == {"test 0"}
    kept = one({"vars": {"x": ["a", "b"]}, "options": {"disableVarExpansion": True}}) | {"prompts": ["{{x|join('+')}}"]}
    assert folder.asked(kept) == ["a+b"]
    assert folder.asked(one({"vars": {"x": [1, 2]}}) | {"prompts": ["{{x|dump}}"]}) == ["[1,2]"]


def test_templates_are_nunjucks(folder: Folder) -> None:
    values = {"u": {"name": "Ann", "tags": []}, "n": 2.0, "inner": "<{{ n }}>"}
    prompt = "{{ u.name | upper }} {{ u.missing.deep }}{% if u.tags %}yes{% endif %} {{ n }} {{ inner }} {{ n == '2' }}"
    (text,) = folder.asked({"prompts": [prompt], "tests": [{"vars": values}]})
    assert text == "ANN yes 2 <2> true"


@pytest.mark.parametrize(("template", "text"), [
    ("{{ q | escape }}", "a&#92;b&lt;"), ("[{{ nope | dump }}]", "[]"), ("{{ z | dump }}", "null"),
    ("[{{ i | length }}]", "[]"), ("{{ l | length }}", "3"), ("{{ '' < l }}", "true"), ("{{ l < '2' }}", "false"),
    ("{% for k, v in l %}[{{ k }}{{ v }}]{% endfor %}", "[][][]"), ("{% for k, v in w %}{{ k }}{{ v }}{% endfor %}", "ab"),
    ("{% for k, v in q %}{{ k }}{{ v }}{% endfor %}", "0a1\\2b3<"),
])  # fmt: skip
def test_odd_values_are_written_as_nunjucks_3_2_4_writes_them(template: str, text: str) -> None:
    values = {"q": "a\\b<", "z": None, "i": 7, "l": [3, 1, 2], "w": ["ab"]}
    assert NunjucksEnvironment().from_string(template).render(from_json(values)) == text


@pytest.mark.parametrize(("template", "says"), [
    ("{{ x.toUpperCase() }}", "it calls toUpperCase()"), ("{{ x | truncate(3) }}", "the filter truncate"),
    ("{% include 'f' %}", "include"), ("{{ env.HOME }}", "env reads the environment"),
    ("{{ _conversation }}", "_conversation depends"), ("{% for a in x %}{% set b = a %}{% endfor %}", "set inside a loop"),
    ("{{ x / 2 }}", "div"), ("{{ x === 'a' }}", "unexpected"),
])  # fmt: skip
def test_a_template_that_would_mean_something_else_is_refused_by_name(folder: Folder, template: str, says: str) -> None:
    told = folder.refused(one({}) | {"prompts": [f"A\n{template}"]})
    assert says in told
    assert "tests[0], prompt" in told


def test_prefix_suffix_and_values_within_values(folder: Folder) -> None:
    given = one({"options": {"prefix": "<", "suffix": ">"}}, defaultTest={"vars": {"y": "[{{x}}]"}})
    assert folder.asked(given | {"prompts": ["{{y}}"]}) == ["<[a]>"]
    # As JavaScript's replace does it, two dollars put in are one.
    assert folder.asked(given | {"prompts": ["{{y}}"], "tests": [{"vars": {"x": "$$5"}}]}) == ["[$5]"]


# ── tests ──


def test_tests_of_files_tables_and_scenarios(folder: Folder) -> None:
    folder.write(
        t__yaml="- {vars: {x: one}}\n- {vars: vars.yaml}\n",
        vars__yaml="x: two",
        t__csv='x,__expected,__expected2,__threshold,__metadata:area\nthree,"icontains-any: a, b",is-json,0.5,math\n',
    )
    given = {
        "prompts": ["{{x}}"],
        "tests": ["file://t.yaml", "t.csv"],
        "scenarios": [{"config": [{"vars": {"x": "s1"}}, {"vars": {"x": "s2"}}], "tests": [{"vars": {"y": "1"}}]}],
    }
    cases = folder.cases(given)
    assert [c.messages[0]["content"] for c in cases] == ["one", "two", "three", "s1", "s2"]
    checks = [(m.get("check"), m.get("value")) for m in cases[2].metrics if m["type"] == "assertion"]
    assert checks == [("icontains-any", ["a", "b"]), ("is-json", None)]
    assert cases[2].metrics[0]["threshold"] == 0.5
    assert cases[2].slices == {"area": "math"}


def test_default_tests_references_and_prompts_of_tests(folder: Folder) -> None:
    folder.write(d__yaml="assert: [{type: contains, value: d}]\nthreshold: 0.4\n")
    given = {
        "assertionTemplates": {"short": {"type": "word-count", "value": {"max": 3}}},
        "prompts": [{"raw": "A {{x}}", "label": "a"}, {"raw": "B {{x}}", "label": "b:1"}],
        "defaultTest": "file://d.yaml",
        "tests": [
            {"vars": {"x": "1"}, "prompts": ["b"], "assert": [{"$ref": "#/assertionTemplates/short"}]},
            {"vars": {"x": "2"}, "options": {"disableDefaultAsserts": True}},
        ],
    }
    cases = folder.cases(given)
    assert [c.messages[0]["content"] for c in cases] == ["B 1", "A 2", "B 2"]
    assert [m["check"] for m in cases[0].metrics if "check" in m] == ["contains", "word-count"]
    assert [m["type"] for m in cases[1].metrics] == ["verdict"]
    assert cases[0].metrics[0]["threshold"] == 0.4


def test_repeats_and_parameters(folder: Folder) -> None:
    models = [
        {"id": "openai:a", "config": {"temperature": 0.5, "apiKey": "k"}},
        {"openai:b": {"config": {"top_p": 0.5}}},
    ]
    suite = folder.suite(one({}, evaluateOptions={"repeat": 3, "maxConcurrency": 2}, providers=models))
    assert suite.repeats == 3
    assert suite.parameter_sets() == [{"temperature": 0.5}, {"top_p": 0.5}]
    told = "; ".join(folder.told)
    assert "evaluateOptions.maxConcurrency" in told
    assert "providers[0].config.apiKey" in told
    assert "openai:a, openai:b" in told


def test_what_passes_whatever_the_answer_is_and_what_changes_nothing_are_told(folder: Folder) -> None:
    check = {"type": "contains", "value": "a", "threshold": 0.5}
    folder.suite({"prompts": ["{{ x }}"], "tests": [{"vars": {"x": "one"}}, {"vars": {"y": "one"}, "assert": [check]}]})
    told = "; ".join(folder.told)
    assert "tests[0]: it has no assertion, and passes whatever the answer is" in told
    assert "tests[1]: it has no assertion" not in told
    assert "tests[1].assert[0].threshold: promptfoo gives contains none" in told
    assert "tests[1], prompt '{{ x }}': nothing is left of it once it is filled in" in told


def test_models_of_a_file_are_those_that_stand_in_it(folder: Folder) -> None:
    folder.write(one__yaml="id: openai:a\nconfig: {temperature: 0.5, tools: file://t.json}\n", t__json="[]")
    says = folder.refused(one({}, providers=["file://one.yaml"]))
    assert "one.yaml.config.tools" in says
    folder.write(two__yaml="- {id: openai:b, config: {top_p: 0.5}}\n- {id: openai:c, label: c}\n")
    suite = folder.suite(one({}, providers=["openai:a", "file://two.yaml"]))
    assert suite.parameter_sets() == [{}, {"top_p": 0.5}]
    assert "openai:a, openai:b, openai:c" in "; ".join(folder.told)
    assert folder.suite(one({}, providers="file://two.yaml")).parameter_sets() == [{"top_p": 0.5}, {}]
    for given, says in (
        ({"id": "file://two.yaml", "config": {"seed": 1}}, "providers[0].config: promptfoo takes the settings of"),
        ("file://three.yaml", "three.yaml is not there"),
    ):
        assert says in folder.refused(one({}, providers=[given]))
    folder.write(bad__yaml="- config: {top_p: 0.5}\n")
    assert "bad.yaml[0].id" in folder.refused(one({}, providers=["file://bad.yaml"]))


# ── verdicts ──


def test_values_of_assertions_are_templates(folder: Folder) -> None:
    assert verdict(folder, [{"type": "not-contains", "value": "{{x}}"}], "an a") == 0
    assert verdict(folder, [{"type": "contains-all", "value": ["{{x}}", "b"]}], "ab") == 1


@pytest.mark.parametrize(("check", "right", "wrong"), [
    ({"type": "equals", "value": True}, "true", "True"),
    ({"type": "equals", "value": {"a": [1, 2.0]}}, '{"a": [1.0, 2]}', '{"a": [1, true]}'),
    ({"type": "equals", "value": "a "}, "a ", "a"),
    ({"type": "contains-any", "value": 'x, "b, c"'}, "b, c", "b"),
    ({"type": "contains-json"}, 'Sure: {"a": 1} there', "none [1]"),
    ({"type": "contains-json", "value": {"required": ["b"]}}, 'a {"a": 1} b {"b": 2', '{"a": 1}'),
    ({"type": "is-json", "value": "type: object\nrequired: [a]"}, '{"a": 1}', '{"b": 1}'),
    ({"type": "not-is-json"}, "{'a': 1}", "[1]"),
    ({"type": "regex", "value": r"^\d+$"}, "12", "12\n"),
    ({"type": "regex", "value": r"^(?:(a)|b)\1$"}, "b", "ab"),
    ({"type": "regex", "value": r"^(?:(?<n>a)|b)\k<n>$"}, "aa", "a"),
    ({"type": "starts-with", "value": "A"}, "Ab", " Ab"),
    ({"type": "levenshtein", "value": "kitten", "threshold": 3}, "sitting", "sitting down"),
    ({"type": "word-count", "value": {"min": 2, "max": 3}}, "a b", "a"),
    ({"type": "is-xml", "value": "a.b"}, "<a><b/></a>", "<a><c/></a>"),
    ({"type": "contains-xml", "value": ["a.b"]}, "See <a><b>1</b></a>.", "See <a>b</b>."),
    ({"type": "finish-reason", "value": "stop"}, "any", None),
    ({"type": "latency", "threshold": 10}, "any", None),
    ({"type": "bleu", "value": "the cat sat on the mat"}, "the cat sat on the mat", "a dog"),
    ({"type": "not-gleu", "value": "the cat"}, "a dog", "the cat"),
])  # fmt: skip
def test_assertions_decide_as_promptfoo(folder: Folder, check: dict[str, Any], right: str, wrong: str | None) -> None:
    assert verdict(folder, [check], right) == 1
    assert wrong is None or verdict(folder, [check], wrong) == 0


def test_weights_thresholds_sets_and_names(folder: Folder) -> None:
    yes, no = {"type": "contains", "value": "a"}, {"type": "contains", "value": "z"}
    assert verdict(folder, [yes, no], "a") == 0
    assert verdict(folder, [yes, no], "a", threshold=0.5) == 1
    assert verdict(folder, [{**yes, "weight": 2}, {**no, "weight": 3}], "a", threshold=0.5) == 0
    assert verdict(folder, [yes, {**no, "weight": 0}], "a") == 1
    assert verdict(folder, [{"type": "assert-set", "assert": [yes, no], "threshold": 0.5}], "a") == 1
    # Unlike an assertion, a set of weight 0 that fails has the test fail.
    assert verdict(folder, [yes, {"type": "assert-set", "assert": [no], "weight": 0}], "a") == 0
    assert verdict(folder, [], "a") == 1
    named = [{**yes, "metric": "Tone {{x}}"}, {**no, "metric": "Tone {{x}}", "weight": 3}]
    (case,) = folder.cases(one({"assert": named}))
    assert scores_of(case, "a")["Tone a"].value == 0.25


def test_a_verdict_needs_all_its_scores(folder: Folder) -> None:
    (case,) = folder.cases(one({"assert": [{"type": "latency", "threshold": 1}, {"type": "contains", "value": "a"}]}))
    found = scores_of(case, "a", cached=True)["pass"]
    assert found.value is None
    assert "latency limit" in found.reason


# ── refusals ──


def test_each_assertion_of_promptfoo_is_carried_or_refused(folder: Folder) -> None:
    assert not set(CARRIED) & set(REFUSED)
    assert set(KINDS) < set(CARRIED)
    for kind, (why, hint) in REFUSED.items():
        told = folder.refused(one({"assert": [{"type": kind, "value": "v"}]}))
        assert told.startswith(f"tests[0].assert[0]: {kind} cannot be used: {why}")
        assert hint in told
        assert set(re.findall(r"\{type: ([\w-]+)", hint)) <= set(METRICS)


@pytest.mark.parametrize(("config", "says"), [
    (one({"assert": [{"type": "contians", "value": "a"}]}), "Did you mean contains?"),
    (one({"asert": []}), "tests[0].asert: promptfoo has no such key | Did you mean assert?"),
    (one({"assert": [{"type": "contains", "value": "a", "wieght": 2}]}), "Did you mean weight?"),
    (one({}, extensions=["file://a.py:f"]), "extensions: it runs code"),
    (one({}, derivedMetrics=[]), "derivedMetrics"), (one({}, env={"A": "b"}), "env: "),
    (one({"options": {"transform": "output.trim()"}}), "tests[0].options.transform: it runs code"),
    (one({"assert": [{"type": "equals", "value": "file://a.js"}]}), "a.js is code"),
    (one({"vars": {"x": "file://v.py"}}), "v.py is code"), (one({"vars": {"x": "file://gone.txt"}}), "gone.txt"),
    (one({"prompts": ["other"]}), "there is no prompt 'other'"),
    (one({"providerOutput": "x"}), "providerOutput"), (one({"provider": "openai:x"}), "--model"),
    (one({}) | {"prompts": ["file://p.py"]}, "p.py is code"), (one({}) | {"prompts": ["a/b {{x}}"]}, "takes 'a/b"),
    (one({}, providers=[{"id": "a", "config": {"tools": []}}]), "providers[0].config.tools"),
    (one({}, commandLineOptions={"filterFirstN": 2}), "commandLineOptions.filterFirstN"),
    (one({"assert": [{"type": "regex", "value": "(?i)a"}]}), "(?i) is no group of JavaScript"),
    (one({"assert": [{"type": "contains", "value": ""}]}), "contains takes a text or a number"),
    (one({"assert": [{"type": "llm-rubric", "value": "polite"}]}), "Name a judge"),
    (one({"assert": [{"type": "is-json", "value": {"format": "email"}}]}), "'format'"),
    (one({"assert": [{"type": "latency"}]}), "threshold in milliseconds"),
    ("tests: [{vars: {d: 2020-01-01}}]", "2020-01-01 is a date"), ("prompts: [a]\ntests: https://x.org/t.csv", "in the network"),
    ("tests: 3", "tests: they are a list"), ("- a\n- b", "not a promptfoo configuration"),
    (one({}, redteam={}), "red teams"), (one({"assert": ["file://a.yaml"]}), "tests[0].assert[0]: it is a text"),
])  # fmt: skip
def test_what_is_not_carried_is_refused_with_its_place(folder: Folder, config: Any, says: str) -> None:
    assert says in folder.refused(config)


def test_what_would_unfold_without_end_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_VALUES", 2000)
    nested = {f"a{n}": {name: {"$ref": f"#/a{n + 1}"} for name in ("x", "y")} for n in range(60)} | {"a60": {}}
    assert "more than 2,000 values" in folder.refused(one({"metadata": {"$ref": "#/a0"}}) | nested)
    lists = {name: [str(n) for n in range(100)] for name in "xyz"}
    assert "its lists together make 1,000,000 cases" in folder.refused(one({"vars": lists}))


def test_a_list_of_texts_with_backslashes_is_read_at_once() -> None:
    assert separated(r'"a\", "C:\", "x\"y\"", "d""q", e') == ["a\\", "C:\\", 'x"y"', 'd"q', "e"]
    assert separated(r'"C:\"') == ["C:\\"]
    for text in ("\\" * 5000, '\\"' * 3000 + "x", '\\""' * 3000 + "x"):
        with pytest.raises(ValueError, match="not closed"):
            separated(f'"{text}')


def test_two_stars_in_a_prompt_are_no_failure(folder: Folder) -> None:
    assert folder.asked(one({}) | {"prompts": ["Say **loudly** {{x}}"]}) == ["Say **loudly** a"]
    folder.write(a1__txt="One {{x}}", a2__txt="Two {{x}}")
    assert folder.asked(one({}) | {"prompts": ["file://a**.txt"]}) == ["One a", "Two a"]


def test_a_table_with_code_or_odd_rows_is_refused(folder: Folder) -> None:
    given = {"prompts": ["{{x}}"], "tests": "t.csv"}
    folder.write(t__csv="x,__expected\na,javascript: 1\n")
    assert "t.csv, row 2, column __expected: 'javascript: 1' runs code" in folder.refused(given)
    folder.write(t__csv="x,y\na\n")
    assert "row 2 has 1 cells" in folder.refused(given)
    folder.write(t__csv="x,__providerOutput\na,b\n")
    assert "column __providerOutput" in folder.refused(given)


def test_words_and_numbers_are_read_as_yaml_1_2(folder: Folder) -> None:
    assert folder.asked("prompts: ['{{x}} {{y}} {{z}}']\ntests: [{vars: {x: yes, y: 12:30, z: 1e3}}]") == [
        "yes 12:30 1000"
    ]

"""Configurations that cover what promptfoo has and this carries: each with the answers that its tests are given.

An answer is what stands behind ``Say: `` in the prompt. Files that a configuration names lie beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SAY = "Say: {{answer}}"
JSON_ANSWERS = (
    '{"name": "Ann", "age": 5}', '{"name": "Bo", "age": "5"}', 'Sure: {"name": "Cy", "age": 1} and more', "[1, 2]", "none",
    '{"a": 1} {"name": "Di", "age": 2}', "{'name': 'Ed', age: 3}", '{"name": "Fay", "age": 7', "true", '{"nested": {"name": 1}}',
    '```json\n{"name": "Gil", "age": 9}\n```', "{not json", '{"name": "Hal", // who\n"age": 3}', "NaN",
)  # fmt: skip
TEXTS = (
    "The cat sat on the mat.", "the cat sat on the mat.", "The dog sat on the log.", "cat", "A long answer, with a comma and more.",
    "  padded  ", "Äpfel und Öl 😀", "42", "true", "The cat sat on the mat. The cat sat on the mat.", "mat the on sat cat The",
)  # fmt: skip
XML = (
    "<a><b>1</b><c/></a>", "<a><b>1</b></a>", "See <a><b>1</b></a> here", "<a><b></a>", "no tags", "<?xml version='1.0'?><a x='1'/>",
    "<a/><c/>", "Text <b>x</b> and <c>y</c>.", "<a><b>1</b><b>2</b></a>", "<a>&amp;</a>", "<a>&nope;</a>", "<x:a/>",
    '<a t="1 > 0"><b/></a>', "<a><!-- <c/> --></a>", "<a><![CDATA[<c/>]]></a>", "a < b and b > c", "<A></a>",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """One configuration, with the files beside it by name."""

    name: str
    config: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)


def _each(name: str, answers: tuple[str, ...], *asserts: dict[str, Any], **others: Any) -> Made:
    """Each assertion alone, and turned round, on each answer; a test for each."""
    rows = []
    for one in asserts:
        for check in (one, {**one, "type": f"not-{one['type']}"}):
            # Braces of an answer are no template's.
            rows += [{"vars": {"answer": answer}, "assert": [check]} for answer in answers]
    return Made(name, {"prompts": [SAY], "tests": rows, **others})


def _tests(name: str, tests: list[dict[str, Any]], files: dict[str, str] | None = None, **others: Any) -> Made:
    return Made(name, {"prompts": [SAY], "tests": tests, **others}, files or {})


def _check(kind: str, value: Any = None, **others: Any) -> dict[str, Any]:
    return {"type": kind} | ({} if value is None else {"value": value}) | others


PERSON = {
    "type": "object",
    "required": ["name", "age"],
    "properties": {"name": {"type": "string"}, "age": {"type": "number"}},
}
YES, NO = _check("contains", "a"), _check("contains", "z")
A, B = {"answer": "a"}, {"answer": "b a"}

TEMPLATES = (
    "{{ s }}", "{{ l }} {{ o }} {{ e }}|", "{{ o.b.c }}{{ o['a'] }}{{ l[0] }}{{ l.length }}{{ s.length }}",
    "{% if e %}yes{% else %}no{% endif %}{% if eo %}yes{% endif %}{% if z %}a{% elif t %}b{% endif %}",
    "{% for i in l %}{{ loop.index }}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for k, v in o %}{{ k }}={{ v }};{% endfor %}", "{% for i in e %}x{% else %}none{% endfor %}",
    "{% for i in missing %}x{% else %}none{% endfor %}", "{% for c in s %}<{{ c }}>{% endfor %}",
    "{% for i in o %}x{% else %}none{% endfor %}",
    "{{ l | join(', ') }} {{ l|sort|join }} {{ l|sort(true)|join('-') }}",
    "{{ s|lower }}{{ s|upper }}{{ s|title }}{{ s|capitalize }}{{ '  q '|trim }}.", "{{ o|dump(2) }}{{ e|dump(2) }}",
    "{{ s|replace('b','X') }} {{ 'aaa'|replace('a','b',2) }} {{ n|replace(3,'z') }} {{ 'ab'|replace('','.') }}",
    "{{ n + 1 }} {{ s + 1 }} {{ n - 1 }} {{ n * f }} {{ '2' * 3 }}",
    "{{ 'a' in l }} {{ 'A' in s }} {{ 'a' in o }} {{ 'q' not in l }}", "{{ 'y' if t else 'n' }}{{ 'y' if x }}",
    "{{ t and s }} {{ x or s }} {{ z or e }} {{ not x }}",
    "{{ rows|selectattr('v')|length }} {{ rows|rejectattr('v')|length }}",
    "{{ nums|sum }} {{ rows|sum('v') }} {{ 2.567|round(1) }} {{ 2.5|round }} {{ -2.5|round }} {{ 2.1|round(0,'ceil') }}",
    "{{ l|first }}{{ l|last }}{{ l|length }}{{ missing|length }}{{ o|length }}", "{{ l|reverse }} {{ s|reverse }}",
    "{{ '12ab'|int }} {{ 'x'|int(5) }} {{ '1.5e'|float }} {{ '3.0'|float }}",
    "{{ long|indent(2) }}|{{ long|wordcount }}", "{{ html|escape }} {{ html|e }} {{ html|safe }}",
    "{{ 'a b&c'|urlencode }} {{ o|urlencode }}", "{# c #}a{#- d -#} b",
    "{%- set q = 'v' -%} {{ q }}{% set l2 = [1,2] %}{{ l2 }}", "{{ '[1,2]'|load|join('+') }}",
    "{% for i in range(3) %}{{ i }}{% endfor %}", "a\n{% if t %}\nb\n{% endif %}\nc\n",
    '{{ l | join(", ") | upper }}', "{{ s[0] }} {{ o.length }}{{ n.foo }}",
    "{{ [1,'a',none] }} {{ {'a': 1} | dump }}", "{{ true }} {{ false }} {{ none }}",
    "{{ l|list|dump }}{{ o|list|dump }}", "{{ -n }} {{ -f }}",
    "{% for a, b in [[1,2],[3,4]] %}{{a}}{{b}}{% endfor %}", "{{ rows[0].n }}{{ rows[1]['v'] }}",
    "{% for r in rows %}{{ r.n }}{{ r.v }}{{ loop.first }}{{ loop.revindex }}{% endfor %}", "{{ '{' }}",
    "{{ s if missing else 'no' }}",
)  # fmt: skip
VALUES = {
    "s": "Ab c", "n": 3, "f": 2.5, "z": 0, "t": True, "x": False, "l": ["b", "a", "C"], "e": [], "eo": {}, "m": 0.00001, "big": 1e21,
    "o": {"a": 1, "b": {"c": "d"}}, "nums": [3, 1, 2.5], "rows": [{"n": "x", "v": 1}, {"n": "y", "v": 0}], "small": 1e-7,
    "long": "one two  three\nfour", "html": "<b>'\"&`",
}  # fmt: skip

CONFIGS = (
    Made("templates", {
        # A second line has promptfoo take a prompt for a text and not for the name of a file.
        "prompts": [f"Say: \n{template}" for template in TEMPLATES],
        "tests": [{"vars": VALUES, "options": {"disableVarExpansion": True}, "assert": [_check("contains", "a")]}],
    }),
    _each("equals", TEXTS, _check("equals", "cat"), _check("equals", 42), _check("equals", True), _check("equals", "42")),
    _each("equals-objects", JSON_ANSWERS, _check("equals", {"age": 5.0, "name": "Ann"}), _check("equals", [1, 2])),
    _each("contains", TEXTS, _check("contains", "cat"), _check("contains", 42), _check("icontains", "THE CAT")),
    _each("contains-any", TEXTS, _check("contains-any", ["cat", "Öl"]), _check("contains-any", 'dog, "comma and", x'),
          _check("icontains-any", "ÄPFEL, zzz")),
    _each("contains-all", TEXTS, _check("contains-all", ["cat", "mat"]), _check("contains-all", "The, dog"),
          _check("icontains-all", ["THE", "MAT"])),
    _each("starts-with", TEXTS, _check("starts-with", "The"), _check("starts-with", "  p")),
    _each("regex", (*TEXTS, "12\n", "x\ny", "2024-2024"), _check("regex", r"^\d+$"), _check("regex", "\\bcat\\b"),
          _check("regex", "(?<y>\\d{4})-\\k<y>"), _check("regex", "x.y"), _check("regex", "[^]y"), _check("regex", "\\w+ und")),
    _each("word-count", TEXTS, _check("word-count", 6), _check("word-count", {"min": 2, "max": 6}),
          _check("word-count", {"min": 3}), _check("word-count", {"max": 1}), _check("word-count", "1")),
    _each("levenshtein", TEXTS, _check("levenshtein", "cats"), _check("levenshtein", "Äpfel und Öl", threshold=2)),
    _each("is-json", JSON_ANSWERS, _check("is-json"), _check("is-json", PERSON),
          _check("is-json", "type: object\nrequired: [name]\nproperties: {name: {type: string, pattern: '^[A-C]\\w+$'}}")),
    _each("contains-json", JSON_ANSWERS, _check("contains-json"), _check("contains-json", PERSON)),
    _each("schemas", JSON_ANSWERS, *(_check("is-json", one) for one in (
        {"anyOf": [{"type": "array", "items": {"type": "integer"}, "minItems": 2}, {"type": "boolean"}]},
        {"type": "object", "additionalProperties": False, "properties": {"name": {"enum": ["Ann", "Bo"]}, "age": {}}},
        {"not": {"type": "object", "required": ["age"]}},
        {"type": "object", "properties": {"age": {"type": "integer", "minimum": 3, "exclusiveMaximum": 7}}},
    ))),
    _each("is-xml", XML, _check("is-xml"), _check("is-xml", "a.b"), _check("is-xml", ["a", "a.c"])),
    _each("contains-xml", XML, _check("contains-xml"), _check("contains-xml", "a.b"), _check("contains-xml", "b, c"),
          _check("contains-xml", {"requiredElements": ["a.c"]})),
    _each("bleu", TEXTS, _check("bleu", "The cat sat on the mat."), _check("bleu", ["The dog sat", "a cat"], threshold=0.1)),
    _each("gleu", TEXTS, _check("gleu", "The cat sat on the mat."), _check("gleu", ["The dog sat", "a cat"], threshold=0.2)),
    _each("latency-and-end", ("a", "cut"), _check("latency", threshold=1e9), _check("latency", threshold=-1),
          _check("finish-reason", "stop"), _check("finish-reason", "LENGTH")),
    _tests("weights", [
        {"vars": A, "assert": [{**YES, "weight": 2}, {**NO, "weight": 1}], "threshold": limit} for limit in (0, 0.5, 0.67, 1)
    ] + [
        {"vars": A, "assert": [YES, {**NO, "weight": 0}]}, {"vars": A, "assert": [{**NO, "weight": 0}]}, {"vars": A},
        {"vars": A, "threshold": 0.9},
        {"vars": A, "assert": [YES, NO]}, {"vars": A, "assert": [_check("bleu", "a", weight=3), NO], "threshold": 0.75},
    ]),
    _tests("sets", [
        {"vars": A, "assert": [{"type": "assert-set", "assert": [YES, NO], **extra}, *more]}
        for extra in ({}, {"threshold": 0.5}, {"threshold": 0.6}, {"weight": 0}, {"weight": 3, "threshold": 0.5})
        for more in ([], [YES], [{**NO, "weight": 0.5}])
    ]),
    _tests("metric-names", [
        {"vars": A, "assert": [{**YES, "metric": "Tone"}, {**NO, "metric": "Tone", "weight": 3}, _check("equals", "b", metric="{{answer}}!")]},
        {"vars": B, "assert": [
            {"type": "assert-set", "metric": "Set", "weight": 2, "assert": [{**YES, "metric": "Tone"}, {**NO, "metric": "In"}]},
            {**NO, "metric": "Tone"},
            _check("bleu", "b", metric="Tone", weight=0.5),
        ]},
        {"vars": B, "assert": [{"type": "assert-set", "metric": "Set", "threshold": 0.2, "assert": [{**YES, "metric": "Set"}, NO]}]},
    ]),
    _tests("values-are-templates", [
        {"vars": {"answer": "an apple", "w": "apple", "o": {"k": ["x", "apple"]}}, "assert": [check]}
        for check in (
            _check("contains", "{{w}}"), _check("not-contains", "{{w}}"), _check("contains-any", ["{{o.k[0]}}", "{{ o.k[1] }}"]),
            _check("equals", "an {{ w | upper | lower }}"), _check("contains-all", "{{ o.k | join(', ') }}"),
            _check("regex", "^an {{w}}$"), _check("contains", "{% if w == 'apple' %}an{% else %}zz{% endif %}"),
        )
    ]),
    Made("prompts-and-variables", {
        "prompts": [
            "Say: {{ u.name | upper }}{% for t in u.tags %} {{ loop.index }}:{{ t }}{% endfor %}", "Say: {{ u | dump }} {{ n }} {{ missing }}",
            "Say: {{ inner }}", '[{"role": "system", "content": "{{ n }}"}, {"role": "user", "content": "Say: {{ quoted }}"}]',
            "Say: {{ quoted }}\n{% if flags %}yes{% endif %}{{ flags.length }}", "Say: {{ nested | default('none') }} {{ ok }} {{ none }}",
        ],
        "tests": [{
            "vars": {"u": {"name": "Ann", "tags": ["x", "y"]}, "n": 2.50, "inner": "<{{ n }}>", "quoted": 'a "b"\nc', "flags": [], "ok": True},
            "assert": [_check("contains", "a"), _check("icontains", "ann")],
        }],
    }),
    Made("lists", {
        "prompts": ["Say: {{x}}-{{y}}", "Say: {{y}}"],
        "tests": [
            {"vars": {"x": ["a", "b"], "y": ["1", "2"]}, "assert": [_check("contains", "a-1")]},
            {"vars": {"x": ["a", "b"], "y": "3"}, "options": {"disableVarExpansion": True}, "assert": [_check("contains", "b")]},
            {"vars": {"x": [1, 2], "y": [{"k": 1}]}, "assert": [_check("contains", "1,2")]},
        ],
    }),
    Made("files", {
        "prompts": ["file://p.txt", "file://more/*.md", "chat.json", "file://q.j2", {"raw": "Say: n {{x}}", "label": "named"}, "file://y.yaml"],
        "tests": [
            {"vars": {"x": "file://x.txt", "o": "file://o.yaml"}, "assert": [_check("contains", "file://w.txt"), _check("is-json", "file://s.json")]},
            {"vars": {"x": "b", "o": "c"}, "prompts": ["named"], "assert": [_check("contains-any", ["file://w.txt", "b"])]},
        ],
    }, {
        "p.txt": "Say: one {{x}}\n---\nSay: two {{ o }}\n", "more/a.md": "Say: A {{x}}\n", "x.txt": "from a file\n",
        "chat.json": '[{"role": "user", "content": "Say: {{x}}"}]', "q.j2": "Say: {{ x }}", "o.yaml": "k: [1, 2]\n", "w.txt": " file \n",
        "y.yaml": "- {role: system, content: Be brief}\n- {role: user, content: 'Say: {{x}}'}\n", "s.json": '{"type": "object"}',
    }),
    Made("defaults", {
        "prompts": [{"raw": "Say: A {{x}}", "label": "g:a"}, {"raw": "Say: B {{x}}", "label": "g:b"}, {"raw": "Say: C {{x}}", "label": "c"}],
        "defaultTest": "file://d.yaml",
        "tests": [
            {"vars": {"x": "1"}, "prompts": ["g"]}, {"vars": {"x": "2"}, "prompts": ["g:*"], "threshold": 0.1, "assert": [_check("contains", "B")]},
            {"vars": {"y": "3"}, "options": {"disableDefaultAsserts": True}, "assert": [_check("contains", "d")]},
            {"vars": {"x": "4"}, "options": {"prefix": "Go. ", "suffix": " end"}, "prompts": ["c", "g:a"]},
        ],
    }, {"d.yaml": "vars: {x: d}\nassert: [{type: contains, value: A}, {type: not-contains, value: '2'}]\nthreshold: 0.6\noptions: {suffix: '!'}\n"}),
    _tests("scenarios", [{"vars": A, "assert": [YES]}], scenarios=[
        {"config": [{"vars": {"k": "a"}, "assert": [_check("contains", "x")]}, {"vars": {"k": "z"}}],
         "tests": [{"vars": {"answer": "x {{k}}"}, "assert": [_check("contains", "{{k}}")]}, {"vars": {"answer": "y"}, "threshold": 0.3}]},
    ], defaultTest={"assert": [_check("not-contains", "q")]}),
    Made("table", {"prompts": [SAY], "tests": "file://t.csv"}, {"t.csv": (
        "answer,__expected,__expected2,__threshold,__metric,__metadata:area\n"
        'a b,"contains-all: a, b",,,M,x\n'
        "a b,equals: a b,not-contains:z,,,\n"
        "a b,a b,,,,\n"
        'a,"icontains-any:""A"",z",is-json,0.5,,\n'
        "abc,levenshtein(2):abcde,starts-with: a,,,\n"
        "abc,levenshtein:abcd,regex:^a.c$,,,y\n"
        "1 2 3,word-count: 3,not-word-count: 2,,N,\n"
        '"{""a"": 1}",is-json,contains-json,,,\n'
        "a b c,bleu:a b c,gleu: a b c,,,\n"
    )}),
    Made("files-of-tests", {"prompts": [SAY], "tests": ["file://one.yaml", "two/*.json", "three.jsonl"]}, {
        "one.yaml": "- {vars: {answer: yes}, assert: [{type: equals, value: 'yes'}]}\n- {vars: v.yaml, assert: [{type: contains, value: file://w.txt}]}\n",
        "v.yaml": "answer: 12:30\n", "w.txt": "12", "two/a.json": '[{"vars": {"answer": "j"}, "assert": [{"type": "equals", "value": "j"}]}]',
        "three.jsonl": '{"vars": {"answer": "l"}, "assert": [{"type": "equals", "value": "m"}]}\n',
    }),
    Made("references-and-repeats", {
        "assertionTemplates": {"short": {"type": "word-count", "value": {"max": 2}}},
        "prompts": [SAY], "evaluateOptions": {"repeat": 2, "maxConcurrency": 1},
        "tests": [
            {"vars": {"answer": "a b c"}, "assert": [{"$ref": "#/assertionTemplates/short"}]},
            {"vars": {"answer": "a"}, "assert": [{"$ref": "#/assertionTemplates/short", "weight": 2}, NO], "threshold": 0.6},
        ],
    }),
    Made("words-and-numbers", {
        "prompts": ["Say: {{a}} {{b}} {{c}} {{d}} {{e}} {{ f }}{{ g }}", "Say: {{a", "Say: {{ missing.deep }}{# note #}end", "Say: {{ with }}"],
        "tests": [{"vars": {"a": 1e21, "price": "$$5 $& $1 $'", "with": "<{{ price }}>", "b": 0.1, "c": -0.0, "d": 100000000000000000000, "e": "yes", "f": 1e-7, "g": [1, None, "x", True]},
                   "assert": [_check("contains", "1e+21"), _check("equals", "end")]}],
    }),
)  # fmt: skip

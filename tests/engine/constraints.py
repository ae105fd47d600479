"""Forms of answers for tests and benchmarks: schemas at random, and grammars that mean harm."""

from __future__ import annotations

import random
from typing import Any


def random_schema(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    """A JSON schema that every answer can satisfy, of the words that are held to."""
    low, few = rng.randint(-2000, 2000), rng.randint(0, 4)
    names = rng.sample(["a", "name", "two words", 'quote"d', "ünï", "$ref", "type"], few + 1)
    patterns = ["^[a-z]{2,5}-[0-9]+$", "^(x|yy)*z$", "^\\d{4}$", 'é[^"]?$']
    flat = [
        lambda: {"type": "integer", "minimum": low, "maximum": low + rng.choice([0, 1, 9, 10, 99, 5000])},
        lambda: {"type": "number", "minimum": low / 8, "maximum": low / 8 + rng.choice([0.5, 3, 100.25])},
        lambda: {"type": "string", "minLength": few, "maxLength": few + rng.randint(0, 12)},
        lambda: {"type": "string", "pattern": rng.choice(patterns)},
        lambda: {"type": "string", "format": rng.choice(["date", "uuid", "ipv4", "date-time"])},
        lambda: {"enum": rng.sample(["rug", "lamp", 'say "hi"', "naïve", "", 3, 4.5, None, True], few + 1)},
        lambda: {"type": rng.choice(["boolean", "null"])},
    ]
    nested = [
        lambda: {"type": "array", "items": random_schema(rng, depth - 1), "minItems": few // 2, "maxItems": few},
        lambda: {
            "type": "object",
            "properties": {n: random_schema(rng, depth - 1) for n in names},
            "required": rng.sample(names, rng.randint(0, len(names))),
            "additionalProperties": False,
        },
        lambda: {"anyOf": [random_schema(rng, depth - 1) for _ in names]},
        lambda: {"allOf": [random_schema(rng, 0), {"description": "no more"}]},
    ]
    made: dict[str, Any] = rng.choice(flat + (nested if depth else []))()
    return made | ({"description": "::= [x] {y}"} if rng.random() < 0.3 else {})


def _schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"schema": schema}}


def _gbnf(text: str) -> dict[str, Any]:
    return {"type": "grammar", "grammar": text}


def nested(depth: int) -> dict[str, Any]:
    """A schema of arrays in arrays."""
    inner: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        inner = {"type": "array", "items": inner}
    return inner


def _chain(count: int, joined: str) -> str:
    return "\n".join(f"a{n} ::= {joined.format(f'a{n + 1}')}" for n in range(count)) + f'\na{count} ::= "a"'


_HELD, _BAD, _SCHEMA, _DEAR = "", "grammar_invalid", "schema_invalid", "grammar_too_costly"
# What is harmless with one vocabulary may be too costly with a larger one.
_EITHER = f"{_HELD}|{_DEAR}"

# What is sent, and the code of its refusal; none where it is held.
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "parentheses": (_gbnf("root ::= " + "(" * 60_000 + '"a"' + ")" * 60_000), _BAD),
    "repetitions": (_gbnf('root ::= (("a"{1,50}){1,50}){1,50}'), _EITHER),
    "repetitions of much": (_gbnf('root ::= ((("a" | [a-z]{2,9}){1,50} "c"){1,50} "d"?){1,50}'), _EITHER),
    "backwards": (_gbnf('root ::= "a"{5,0}'), _BAD),
    "catastrophe": (_schema({"type": "string", "pattern": "^(a+)+$"}), _HELD),
    "alternatives": (_gbnf("root ::= " + " | ".join(f'"w{n}x"' for n in range(10_000))), _EITHER),
    "rules": (
        _gbnf(
            "root ::= " + " | ".join(f"r{n}" for n in range(10_000)) + "\n"
            + "\n".join(f'r{n} ::= "w{n}" r{n} | "x"' for n in range(10_000))
        ),
        _DEAR,
    ),
    "left": (_gbnf('root ::= root "a" | "a"'), _HELD),
    "left alone": (_gbnf('root ::= root "a"'), _BAD),
    "empty": (_gbnf(" # nothing\n"), _BAD),
    "nothing": (_gbnf("root ::= root"), _BAD),
    "unterminated": (_gbnf('root ::= "abc'), _BAD),
    "remote": (_schema({"$ref": "https://example.com/x.json"}), _SCHEMA),
    "deep": (_schema(nested(300)), _DEAR),
    "unsatisfiable": (_schema({"type": "integer", "minimum": 5, "maximum": 1}), _SCHEMA),
    "many items": (_schema({"type": "array", "items": {"type": "integer"}, "maxItems": 10**6}), _HELD),
    "4 MB": (_gbnf("root ::= " + '"a" ' * 1_000_000), _DEAR),
    "much text": (_gbnf('root ::= "' + "a" * 190_000 + '"'), _HELD),
    "enum": (_schema({"enum": [f"value {n}" for n in range(40_000)]}), _EITHER),
    "look-ahead": (_schema({"type": "string", "pattern": "^(?=a)b"}), _HELD),
    "format": (_schema({"type": "string", "format": "klingon"}), _HELD),
    "not": (_schema({"not": {"type": "string"}}), _HELD),
    "unknown word": (_schema({"type": "array", "uniqueItems": True}), _HELD),
    "options": (_schema({"type": "string", "uniqueItems": True, "x-guidance": {"lenient": True}}), _SCHEMA),
    "circle": (_schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}), _SCHEMA),
    "and": (_schema({"allOf": [{"type": "string", "pattern": f"a.*b.*{chr(97 + n)}.*c"} for n in range(20)]}), _DEAR),
    "much to combine": (_schema({"allOf": [{"anyOf": [{"minimum": n * k} for n in range(10)]} for k in range(6)]}), _DEAR),
    "many patterns": (_schema({"allOf": [{"type": "string", "pattern": "^" + "a" * n} for n in range(300)]}), _DEAR),
    "doubling": (_gbnf("root ::= a0\n" + _chain(40, "{0} {0}")), _DEAR),
    "ambiguous": (_gbnf('root ::= e\ne ::= e e | e e e | [a-z ] | ""'), _EITHER),
    "nullable rules": (_gbnf("root ::= a0\n" + _chain(40, '{0} {0} | ""') + ' | "b" a0'), _EITHER),
    # What to look for in these may be begun at each of their places.
    "blanks": (_gbnf('root ::= "a"' + " " * 190_000 + '"b"'), _HELD),
    "blanks that end a line": (_gbnf('root ::= "a"' + " \t" * 95_000 + "\n"), _HELD),
    "brackets": (_gbnf("root ::= " + "[" * 190_000), _BAD),
    "escaped quotes": (_gbnf('root ::= "' + '\\"' * 95_000), _BAD),
    "long count": (_gbnf('root ::= "a"{1000000000}'), _BAD),
    "costly later": (_gbnf('root ::= [a-z ]{40} (("a" | [a-z ]{2,9}){1,50} "c"){1,50}'), _EITHER),
    "blow-up": (_schema({"type": "string", "pattern": "^([a-z ]*a[a-z ]{200}|.*b.{300})$"}), _EITHER),
}  # fmt: skip


def hostile_form(seed: int) -> dict[str, Any]:
    """One of the same kinds, of another size and shape."""
    rng = random.Random(seed)
    count = rng.choice([3, 30, 300, 3000, 30_000])
    few = rng.randint(2, 60)
    word = "".join(rng.choices("abcxyz", k=3))
    kinds = [
        lambda: _gbnf("root ::= " + "(" * count + f'"{word}"' + ")" * count),
        lambda: _gbnf(f'root ::= (("{word}"{{1,{few}}} [a-z]?){{1,{few}}} "."?){{1,{few}}}'),
        lambda: _gbnf(f'root ::= "{word}"{{{few},{rng.randint(0, 60)}}}'),
        lambda: _gbnf("root ::= " + " | ".join(f'"{word}{n}"' for n in range(min(count, 9000)))),
        lambda: _gbnf(f"root ::= {'root ' * (few % 4)} root | [a-{word[0]}]*"),
        lambda: _gbnf(f"root ::= [a-z ]{{{few}}} e\ne ::= e e | e {word}? e | [a-z ]\n{word} ::= e"),
        lambda: _gbnf("root ::= a0\n" + _chain(few, "{0} {0}" + ' | ""' * rng.randint(0, 1))),
        lambda: _gbnf(f'root ::= "{word * count}"'[: rng.randint(10, 190_000)]),
        lambda: _schema(nested(few * 5)),
        lambda: _schema({"type": "string", "pattern": f"^(({word}|[a-z]+)+,?){{{few},}}$"}),
        lambda: _schema({"type": "string", "pattern": f"({word}.*){{{few}}}(?{rng.choice(['=', '!', ':'])}x)"}),
        lambda: _schema({"type": "array", "items": {"enum": list(range(count))}, "minItems": rng.randint(0, 10**7)}),
        lambda: _schema(
            {
                "anyOf": [
                    {"type": "object", "properties": {f"{word}{n}": {"type": "string"}}}
                    for n in range(min(count, 3000))
                ]
            }
        ),
        lambda: _schema(
            {"type": "integer", "minimum": rng.randint(-9, 9), "maximum": rng.randint(-9, 9), "multipleOf": few}
        ),
        lambda: _schema(
            {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(min(count, 3000))}}
        ),
        lambda: _schema(
            {"$ref": rng.choice(["#/x", f"http://{word}/", "#/$defs/a"]), "$defs": {"a": {"$ref": "#/$defs/a"}}}
        ),
    ]
    return rng.choice(kinds)()

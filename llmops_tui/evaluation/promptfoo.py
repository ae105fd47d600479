"""promptfoo's configurations, read as suites: prompts, tests with variables, and the common assertions."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any, cast

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import MetricEntry
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.foreign_text import JsonObject, parse_json, parse_yaml, text_of
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.inference.template_renderer import Variables

_KEYS = re.compile(r"^(?:providers|tests|defaultTest|scenarios)\s*:", re.MULTILINE)
_RUN_CODE = {"javascript", "python", "ruby", "webhook"}


def is_promptfoo(text: str) -> bool:
    """Whether a YAML file is a promptfoo configuration."""
    return bool(_KEYS.search(text)) and not re.search(r"^cases\s*:", text, re.MULTILINE)


def read_promptfoo(path: Path) -> Suite:
    """A suite from a promptfoo configuration. Its prompts stand in the cases: each test is asked with each prompt.

    Raises:
        InputRefusedError: ``bad_suite``: it uses what cannot be read here, such as code; it says what.
    """
    try:
        config = parse_yaml(text_of(path))
        return _suite(path, config)
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_suite", f"{path} is not valid YAML: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told = f"{path} is not a promptfoo configuration ({type(error).__name__}: {error})"
        raise InputRefusedError("bad_suite", told[:500], "promptfoo's documentation describes the format.") from error


def _suite(path: Path, config: JsonObject) -> Suite:
    prompts = [p for given in config.get("prompts") or [] for p in _prompt(given, path.parent)]
    if not prompts:
        raise InputRefusedError("bad_suite", f"{path} has no supported prompts")
    default = config.get("defaultTest") or {}
    templates = config.get("assertionTemplates") or {}
    cases = []
    for number, test in enumerate(_tests(config.get("tests"), path.parent)):
        variables = {**(default.get("vars") or {}), **(test.get("vars") or {})}
        asserts = [*(default.get("assert") or []), *(test.get("assert") or [])]
        checks = [c for given in asserts for c in _assertion(_resolved(given, templates), number)]
        for place, prompt in enumerate(prompts):
            cases.append(
                {
                    "messages": [{**m, "content": _filled(m["content"], variables)} for m in prompt],
                    "slices": {"prompt": f"prompt {place + 1}"} if len(prompts) > 1 else {},
                    "group": f"test {number}" if len(prompts) > 1 else "",
                    "metrics": _numbered(checks),
                    **({"expected": variables["__expected"]} if "__expected" in variables else {}),
                }
            )
    body = {
        "description": str(config.get("description") or ""),
        "cases": cases,
        "metrics": [],
        "parameters": _parameters(config.get("providers")),
    }
    return check_suite(
        body, re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name if path.stem == "promptfooconfig" else path.stem)
    )


def _prompt(given: Any, folder: Path) -> list[list[dict[str, str]]]:
    text = given.get("raw") or given.get("id") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise InputRefusedError("bad_suite", f"prompt {given!r} is not supported")
    if text.startswith("file://"):
        path = folder / text.removeprefix("file://")
        if path.suffix not in {".txt", ".json", ".md"}:
            raise InputRefusedError("bad_suite", f"prompt {text}: only .txt, .md and .json files are read, not code")
        text = text_of(path)
        if path.suffix == ".json":
            return [parse_json(text)]
        return [[{"role": "user", "content": part.strip()}] for part in re.split(r"^---\s*$", text, flags=re.MULTILINE)]
    return [[{"role": "user", "content": text}]]


def _tests(given: Any, folder: Path) -> list[JsonObject]:
    if isinstance(given, str) and given.startswith("file://"):
        path = folder / given.removeprefix("file://")
        text = text_of(path)
        if path.suffix == ".csv":
            return [_csv_test(row) for row in csv.DictReader(io.StringIO(text))]
        given = parse_yaml(text)
    if not isinstance(given, list) or not given:
        raise InputRefusedError("bad_suite", "the configuration has no supported tests")
    return given


def _csv_test(row: dict[str, str]) -> JsonObject:
    expected = row.pop("__expected", None)
    if not expected:
        return {"vars": row}
    kind, colon, value = expected.partition(":")
    known = colon and kind in {"equals", "contains", "icontains", "regex", "is-json", "starts-with"}
    return {"vars": row, "assert": [{"type": kind, "value": value} if known else {"type": "equals", "value": expected}]}


def _filled(text: str, variables: Variables) -> str:
    """Nunjucks' plain ``{{ name }}``; anything more is refused, since it would mean something else here."""
    if "{%" in text:
        raise InputRefusedError(
            "bad_suite", "a prompt has template statements ({% … %})", "Write it as a prompt in llmops."
        )

    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise InputRefusedError("bad_suite", f"the variable {name} of a prompt has no value in a test")
        value = variables[name]
        return value if isinstance(value, str) else json.dumps(value)

    return re.sub(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}", put, text)


def _resolved(given: JsonObject, templates: JsonObject) -> JsonObject:
    reference = given.get("$ref")
    return dict(templates[reference.rpartition("/")[2]]) if reference else given


def _assertion(given: JsonObject, number: int) -> list[MetricEntry]:
    """An assertion as metrics of ours.

    Raises:
        InputRefusedError: ``bad_suite``: it is none that can be used here.
    """
    kind = str(given.get("type"))
    if kind == "assert-set":
        return [m for inner in given.get("assert") or [] for m in _assertion(inner, number)]
    bare = kind.removeprefix("not-")
    if bare in {"latency", "cost"}:
        # Measured with every run; a gate holds them to a limit.
        return []
    made = _text_metric(given, kind) or _other_metric(given, kind)
    if made is None:
        why = "it runs code" if bare in _RUN_CODE else "it is not supported"
        hint = "Name a judge with provider: MODEL." if bare == "llm-rubric" else "Remove it, or write it as a metric."
        raise InputRefusedError("bad_suite", f"tests[{number}]: the assertion {kind!r} cannot be used: {why}", hint)
    return [made | ({"name": given["metric"]} if given.get("metric") else {})]


def _text_metric(given: JsonObject, kind: str) -> MetricEntry | None:
    """An assertion about the answer's text."""
    value = given.get("value")
    negated, bare = kind.startswith("not-"), kind.removeprefix("not-")
    values = [str(v) for v in value] if isinstance(value, list) else [str(value)]
    mode = "none" if negated else "any" if bare.endswith("-any") else "all"
    if bare == "equals":
        return {
            "type": "regex",
            "pattern": rf"\A\s*{re.escape(values[0].strip())}\s*\Z",
            "negate": negated,
            "name": kind,
        }
    if bare in {"contains", "contains-any", "contains-all", "icontains", "icontains-any", "icontains-all"}:
        return {"type": "contains", "value": values, "mode": mode, "case": not bare.startswith("i"), "name": kind}
    if bare == "starts-with":
        return {"type": "contains", "value": values, "at_start": True, "case": True, "mode": mode, "name": kind}
    if bare == "regex":
        return {"type": "regex", "pattern": values[0], "negate": negated, "name": kind}
    return None


def _other_metric(given: JsonObject, kind: str) -> MetricEntry | None:
    """An assertion about structure, refusal, or by a judge."""
    value = given.get("value")
    if kind in {"is-json", "contains-json"}:
        return {"type": "json-schema", "json_schema": value} if isinstance(value, dict) else {"type": "json-valid"}
    if kind in {"is-refusal", "not-is-refusal"}:
        return {"type": "refusal", "wanted": kind == "is-refusal"}
    if kind == "llm-rubric" and given.get("provider"):
        return {"type": "judge", "rubric": str(value), "model": str(given["provider"]), "low": 0, "high": 1}
    return None


def _numbered(checks: list[MetricEntry]) -> list[MetricEntry]:
    """Checks of one case need different names."""
    seen: dict[str, int] = {}
    found = []
    for check in checks:
        name = str(check.get("name") or check["type"])
        seen[name] = seen.get(name, 0) + 1
        found.append(check if seen[name] == 1 else {**check, "name": f"{name} {seen[name]}"})
    return found


def _parameters(providers: Any) -> SamplingRecord:
    for provider in providers if isinstance(providers, list) else []:
        config = provider.get("config") if isinstance(provider, dict) else None
        if isinstance(config, dict):
            known = ("temperature", "max_tokens", "top_p", "seed")
            return cast("SamplingRecord", {name: config[name] for name in known if name in config})
    return {}

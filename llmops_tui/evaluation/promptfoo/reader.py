"""A promptfoo configuration as a suite: each test is asked with each prompt, and its verdict is promptfoo's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from llmops_tui.evaluation.metrics.base import MetricEntry
from llmops_tui.evaluation.promptfoo import files
from llmops_tui.evaluation.promptfoo.checks import CaseChecks
from llmops_tui.evaluation.promptfoo.filling import Filler, combinations, with_files
from llmops_tui.evaluation.promptfoo.keys import (
    PARAMETERS,
    REACHED,
    CommandLineOptions,
    Configuration,
    EvaluateOptions,
    Provider,
    Tell,
    refused,
)
from llmops_tui.evaluation.promptfoo.prompts import PromptText, read_prompts
from llmops_tui.evaluation.promptfoo.written_tests import OneTest, TestReader
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.foreign_text import MAX_VALUES, JsonObject
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.inference.nunjucks_values import text as text_of
from llmops_tui.inference.template_renderer import Variables

_KEYS = re.compile(r"^(?:\s*[\"'])?(?:providers|targets|tests|defaultTest|scenarios)[\"']?\s*:", re.MULTILINE)
_CASES = re.compile(r"^(?:\s*[\"'])?cases[\"']?\s*:", re.MULTILINE)


def is_promptfoo(text: str) -> bool:
    """Whether a YAML or JSON file is a promptfoo configuration."""
    return bool(_KEYS.search(text)) and not _CASES.search(text)


def read_promptfoo(path: Path, tell: Tell = lambda _: None) -> Suite:
    """A suite from a promptfoo configuration. Its prompts stand in the cases: each test is asked with each prompt.

    ``tell`` is given what changes nothing here, such as how promptfoo reaches its models.

    Raises:
        InputRefusedError: ``bad_suite``: something in it cannot be carried; it says where, what and why.
    """
    body = files.parsed(files.read_text(path, str(path)), str(path))
    if not isinstance(body, dict):
        raise refused(
            str(path), "it is not a promptfoo configuration", "promptfoo's documentation describes the format."
        )
    told: set[str] = set()

    def once(note: str) -> None:
        if note not in told:
            told.add(note)
            tell(note)

    filler = Filler()
    try:
        return _Reader(path, _dereferenced(body), filler, once).suite()
    finally:
        filler.close()


def _dereferenced(body: JsonObject) -> JsonObject:
    """The configuration with what ``$ref`` names put in its place; what is only named so is left out."""
    used: set[str] = set()
    values = itertools.count(1)

    def followed(value: Any, where: str, depth: int) -> Any:
        # References to what has references itself: some lines may stand for more than any memory holds.
        if next(values) > MAX_VALUES:
            raise refused(where, f"with what $ref names put in it has more than {MAX_VALUES:,} values")
        if isinstance(value, list):
            return [followed(one, f"{where}[{number}]", depth) for number, one in enumerate(value)]
        if not isinstance(value, dict):
            return value
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return {name: followed(one, f"{where}.{name}".strip("."), depth) for name, one in value.items()}
        target: Any = body
        parts = reference.removeprefix("#/").split("/")
        if not reference.startswith("#/") or depth > len(body) + 10:
            why = "refers to itself" if reference.startswith("#/") else "refers to another file"
            raise refused(where, f"$ref {reference} {why}", "Refer to a part of this file: #/NAME.")
        for part in (name.replace("~1", "/").replace("~0", "~") for name in parts):
            inside = (
                target[int(part)] if isinstance(target, list) and part.isdecimal() and int(part) < len(target) else None
            )
            target = target.get(part) if isinstance(target, dict) else inside
        if target is None:
            raise refused(where, f"$ref {reference}: there is no such part")
        used.add(parts[0])
        others = {name: one for name, one in value.items() if name != "$ref"}
        whole = followed(target, where, depth + 1)
        return {**whole, **followed(others, where, depth)} if others and isinstance(whole, dict) else whole

    made = {name: followed(value, str(name), 0) for name, value in body.items()}
    known = {field.alias or name for name, field in Configuration.model_fields.items()}
    return {name: value for name, value in made.items() if name in known or name not in used}


class _Reader:
    """Reads one configuration."""

    def __init__(self, path: Path, body: JsonObject, filler: Filler, tell: Tell) -> None:
        self._path, self._folder, self._filler, self._tell = path, path.parent.resolve(), filler, tell
        self._given = Configuration.read(body, "", tell)

    def suite(self) -> Suite:
        """The suite."""
        given = self._given
        if given.providers is not None and given.targets is not None:
            raise refused("targets", "it is another name of providers, and both are given", "Keep one of them.")
        if given.command_line_options is not None:
            CommandLineOptions.read(given.command_line_options, "commandLineOptions", self._tell)
        settings = EvaluateOptions.read(given.evaluate_options or {}, "evaluateOptions", self._tell)
        prompts = read_prompts(given.prompts, self._folder, self._tell)
        tests = TestReader(self._folder, self._tell).all(given.tests, given.scenarios, given.default_test)
        for test in tests:
            self._check_references(test, prompts)
        cases = [case for number, test in enumerate(tests) for case in self._cases(number, test, prompts)]
        repeats = {test.options.repeat or settings.repeat or 1 for test in tests}
        if len(repeats) > 1:
            raise refused(
                "options.repeat",
                "some tests are repeated more often than others",
                "Write those into a file of their own.",
            )
        if not cases:
            raise refused("tests", "no prompt is left for any test")
        name = self._path.parent.name if self._path.stem == "promptfooconfig" else self._path.stem
        body = {
            "description": given.description,
            "cases": cases,
            "metrics": [],
            "repeats": next(iter(repeats)),
            "parameters": self._parameters(given.providers if given.targets is None else given.targets),
        }
        return check_suite(body, re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "promptfoo")

    def _check_references(self, test: OneTest, prompts: list[PromptText]) -> None:
        for reference in test.prompts or ():
            if not any(prompt.is_meant(reference) for prompt in prompts):
                known = ", ".join(prompt.label[:40] for prompt in prompts)
                raise refused(f"{test.where}.prompts", f"there is no prompt {reference!r}", f"Those are {known}.")

    def _cases(self, number: int, test: OneTest, prompts: list[PromptText]) -> list[JsonObject]:
        if test.options.disable_var_expansion:
            chosen = [test.variables]
        else:
            chosen = list(combinations(test.variables, self._folder, test.where))
        asked = [p for p in prompts if test.prompts is None or any(p.is_meant(one) for one in test.prompts)]
        found = []
        for variables in chosen:
            values = with_files(variables, self._folder, test.where)
            metrics = self._metrics(test, values)
            slices = self._slices(test)
            for prompt in asked:
                source = test.options.prefix + prompt.raw + test.options.suffix
                where = f"{test.where}, prompt {prompt.label[:60]!r}"
                messages = self._filler.prompt(source, values, where)
                if not any(str(message.get("content") or "").strip() for message in messages):
                    self._tell(f"{where}: nothing is left of it once it is filled in, so that an empty message is sent")
                found.append(
                    {
                        "messages": messages,
                        "slices": slices | ({"prompt": self._called(prompt)} if len(prompts) > 1 else {}),
                        "metrics": metrics,
                    }
                    | ({"id": test.description} if test.description else {})
                )
        # Several cases of one test are no independent ones.
        return [case | {"group": f"test {number}"} for case in found] if len(found) > 1 else found

    def _slices(self, test: OneTest) -> dict[str, str]:
        """What a test's metadata says in a word or a number: results are looked at by it."""
        for name, value in test.metadata.items():
            if not isinstance(value, str | int | float):
                self._tell(f"metadata.{name}: only words and numbers become slices")
        return {str(k): text_of(v)[:100] for k, v in test.metadata.items() if isinstance(v, str | int | float)}

    def _called(self, prompt: PromptText) -> str:
        """A prompt's name for people: a file's from the configuration's folder."""
        return prompt.label.replace(f"{self._folder}/", "")[:100]

    def _metrics(self, test: OneTest, variables: Variables) -> list[MetricEntry]:
        if not test.asserts:
            self._tell(f"{test.where}: it has no assertion, and passes whatever the answer is, as in promptfoo")
        checks = CaseChecks(self._filler, self._folder, variables, test.options.provider, self._tell)
        return checks.metrics(list(test.asserts), test.threshold)

    # ── models ──

    def _parameters(self, given: Any) -> SamplingRecord | list[SamplingRecord]:
        """The parameters of its models; several sets where they differ."""
        found: list[SamplingRecord] = []
        names = []
        for number, one in enumerate(given if isinstance(given, list) else [given] if given else []):
            for where, provider in self._providers(one, f"providers[{number}]"):
                files.refuse_code(provider.id, where)
                names.append(provider.id)
                made = self._settings(provider, where)
                if made not in found:
                    found.append(made)
        if names:
            self._tell(f"providers: {', '.join(names)} are promptfoo's names; --model says which model here is asked")
        return found if len(found) > 1 else found[0] if found else {}

    def _providers(self, given: Any, where: str) -> Iterator[tuple[str, Provider]]:
        """A model with its place; of a file that is named in its place, all that stand in it."""
        provider = self._provider(given, where)
        if not provider.id.startswith(files.SCHEME) or not provider.id.endswith((".yaml", ".yml", ".json")):
            yield where, provider
            return
        if provider.config is not None:
            raise refused(
                f"{where}.config", f"promptfoo takes the settings of {provider.id} alone", "Write them there."
            )
        body = files.external(provider.id, self._folder, where)
        place = provider.id.removeprefix(files.SCHEME)
        for number, one in enumerate(body if isinstance(body, list) else [body]):
            inner = f"{place}[{number}]" if isinstance(body, list) else place
            made = Provider.read(files.external(one, self._folder, inner), inner, self._tell)
            if not made.id or made.id.startswith(files.SCHEME):
                raise refused(f"{inner}.id", "it names no model of promptfoo's", "Write id: and its settings.")
            yield inner, made

    def _provider(self, given: Any, where: str) -> Provider:
        if isinstance(given, str):
            return Provider(id=given)
        if isinstance(given, dict) and "id" not in given and len(given) == 1:
            name, body = next(iter(given.items()))
            given = {"id": str(name), **(body or {})}
        return Provider.read(given, where, self._tell)

    def _settings(self, provider: Provider, where: str) -> SamplingRecord:
        made: JsonObject = {}
        for name, value in (provider.config or {}).items():
            if name in REACHED:
                self._tell(f"{where}.config.{name}: models here are known by name")
            elif name not in PARAMETERS:
                why = "it changes what the model is asked, and is not carried"
                raise refused(f"{where}.config.{name}", why, f"Carried are {', '.join(PARAMETERS)}.")
            elif value is not None:
                made[name] = value
        return cast("SamplingRecord", made)

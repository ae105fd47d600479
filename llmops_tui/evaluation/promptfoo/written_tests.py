"""The tests of a promptfoo configuration, wherever they are written: in the file, in others, in tables, in scenarios."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmops_tui.evaluation.promptfoo import files
from llmops_tui.evaluation.promptfoo.keys import Options, Scenario, Tell, Test, refused
from llmops_tui.evaluation.promptfoo.rows import row_test
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.template_renderer import Variables


@dataclass(frozen=True)
class OneTest:
    """A test with all that it inherits.

    Attributes:
        asserts: each assertion with the place where it is written.
    """

    where: str
    description: str
    variables: Variables
    asserts: tuple[tuple[str, Any], ...]
    options: Options
    threshold: float | None
    prompts: tuple[str, ...] | None
    metadata: JsonObject


@dataclass(frozen=True)
class _Raw:
    """A test as it is written, and where."""

    where: str
    body: JsonObject
    folder: Path


class TestReader:
    """Reads tests; ``folder`` is that of the configuration, from which files are named."""

    __test__ = False

    def __init__(self, folder: Path, tell: Tell) -> None:
        self._folder, self._tell = folder, tell
        self._default = Test()

    def all(self, given: Any, scenarios: list[Any] | None, default: Any) -> list[OneTest]:
        """All tests, those of scenarios last; without any, one without variables.

        Raises:
            InputRefusedError: ``bad_suite``: something in them cannot be carried.
        """
        self._default = self._test(_Raw("defaultTest", self._mapping(default, "defaultTest"), self._folder))
        found = [self._merged(self._test(raw), Test(), raw.where) for raw in self._raws(given, "tests")]
        for number, one in enumerate(scenarios or []):
            for scenario, place in self._scenarios(one, f"scenarios[{number}]"):
                found += self._of_scenario(scenario, place)
        if not found and not scenarios:
            found = [self._merged(Test(), Test(), "tests")]
        return found

    def _mapping(self, given: Any, where: str) -> JsonObject:
        if files.is_file_name(given):
            given = files.external(given, self._folder, where)
        if given is not None and not isinstance(given, dict):
            raise refused(where, "it is a mapping, or file:// with the name of one")
        return given or {}

    # ── where tests are written ──

    def _raws(self, given: Any, where: str) -> list[_Raw]:
        if given is None:
            return []
        if isinstance(given, str):
            return self._files(given, where, deep=given.endswith(("yaml", "yml")))
        if isinstance(given, dict):
            return self._generated(given, where)
        if not isinstance(given, list):
            raise refused(where, "they are a list, or the name of a file")
        found: list[_Raw] = []
        for number, one in enumerate(given):
            place = f"{where}[{number}]"
            if isinstance(one, str):
                found += self._files(one, place, deep=True)
            elif isinstance(one, dict) and "path" in one:
                found += self._generated(one, place)
            else:
                found.append(_Raw(place, one, self._folder))
        return found

    def _generated(self, given: JsonObject, where: str) -> list[_Raw]:
        if set(given) - {"path"} or not isinstance(given.get("path"), str):
            raise refused(where, "a generator of tests is code with settings, and none is run", "Name a file of tests.")
        return self._files(given["path"], where, deep=False)

    def _files(self, name: str, where: str, *, deep: bool) -> list[_Raw]:
        if "://" in name and not name.startswith(files.SCHEME):
            raise refused(where, f"{name} is in the network", "Download it, and name the file.")
        if Path(name.partition("#")[0]).suffix in {".xlsx", ".xls"}:
            raise refused(where, f"{name}: tables of Excel are not read", "Save it as .csv.")
        return [raw for path in files.found_files(self._folder, name, where) for raw in self._file(path, deep=deep)]

    def _file(self, path: Path, *, deep: bool) -> list[_Raw]:
        where = path.name
        text = files.read_text(path, where)
        if path.suffix == ".csv":
            rows = files.table(text, where)
            return [
                _Raw(f"{where}, row {number}", row_test(row, f"{where}, row {number}", self._tell), path.parent)
                for number, row in enumerate(rows, 2)
            ]
        if path.suffix == ".jsonl":
            lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
            body: Any = [files.json_of(line, f"{where}, line {n}") for n, line in lines]
        elif path.suffix == ".json":
            body = files.json_of(text, where)
        elif path.suffix in {".yaml", ".yml"}:
            body = files.parsed(text, where)
        else:
            raise refused(where, "tests are .yaml, .json, .jsonl and .csv files")
        if deep:
            body = files.external(body, self._folder, where)
        found = body if isinstance(body, list) else [body]
        return [_Raw(f"{where}[{number}]", one, path.parent) for number, one in enumerate(found)]

    # ── what a test says ──

    def _test(self, raw: _Raw) -> Test:
        made = Test.read(raw.body, raw.where, self._tell)
        if isinstance(made.vars, str | list):
            made = made.model_copy(update={"vars": self._variable_files(made.vars, raw)})
        if made.vars is not None and not isinstance(made.vars, dict):
            raise refused(f"{raw.where}.vars", "they are a mapping, or the names of files")
        for name, value in (made.vars or {}).items():
            if value is None:
                raise refused(f"{raw.where}.vars.{name}", "it has no value", 'Write "" for an empty text.')
        if made.options is not None:
            Options.read(made.options, f"{raw.where}.options", self._tell)
        return made.model_copy(update={"asserts": [self._placed(raw, n, a) for n, a in enumerate(made.asserts or [])]})

    def _placed(self, raw: _Raw, number: int, given: Any) -> tuple[str, Any]:
        return f"{raw.where}.assert[{number}]", given

    def _variable_files(self, given: Any, raw: _Raw) -> Variables:
        found: Variables = {}
        for name in [given] if isinstance(given, str) else given:
            where = f"{raw.where}.vars"
            if not isinstance(name, str):
                raise refused(where, "they are a mapping, or the names of files")
            for path in files.found_files(raw.folder, name, where):
                body = files.parsed(files.read_text(path, where), where)
                if not isinstance(body, dict):
                    raise refused(where, f"{path.name} is no mapping of variables")
                found |= files.external(body, self._folder, where)
        return found

    def _merged(self, test: Test, before: Test, where: str) -> OneTest:
        """A test with what comes before it in a scenario, and with what all tests have."""
        default = self._default
        options = {**(default.options or {}), **(before.options or {}), **(test.options or {})}
        made = Options.read(options, f"{where}.options", lambda _: None)
        inherited = [] if made.disable_default_asserts else default.asserts or []
        thresholds = [t.threshold for t in (test, before, default) if t.threshold is not None]
        prompts = [t.prompts for t in (test, before, default) if t.prompts is not None]
        return OneTest(
            where,
            test.description or before.description,
            {**(default.vars or {}), **(before.vars or {}), **(test.vars or {})},
            (*inherited, *(before.asserts or []), *(test.asserts or [])),
            made,
            float(thresholds[0]) if thresholds else None,
            tuple(prompts[0]) if prompts else None,
            {**(default.metadata or {}), **(before.metadata or {}), **(test.metadata or {})},
        )

    def _scenarios(self, given: Any, where: str) -> list[tuple[Scenario, str]]:
        if files.is_file_name(given):
            given = files.external(given, self._folder, where)
        found = given if isinstance(given, list) else [given]
        return [(Scenario.read(one, where, self._tell), where) for one in found]

    def _of_scenario(self, scenario: Scenario, where: str) -> list[OneTest]:
        tests = scenario.tests
        if files.is_file_name(tests):
            tests = files.external(tests, self._folder, f"{where}.tests")
        raws = self._raws(tests, f"{where}.tests") or [_Raw(f"{where}.tests", {}, self._folder)]
        found = []
        for number, data in enumerate(scenario.config):
            before = self._test(_Raw(f"{where}.config[{number}]", data, self._folder))
            made = [self._merged(self._test(raw), before, raw.where) for raw in raws]
            found += [replace(one, where=f"{one.where} with config[{number}]") for one in made]
        return found

"""The cases of a suite: taken from a dataset version, or written in the suite itself."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from llmops_tui.datasets.import_job import import_now, suggested_name
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.origins import refuse_unasked
from llmops_tui.datasets.records import answer_text, conversation, dump_json
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.training_fields import SWITCHES
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Case, MetricEntry
from llmops_tui.evaluation.paths import value_at
from llmops_tui.evaluation.scripted.script import FIELDS, read_script
from llmops_tui.evaluation.suite import Suite
from llmops_tui.evaluation.suite_checks import OF_CASE, check_fields, check_texts, check_variations, id_of
from llmops_tui.evaluation.variations import vary
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.user_files import with_home
from llmops_tui.workspace.files import sha256_text


@dataclass(frozen=True)
class CaseSet:
    """The cases that are asked, the dataset they come from where they do, and the hash of all of them.

    ``of`` is how many the suite has, without variations: a run may ask only some of them.
    """

    cases: tuple[Case, ...]
    dataset: DatasetVersion | None
    of: int

    @property
    def plain(self) -> int:
        """How many of the cases that are asked are not a variation of another."""
        return sum(not case.variation for case in self.cases)

    @property
    def sha256(self) -> str:
        """The hash of the cases in their order."""
        return sha256_text("\n".join(case.key for case in self.cases))


def with_dataset(suite: Suite, datasets: DatasetStore) -> Suite:
    """The suite with its cases named by an immutable dataset version; a data file is imported for that.

    Raises:
        InputRefusedError: there is neither such a file nor such a dataset; ``synthetic_rows``: nobody wrote some of its rows,
            and the suite does not say that this is meant.
    """
    if not isinstance(suite.cases, str):
        return suite
    path = with_home(suite.cases)
    if path.is_file():
        form = preview(datasets, [path]).proposal.format
        version = import_now(datasets, [path], suggested_name(path), form)
    else:
        version = datasets.get(suite.cases)
    if not suite.synthetic:
        hint = "Set synthetic: true in the suite to measure on them all the same, or filter them out."
        refuse_unasked(datasets, version, f"suite {suite.name!r}", hint)
    return suite.model_copy(update={"cases": version.ref})


def build_cases(suite: Suite, datasets: DatasetStore, limit: int | None = None) -> CaseSet:
    """All cases, with their variations behind them; with a limit a sample of those that the suite has.

    Raises:
        InputRefusedError: ``missing_column``: a path leads nowhere in a row; ``no_cases``; ``bad_metric``: fields that no case
            expects.
    """
    version = datasets.get(suite.cases) if isinstance(suite.cases, str) else None
    found = list(_written(suite) if version is None else _of_rows(suite, version))
    if not found:
        raise InputRefusedError(
            "no_cases", f"suite {suite.name!r} has no cases", "Add some, or choose another dataset."
        )
    whole = [case for case, _ in found]
    check_fields(suite.made_metrics(), whole)
    check_texts(suite.made_metrics(), {name for case in whole for name in case.variables})
    check_variations(suite, whole)
    found = _drawn(found, suite.limit, suite.seed)
    of = len(found)
    found = _drawn(found, limit, suite.seed)
    if suite.until is not None:
        # Stopping early is only fair where the order says nothing.
        random.Random(suite.seed).shuffle(found)  # noqa: S311
    return CaseSet(tuple(_numbered(_with_variations(suite, found))), version, of)


def _drawn(found: list[tuple[Case, Any]], limit: int | None, seed: int) -> list[tuple[Case, Any]]:
    """A sample of the cases: drawn, since rows often stand in an order; then in that order again."""
    if limit is None or limit >= len(found):
        return found
    chosen = random.Random(seed).sample(range(len(found)), limit)  # noqa: S311
    return [found[i] for i in sorted(chosen)]


def _numbered(cases: Iterable[tuple[Case, Any]]) -> Iterator[Case]:
    """Cases with their places; one that stands twice gets a key of its own."""
    seen: Counter[str] = Counter()
    for index, (case, _) in enumerate(cases):
        seen[case.key] += 1
        key = case.key if seen[case.key] == 1 else f"{case.key}#{seen[case.key]}"
        yield replace(case, index=index, key=key, group=case.group or case.origin or key, origin=case.origin or key)


def _with_variations(suite: Suite, cases: list[tuple[Case, Any]]) -> Iterator[tuple[Case, Any]]:
    for case, row in cases:
        yield case, row
        for variation in suite.vary:
            texts: tuple[str, ...] = ()
            if variation.kind == "paraphrase":
                given = _value(row, variation.path, case.row)
                texts = tuple(str(t) for t in given) if isinstance(given, list) else (str(given),)
            for made in vary(case, variation, suite.seed, texts):
                yield made, row


def _written(suite: Suite) -> Iterator[tuple[Case, Any]]:
    assert not isinstance(suite.cases, str)
    for number, given in enumerate(suite.cases):
        # Short form: what is not known stands for a variable.
        variables = given.get("vars", {k: v for k, v in given.items() if k not in OF_CASE})
        if not isinstance(variables, dict):
            raise InputRefusedError("bad_suite", f"cases[{number}].vars is not a mapping")
        fixed = suite.choices if isinstance(suite.choices, list) else []
        made = _case(
            variables,
            given.get("messages") or (),
            given.get("expected"),
            str(given.get("context") or ""),
            [str(c) for c in given.get("choices") or fixed],
            str(given.get("group") or ""),
            {k: str(v) for k, v in (given.get("slices") or {}).items()},
            None,
            tuple(given.get("metrics") or ()),
            _script(suite, given.get("script", {}), f"cases[{number}].script"),
        )
        yield replace(made, id=id_of(given)), given


def _of_rows(suite: Suite, version: DatasetVersion) -> Iterator[tuple[Case, Any]]:
    for batch in version.read():
        for number, row in batch:
            yield _of_row(suite, version, number, row), row


def _of_row(suite: Suite, version: DatasetVersion, number: int, row: Any) -> Case:
    variables = {name: _value(row, path, number) for name, path in suite.variables.items()}
    # What a turn says of its own training is nothing to ask.
    turns = [
        {name: said for name, said in turn.items() if name not in SWITCHES} for turn in conversation(version.kind, row)
    ]
    if turns and turns[-1].get("role") == "assistant":
        turns = turns[:-1]
    messages: tuple[Any, ...] = () if suite.variables else tuple(turns)
    if not variables and not messages:
        # A table: every column is a variable.
        variables = {name: value for name, value in row.items() if isinstance(value, str | int | float | bool)}
    expected = _value(row, suite.expected, number) if suite.expected else answer_text(version.kind, row) or None
    choices = _value(row, suite.choices, number) if isinstance(suite.choices, str) and suite.choices else suite.choices
    if suite.choices and isinstance(expected, int) and not isinstance(expected, bool) and expected < len(choices):
        # The number of the right choice, as many data sets have it.
        expected = choices[expected]
    everything = {**row, "expected": expected}
    slices = {name: _short(_value(everything, path, number)) for name, path in suite.slice_paths().items()}
    return _case(
        variables,
        messages,
        expected,
        str(_value(row, suite.context, number)) if suite.context else "",
        [str(c) for c in choices],
        str(_value(row, suite.group, number)) if suite.group else "",
        slices,
        number,
        (),
        _script(suite, _scripted(suite, row, number), f"row {number}"),
    )


def _scripted(suite: Suite, row: Any, number: int) -> JsonObject:
    """The script of a row, by the paths of the suite; texts of JSON are read."""
    found: JsonObject = {}
    for name, path in suite.script.items():
        value = _value(row, path, number)
        if isinstance(value, str):
            try:
                value = parse_json(value)
            except ValueError as error:
                raise InputRefusedError("bad_script", f"row {number}: {path} is a text, not JSON: {error}") from error
        if value is not None:
            found[name] = value
    return found


def _script(suite: Suite, given: Any, where: str) -> JsonObject:
    """A case's script, checked, with the tools of the suite where it has none itself; empty where nothing happens.

    Raises:
        InputRefusedError: ``bad_script``.
    """
    if not isinstance(given, dict):
        raise InputRefusedError("bad_script", f"{where} is not a mapping", f"It has {', '.join(FIELDS)}.")
    if not given and not suite.tools:
        return {}
    if suite.chain or suite.raw:
        raise InputRefusedError("bad_script", f"{where}: a script is for conversations, not for a chain or raw text")
    tools = {} if "tools" in given else {"tools": [tool.model_dump(exclude_defaults=True) for tool in suite.tools]}
    made = {**given, **tools}
    read_script(made, where)
    return made


def _value(row: Any, path: str, number: int | None) -> Any:
    try:
        return value_at(row, path)
    except KeyError as error:
        raise InputRefusedError(
            "missing_column", f"row {number}: {path}: {error.args[0]}", "Correct the path in the suite, or the data."
        ) from error


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else dump_json(value)
    return text[:100]


def _case(
    variables: Variables,
    messages: Any,
    expected: Any,
    context: str,
    choices: list[str],
    group: str,
    slices: dict[str, str],
    row: int | None,
    metrics: tuple[MetricEntry, ...],
    script: JsonObject,
) -> Case:
    body = [variables, list(messages), expected, context, choices, *([script] if script else [])]
    key = sha256_text(json.dumps(body, sort_keys=True, default=str))[:32]
    return Case(
        0,
        key,
        variables,
        tuple(messages),
        expected,
        context,
        tuple(choices),
        group,
        slices,
        row,
        metrics=metrics,
        script=script,
    )

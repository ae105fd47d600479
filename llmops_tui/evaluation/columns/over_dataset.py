"""Columns over the rows of a dataset: evaluation runs in one job, read side by side, those that disagree first."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.datasets.records import conversation
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns.ranking import Choice, ColumnRanking, ranking_of
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.paths import check_path
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.evaluation.run_comparison import results_so_far
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.prompts.compare.boards import TIE
from llmops_tui.prompts.compare.columns import Column, check_count
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

TASK = "vote:preference"
"""Under which votes are kept: those of ``llmops eval vote`` are the same."""
_WORDS = re.compile(r"\w+", re.UNICODE)
_FIRST, _SECOND, _TIE = "first", "second", "tie"


@dataclass(frozen=True)
class Row:
    """A case with what each column answered; none where it did not yet, or failed.

    ``apart`` is how far the answers are from each other: 0 where all say the same, up to 1.
    """

    case: Case
    answers: tuple[str | None, ...]
    apart: float

    @property
    def alike(self) -> bool:
        """Whether all columns said the same."""
        return None not in self.answers and self.apart == 0


def start(
    store: EvaluationStore,
    columns: Sequence[Column],
    dataset: str,
    rows: int,
    paths: Mapping[str, str],
    *,
    seed: int = 0,
    fresh: bool = False,
) -> list[EvalRun]:
    """Ask all columns the same rows, a sample of so many, in one job; it is resumed like every evaluation.

    With ``fresh`` no answer is taken from the cache.
    ``paths`` name the column of the dataset for each variable of the prompts; by default a variable is the column of its
    name.

    Raises:
        InputRefusedError: ``variables_unmatched``: a variable has no column; ``draft_column``. NotFoundError: there is no
            such dataset.
    """
    check_count(len(columns))
    if draft := next((column for column in columns if column.version is None), None):
        raise InputRefusedError("draft_column", f"{draft.ref} is in no version yet", "Run or save it first.")
    version = store.datasets.get(dataset)
    prompts = sorted({column.prompt for column in columns})
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"compare-{'-'.join(prompts)}")[:100]
    suite = check_suite(
        {
            "cases": version.ref,
            "limit": rows,
            "seed": seed,
            "variables": dict(paths),
            "prompt": list(dict.fromkeys(column.ref for column in columns)),
            "description": "Columns of the playground over a dataset.",
        },
        name,
    )
    kept_suite = store.save_suite(suite, "columns compared over a dataset")
    asked = [Asked(column.ref, column.model, column.as_dict()["parameters"], fresh=fresh) for column in columns]
    return store.start(kept_suite, asked)


def paths_for(
    variables: Sequence[str], dataset: DatasetVersion, given: Mapping[str, str], defaults: Collection[str] = ()
) -> dict[str, str]:
    """Each prompt variable's path in a row: as given, else the column of its name; one alone may be what a row has to say.

    That is the only column of texts, or the first turn of the user's in a conversation. One of ``defaults`` needs no path.

    Raises:
        InputRefusedError: ``variables_unmatched``, ``bad_path``.
    """
    known = [column.name for column in dataset.columns]
    if unknown := sorted(set(given) - set(variables)):
        raise InputRefusedError(
            "variables_unmatched",
            f"the prompts have no variable {unknown[0]!r}",
            f"Their variables are {', '.join(variables)}." if variables else "They have no variables.",
        )
    for path in given.values():
        check_path(path)
    found = dict(given)
    variables = [name for name in variables if name in found or name in known or name not in defaults]
    for name in variables:
        if name in found:
            continue
        path = name if name in known else _only_text(dataset) if len(variables) == 1 else ""
        if not path:
            raise InputRefusedError(
                "variables_unmatched",
                f"{dataset.ref} has no column for the variable {name!r}; there are {', '.join(known)}",
                f"Name its column or path: {name}=COLUMN.",
            )
        found[name] = path
    return {name: found[name] for name in variables}


def _only_text(dataset: DatasetVersion) -> str:
    texts = [column.name for column in dataset.columns if column.type == "text"]
    if dataset.kind == "messages":
        row = next((row for batch in dataset.read() for _, row in batch), {})
        turns = conversation(dataset.kind, row) or []
        first = next((n for n, turn in enumerate(turns) if turn.get("role") == "user"), None)
        return f"messages[{first}].content" if first is not None else ""
    if dataset.kind in {"prompt-completion", "preference", "kto"} and "prompt" in texts:
        return "prompt"
    return texts[0] if len(texts) == 1 else ""


class ColumnTable:
    """The answers of several runs to the same cases, and votes on them. Reads what is there, also while a run is at work."""

    def __init__(self, store: EvaluationStore, runs: Sequence[EvalRun]) -> None:
        self.store = store
        self.runs = list(runs)

    @property
    def suite(self) -> Suite:
        """What was asked."""
        return self.store.suite(self.runs[0].suite_ref).suite

    def rows(self) -> list[Row]:
        """All cases that some column answered, those that disagree most first."""
        cases: dict[str, Case] = {}
        answers: list[dict[str, str | None]] = []
        for run in self.runs:
            of_run: dict[str, str | None] = {}
            for result in results_so_far(run):
                if result.repeat == 0 and not result.case.variation:
                    cases.setdefault(result.case.key, result.case)
                    of_run[result.case.key] = None if result.answer.error else result.answer.text
            answers.append(of_run)
        found = []
        for key, case in cases.items():
            said = tuple(one.get(key) for one in answers)
            found.append(Row(case, said, words_apart([text for text in said if text is not None])))
        return sorted(found, key=lambda row: (-row.apart, row.case.index))

    # ── votes ──

    def vote(self, row: Row, winner: int, voter: str) -> None:
        """Keep who of the columns is best for a row, -1 for none; another vote of the same person takes its place.

        It is kept as a vote between each two of them, as ``llmops eval vote`` does; finished runs alone are voted on.

        Raises:
            InputRefusedError: ``run_unfinished``, ``no_answer``.
        """
        unfinished = next((run for run in self.runs if not run.results_sha256), None)
        if unfinished is not None:
            raise InputRefusedError("run_unfinished", f"run {unfinished.name} is not finished", "Vote when it is.")
        if winner != TIE and row.answers[winner] is None:
            raise InputRefusedError("no_answer", "this column has no answer to that row", "Choose another one.")
        at = time.time()
        rows = []
        # As there, which of two runs is the first goes by their names.
        order = sorted(range(len(self.runs)), key=lambda n: self.runs[n].name)
        for place, one in enumerate(order):
            for other in order[place + 1 :]:
                if winner not in {TIE, one, other} or row.answers[one] is None or row.answers[other] is None:
                    continue
                value = _TIE if winner == TIE else _FIRST if winner == one else _SECOND
                body = {"value": value, "against": self.runs[other].results_sha256}
                digest = self.runs[one].results_sha256
                rows.append((new_id("ann"), digest, TASK, row.case.index, voter, 0, json.dumps(body), at))

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            digests = [run.results_sha256 for run in self.runs]
            # Between these runs alone: what was said of one of them beside another run stays.
            connection.execute(
                "DELETE FROM annotations WHERE task = ? AND annotator = ? AND row = ? "
                "AND list_contains(?::VARCHAR[], sha256) "
                "AND list_contains(?::VARCHAR[], json_extract_string(value, '$.against'))",
                [TASK, voter, row.case.index, digests, digests],
            )
            connection.executemany("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

        if rows:
            self.store.catalog.write(work)

    def votes(self, voter: str = "") -> dict[int, int]:
        """The column that won each case, by the case's number, -1 at a tie: of one person, or of whoever voted last."""
        found: dict[int, int] = {}
        for choice, case, who in self._choices():
            if not voter or who == voter:
                found[case] = choice["winner"]
        return found

    def ranking(self, names: Sequence[str]) -> ColumnRanking:
        """The ranking of the columns by everybody's votes."""
        return ranking_of([choice for choice, _, _ in self._choices()], names)

    def _choices(self) -> list[tuple[Choice, int, str]]:
        """Votes between two, put together to choices among all, in the order of time."""
        places = {run.results_sha256: n for n, run in enumerate(self.runs) if run.results_sha256}
        read = self.store.catalog.read(
            lambda connection: connection.execute(
                "SELECT id, sha256, row, annotator, value FROM annotations "
                "WHERE task = ? AND pass = 0 AND list_contains(?::VARCHAR[], sha256) ORDER BY made_at, id",
                [TASK, list(places)],
            ).fetchall()
        )
        pairs: dict[tuple[int, str], dict[tuple[int, int], str]] = {}
        for name, digest, row, who, text in read:
            said = kept("annotations", "value", name, text)
            if said.get("against") in places:
                pair = places[digest], places[said["against"]]
                both = pairs.setdefault((int(row), who), {})
                both.pop(pair, None)
                both[pair] = str(said["value"])
        return [(_choice(both, str(row)), row, who) for (row, who), both in pairs.items()]


def _choice(pairs: Mapping[tuple[int, int], str], about: str) -> Choice:
    """One vote among several: who won against all others it was held against; a tie where nobody did."""
    among = sorted({n for pair in pairs for n in pair})
    wins = dict.fromkeys(among, 0)
    for (one, other), value in pairs.items():
        if value != _TIE:
            wins[one if value == _FIRST else other] += 1
    best = max(among, key=lambda n: wins[n])
    return {"winner": best if wins[best] else TIE, "among": among, "about": about}


def words_apart(texts: Sequence[str]) -> float:
    """How far texts are apart: the mean share of words that two of them do not have in common, and more if all differ."""
    if len(texts) < 2 or len(set(texts)) == 1:
        return 0.0
    words = [set(_WORDS.findall(text.lower())) for text in texts]
    shares = [
        1 - len(one & other) / max(1, len(one | other)) for n, one in enumerate(words) for other in words[n + 1 :]
    ]
    # Other punctuation alone is still another answer.
    return max(0.01, sum(shares) / len(shares))

"""The profile of a dataset: on a sample first, with its uncertainty, then on all rows."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.datasets.column_statistics import BINS, column_statistics
from llmops_tui.datasets.content_hash import BULK_ROWS
from llmops_tui.datasets.duplicates import repeated_rows
from llmops_tui.datasets.identity import row_key
from llmops_tui.datasets.label_columns import label_column
from llmops_tui.datasets.operations.selection import shuffled
from llmops_tui.datasets.profile_record import (
    Duplicates,
    Languages,
    Mean,
    Outliers,
    Profile,
    Share,
    TokenFigures,
    Turns,
)
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.records import CONTENT_COLUMNS, ROW, Row, content_text, conversation, whole_text
from llmops_tui.datasets.reports import Profiled
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.sandbox import reading

SAMPLE_ROWS = 1000
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
# So many signs a letter are in no prose; the densest code and tables have three times as many.
_MARKED_UP = re.compile(r"https?://\S+|^\s*[*+#>-]+ ", re.MULTILINE)
_CODE_SIGNS = 0.1
_LANGUAGE_ROWS = 1000


def profile(
    version: DatasetVersion,
    text: ModelText | None = None,
    *,
    sample: int | None = SAMPLE_ROWS,
    max_length: int = 2048,
    tokens_per_second: float | None = None,
    report: Report = no_report,
) -> Profile:
    """Everything about a version; what is counted in tokens needs a model's text.

    ``sample`` rows are drawn by lot, or all taken where it is none. Of a sample, shares and means carry the half width
    of their 95 % interval: by the normal approximation for means and Wilson's for shares, of the sample as drawn from
    all rows (Wilson, "Probable Inference", JASA 22, 1927).
    """
    rows = _drawn(version, sample)
    inspected = len(rows)
    result: Profile = {
        "version": version.ref,
        "sha256": version.sha256,
        "format": version.kind,
        "rows": version.rows,
        "looked_at": inspected,
        "sampled": inspected < version.rows,
        "columns": column_statistics(version),
    }
    report(0.2, "columns counted")
    turns = _turns(version, rows)
    if turns is not None:
        result["turns"] = turns
    result["duplicates"] = _duplicates(version, rows)
    label = label_column(version.columns)
    if label:
        result["labels"] = {
            "column": label,
            "counts": next((c.get("top", []) for c in result["columns"] if c["name"] == label), []),
        }
    result["languages"] = _languages(version, rows)
    report(0.4, "languages recognised")
    if text is not None and rows:
        result["tokens"] = _tokens(version, rows, text, max_length, report)
        if tokens_per_second:
            total = result["tokens"]["total"]
            result["training"] = {
                "seconds_per_epoch": total / tokens_per_second,
                "tokens_per_second": tokens_per_second,
            }
    return result


class _AllRows:
    """All rows of a version, read anew each time they are gone through: there may be more than memory holds."""

    def __init__(self, version: DatasetVersion) -> None:
        self._version = version

    def __len__(self) -> int:
        return self._version.rows

    def __iter__(self) -> Iterator[Row]:
        return (row for batch in self._version.read() for _, row in batch)


Rows = list[Row] | _AllRows


def _drawn(version: DatasetVersion, sample: int | None) -> Rows:
    """Rows drawn by lot, always the same ones of the same version."""
    if sample is None or sample >= version.rows:
        return _AllRows(version)
    with reading(version.files) as connection:
        found = connection.execute(
            f"SELECT {ROW} FROM (SELECT {ROW} FROM {version.source} ORDER BY {shuffled(0)} LIMIT {sample}) ORDER BY {ROW}"
        ).fetchall()
    return version.rows_at([int(n) for (n,) in found])


def _turns(version: DatasetVersion, rows: Rows) -> Turns | None:
    counts: Counter[int] = Counter()
    roles: Counter[str] = Counter()
    # Tables and texts have none.
    for row in rows if CONTENT_COLUMNS[version.kind] not in {(), ("text",)} else []:
        turns = conversation(version.kind, row)
        counts[len(turns)] += 1
        roles.update(str(turn.get("role")) for turn in turns)
    if not roles:
        return None
    return {
        "counts": sorted(counts.items()),
        "roles": dict(roles),
        **mean_with_interval([n for n, c in counts.items() for _ in range(c)]),
    }


def _duplicates(version: DatasetVersion, rows: Rows) -> Duplicates:
    if not isinstance(rows, list) and version.rows >= BULK_ROWS:
        repeated = repeated_rows(version, "content")
        if repeated is not None:
            return {"rows": len(repeated[0]), "of": version.rows, "lower_bound": False}
    different = len({row_key(version.kind, row, "content") for row in rows})
    # A sample sees fewer pairs than there are, so its share of duplicates is a lower bound.
    return {"rows": len(rows) - different, "of": len(rows), "lower_bound": len(rows) < version.rows}


def _languages(version: DatasetVersion, rows: Rows) -> Languages:
    """Languages by share; texts under 20 letters are too short to tell, and code has none."""
    import py3langid

    counts: Counter[str] = Counter()
    step = max(1, len(rows) // _LANGUAGE_ROWS)
    short = no_prose = 0
    # All rows need not be read for some.
    chosen = rows[::step] if isinstance(rows, list) else version.rows_at(list(range(0, version.rows, step)))
    for row in chosen:
        text = whole_text(version.kind, row)[:2000]
        if sum(c.isalpha() for c in text) < 20:
            short += 1
        elif not is_prose(text):
            no_prose += 1
        else:
            counts[str(py3langid.classify(text)[0])] += 1
    total = counts.total()
    shares: dict[str, Share] = (
        {lang: {"share": n / total, "interval": wilson(n, total)} for lang, n in counts.most_common(12)}
        if total
        else {}
    )
    return {"shares": shares, "looked_at": total, "too_short": short, "no_prose": no_prose}


def is_prose(text: str) -> bool:
    """Whether a text is of a language rather than code, data or a table: those are full of signs that prose has not."""
    # The signs of lists, headings and addresses of pages stand in prose too.
    text = _MARKED_UP.sub("", text)
    letters = sum(c.isalpha() for c in text)
    signs = sum(c in "{}[]()<>=;_/\\|&*+#$@^~`" for c in text)
    return signs < _CODE_SIGNS * letters


def _tokens(version: DatasetVersion, rows: Rows, text: ModelText, max_length: int, report: Report) -> TokenFigures:
    lengths: list[int] = []
    trained: list[int] = []
    by_role: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    walk = iter(rows)
    for begin in range(0, len(rows), 200):
        batch = list(islice(walk, 200))
        rendered: list[str] = []
        learned: list[str] = []
        said: list[tuple[str, str]] = []
        for row in batch:
            try:
                made = text.row_text(version.kind, row)
            except LlmopsError as error:
                failed[error.message] += 1
                continue
            if not made.text:
                failed.update(made.problems)
                continue
            rendered.append(made.text)
            learned.append("".join(made.text[a:b] for a, b in made.learned))
            problems.update(made.problems)
            said += [(str(m.get("role")), content_text(m.get("content"))) for m in conversation(version.kind, row)]
        lengths += text.tokenizer.counts(rendered)
        trained += text.tokenizer.counts(learned)
        for (role, _), count in zip(said, text.tokenizer.counts([t for _, t in said]), strict=True):
            by_role[role] += count
        report(
            0.4 + 0.6 * (begin + len(batch)) / len(rows),
            f"{begin + len(batch):,} of {counted(len(rows), 'row')} tokenized",
        )
    if not lengths:
        return {"model": text.model.name, "failed": dict(failed.most_common(5)), "looked_at": 0, "total": 0}
    values = np.array(lengths)
    scale = version.rows / len(lengths)
    p50, p95, p99 = (float(v) for v in np.percentile(values, [50, 95, 99]))
    mean = mean_with_interval(lengths, version.rows)
    counts, edges = np.histogram(values, bins=BINS)
    outliers = _outliers(values)
    return {
        "model": text.model.name,
        "looked_at": len(lengths),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "max": int(values.max()),
        "min": int(values.min()),
        **mean,
        "total": round(float(values.sum()) * scale),
        "total_interval": round(mean["interval"] * version.rows),
        "trained_share": sum(trained) / max(1, sum(lengths)),
        "by_role": dict(by_role),
        "histogram": counts.tolist(),
        "edges": [float(e) for e in edges],
        "cut": {str(n): _share(values > n) for n in LENGTHS},
        "max_length": max_length,
        "packing": packing_efficiency(lengths, max_length),
        "padding": float(np.minimum(values, max_length).sum() / (len(values) * min(max_length, int(values.max())))),
        "outliers": outliers,
        "failed": dict(failed.most_common(5)),
        "problems": dict(problems.most_common(5)),
    }


def _share(hits: Any) -> Share:
    return {"share": float(hits.mean()), "interval": wilson(int(hits.sum()), len(hits))}


def _outliers(values: Any) -> Outliers:
    """Lengths far outside of the others: beyond three interquartile ranges of their logarithms (Tukey, 1977)."""
    logs = np.log(np.maximum(1, values))
    low, high = np.percentile(logs, [25, 75])
    limits = low - 3 * (high - low), high + 3 * (high - low)
    return {
        "short": int((logs < limits[0]).sum()),
        "long": int((logs > limits[1]).sum()),
        "above": float(math.exp(min(limits[1], 40))),
    }


def packing_efficiency(lengths: Sequence[int], size: int) -> float:
    """The share of tokens in packs of ``size`` that are not padding, packed best-fit decreasing; rows are cut at ``size``.

    Johnson et al., "Worst-Case Performance Bounds for Simple One-Dimensional Packing Algorithms", 1974.
    """
    import bisect

    free: list[int] = []
    total = 0
    for raw in sorted(lengths, reverse=True):
        length = min(raw, size)
        total += length
        at = bisect.bisect_left(free, length)
        left = free.pop(at) - length if at < len(free) else size - length
        bisect.insort(free, left)
    return total / (len(free) * size) if free else 0.0


def mean_with_interval(values: Sequence[float], population: int | None = None) -> Mean:
    """The mean and the half width of its 95 % interval, narrower the more of a finite population was looked at."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return {"mean": mean, "interval": 0.0}
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    rest = max(0.0, 1 - n / population) if population else 1.0
    return {"mean": mean, "interval": 1.96 * math.sqrt(variance / n * rest)}


def wilson(hits: int, total: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    if not total:
        return [0.0, 1.0]
    z = 1.96
    share = hits / total
    centre = share + z * z / (2 * total)
    width = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return [max(0.0, (centre - width) / (1 + z * z / total)), min(1.0, (centre + width) / (1 + z * z / total))]


def run_profile_job(context: Any, ref: str, model: str = "", max_length: int = 2048) -> Profiled:
    """The job: the profile of all rows, kept beside the version."""
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.workspace.catalog import Catalog

    catalog = Catalog(context.workspace)
    store = DatasetStore(catalog)
    version = store.get(ref)
    if model:
        with ModelText(ModelRegistry(catalog).get(model)) as text:
            found = profile(version, text, sample=None, max_length=max_length, report=context.report)
    else:
        found = profile(version, None, sample=None, max_length=max_length, report=context.report)
    store.keep_report(version.sha256, f"profile:{model}", found)
    return {"version": version.ref, "rows": version.rows}

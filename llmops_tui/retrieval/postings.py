"""The words of an index as arrays: which chunks have each, and how often. A query is scored by a few sums of them.

FTS5 ranks row by row, and a frequent word leads it through most rows. Here are its tokens and its formula in its order of
operations, so that the scores are its scores to the last bit (Robertson and Zaragoza, "The Probabilistic Relevance Framework:
BM25 and Beyond", 2009; k1 1.2 and b 0.75; a word that half of all chunks have weighs a millionth).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmops_tui.retrieval.terms import Term

TOKENIZER = "porter unicode61 remove_diacritics 2"
TABLES = (
    # A token in one of the columns of words: how many chunks have it, the steps from each of them to the next, and how often it
    # is in each, of which nothing is kept where that is once in all.
    """CREATE TABLE postings ("column" TEXT NOT NULL, token BLOB NOT NULL, chunks INTEGER NOT NULL, steps BLOB NOT NULL,
    counts BLOB NOT NULL, PRIMARY KEY ("column", token)) WITHOUT ROWID""",
    # How many tokens each chunk has.
    "CREATE TABLE lengths (tokens BLOB NOT NULL)",
)
_K1, _B = 1.2, 0.75
_LEAST_IDF = 1e-6
# Bytes that a number may have, and what is too large for the first and the second of these.
_WIDTHS = (1, 2, 4)
_FIT = (1 << 8, 1 << 16)
# Instances of tokens that are read in one go.
_AT_ONCE = 500_000
# A token, its column, and how often it is there.
_Token = tuple[bytes, str, int]

Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class Posting(NamedTuple):
    """The chunks that have a term, by number from the first, and what it adds to the BM25 of each."""

    chunks: Numbers
    adds: Scores


# ── writing ──


def write_postings(connection: sqlite3.Connection, chunks: int) -> None:
    """Write the arrays of all that the table ``words`` has of chunks with numbers from 1."""
    lengths = np.zeros(chunks, np.int64)
    connection.execute("CREATE VIRTUAL TABLE temp.tokens USING fts5vocab(main, words, col)")
    connection.execute("CREATE VIRTUAL TABLE temp.instances USING fts5vocab(main, words, instance)")
    # A token may end with half a character: SQLite cuts very long ones.
    tokens = connection.execute("SELECT CAST(term AS BLOB), col, cnt FROM tokens").fetchall()
    for some in _together(tokens):
        found = _instances(connection, some)
        lengths += np.bincount(found - 1, minlength=chunks)
        connection.executemany("INSERT INTO postings VALUES (?, ?, ?, ?, ?)", _rows(some, found))
    connection.execute("INSERT INTO lengths VALUES (?)", (_packed(lengths),))


def _together(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    """Tokens that are read in one go, with both columns of each: to look one up takes longer than to read most of them."""
    some: list[_Token] = []
    size = 0
    for token, column, instances in tokens:
        if size > _AT_ONCE and token != some[-1][0]:
            yield some
            some, size = [], 0
        some.append((token, column, instances))
        size += instances
    if some:
        yield some


def _instances(connection: sqlite3.Connection, tokens: Sequence[_Token]) -> Numbers:
    """The chunk of each instance of these tokens, token by token, column by column."""
    (told,) = connection.execute(
        "SELECT group_concat(2 * doc + (col = 'codes')) FROM instances WHERE term >= CAST(? AS TEXT) AND term <= CAST(? AS TEXT)",
        (tokens[0][0], tokens[-1][0]),
    ).fetchone()
    found = np.fromstring(told, np.int64, sep=",")
    # FTS5 tells them by token and chunk.
    number = np.cumsum([token != before for (token, *_), (before, *_) in pairwise([tokens[0], *tokens])])
    of_token = np.bincount(number, [instances for *_, instances in tokens]).astype(np.int64)
    return (found >> 1)[np.argsort(2 * np.repeat(np.arange(len(of_token)), of_token) + (found & 1), kind="stable")]


def _rows(tokens: Sequence[_Token], found: Numbers) -> Iterator[tuple[str, bytes, int, bytes, bytes]]:
    """The rows of ``postings`` of some tokens, whose instances are in these chunks."""
    sizes = np.array([instances for *_, instances in tokens])
    starts = np.cumsum(sizes) - sizes
    fresh = np.diff(found, prepend=0) != 0
    fresh[starts] = True
    at = np.flatnonzero(fresh)
    counts, chunks = np.diff(at, append=len(found)), found[at]
    begins = np.searchsorted(at, starts)
    steps = np.diff(chunks, prepend=0)
    steps[begins] = chunks[begins]
    packed = [[numbers.astype(f"<u{width}").tobytes() for width in _WIDTHS] for numbers in (steps, counts)]
    widths = [
        np.searchsorted(_FIT, np.maximum.reduceat(numbers, begins), "right").tolist() for numbers in (steps, counts)
    ]
    most = np.maximum.reduceat(counts, begins).tolist()
    ends = [*begins[1:].tolist(), len(at)]
    for (token, column, _), begin, end, of_steps, of_counts, often in zip(
        tokens, begins.tolist(), ends, *widths, most, strict=True
    ):
        step, count = _WIDTHS[of_steps], _WIDTHS[of_counts]
        once = packed[1][of_counts][begin * count : end * count] if often > 1 else b""
        yield column, token, end - begin, packed[0][of_steps][begin * step : end * step], once


def _packed(numbers: Numbers) -> bytes:
    """Numbers from 0 in the fewest bytes in which each fits."""
    width = _WIDTHS[int(np.searchsorted(_FIT, numbers.max(initial=0), "right"))]
    return numbers.astype(f"<u{width}").tobytes()


def _unpacked(packed: bytes, count: int) -> Numbers:
    """As they were packed.

    Raises:
        sqlite3.DatabaseError: these are not so many.
    """
    width, rest = divmod(len(packed), max(1, count))
    if rest or (count and width not in _WIDTHS):
        raise sqlite3.DatabaseError(f"{len(packed)} bytes are no {count} numbers")
    return np.frombuffer(packed, f"<u{width or 1}").astype(np.int64)


# ── reading ──


class Postings:
    """The words of an index, for one thread at a time. Of a file that an earlier version wrote SQLite tells them, more slowly."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.DatabaseError where the arrays are not whole."""
        self._connection = connection
        self._tokens = _Tokens()
        # Those of the query that was scored last.
        self._known: dict[Term, Posting] = {}
        (count,) = connection.execute("SELECT coalesce(max(id), 0) FROM chunks").fetchone()
        self._count = int(count)
        self._arrays = has_arrays(connection)
        lengths = np.zeros(0, np.int64)
        if self._arrays:
            row = connection.execute("SELECT tokens FROM lengths").fetchone()
            lengths = _unpacked(row[0] if row else b"", self._count)
        # What stands below the line of the formula, beside how often a word is in a chunk of this length.
        self._damped = _K1 * ((1 - _B) + _B * lengths / (max(1, int(lengths.sum())) / max(1, self._count)))

    def close(self) -> None:
        """Let go of what it needs beside the file."""
        self._tokens.close()

    def best(self, terms: Sequence[Term], count: int) -> list[tuple[int, float]]:
        """The chunks that have any of these terms, with their BM25, the best first; of equal ones the first in the text."""
        scores = self._scores(terms)
        # Of those that are as good as the last one the first ones come.
        last = self._count - count
        least = np.partition(scores, last)[last] if 0 < last < self._count else 0.0
        found = np.flatnonzero((scores >= least) & (scores > 0))
        found = found[np.lexsort((found, -scores[found]))[:count]]
        return list(zip((found + 1).tolist(), scores[found].tolist(), strict=True))

    def rank(self, terms: Sequence[Term], chunk: int) -> tuple[int, float] | None:
        """The rank of a chunk among all that have any of these terms, and its BM25; none where it has none of them."""
        scores = self._scores(terms)
        own = float(scores[chunk - 1])
        if not own:
            return None
        return 1 + int((scores > own).sum() + (scores[: chunk - 1] == own).sum()), own

    def having(self, term: Term) -> Numbers:
        """The numbers of all chunks that have a term."""
        known = self._known.get(term)
        return (known if known is not None else self._read([term])[term]).chunks + 1

    def _scores(self, terms: Sequence[Term]) -> Scores:
        """The BM25 of each chunk; 0 where it has none of the terms."""
        self._known = self._read(terms)
        scores = np.zeros(self._count)
        for term in terms:
            chunks, adds = self._known[term]
            scores[chunks] += adds
        return scores

    def _read(self, terms: Sequence[Term]) -> dict[Term, Posting]:
        if not self._arrays:
            return {term: self._by_sqlite(term) for term in terms}
        tokens = self._tokens.of([term.written for term in terms])
        return {
            term: self._of_token(term.column, own[0])
            if len(own) == 1 and not term.begins
            # A phrase needs the places of its tokens, which FTS5 has; what begins with something is in many of these arrays.
            else self._by_sqlite(term)
            for term, own in zip(terms, tokens, strict=True)
        }

    def _of_token(self, column: str, token: bytes) -> Posting:
        row = self._connection.execute(
            'SELECT chunks, steps, counts FROM postings WHERE "column" = ? AND token = ?', (column, token)
        ).fetchone()
        if row is None:
            return Posting(np.zeros(0, np.int64), np.zeros(0))
        having, steps, counts = row
        chunks = np.cumsum(_unpacked(steps, having)) - 1
        if not having or chunks[0] < 0 or chunks[-1] >= self._count:
            raise sqlite3.DatabaseError("a word is in chunks that are not there")
        often = _unpacked(counts, having).astype(np.float64) if counts else np.ones(having)
        idf = max(log((self._count - having + 0.5) / (having + 0.5)), 0.0) or _LEAST_IDF
        return Posting(chunks, idf * ((often * (_K1 + 1)) / (often + self._damped[chunks])))

    def _by_sqlite(self, term: Term) -> Posting:
        """What a term adds to the BM25 of a query is the BM25 of a query of it alone."""
        rows = self._connection.execute(
            "SELECT rowid - 1, -rank FROM words WHERE words MATCH ?", (term.expression,)
        ).fetchall()
        return Posting(np.array([row for row, _ in rows], np.int64), np.array([adds for _, adds in rows]))


def has_arrays(connection: sqlite3.Connection) -> bool:
    """Whether the file of an index has these arrays."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lengths'").fetchone() is not None


class _Tokens:
    """What FTS5 makes of words, by a table of them in memory."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute(f"CREATE VIRTUAL TABLE said USING fts5(word, content='', tokenize='{TOKENIZER}')")
        self._connection.execute("CREATE VIRTUAL TABLE tokens USING fts5vocab(said, instance)")

    def close(self) -> None:
        """Let go of the table."""
        self._connection.close()

    def of(self, words: Sequence[str]) -> list[list[bytes]]:
        """The tokens of each word, in their order."""
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO said (rowid, word) VALUES (?, ?)", enumerate(words))
        found: list[list[bytes]] = [[] for _ in words]
        for at, token in self._connection.execute("SELECT doc, CAST(term AS BLOB) FROM tokens ORDER BY doc, offset"):
            found[at].append(token)
        self._connection.execute("ROLLBACK")
        return found

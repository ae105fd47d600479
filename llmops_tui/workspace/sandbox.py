"""DuckDB connections for untrusted SQL: they read the named files and nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace import interruption, kept_engines
from llmops_tui.workspace.catalog_file import connect_memory

if TYPE_CHECKING:
    import duckdb

QUERY_SECONDS = 60.0


def quote_name(name: str) -> str:
    """A column or table name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def open_sandbox(
    read: Iterable[Path] = (), *, folder: Path | None = None, memory: str = "512MB", attach: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory connection that can read the files in ``read`` and write inside ``folder``, and reach nothing else.

    ``folder`` is also where a query that needs more than ``memory`` spills to. ``attach`` is a DuckDB file, opened
    read-only as ``catalog``.
    """
    connection = connect_memory()
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute(f"SET memory_limit = {quote_text(memory)}")
    if folder is not None:
        connection.execute(f"SET temp_directory = {quote_text(str(folder / 'spill'))}")
        connection.execute("SET max_temp_directory_size = '50GB'")
        connection.execute(f"SET allowed_directories = [{quote_text(str(folder))}]")
    else:
        connection.execute("SET temp_directory = ''")
    if attach is not None:
        connection.execute(f"ATTACH {quote_text(str(attach))} AS book (READ_ONLY)")
    paths = ", ".join(quote_text(str(path)) for path in read)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    return connection


@contextlib.contextmanager
def reading(files: Sequence[Path], *, memory: str = "512MB") -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for SQL of our own over stored files, which reaches nothing outside the folder that theirs is in.

    Its engine is kept for the next who reads there, for to start one takes longer than most reading. Nothing is made on
    it, and nobody else's SQL is run: that is what a sandbox of its own is for.
    """
    place = files[0].parent.parent if files and len({file.parent.parent for file in files}) == 1 else None
    engine = None if place is None else kept_engines.take(place)
    if engine is None:
        engine = open_sandbox(files) if place is None else _reader(place)
    well = False
    connection = engine.cursor()
    try:
        connection.execute(f"SET memory_limit = {quote_text(memory)}")
        yield connection
        well = True
    finally:
        connection.close()
        if well and place is not None:
            kept_engines.keep(place, engine)
        else:
            engine.close()


def _reader(place: Path) -> duckdb.DuckDBPyConnection:
    connection = connect_memory()
    connection.execute("SET temp_directory = ''")
    # A file that was replaced is another one: nothing of it is remembered from one reading to the next.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute(f"SET allowed_directories = [{quote_text(str(place))}]")
    connection.execute("SET enable_external_access = false")
    return connection


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """No setting changes from now on; views and tables of our own are made before."""
    connection.execute("SET lock_configuration = true")


def check_select(text: str) -> str:
    """The one SELECT that a text is, without the semicolon behind it.

    Raises:
        InputRefusedError: it cannot be parsed, is several statements, or is no SELECT.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise refused(error) from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise refused("only one SELECT statement is allowed")
    return statements[0].query.strip().rstrip(";")


def check_expression(text: str) -> str:
    """An SQL expression, parsed on its own, so that what stands around it cannot change its meaning.

    Raises:
        InputRefusedError: it is no expression.
    """
    if not text.strip():
        raise refused("the expression is empty")
    # The line break ends a comment that the text may hold.
    check_select(f"SELECT ({text}\n)")
    depth = 0
    for character in _without_literals(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise refused("a closing bracket has no opening bracket")
    return f"({text}\n)"


def _without_literals(text: str) -> str:
    """The text with quoted parts and comments left out."""
    import re

    return re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


@contextlib.contextmanager
def limited(connection: duckdb.DuckDBPyConnection, seconds: float = QUERY_SECONDS) -> Iterator[None]:
    """Interrupt what runs inside after ``seconds``, or once nobody waits for it; failures of the query become refusals."""
    import duckdb

    stopper = interruption.current()
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        with stopper.reaching(connection) if stopper else contextlib.nullcontext():
            yield
    except duckdb.InterruptException as error:
        if stopper and stopper.stopped:
            raise interruption.cancelled() from error
        raise refused(f"it took longer than {seconds:g} s") from error
    except duckdb.Error as error:
        raise refused(error) from error
    finally:
        timer.cancel()


def refused(reason: object) -> InputRefusedError:
    """The refusal of a query, with DuckDB's reason in one line."""
    first = " ".join(str(reason).split())[:400]
    return InputRefusedError(
        "query_refused", f"the query failed: {first}", "To list the tables: SELECT * FROM duckdb_tables()."
    )

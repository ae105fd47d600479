from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply, remake
from llmops_tui.datasets.sql_console import run_query, save_query, table_names
from llmops_tui.datasets.store import DatasetStore, DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.datasets.conftest import Fill

# Each way out of the datasets that DuckDB has, to a file of the test.
WAYS_OUT = {
    "read_text": "SELECT * FROM read_text('{secret}')", "read_blob": "SELECT * FROM read_blob('{secret}')",
    "read_csv": "SELECT * FROM read_csv('{secret}')", "by name": "SELECT * FROM '{secret}'", "read_json": "SELECT * FROM read_json('{secret}')",
    "read_parquet": "SELECT * FROM read_parquet('{secret}')", "parquet_metadata": "SELECT * FROM parquet_metadata('{secret}')",
    "sniff": "SELECT * FROM sniff_csv('{secret}')", "glob": "SELECT * FROM glob('{folder}/*')", "up": "SELECT * FROM read_text('{root}/../secret.txt')",
    "link": "SELECT * FROM read_text('{root}/link')", "other file of the workspace": "SELECT * FROM read_text('{root}/journal.db')",
    "scalar": "SELECT (SELECT content FROM read_text('{secret}'))", "getenv": "SELECT getenv('HOME')",
    "copy": "COPY (SELECT 1) TO '{folder}/out.csv'", "copy inside": "COPY (SELECT 1) TO '{root}/out.csv'",
    "copy dataset": "COPY data TO '{folder}/out.parquet'", "attach": "ATTACH '{folder}/new.db'", "attach catalog": "ATTACH '{root}/workspace.duckdb' AS b2",
    "export": "EXPORT DATABASE '{folder}/dump'", "import": "IMPORT DATABASE '{folder}'", "install": "INSTALL httpfs", "load": "LOAD httpfs",
    "http": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')", "secret": "CREATE SECRET s (TYPE s3)", "set": "SET enable_external_access = true",
    "reset": "RESET allowed_paths", "pragma": "PRAGMA memory_limit='100GB'", "two": "SELECT 1; SELECT * FROM read_text('{secret}')",
    "create": "CREATE TABLE x AS SELECT 1", "delete": "DELETE FROM book.models", "insert": "INSERT INTO book.models SELECT * FROM book.models",
    "call": "CALL pragma_version()", "query": "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "query_table": "SELECT * FROM query_table('{secret}')", "sqlite": "SELECT * FROM sqlite_scan('{root}/journal.db', 'jobs')",
    "write macro": "CREATE MACRO f() AS 1", "python": "SELECT * FROM connection", "checkpoint": "CHECKPOINT", "vacuum": "VACUUM",
}  # fmt: skip


ROWS = [{"n": n, "text": "x"} for n in range(10)]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    """One store for all ways out: none of them may leave anything that another could see."""
    folder = tmp_path_factory.mktemp("guarded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        made = DatasetStore(Catalog(make_workspace(Workspace(folder / "ws"))))
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    import_now(made, [path], "data", "tabular")
    secret = folder / "secret.txt"
    secret.write_text("the secret")
    (made.workspace.root / "link").symlink_to(secret)
    return made


@pytest.fixture
def filled(fill: Fill) -> DatasetVersion:
    """The same rows in the store of one test, which may change it."""
    return fill(ROWS)


@pytest.fixture
def places(guarded: DatasetStore) -> dict[str, str]:
    root = guarded.workspace.root
    return {"secret": str(root.parent / "secret.txt"), "folder": str(root.parent), "root": str(root)}


@pytest.mark.parametrize("way", list(WAYS_OUT))
def test_a_query_reaches_nothing_but_the_datasets(guarded: DatasetStore, places: dict[str, str], way: str) -> None:
    store = guarded
    before = {p: p.stat().st_mtime_ns for p in Path(places["folder"]).iterdir()}
    try:
        answer = run_query(store, WAYS_OUT[way].format(**places), 10)
    except InputRefusedError:
        pass
    else:
        # What DuckDB lets through tells nothing from outside.
        assert way == "getenv", way
        assert answer.rows[0][0] in {None, ""}
    assert {p: p.stat().st_mtime_ns for p in Path(places["folder"]).iterdir() if p in before}.keys() == before.keys()
    assert not (Path(places["folder"]) / "out.csv").exists()
    assert not (store.workspace.root / "out.csv").exists()


@pytest.mark.parametrize(
    "way", [w for w, q in WAYS_OUT.items() if q.startswith("SELECT") and w not in {"python", "getenv"}]
)
@pytest.mark.parametrize("operation", ["filter", "map", "sort", "query"])
def test_an_expression_of_an_operation_reaches_nothing_either(
    guarded: DatasetStore, places: dict[str, str], way: str, operation: str
) -> None:
    store = guarded
    text = WAYS_OUT[way].format(**places)
    inner = f"EXISTS ({text})"
    parameters = {
        "filter": {"where": inner},
        "map": {"column": "m", "expression": inner},
        "sort": {"by": inner},
        "query": {"sql": text},
    }
    with pytest.raises(InputRefusedError):
        apply(store, operation, ["data"], parameters[operation])
    assert not [p for p in store.workspace.datasets.iterdir() if p.name.startswith(".staging")]


@pytest.mark.parametrize(
    "text", ["n > 5) OR (true", "n > 5; DROP TABLE x", "n > 5 --", "", "n >", "1) UNION SELECT 1 --", "/* x"]
)
def test_text_around_an_expression_cannot_be_changed(store: DatasetStore, filled: DatasetVersion, text: str) -> None:
    try:
        made = apply(store, "filter", ["data"], {"where": text})
    except InputRefusedError:
        return
    assert text == "n > 5 --"
    assert made.rows == 4


def test_datasets_versions_and_the_workspace_can_be_asked_together(store: DatasetStore, filled: DatasetVersion) -> None:
    apply(store, "sample", ["data"], {"rows": 3})
    assert run_query(store, 'SELECT (SELECT count(*) FROM data), (SELECT count(*) FROM "data@1")', 5).rows == [(3, 10)]
    assert run_query(store, "SELECT dataset, number FROM dataset_versions ORDER BY 2", 5).rows == [
        ("data", 1),
        ("data", 2),
    ]
    answer = run_query(store, "SELECT * FROM range(100)", 7)
    assert len(answer.rows) == 7
    assert answer.more
    assert "data" in table_names(store)


def test_an_endless_query_is_ended(store: DatasetStore, filled: DatasetVersion) -> None:
    with pytest.raises(InputRefusedError, match="longer than"):
        run_query(
            store,
            # One table, row after row: of a join a side is kept, and a quick machine is out of memory before the time is over.
            "SELECT count(*) FROM range(10000000000000) a WHERE a.range % 7 = 8",
            1,
            seconds=0.3,
        )


def test_an_answer_becomes_a_dataset_that_can_be_made_again(store: DatasetStore, filled: DatasetVersion) -> None:
    kept = save_query(store, "SELECT n % 2 AS odd, count(*) AS rows FROM data GROUP BY 1 ORDER BY 1", "counts")
    assert [r for b in kept.read() for _, r in b] == [{"odd": 0, "rows": 5}, {"odd": 1, "rows": 5}]
    assert remake(store, "counts")[1] == kept.sha256
    assert save_query(store, "SELECT name FROM models", "models_now").rows == 0

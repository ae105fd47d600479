"""The workspace folder: layout, catalog (DuckDB), event log (SQLite), migrations, lineage, ids."""

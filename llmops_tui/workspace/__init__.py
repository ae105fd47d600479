"""The workspace folder: layout, catalogue (DuckDB), journal (SQLite), migrations, lineage, ids."""

"""Files as streams of records: every importable format; invalid records are rejected one by one."""

"""Files as streams of records: every format that can be imported, with what is broken in it kept apart."""

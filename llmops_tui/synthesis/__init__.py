"""Rows that a model writes: from seeds, a schema and topics, or in other words; filtered, and each with its parents."""

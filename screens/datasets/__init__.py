"""The datasets screen: datasets, versions, rows, the current record, and problems."""

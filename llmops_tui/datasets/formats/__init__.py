"""Row formats of other programs: detection, readers and writers."""

"""Maintenance: backup and restore, integrity checks, garbage collection, removal, and lineage."""

"""Completes SQL while it is typed."""

from __future__ import annotations

from textual.suggester import Suggester

FUNCTIONS = (
    "length(", "lower(", "upper(", "contains(", "starts_with(", "regexp_matches(", "json_extract_string(", "json_array_length(",
    "coalesce(", "IS NULL", "IS NOT NULL", "LIKE '%", "ILIKE '%", "BETWEEN ", "IN (", "AND ", "OR ", "NOT ", "true", "false",
)  # fmt: skip


class ColumnSuggester(Suggester):
    """Completes the last word of an SQL filter from columns, functions and words of SQL."""

    def __init__(self, words: list[str], *, only_sql: bool = True) -> None:
        super().__init__(use_cache=False, case_sensitive=False)
        self._words = words
        self._only_sql = only_sql

    async def get_suggestion(self, value: str) -> str | None:
        """The text with its last word completed; none where nothing fits."""
        if self._only_sql and not value.startswith("="):
            return None
        begin = max((value.rfind(c) for c in " =(,<>"), default=-1) + 1
        word = value[begin:]
        if not word:
            return None
        found = next((w for w in self._words if w.lower().startswith(word.lower()) and len(w) > len(word)), None)
        return value[:begin] + found if found else None

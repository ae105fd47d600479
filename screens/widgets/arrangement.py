"""What somebody made of a table, in a form that can be kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arrangement:
    """The columns in their order, the column that rows are sorted by and whether the greatest come first, the filter.

    Without columns those are shown that were meant to be.
    """

    columns: tuple[str, ...] = ()
    order: str = ""
    falling: bool = False
    said: str = ""

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return {"columns": list(self.columns), "order": self.order, "falling": self.falling, "filter": self.said}

    @classmethod
    def from_json(cls, kept: object) -> Arrangement:
        """As it was kept; what is no arrangement is left out."""
        found = kept if isinstance(kept, dict) else {}
        names, order, said = found.get("columns"), found.get("order"), found.get("filter")
        return cls(
            tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else (),
            order if isinstance(order, str) else "",
            found.get("falling") is True,
            said if isinstance(said, str) else "",
        )

"""Holds one text against one JSON Schema: both come at standard input, what the text does not keep goes to standard output."""

from __future__ import annotations

import json
import resource
import sys

_BYTES = 1_000_000_000
_SECONDS = 8


def main() -> None:
    """Read, check, tell."""
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    from llmops_tui.inference.schema_validation import problems_of, unreadable

    asked = json.load(sys.stdin)
    try:
        wrong = unreadable(asked["schema"])
        told = (
            {"error": f"the schema is none: {wrong}"}
            if wrong
            else {"problems": problems_of(asked["schema"], asked["text"])}
        )
    except ValueError as error:
        told = {"error": str(error)}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()

"""What a prompt asks an index for, between the process that renders templates and the one that has indexes."""

from __future__ import annotations

import json
from typing import TypedDict

# Among the values of a template: what was retrieved for it so far, by what it asked. No template can name it.
RETRIEVED = " retrieved"


class RetrievalAsked(TypedDict):
    """``k`` chunks for a ``query``; an empty ``index`` is the only one there is, an empty ``by`` its usual way.

    Without ``check`` passages that try to command the model are given like all others.
    """

    query: str
    k: int
    index: str
    by: str
    check: bool


def retrieval_key(asked: RetrievalAsked) -> str:
    """Under what name the answer to it is given."""
    return json.dumps(asked, sort_keys=True)

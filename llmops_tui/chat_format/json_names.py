"""Names for what is any JSON here: a message as a client writes it, and the arguments of a call."""

from __future__ import annotations

from typing import Any

# A message of a conversation, with fields of the client's.
Turn = dict[str, Any]
# The arguments of a call, whose names and values are the tool's.
Arguments = dict[str, Any]

"""What an answer tells of the limits of its key, in the headers that clients of OpenAI's and Anthropic's APIs read."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Iterable

from starlette.types import Message, Scope, Send

from llmops_tui.inference.access.limiter import Standing, tightest
from llmops_tui.inference.server.origins import Headers

_ANTHROPIC = "/v1/messages"


def limit_headers(standings: Iterable[Standing], path: str) -> Headers:
    """The headers of the tightest limit of each unit."""
    told: dict[str, str] = {}
    for one in standings:
        told |= {
            f"x-ratelimit-limit-{one.unit}": str(one.amount),
            f"x-ratelimit-remaining-{one.unit}": str(one.left),
            f"x-ratelimit-reset-{one.unit}": duration(one.whole_in),
        }
        if path.startswith(_ANTHROPIC):
            whole = dt.datetime.fromtimestamp(math.ceil(time.time() + one.whole_in), dt.UTC)
            begin = f"anthropic-ratelimit-{one.unit}"
            told |= {
                f"{begin}-limit": str(one.amount),
                f"{begin}-remaining": str(one.left),
                f"{begin}-reset": whole.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
    return [(name.encode(), value.encode()) for name, value in told.items()]


def duration(seconds: float) -> str:
    """A stretch of time as OpenAI writes it, such as ``6m0s`` or ``340ms``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if whole >= 60 else "") + f"{whole % 60}s"


def telling_limits(send: Send, scope: Scope) -> Send:
    """A ``send`` whose answers tell of the limits of the caller's key; what a model's server told already stays.

    Of a request that was refused before it had a caller, ``scope`` has what there is to tell.
    """

    async def told(message: Message) -> None:
        caller = scope.get("caller")
        known: Iterable[Standing] = scope.get("standings", ())
        if caller is not None and caller.grant is not None:
            known = caller.grant.standings.values()
        if message["type"] == "http.response.start" and known:
            own = {name.lower() for name, _ in message["headers"]}
            more = limit_headers(tightest(known).values(), scope["path"])
            message = {**message, "headers": [*message["headers"], *(one for one in more if one[0] not in own)]}
        await send(message)

    return told

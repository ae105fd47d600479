"""Access keys before a server's doors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.types import Scope

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.endpoints import endpoint_of
from llmops_tui.inference.access.gate import KEY_STATUS, AccessGate, Grant
from llmops_tui.inference.access.keys import BEGINNING
from llmops_tui.inference.access.limiter import LimitReachedError
from llmops_tui.inference.server.callers import Caller, is_batch
from llmops_tui.inference.server.refusals import RefusedError

# What an access key asks of one model; the others are about files, keys and figures of a workspace.
_OF_MODEL = {"chat", "completions", "embeddings", "rerank", "classify", "tokenize"}


class Access:
    """Lets access keys in before a server: the one place where their ends, scopes and requests are looked at.

    ``model`` is the one that is served; empty where a request says which.
    """

    def __init__(self, gate: AccessGate, model: str = "") -> None:
        self._gate = gate
        self._model = model

    async def caller(self, known: Caller | None, keys: Sequence[bytes], scope: Scope) -> Caller | None:
        """Whose request it is: as known already, or by one of these keys.

        Raises:
            RefusedError: the key opens nothing, or not this; or its requests are used up.
        """
        path = scope["path"]

        def check(grant: Grant) -> None:
            endpoint = endpoint_of(path)
            grant.check_endpoint(endpoint, path)
            if self._model and endpoint in _OF_MODEL:
                grant.check_model(self._model, prompt=known.prompt["name"] if known and known.prompt else "")

        try:
            if known is not None and known.access:
                # What a server of ours passes on, it has counted; the lines of a file nobody has.
                grant = await self._gate.enter_for(known.access, check, count=is_batch(known.client))
                return replace(known, key=grant.key.name, grant=grant)
            if known is not None and (known.own or known.key):
                return known
            for key in keys:
                if key.startswith(BEGINNING.encode()) and (found := await self._gate.enter(key, check)) is not None:
                    return Caller(own=False, key=found.key.name, client=found.key.id, access=found.key.id, grant=found)
        except LimitReachedError as error:
            if error.standings:
                scope["standings"] = error.standings
            raise RefusedError(
                429, error.code, error.message, "rate_limit_error", hint=error.hint, retry_after=error.retry_after
            ) from error
        except LlmopsError as error:
            status = KEY_STATUS.get(error.code, 503)
            kind = {401: "authentication_error", 403: "permission_error"}.get(status, "server_error")
            raise RefusedError(status, error.code, error.message, kind, hint=error.hint) from error
        return known

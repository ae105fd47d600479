"""A request that is turned away before any handler sees it."""

from __future__ import annotations

from llmops_tui.inference.server.answers import error_body


class RefusedError(Exception):
    """A request that is turned away; becomes an error in OpenAI's form."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        *,
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(code, message, hint, kind, param)
        self.retry_after = retry_after

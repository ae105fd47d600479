"""HTTP metadata and range requests of a remote file, with few redirects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models.records import FileRecord
from llmops_tui.models.shards import loadable_name
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    import httpx

CHUNK = 64 * 1024
MAGIC = b"GGUF"
SHA256 = re.compile(r"[0-9a-f]{64}")
_UNFIT = re.compile(r"[^A-Za-z0-9._+() -]")
_SECONDS = 30.0
_REDIRECTS = 5
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its address, the name it gets here, its size in bytes, and what vouches for it where anything does.

    ``validator`` is the server's name for these very bytes (a strong ETag, or the time they were changed): without it or
    a SHA-256, what a killed download left cannot be gone on with.
    """

    url: str
    name: str
    size: int
    sha256: str = ""
    validator: str = ""

    def as_dict(self) -> FileRecord:
        """For JSON."""
        return {
            "url": self.url,
            "name": self.name,
            "size": self.size,
            "sha256": self.sha256,
            "validator": self.validator,
        }


class CutShortError(Exception):
    """The connection ended before the file did, or the server asks to come again: the rest may still be had."""


def inspect(url: str, token: str = "") -> RemoteFile:
    """What a server says of a file, and whether it begins as a GGUF file does; fetches four bytes.

    Raises:
        InputRefusedError: the address is unfit, or what is there is no GGUF file.
        LlmopsError: it cannot be had.
    """
    check_url(url)
    try:
        return _inspect(url, token)
    except CutShortError as cut:
        raise LlmopsError("not_fetched", f"{shown(url)}: {cut}", "Check the connection, and try again.") from cut


def _inspect(url: str, token: str) -> RemoteFile:
    with answering(url, token, start=0, end=len(MAGIC) - 1) as response:
        head = b""
        for chunk in response.iter_raw(CHUNK):
            head += chunk
            if len(head) >= len(MAGIC):
                break
        if not head.startswith(MAGIC):
            raise no_gguf(url, head)
        size = announced(response, 0)
        if size is None:
            hint = "Download it yourself, then: llmops model add FILE"
            raise LlmopsError("size_unknown", f"{shown(url)} does not report the size of the file", hint)
        return RemoteFile(url, file_name(unquote(urlsplit(url).path)), size, _vouched(response), _validator(response))


def file_name(path: str) -> str:
    """The name a file gets here: the last part of its path there, with nothing in it that a folder or a terminal obeys."""
    return loadable_name(_UNFIT.sub("-", path.rpartition("/")[2]).lstrip(".-")[-150:])


def check_url(url: str) -> None:
    """Refuse what is no address of a file.

    Raises:
        InputRefusedError: ``bad_url`` or ``url_with_secret``.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputRefusedError("bad_url", f"{safe_line(url)!r} is not an http or https URL")
    if parts.username or parts.password:
        raise InputRefusedError(
            "url_with_secret", "the URL contains a user name or a password", "Download it yourself."
        )


def no_gguf(url: str, head: bytes) -> InputRefusedError:
    """The error for what is not a GGUF file."""
    what = "a web page" if head.lstrip()[:1] == b"<" else f"something that begins with {head[:8]!r}"
    return InputRefusedError(
        "not_gguf", f"{shown(url)} is not a GGUF file, but {what}", "Give the URL of the file itself."
    )


@contextmanager
def answering(
    url: str, token: str, *, start: int, end: int | None = None, validator: str = ""
) -> Iterator[httpx.Response]:
    """A server's answer to the request for a part of a file, its body not read yet."""
    import httpx

    headers = {"Accept-Encoding": "identity", "User-Agent": "llmops-tui"}
    if start or end is not None:
        headers["Range"] = f"bytes={start}-{'' if end is None else end}"
        headers |= {"If-Range": validator} if validator else {}
    # Another host is never sent it: httpx takes it out where a redirect leads elsewhere.
    headers |= {"Authorization": f"Bearer {token}"} if token else {}

    def guard(request: httpx.Request) -> None:
        if urlsplit(url).scheme == "https" and request.url.scheme != "https":
            raise InputRefusedError("redirect_refused", f"{shown(url)} redirects to an address without encryption")

    try:
        with (
            httpx.Client(
                follow_redirects=True, max_redirects=_REDIRECTS, timeout=_SECONDS, event_hooks={"request": [guard]}
            ) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            _check_status(url, response)
            yield response
    except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise InputRefusedError(
            "redirect_refused", f"{shown(url)} cannot be reached: {safe_line(str(error))}"
        ) from error
    except (httpx.TransportError, httpx.StreamError) as error:
        raise CutShortError(safe_line(str(error)) or type(error).__name__) from error


def _check_status(url: str, response: httpx.Response) -> None:
    code = response.status_code
    if code in _AGAIN:
        raise CutShortError(f"the server returned HTTP {code}")
    if code in {401, 403}:
        hint = "The owner may have to grant you access; a Hugging Face token is read from HF_TOKEN."
        raise LlmopsError("not_allowed", f"{shown(url)} requires access rights (HTTP {code})", hint)
    if code in {404, 410}:
        raise InputRefusedError("not_there", f"there is no file at {shown(url)} (HTTP {code})", "Check the spelling.")
    if code not in {200, 206}:
        raise LlmopsError("not_fetched", f"{shown(url)} returned HTTP {code}", "Try again later.")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise LlmopsError("not_fetched", f"{shown(url)} sends a compressed response, which was not requested")


def announced(response: httpx.Response, start: int) -> int | None:
    """How large the whole file is, as the answer says; none where it does not."""
    if response.status_code == 206:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != start:
            raise LlmopsError("not_fetched", f"{shown(str(response.url))} returned another range than requested")
        return int(match[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _vouched(response: httpx.Response) -> str:
    """The SHA-256 of a large file as a hub names it, on the way to where the file lies."""
    for answer in (*response.history, response):
        found = answer.headers.get("X-Linked-Etag", "").strip('"')
        if SHA256.fullmatch(found):
            return str(found)
    return ""


def _validator(response: httpx.Response) -> str:
    etag = str(response.headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def shown(url: str) -> str:
    """An address as it may be shown and kept: what stands behind a question mark may be a secret."""
    return safe_line(url.partition("?")[0].partition("#")[0])

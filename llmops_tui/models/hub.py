"""GGUF files of a Hugging Face repository or mirror, with sizes, hashes and licence."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmops_tui.bounded_http import holding
from llmops_tui.counts import agree, counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models.remote_file import SHA256, RemoteFile, file_name
from llmops_tui.models.shards import ENDING, shard_of, without_ending
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_SECONDS = 30.0
_LISTING = 64_000_000
_QUANT = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|F16|FP16|F32|FP32|MXFP4(?:_MOE)?))(?=$|[-._])",
    re.IGNORECASE,
)
_PROJECTOR = "it is a projector, which turns images into a model's input"
_MATRIX = "it is an importance matrix for quantization"
# What is taken where nobody chose, the best compromise first.
_PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q4_1", "IQ4_XS", "Q6_K", "Q8_0", "Q3_K_M")


@dataclass(frozen=True)
class Offer:
    """One model of a repository: the file, or the files it is split into, in order."""

    path: str
    quantization: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Repository:
    """A repository at one revision: what it offers, and what of it is no model, with the reason."""

    name: str
    revision: str
    licence: str
    gated: bool
    offers: tuple[Offer, ...]
    left_out: dict[str, str]


def endpoint() -> str:
    """The hub that is asked: the one ``HF_ENDPOINT`` names, or Hugging Face's own."""
    return (os.environ.get("HF_ENDPOINT") or _library().constants.ENDPOINT).rstrip("/")


def token_for(url: str) -> str:
    """The user's token where it belongs to this address: on the hub, and never unencrypted over a network."""
    hub, parts = urlsplit(endpoint()), urlsplit(url)
    if (parts.scheme, parts.netloc) != (hub.scheme, hub.netloc):
        return ""
    if parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        return ""
    return _library().get_token() or ""


def look_at(name: str, revision: str | None = None) -> Repository:
    """What a repository offers.

    Raises:
        InputRefusedError: there is none of this name, it may not be seen, or it has no GGUF file.
        LlmopsError: the hub cannot be reached.
    """
    library, hub = _library(), endpoint()
    import httpx2

    try:
        api = library.HfApi(endpoint=hub, token=token_for(hub) or False)
        info = api.model_info(name, revision=revision, files_metadata=True, timeout=_SECONDS)
    except library.errors.HFValidationError as error:
        raise InputRefusedError(
            "bad_repository", f"{name!r} is not the name of a repository", "Write: hf:OWNER/NAME"
        ) from error
    except library.errors.OfflineModeIsEnabled as error:
        raise LlmopsError(
            "offline", "HF_HUB_OFFLINE is set, so the hub is not contacted", "Unset it to download a model."
        ) from error
    except library.errors.HfHubHTTPError as error:
        raise _refused(name, revision, error) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        text = f"{hub} cannot be reached: {safe_line(str(error)) or type(error).__name__}"
        raise LlmopsError("hub_unreachable", text, "Check the connection, and HF_ENDPOINT if it is set.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LlmopsError("no_hub", f"{hub} does not respond as a Hugging Face hub", "Check HF_ENDPOINT.") from error
    return _repository(name, info, hub)


def matching(repository: Repository, quantization: str = "", path: str = "") -> list[Offer]:
    """The offers that fit what was asked for: at least one, all of them where nothing was.

    Raises:
        InputRefusedError: there is no such, or it is no model.
    """
    found = list(repository.offers)
    if path:
        why = repository.left_out.get(path)
        if why is not None:
            raise InputRefusedError("no_model", f"{path}: {why}", "Choose another file.")
        found = [o for o in found if path in {o.path, PurePosixPath(o.path).name}]
    if quantization:
        wanted = quantization.upper()
        found = [o for o in found if o.quantization == wanted] or [o for o in found if o.quantization == f"UD-{wanted}"]
    if not found:
        listed = ", ".join(f"{o.path} ({o.quantization or 'no type in its name'})" for o in repository.offers)
        asked = path or quantization
        raise InputRefusedError("not_offered", f"{repository.name} has no {asked!r}", f"It offers: {listed}.")
    return found


def sensible(offers: Sequence[Offer], fits: Callable[[int], bool]) -> Offer:
    """What to take where nobody chose: the usual compromise that fits, else the smallest."""
    by_size = sorted(offers, key=lambda offer: offer.size)
    for kind in _PREFERRED:
        for offer in by_size:
            if offer.quantization.removeprefix("UD-") == kind and fits(offer.size):
                return offer
    return by_size[0]


def quantization_of(path: str) -> str:
    """The quantization that a file's name, or its folder's, tells; empty where none does."""
    for part in reversed(without_ending(path).split("/")):
        if found := _QUANT.findall(part):
            return str(found[-1]).upper()
    return ""


def group(files: dict[str, RemoteFile]) -> tuple[list[Offer], dict[str, str]]:
    """Files by path as models: split ones together. Returns them, and what is no model, with the reason."""
    offers: list[Offer] = []
    left_out: dict[str, str] = {}
    done: set[str] = set()
    for path in sorted(files):
        if path in done:
            continue
        shard = shard_of(path)
        names = shard.all() if shard is not None else [path]
        done.update(names)
        missing = len([name for name in names if name not in files])
        why = no_model(path) or (
            f"{missing} of its {counted(len(names), 'file')} {agree(missing, 'is', 'are')} missing" if missing else ""
        )
        if why:
            left_out[path] = why
        else:
            offers.append(Offer(path, quantization_of(path), tuple(files[name] for name in names)))
    return offers, left_out


def no_model(path: str) -> str:
    """What a file in the format of models is, by its name, where it is none; else empty.

    Quantizations that were made with an importance matrix often say so in their names; a matrix has no type of its own.
    """
    name = PurePosixPath(path).name.lower()
    if "mmproj" in name:
        return _PROJECTOR
    if name.startswith("imatrix") or ("imatrix" in name and not quantization_of(name)):
        return _MATRIX
    return ""


def _repository(name: str, info: ModelInfo, hub: str) -> Repository:
    revision = str(info.sha or "main")
    files: dict[str, RemoteFile] = {}
    unsized: dict[str, str] = {}
    for sibling in info.siblings or []:
        path = sibling.rfilename
        if not path.lower().endswith(ENDING):
            continue
        if not sibling.size:
            unsized[path] = "the hub does not say how large it is"
        else:
            url = _library().hf_hub_url(name, path, revision=revision, endpoint=hub)
            digest = sibling.lfs.sha256 if sibling.lfs is not None and SHA256.fullmatch(sibling.lfs.sha256) else ""
            files[path] = RemoteFile(url, file_name(path), sibling.size, digest)
    offers, left_out = group(files)
    if not offers:
        others = sorted({PurePosixPath(s.rfilename).suffix for s in info.siblings or []} - {""})
        raise InputRefusedError(
            "no_gguf_there",
            f"{name} has no complete model as a GGUF file; it has "
            + (", ".join(others) or "no files")
            + "".join(f"; {path}: {why}" for path, why in (left_out | unsized).items()),
            "Find a repository of the same model with GGUF in its name.",
        )
    return Repository(name, revision, _licence(info), bool(info.gated), tuple(offers), left_out | unsized)


def _licence(info: ModelInfo) -> str:
    card = info.card_data
    said = getattr(card, "license_name", None) or getattr(card, "license", None)
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    return safe_line(str(said or (tags[0] if tags else "")), 100)


def _refused(name: str, revision: str | None, error: Any) -> LlmopsError:
    errors = _library().errors
    code = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        hint = "Accept its conditions on the hub, and set HF_TOKEN."
        return InputRefusedError("not_allowed", f"{name} is a gated repository", hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return InputRefusedError("no_revision", f"{name} has no revision {revision!r}", "Check the spelling.")
    if isinstance(error, errors.RepositoryNotFoundError) or code in {401, 403, 404}:
        hint = "Check the spelling; a private repository requires HF_TOKEN."
        return InputRefusedError(
            "no_repository", f"there is no repository {name}, or you have no access to it ({code})", hint
        )
    return LlmopsError("hub_refused", f"the hub returned HTTP {code} for {name}", "Try again later.")


def _library() -> Any:
    """huggingface_hub, without the questions it asks its hub about its users."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    import huggingface_hub.constants
    import huggingface_hub.errors

    _hold_answers(huggingface_hub)
    return huggingface_hub


@functools.cache
def _hold_answers(library: Any) -> None:
    """Have its answers end where they go beyond a limit; a listing of many thousand files is some megabytes."""
    import httpx2
    from huggingface_hub.utils._http import default_client_factory

    def made() -> Any:
        client = default_client_factory()
        client.headers["Accept-Encoding"] = "identity"
        client.event_hooks = client.event_hooks | {
            "response": [*client.event_hooks["response"], holding(httpx2, _LISTING)]
        }
        return client

    library.set_client_factory(made)

"""The endpoint of any registered model: its own server, one with an adapter, or a remote URL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.remote import RemoteHandle, open_remote
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import Model

Endpoint = ServerHandle | RemoteHandle


def open_endpoint(
    supervisor: ServerSupervisor,
    model: Model,
    options: LoadOptions | None = None,
    *,
    waiting: Callable[[float], None] | None = None,
) -> Endpoint:
    """Where to send requests for a model; its ``model`` is the name that requests carry.

    Raises:
        LlmopsError: the server could not be started, or a remote key is missing or would go in the clear.
    """
    if model.kind == "remote":
        return open_remote(supervisor.workspace, model)
    handle = supervisor.ensure(model.base, options, waiting=waiting)
    return dataclasses.replace(handle, model=model.name)


def find_endpoint(supervisor: ServerSupervisor, model: Model) -> Endpoint | None:
    """The same where nothing has to be started; none where the model's server does not run."""
    if model.kind == "remote":
        return open_remote(supervisor.workspace, model)
    handle = supervisor.find(model.base.name)
    return None if handle is None else dataclasses.replace(handle, model=model.name)

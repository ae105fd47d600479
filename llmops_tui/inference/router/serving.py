"""Serve all models over HTTP until asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmops_tui.inference.access.gate import AccessGate
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.filed.batches import BatchStore
from llmops_tui.inference.options import AskedRecord, LoadOptions, ServingSettings
from llmops_tui.inference.router.app import Router
from llmops_tui.inference.router.catalogue import RegisteredModels
from llmops_tui.inference.router.experiments import RoutedExperiments
from llmops_tui.inference.router.metrics import RouterMetrics
from llmops_tui.inference.router.others import Others
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.inference.router.prompts import ServedPrompts
from llmops_tui.inference.router.servers import SupervisedServers
from llmops_tui.inference.server.apis.batches import BatchesApi
from llmops_tui.inference.server.feedback import Feedback
from llmops_tui.inference.server.listener import BoundedServer
from llmops_tui.inference.server.openapi import request_models
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving import clean_up, listen, make_http, stay_reachable
from llmops_tui.inference.server.serving_note import ServingNote
from llmops_tui.inference.server.shutdown import Ending
from llmops_tui.models.engine_settings import EngineSettings, part
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums_at_end
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

# What of the settings says who reaches a server, and with whom it ends.
_ADDRESS = {
    "host", "port", "keys", "open_access", "allowed_hosts", "allowed_origins", "tls_cert", "tls_key", "starter",
    # Of what is asked there, wherever its model is served and whoever loaded it: told with each request.
    "record", "replay",
}  # fmt: skip


MakeOthers = Callable[[Catalog, ModelPool, RegisteredModels], Others]
"""Makes what is served beside the models, and asks them itself."""
MakePrompts = Callable[[Workspace], ServedPrompts]
"""Makes what renders the prompts of a workspace."""


async def serve_all(
    options: ServerOptions,
    asked: AskedRecord,
    state: Path,
    ending: Ending,
    made_of: MakeOthers,
    prompts_of: MakePrompts,
) -> None:
    """Serve until ``ending`` hears of it; models that were loaded for it are unloaded then, and ``state`` is removed."""
    workspace = Workspace(Path(options.workspace))
    metrics = RouterMetrics()
    servers = SupervisedServers(workspace, _each(options))
    pool = ModelPool(servers, max_loaded=asked["max_loaded"], wait=asked["wait"], counts=metrics)
    feedback = Feedback(EventLog(workspace), options.trace_content)
    batches = BatchesApi(BatchStore(workspace), list(request_models()))
    gate = AccessGate(EventLog(workspace))
    catalog = Catalog(workspace)
    models = RegisteredModels(catalog)
    prompts = prompts_of(workspace)
    others = made_of(catalog, pool, models)
    experiments = RoutedExperiments(ExperimentStore(EventLog(workspace)), pool, models, prompts)
    router = Router(options, pool, models, feedback, metrics, batches, experiments, gate, prompts, others)
    http = make_http(router.app(), options)
    ending.tell(http.ask_to_end)
    reachable = asyncio.create_task(_stay_reachable(http, options.socket))
    going_on = asyncio.create_task(batches.go_on())
    shadowing = asyncio.create_task(experiments.shadows.run())
    note = ServingNote(EventLog(workspace), options)
    await asyncio.to_thread(note.began)
    try:
        await http.serve(listen(options))
    finally:
        reachable.cancel()
        going_on.cancel()
        shadowing.cancel()
        await others.close()
        servers.end()
        await pool.close()
        await gate.close()
        prompts.close()
        await asyncio.to_thread(note.ended)
        clean_up(options, state)
        record_checksums_at_end(workspace)


def _each(options: ServerOptions) -> LoadOptions:
    """How each model is loaded: by the router's own settings, but for the address, which is the router's alone."""
    serving = {name: value for name, value in part(ServingSettings, options).items() if name not in _ADDRESS}
    kept: dict[str, Any] = part(EngineSettings, options) | serving
    return LoadOptions(**kept)


async def _stay_reachable(http: BoundedServer, path: str) -> None:
    while True:
        await asyncio.sleep(1)
        if http.started:
            stay_reachable(http, path)

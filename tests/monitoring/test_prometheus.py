"""A real Prometheus scrapes the servers: Debian's package, unpacked and not installed.

``PROMETHEUS`` may name the program; without it, and where none is installed, the package is fetched by ``apt-get download``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_tui.inference.options import LoadOptions, RouterOptions
from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.test_guard import free_port
from tests.router.fakes import KEY
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: model
  authorization: {{credentials: {key}}}
  static_configs: [{{targets: ["127.0.0.1:{model}"]}}]
- job_name: all
  authorization: {{credentials: {key}}}
  static_configs: [{{targets: ["127.0.0.1:{router}"]}}]
- job_name: without
  static_configs: [{{targets: ["127.0.0.1:{model}"]}}]
"""


def program(folder: Path) -> str:
    found = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
    if found:
        return found
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("there is no Prometheus here, and no way to fetch Debian's package")
    fetched = subprocess.run(["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, check=False)
    packages = list(folder.glob("prometheus_*.deb"))
    if fetched.returncode or not packages:
        pytest.skip("Debian's package of Prometheus cannot be fetched")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(folder / "unpacked")], check=True)
    return str(folder / "unpacked/usr/bin/prometheus")


class Prometheus:
    """The program at work, asked by its API."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)

    def asked(self, path: str, **parameters: str) -> Any:
        try:
            answer = self._http.get(path, params=parameters)
        except httpx.TransportError:
            return None
        return answer.json()["data"] if answer.status_code == 200 else None

    def targets(self) -> dict[str, tuple[str, str]]:
        told = self.asked("/api/v1/targets") or {"activeTargets": []}
        return {one["labels"]["job"]: (one["health"], one["lastError"]) for one in told["activeTargets"]}

    def value(self, query: str) -> float | None:
        told = self.asked("/api/v1/query", query=query)
        return float(told["result"][0]["value"][1]) if told and told["result"] else None


@pytest.fixture
def ports(sample: Workspace) -> Iterator[tuple[int, int]]:
    supervisor = ServerSupervisor(sample)
    model, router = free_port(), free_port()
    options = {"threads": 1, "host": "127.0.0.1", "keys": (KEY,)}
    supervisor.ensure(ModelRegistry(Catalog(sample)).get("support-base"), LoadOptions(**options, port=model))  # type: ignore[arg-type]
    supervisor.serve_all(RouterOptions(**options, port=router))  # type: ignore[arg-type]
    yield model, router
    supervisor.stop(ALL_MODELS)
    supervisor.stop("support-base")


def test_a_real_prometheus_scrapes_the_servers(tmp_path: Path, ports: tuple[int, int]) -> None:
    model, router = ports
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(key=json.dumps(KEY), model=model, router=router))
    port = free_port()
    command = [
        program(tmp_path), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        wait_for(lambda: sorted(health for health, _ in prometheus.targets().values()) == ["down", "up", "up"])
        health = prometheus.targets()
        # All that was said was understood, and nothing is said without the key.
        assert health["model"] == health["all"] == ("up", "")
        assert health["without"][0] == "down"
        assert "401" in health["without"][1]
        body = {"model": "support-base", "prompt": "Hi", "max_tokens": 3, "ignore_eos": True}
        headers = {"Authorization": f"Bearer {KEY}"}
        for _ in range(2):
            answered = httpx.post(f"http://127.0.0.1:{router}/v1/completions", json=body, headers=headers, timeout=300)
            assert answered.status_code == 200, answered.text
        wait_for(lambda: prometheus.value('sum(llmops:request_success_total{job="model"})') == 2)
        wait_for(lambda: prometheus.value("sum(llmops:router_requests_total)") == 2)
        assert prometheus.value("llmops:generation_tokens_total") == 6
        # A histogram is one: quantiles come out of its buckets.
        slowest = "histogram_quantile(0.99, sum by (le) (llmops:e2e_request_latency_seconds_bucket))"
        seconds = prometheus.value(slowest)
        assert seconds is not None
        assert 0 < seconds < 300
    finally:
        process.terminate()
        process.wait(60)

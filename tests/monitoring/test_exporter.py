"""What Prometheus reads, read by its own parser; and the dashboard, which names only what there is."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmops_tui.hardware.gpu_sampler import GpuSampler
from llmops_tui.hardware.nvidia import NvidiaSource
from llmops_tui.inference.server.metrics import ServerMetrics
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.monitoring.dashboard import dashboard_json, queries
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.exporter import page
from llmops_tui.monitoring.recorder import Moment, Recorder
from llmops_tui.monitoring.rules import save_rules
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.engine.certificates import make_certificate
from tests.engine.test_guard import free_port
from tests.fakes import FakeClock, FakeNvml
from tests.monitoring.test_monitoring import NOON, request
from tests.waiting import may_wait


@pytest.fixture
def moment(workspace: Workspace, event_log: EventLog) -> Moment:
    from dataclasses import replace

    from llmops_tui.jobs.store import JobStore

    nvml, clock = FakeNvml.session(), FakeClock(NOON)
    nvml.place = 35
    save_rules(workspace.alert_rules, "- {name: full, series: host.disk, above: -1, for_seconds: 0}")
    recorder = Recorder(workspace, gpus=GpuSampler([NvidiaSource(nvml, clock)]), clock=clock)
    for number in range(5):
        request(event_log, f"run_{number}", NOON, failed=number == 0, model='odd "name"\\')
    recorder.inspect()
    recorder.inspect_slowly()
    job = JobStore(event_log).add(kind="train", title="t", spec={})
    found = recorder.inspect()
    recorder.stop()
    engine = EngineLoad(
        "m",
        ProcessIdentity(1, 1.0),
        running=2,
        slots=4,
        cache=0.5,
        prefix_hits=0.1,
        prompt_rate=100.0,
        decode_rate=50.0,
    )
    return replace(found, engines=(engine,), jobs=(job,))


def samples(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name + json.dumps(sample.labels, sort_keys=True)] = sample.value
    return found


def test_prometheus_own_parser_reads_every_metric(moment: Moment) -> None:
    one, two = ServerMetrics("a"), ServerMetrics("b")
    one.ended({"finish_reason": "stop", "total_ms": 5.0, "ttft_ms": 2.0, "tokens_per_s": 10})
    two.refused("queue_full")
    text = page(moment, [one.page({"running": 1}, 0).decode(), two.page({}, 3).decode()]).decode()
    found = samples(text)
    assert found['llmops_gpu_power_watts{"gpu": "0", "name": "NVIDIA H200"}'] > 600
    assert found['llmops_gpu_ecc_errors_total{"gpu": "0", "kind": "corrected", "name": "NVIDIA H200"}'] == 2
    assert found['llmops_request_error_ratio{"model_name": "odd \\"name\\"\\\\"}'] == 0.2
    assert found['llmops:num_requests_waiting{"model_name": "b"}'] == 3
    assert found['llmops:num_requests_running{"model_name": "a"}'] == 1
    # Each family is told of once, whatever the number of servers.
    heads = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(heads) == len(set(heads))


def test_what_is_not_known_is_left_out(moment: Moment) -> None:
    assert "llmops_gpu_fan" not in page(moment, []).decode()
    from dataclasses import replace

    from llmops_tui.hardware.gpus import GpuView

    bare = page(replace(moment, gpus=GpuView(state="none"), latencies=()), []).decode()
    assert not [line for line in bare.splitlines() if line.startswith("llmops_gpu_power_watts{")]


def test_an_engine_is_up_only_where_a_request_would_be_answered(moment: Moment) -> None:
    from dataclasses import replace

    states = ["ok", "loading", "restarting", "failing", "failed", "silent", "dead"]
    engines = tuple(EngineLoad(f"m-{state}", ProcessIdentity(1, 1.0), state=state) for state in states)
    found = samples(page(replace(moment, engines=engines), []).decode())
    for state in states:
        assert found[f'llmops_engine_up{{"model_name": "m-{state}"}}'] == float(state == "ok")
        assert found[f'llmops_engine_state{{"model_name": "m-{state}", "state": "{state}"}}'] == 1
    # Of one that says nothing no figures are told as if it had.
    assert 'llmops_engine_requests_running{"model_name": "m-silent"}' not in found
    assert 'llmops_engine_requests_running{"model_name": "m-ok"}' in found


def test_a_gpu_that_is_lost_is_told_as_such(moment: Moment) -> None:
    from dataclasses import replace

    from llmops_tui.hardware.gpus import Gpu, GpuInstance, GpuView

    part = GpuInstance(4, "1g.18gb", "MIG-4", 5, 18)
    gpus = (Gpu(0, "a", "GPU-a", instances=(part,)), Gpu(1, "b", "GPU-b", trouble="gpu lost"))
    found = samples(page(replace(moment, gpus=GpuView(gpus)), []).decode())
    assert found['llmops_gpu_up{"gpu": "0", "name": "a", "uuid": "GPU-a"}'] == 1
    assert found['llmops_gpu_up{"gpu": "1", "name": "b", "uuid": "GPU-b"}'] == 0
    labels = '{"gpu": "0", "instance": "4", "name": "1g.18gb", "uuid": "MIG-4"}'
    assert found[f"llmops_gpu_instance_memory_used_bytes{labels}"] == 5


async def test_what_was_seen_long_ago_is_not_told_as_what_is(workspace: Workspace) -> None:
    from llmops_tui.inference.server.options import ServerOptions
    from llmops_tui.monitoring.endpoint import application

    clock = FakeClock(NOON)
    recorder = Recorder(workspace, gpus=GpuSampler([NvidiaSource(FakeNvml.session(), clock)]), clock=clock, ticks=clock)
    options = ServerOptions(
        workspace=str(workspace.root),
        model="monitor",
        path="",
        sha256="",
        socket="",
        key="k",
        chat_template=None,
    )
    transport = httpx.ASGITransport(app=application(recorder, options))
    head = {"Authorization": "Bearer k"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=head) as client:
        assert [(await client.get(path)).status_code for path in ("/health", "/metrics")] == [503, 503]
        recorder.inspect()
        assert [(await client.get(path)).status_code for path in ("/health", "/metrics")] == [200, 200]
        clock.advance(31)
        assert (await client.get("/health")).json() == {"status": "stale"}
        late = await client.get("/metrics")
        assert (late.status_code, late.text) == (503, "no sample for 31 s: a sample has not finished\n")
    recorder.stop()


def test_the_dashboard_names_only_series_that_exist(moment: Moment) -> None:
    names = {key.partition("{")[0] for key in samples(page(moment, []).decode())}
    told = json.loads(dashboard_json())
    shown = [target["expr"] for panel in told["panels"] for target in panel["targets"]]
    assert shown == queries()
    for query in shown:
        asked = set(re.findall(r"llmops_[a-z_]+", query))
        assert asked
        assert asked <= names, query


def test_the_address_asks_for_a_key_and_answers_prometheus(workspace: Workspace) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "llmops_tui",
            "--workspace",
            str(workspace.root),
            "--json",
            "monitor",
            "--serve",
            "--port",
            "0",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        key = Path(told["api_key_file"]).read_text().splitlines()[1]
        assert httpx.get(told["url"]).status_code == 401
        begun = time.monotonic()
        while True:
            answer = httpx.get(told["url"], headers={"Authorization": f"Bearer {key}"})
            if answer.status_code == 200 or not may_wait(begun, 120):
                break
        assert answer.status_code == 200
        assert "llmops_host_cpu_percent{}" in samples(answer.text)
        rebound = httpx.get(told["url"], headers={"Authorization": f"Bearer {key}", "Host": "evil.example"})
        assert rebound.status_code == 403
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


@pytest.mark.slow
def test_the_address_is_encrypted_where_a_certificate_is_given(workspace: Workspace, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    llmops = Llmops(workspace)
    llmops.run("monitor", "--once", "--tls-cert", str(certificate), "--tls-key", str(key), code=2)
    for unfit in (("--once", "--port", "9000"), ("--no-key",), ("--serve", "--once")):
        llmops.run("monitor", *unfit, code=2)
    alone = llmops.run("monitor", "--serve", "--port", str(port), "--tls-cert", str(certificate), code=3)
    assert alone["error"]["code"] == "bad_certificate"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "llmops_tui",
            "--workspace",
            str(workspace.root),
            "--json",
            "monitor",
            "--serve",
            "--port",
            str(port),
            "--tls-cert",
            str(certificate),
            "--tls-key",
            str(key),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["url"] == f"https://127.0.0.1:{port}/metrics"
        assert told["encrypted"]
        context = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(told["url"], verify=context).status_code == 401
        with pytest.raises(httpx.TransportError):
            httpx.get(told["url"].replace("https", "http"))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


def test_the_command_line_tells_a_moment_and_its_rules(workspace: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(workspace)
    moment = llmops.run("monitor", "--once")
    assert {"host", "gpu", "engines", "latency", "alerts"} <= moment.keys()
    assert moment["gpu"]["state"] in {"ok", "none"}
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {name: busy, series: host.memory, above: 0, for_seconds: 0}")
    assert len(llmops.run("monitor", "alerts", "--use", str(rules))["rules"]) == 1
    llmops.run("monitor", "--once")
    raised = llmops.run("monitor", "alerts")["alerts"]
    assert raised[0]["rule"] == "busy"
    tried = llmops.run("monitor", "alerts", "--dry-run", str(rules))
    assert tried["dry_run"]
    assert tried["total"] >= 1
    llmops.run("monitor", "alerts", "--use", str(tmp_path / "none"), code=3)

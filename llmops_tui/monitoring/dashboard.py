"""A Grafana dashboard over the exporter's metrics, generated from their names."""

from __future__ import annotations

import json
from typing import Any

# Title, unit as Grafana names it, and the queries with their legends.
_PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("GPU utilisation", "percent", (
        ("llmops_gpu_utilisation_percent", "{{gpu}} kernels"), ("llmops_gpu_memory_bandwidth_percent", "{{gpu}} bandwidth"),
    )),
    ("GPU memory", "bytes", (
        ("llmops_gpu_memory_used_bytes", "{{gpu}} used"), ("llmops_gpu_memory_total_bytes", "{{gpu}} there"),
    )),
    ("GPU power", "watt", (("llmops_gpu_power_watts", "{{gpu}} drawn"), ("llmops_gpu_power_limit_watts", "{{gpu}} limit"))),
    ("GPU temperature", "celsius", (("llmops_gpu_temperature_celsius", "{{gpu}}"),)),
    ("Energy per hour", "joule", (("increase(llmops_gpu_energy_joules_total[1h])", "{{gpu}}"),)),
    ("GPU faults", "short", (
        ("llmops_gpu_throttled", "{{gpu}} throttled by {{reason}}"),
        ("llmops_gpu_ecc_errors_total", "{{gpu}} memory errors {{kind}}"), ("llmops_gpu_faults_total", "{{gpu}} Xid"),
    )),
    ("Processor", "percent", (("llmops_host_cpu_percent", "all cores"),)),
    ("Memory", "bytes", (("llmops_host_memory_used_bytes", "used"), ("llmops_host_memory_total_bytes", "there"))),
    ("Disk of the workspace", "bytes", (("llmops_host_disk_used_bytes", "used"), ("llmops_host_disk_total_bytes", "size"))),
    ("First token", "s", (('llmops_request_latency_seconds{kind="first"}', "{{model_name}} p{{quantile}}"),)),
    ("Between tokens", "s", (('llmops_request_latency_seconds{kind="token"}', "{{model_name}} p{{quantile}}"),)),
    ("Whole answer", "s", (('llmops_request_latency_seconds{kind="total"}', "{{model_name}} p{{quantile}}"),)),
    ("Requests", "short", (
        ("llmops_engine_requests_running", "{{model_name}} running"),
        ("llmops_engine_requests_waiting", "{{model_name}} waiting"),
        ("llmops_requests_recent", "{{model_name}} in 15 min"),
    )),
    ("Failed requests", "percentunit", (("llmops_request_error_ratio", "{{model_name}}"),)),
    ("Speed", "short", (
        ("llmops_engine_decode_tokens_per_second", "{{model_name}} generating"),
        ("llmops_engine_prompt_tokens_per_second", "{{model_name}} reading"),
    )),
    ("Responding engines", "short", (("llmops_engine_up", "{{model_name}}"),)),
    ("Responding GPUs", "short", (("llmops_gpu_up", "{{gpu}} {{uuid}}"),)),
    ("Cache", "percentunit", (
        ("llmops_engine_cache_ratio", "{{model_name}} in use"), ("llmops_engine_prefix_hit_ratio", "{{model_name}} reused"),
    )),
    ("Alerts", "short", (("llmops_alert_active", "{{rule}}: {{series}}"),)),
    ("Jobs", "short", (("llmops_jobs_running", "{{kind}}"),)),
)  # fmt: skip
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 7


def queries() -> list[str]:
    """All queries of the dashboard."""
    return [query for _, _, lines in _PANELS for query, _ in lines]


def dashboard_json() -> str:
    """The dashboard as Grafana imports it."""
    source = {"type": "prometheus", "uid": "${source}"}
    panels: list[dict[str, Any]] = []
    for number, (title, unit, lines) in enumerate(_PANELS):
        row, column = divmod(number, _COLUMNS)
        panels.append(
            {
                "id": number + 1,
                "type": "timeseries",
                "title": title,
                "datasource": source,
                "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + n), "expr": query, "legendFormat": legend, "datasource": source}
                    for n, (query, legend) in enumerate(lines)
                ],
            }
        )
    variable = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}
    return json.dumps(
        {
            "title": "llmops",
            "uid": "llmops",
            "schemaVersion": 39,
            "tags": ["llmops"],
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [variable]},
            "panels": panels,
        },
        indent=1,
    )

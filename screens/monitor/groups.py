"""Groups of series that share one chart and scale."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.monitoring.series import unit_of

# Windows of the chart in seconds, and what they are called.
WINDOWS = (
    (60, "1 min"), (300, "5 min"), (900, "15 min"), (3600, "1 h"), (6 * 3600, "6 h"), (86_400, "1 day"),
    (7 * 86_400, "7 days"), (30 * 86_400, "30 days"), (90 * 86_400, "90 days"),
)  # fmt: skip
FIRST_WINDOW = 2


@dataclass(frozen=True)
class Group:
    """Series under one title; ``top`` ends a fixed scale."""

    title: str
    series: tuple[tuple[str, str], ...]
    top: float | None = None

    @property
    def unit(self) -> str:
        """The unit of its series."""
        return unit_of(self.series[0][0])


def groups_of(names: list[str]) -> list[Group]:
    """The groups that the recorded series make, those of the GPUs first."""
    known = set(names)
    gpus = sorted({name.split(".")[0] for name in names if name.startswith("gpu")}, key=lambda g: (len(g), g))
    found = []
    if gpus:
        load = [
            (f"{g}.{what}", f"{g} {word}")
            for g in gpus
            for what, word in (("utilisation", "util"), ("bandwidth", "bandwidth"))
        ]
        found += [
            Group("GPU load", tuple(load), 100.0),
            Group("GPU memory", tuple((f"{g}.memory", g) for g in gpus), 100.0),
            Group("GPU power", tuple((f"{g}.power", g) for g in gpus)),
            Group("GPU temperature", tuple((f"{g}.temperature", g) for g in gpus)),
        ]
    found.append(Group("Host", (("host.cpu", "cpu"), ("host.memory", "memory"), ("host.disk", "disk")), 100.0))
    for model in sorted({name.split(".", 1)[1].rsplit(".", 2)[0] for name in names if name.startswith("latency.")}):
        found.append(
            Group(f"First token of {model}", tuple((f"latency.{model}.first.{p}", p) for p in ("p50", "p95", "p99")))
        )
        found.append(
            Group(f"Total time of {model}", tuple((f"latency.{model}.total.{p}", p) for p in ("p50", "p95", "p99")))
        )
    for model in sorted({name.split(".", 1)[1].rsplit(".", 1)[0] for name in names if name.startswith("engine.")}):
        found.append(
            Group(
                f"Speed of {model}",
                ((f"engine.{model}.decode_rate", "generating"), (f"engine.{model}.throughput", "5 min mean")),
            )
        )
        found.append(
            Group(
                f"Requests of {model}", ((f"engine.{model}.running", "running"), (f"engine.{model}.waiting", "waiting"))
            )
        )
    found += [
        Group(f"Loss of {name.split('.', 1)[1].rsplit('.', 1)[0]}", ((name, "loss"),))
        for name in sorted(names)
        if name.startswith("training.") and name.endswith(".loss")
    ]
    found.append(Group("Disk traffic", (("host.read", "read"), ("host.written", "written"))))
    found.append(Group("Network", (("host.received", "received"), ("host.sent", "sent"))))
    return [group for group in found if any(name in known for name, _ in group.series)]

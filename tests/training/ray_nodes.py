"""A Ray cluster on this machine for tests: ``FOLDER COUNT``; a head that lends nothing, and nodes with a processor each.

Prints a line of JSON with the address and, by node, the folder of its caches and the pid of its raylet. It ends with its input.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ray._private import services
from ray.cluster_utils import Cluster

_STORE_BYTES = 80 * 2**20
_PATIENCE_SECONDS = 1500.0
_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def _be_patient() -> None:
    """Ray gives a node 30 seconds to tell of itself, and 15 to what it starts beside it, which a busy machine may not have."""
    ask, start = services.get_node, services.start_raylet

    def get_node(*arguments: Any) -> Any:
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(1)

    def start_raylet(*arguments: Any, **options: Any) -> Any:
        # The ports are known: they are told before those tell them that will have them.
        node, session = arguments[2], Path(arguments[11])
        for name in _PORTS:
            (session / f"{name}_{node}").write_text(str(options[name]))
        return start(*arguments, **options)

    services.get_node, services.start_raylet = get_node, start_raylet


def _ports() -> dict[str, int]:
    """Free ports for what a node starts beside itself."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in _PORTS]
    found = {name: one.getsockname()[1] for name, one in zip(_PORTS, held, strict=True)}
    for one in held:
        one.close()
    return found


def main() -> None:
    """Start it, and wait."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    # Where Ray notes the newest cluster's address: not among the user's own, and not where nobody made a folder for it.
    os.environ["RAY_TMPDIR"] = str(folder)
    _be_patient()
    small = {"object_store_memory": _STORE_BYTES, "include_dashboard": False, "include_log_monitor": False}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "no_monitor": True, "temp_dir": str(folder / "ray"), **small, **_ports()},
    )
    nodes = []
    for number in range(count):
        caches = folder / f"node{number}"
        made = cluster.add_node(num_cpus=1, env_vars={"XDG_CACHE_HOME": str(caches)}, **small, **_ports())
        nodes.append({"caches": str(caches), "pid": made.all_processes["raylet"][0].process.pid})
    sys.stdout.write(json.dumps({"address": cluster.address, "nodes": nodes}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()

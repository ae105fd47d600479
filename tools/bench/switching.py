"""What a change of screen costs: processor time of the app until the frame that shows it, and bytes, first and later.

With ``tmux`` on a terminal that repeats signs of ASCII alone, as tmux does.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from tests.e2e.terminal import Terminal  # noqa: E402
from tools.bench.drawing import opened  # noqa: E402

# The key of a screen, and what only that one shows.
SCREENS = {
    "0": "Next steps", "2": "Columns", "3": "Recipes", "4": "Suites", "5": "Facts", "6": "Processes",
    "7": "Conversation", "8": " Log ", "9": "idle minutes", "1": "Variables",
}  # fmt: skip
_LATER_VISITS = 3


def processor_ms(pid: int) -> float:
    """Milliseconds on a processor of the thread that draws so far, as the scheduler counts them.

    Others read the workspace and the machine meanwhile, and more of that the longer a busy machine takes for the frame.
    """
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e6


def switched(app: Terminal, key: str, sign: str) -> tuple[float, int]:
    """Go to a screen; milliseconds on a processor until it is seen, and the bytes of it and what it fills in."""
    while app.pump(0.3) and (before := len(app.raw)) and app.pump(0.3) and len(app.raw) != before:
        pass
    before, begun = len(app.raw), processor_ms(app.child.pid)
    app.press(key)
    app.wait(sign)
    took = processor_ms(app.child.pid) - begun
    app.pump(0.5)
    return took, len(app.raw) - before


def main() -> dict[str, object]:
    """Go through all screens, once and then again and again."""
    with tempfile.TemporaryDirectory(prefix="llmops-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ.update(LC_ALL="C.UTF-8", TERM="xterm-256color")
        workspace = make_workspace(Workspace(Path(folder) / "ws"))
        fill(workspace)
        app = opened(workspace)
        app.press("escape")
        visits: dict[str, list[tuple[float, int]]] = {key: [] for key in SCREENS}
        for _ in range(1 + _LATER_VISITS):
            for key, sign in SCREENS.items():
                visits[key].append(switched(app, key, sign))
        app.press("ctrl+q")
        app.finish()
        app.close()
    # The playground was in front at the start: its first visit is none.
    first = {sign.strip(): round(visits[key][0][0], 1) for key, sign in SCREENS.items() if key != "1"}
    later = {
        sign.strip(): round(statistics.median(ms for ms, _ in visits[key][1:]), 1) for key, sign in SCREENS.items()
    }
    size = {sign.strip(): round(statistics.median(n for _, n in visits[key][1:])) for key, sign in SCREENS.items()}
    return {"first_ms": first, "later_ms": later, "later_bytes": size}


if __name__ == "__main__":
    Terminal.ascii_alone = "tmux" in sys.argv[1:]
    print(json.dumps(main(), indent=2))

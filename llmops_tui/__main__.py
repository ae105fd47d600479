"""The entry point of the ``llmops`` command."""

from __future__ import annotations

import sys

from llmops_tui import __version__


def main() -> None:
    """Run the command line; ``--version`` is answered without loading it."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"llmops {__version__}\n")
        return
    from llmops_tui.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

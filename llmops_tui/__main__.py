"""The entry point of the ``llmops`` command."""

from __future__ import annotations

import sys

from llmops_tui import __version__, streams
from llmops_tui.errors import ExitCode, LlmopsError


def main() -> None:
    """Run the command line; the version and the app itself do without loading it."""
    streams.hold()
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.exit(_tell_version())
    sys.exit(_open_app() if _only_globals() else _run_command())


def _tell_version() -> int:
    try:
        with streams.watched():
            sys.stdout.write(f"llmops {__version__}\n")
    except (LlmopsError, BrokenPipeError) as error:
        sys.stderr.write(f"llmops: {error.told}\n" if isinstance(error, LlmopsError) else "")
        return int(ExitCode.FAILED)
    return int(ExitCode.DONE)


def _only_globals() -> bool:
    """Whether the app is asked for. The parser of commands takes as long to load as the first frame does to draw."""
    from llmops_tui.cli.options import split_globals

    try:
        return split_globals(sys.argv[1:])[1] == [] and sys.stdin.isatty() and sys.stdout.isatty()
    except LlmopsError:
        return False


def _open_app() -> int:
    from llmops_tui.cli.options import split_globals
    from llmops_tui.cli.start import offered, open_app
    from llmops_tui.workspace.layout import find_workspace

    options, _ = split_globals(sys.argv[1:])
    try:
        return open_app(offered(find_workspace(options.workspace)))
    except LlmopsError as error:
        sys.stderr.write(f"llmops: {error.told}\n")
        return int(error.exit_code)


def _run_command() -> int:
    from llmops_tui.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    main()

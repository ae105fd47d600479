"""What tests cost: the processor time of each, with that of the processes it waited for, told at the end of a run.

A clock on the wall tells how busy the machine was; processor time tells what to look at. Commands that run in forks of
another process are in it; servers and jobs that nobody waits for are not.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# A test of the default suite that needs more than this belongs among the slow ones, or is to be made cheaper.
MOST_SECONDS = 5.0
_SHOWN = 10


# Of commands that another process forked: those are no children of this one.
_forked = [0.0]


def note_forked(seconds: float) -> None:
    """Count what a command needed that ran in a fork of another process."""
    _forked[0] += seconds


def _seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return _forked[0] + sum(one.ru_utime + one.ru_stime for one in used)


class ProcessorTime:
    """A plugin of pytest; each worker measures, and the process that writes the summary adds up."""

    def __init__(self) -> None:
        self._begun = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, Any, Any]:
        """From here on what is used is this test's."""
        self._begun = _seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        """What was used since the report before goes with this one, from a worker, too."""
        report = yield
        now = _seconds()
        report.user_properties.append(("processor_seconds", now - self._begun))
        self._begun = now
        return report

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """The files and tests that needed most, of runs of many files."""
        tests: Counter[str] = Counter()
        for reports in terminalreporter.stats.values():
            for report in reports:
                found = dict(getattr(report, "user_properties", ()))
                tests[getattr(report, "nodeid", "")] += found.get("processor_seconds", 0.0)
        files: Counter[str] = Counter()
        for test, seconds in tests.items():
            files[test.partition("::")[0]] += seconds
        if len(files) < _SHOWN:
            return
        terminalreporter.section("processor time")
        terminalreporter.line(f"{sum(files.values()):7.1f} s  all {len(tests):,} tests")
        for name, seconds in files.most_common(_SHOWN):
            terminalreporter.line(f"{seconds:7.1f} s  {Path(name)}")
        over = [(test, seconds) for test, seconds in tests.most_common() if seconds > MOST_SECONDS]
        if over and "not slow" in config.option.markexpr:
            terminalreporter.line(f"More than {MOST_SECONDS:g} s each; make them cheaper, or mark them slow:")
            for test, seconds in over:
                terminalreporter.line(f"{seconds:7.1f} s  {test}")

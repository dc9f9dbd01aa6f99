"""What all tests share: the way to `animate_core`, and what a run tells at its end; a skipped test is a failed run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# `animate_core` is imported by its own name, past the pack's __init__.py, which only the host can import.
# The root goes to the *end* of the path: at the front its `nodes/` would shadow the host's `nodes` module. Nothing in this
# process imports the host anyway: it runs as a server of its own (tests/host), which never gets this path.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


class NoSkips:
    """Makes a run with a skipped test fail, and says which tests were skipped and why."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        self.reasons.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.reasons and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.reasons:
            terminalreporter.section("skipped tests: the run has failed", red=True)
            for line in self.reasons:
                terminalreporter.line(line)


class PlainRoot:
    """Makes pytest take the repository's root for a folder, not for a Python package whose __init__.py it must import.

    A plugin and not a hook of this file, since pytest doesn't ask a conftest.py about the folders above it.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


class Measurements:
    """Figures that tests found worth telling, shown above the summary of a run whose tests passed, too."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            terminalreporter.section("measured")
            for line in self.lines:
                terminalreporter.line(line)


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Call it with a line to be shown at the end of the run."""
    plugin = pytestconfig.pluginmanager.get_plugin("measurements")
    assert isinstance(plugin, Measurements)
    return plugin.lines.append


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Measurements(), "measurements")
    config.pluginmanager.register(NoSkips(), "no-skips")
    config.pluginmanager.register(PlainRoot(), "plain-root")

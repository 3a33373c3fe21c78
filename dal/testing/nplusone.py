"""The pytest plugin of detection: it works by being installed.

    pytest --nplusone=fail                                       # off | warn | fail
    pytest --nplusone=fail --nplusone-baseline=nplusone.json     # made once, from then on it only shrinks
    pytest --nplusone=warn --nplusone-report=out.html            # also .json, .sarif; may be given several times

    def test_page(client, queries):
        client.get("/users")
        assert queries.count <= 3

    @pytest.mark.nplusone(allow=["User.orders"])   # or max_queries=3, max_seconds=0.5, threshold=5, ignore=True

The same as settings: `nplusone = "fail"`, `nplusone_baseline`, `nplusone_allow`, `nplusone_threshold`. Only the test itself is
observed, not its fixtures; writes and refreshes that the test's own file does, to prepare its data, are not findings.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dal.testing.queries import Queries

if TYPE_CHECKING:
    from dal.detection import Finding, Report
    from dal.detection.baseline import Baseline
    from dal.detection.reports.record import ScopeRecord

__all__ = ["Queries"]

_MARK = "nplusone(allow, max_queries, max_seconds, threshold, ignore): what detection may find in this test"
_KEYWORDS = frozenset({"allow", "max_queries", "max_seconds", "threshold", "ignore"})
_OUTPUT = "dal_nplusone"
_TIMELINE = 500


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and settings."""
    group = parser.getgroup("nplusone", "N+1 detection")
    group.addoption("--nplusone", choices=("off", "warn", "fail"), help="observe each test for N+1 queries (default: off)")
    group.addoption(
        "--nplusone-baseline", metavar="FILE", help="known findings; made when it is not there, then it only shrinks"
    )
    group.addoption(
        "--nplusone-report",
        metavar="FILE",
        action="append",
        default=[],
        help="write *.html, *.json or *.sarif; may be repeated",
    )
    parser.addini("nplusone", "observe each test for N+1 queries: off, warn or fail", default="off")
    parser.addini("nplusone_baseline", "file with known findings", default="")
    parser.addini(
        "nplusone_allow", "patterns of accepted findings: User.orders, User.*, app/admin.py:*", type="linelist", default=[]
    )
    parser.addini("nplusone_threshold", "from how many objects on a load for each of them is told", default="2")


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings and register the marker."""
    config.addinivalue_line("markers", _MARK)
    config.pluginmanager.register(_Observer(config), "dal-nplusone-observer")


class _Observer:
    """What one test process sees; the controller of xdist also gathers what its workers saw."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.mode = str(config.getoption("--nplusone") or config.getini("nplusone"))
        if self.mode not in ("off", "warn", "fail"):
            raise pytest.UsageError(f"nplusone = {self.mode!r}: write off, warn or fail")
        threshold = str(config.getini("nplusone_threshold"))
        if not threshold.isdigit() or int(threshold) < 2:
            raise pytest.UsageError(f"nplusone_threshold = {threshold!r}: write a number, 2 or more")
        self.threshold = int(threshold)
        self.allow: list[str] = list(config.getini("nplusone_allow"))
        self.reports = [Path(path) for path in config.getoption("--nplusone-report") or ()]
        named = config.getoption("--nplusone-baseline") or config.getini("nplusone_baseline")
        self.baseline_path = config.rootpath / named if named else None
        self.scopes: list[ScopeRecord] = []
        self.is_worker = hasattr(config, "workerinput")
        self._queries = pytest.StashKey[Queries]()
        self._baseline: Baseline | None = None
        self._after: Baseline | None = None
        self._holds = False
        if self.mode != "off":
            self._check()

    def _check(self) -> None:
        from dal.detection.baseline import Baseline
        from dal.detection.reports.write import writer_for
        from dal.errors import DalError

        try:
            for path in self.reports:
                writer_for(path)
            if self.baseline_path is not None and self.baseline_path.exists():
                self._baseline = Baseline.read(self.baseline_path)
        except DalError as error:
            raise pytest.UsageError(str(error)) from error

    # One test.

    @pytest.fixture
    def queries(self, request: pytest.FixtureRequest) -> Queries:
        """The statements that this test sends: `queries.count`, `queries.seconds`, `queries.findings`."""
        found: Queries = request.node.stash.setdefault(self._queries, Queries())
        return found

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Observe the test's own code, between its fixtures."""
        marked = _marked(item)
        wanted = (
            self.mode != "off"
            or "queries" in getattr(item, "fixturenames", ())
            or marked.keys() & {"max_queries", "max_seconds"}
        )
        if not wanted:
            return (yield)
        from dal.detection import detect

        self._hold()
        threshold, allow = int(marked.get("threshold", self.threshold)), [*self.allow, *marked.get("allow", ())]
        with detect(threshold=threshold, allow=allow, timeline=_TIMELINE if self.reports else 0) as report:
            item.stash.setdefault(self._queries, Queries()).watch(report)
            result = yield
        self._judge(item, report, marked)
        return result

    def _hold(self) -> None:
        """Keep the listeners from the first observed test to the last: to come and go would cost more than they do."""
        if self.mode != "off" and not self._holds:
            from dal.detection import listeners

            self._holds = True
            listeners.hold()

    def pytest_unconfigure(self) -> None:
        """Let the listeners go."""
        if self._holds:
            from dal.detection import listeners

            self._holds = False
            listeners.release()

    def _judge(self, item: pytest.Item, report: Report, marked: dict[str, Any]) -> None:
        from dal.detection.reports.record import record, record_of

        _hold_to_budget(report, marked)
        if self.mode == "off":
            return
        seen = record(report, item.nodeid)
        told = [] if marked.get("ignore") else [finding for finding in report.findings if not _prepares(finding, item)]
        seen["findings"] = [record_of(finding) for finding in told]
        self.scopes.append(seen)
        new = [finding for finding in told if self._baseline is None or not self._baseline.knows(record_of(finding))]
        making = self.baseline_path is not None and self._baseline is None
        if new and self.mode == "fail" and not making:
            from dal.detection.report import render

            pytest.fail("\n\n".join(["N+1 detection:", *(render(finding) for finding in new)]), pytrace=False)

    # The run.

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what a worker saw, or write the files."""
        if self.mode == "off":
            return
        if self.is_worker:
            self.config.workeroutput[_OUTPUT] = self.scopes  # type: ignore[attr-defined]
            return
        from dal.detection.baseline import Baseline
        from dal.detection.reports.write import write_report

        for path in self.reports:
            write_report(path, self.scopes)
        if self.baseline_path is not None:
            self._after = Baseline.of(self.scopes) if self._baseline is None else self._baseline.shrunk(self.scopes)
            if self._baseline is None or len(self._after) < len(self._baseline):
                self._after.write(self.baseline_path)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Gather what a worker of xdist saw."""
        for scope in getattr(node, "workeroutput", {}).get(_OUTPUT, ()):
            self.scopes.append(scope)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was found, most statements first."""
        if self.mode == "off" or self.is_worker:
            return
        places = _places(self.scopes)
        write = terminalreporter.write_line
        if places or self.baseline_path is not None or self.reports:
            terminalreporter.section("N+1 detection")
        for (message, site, fix), (names, queries) in places[:20]:
            write(f"{message}: {queries} statements in {len(names)} test{'s' if len(names) > 1 else ''}")
            write(f"  at    {site}")
            write(f"  write {fix}")
        if len(places) > 20:
            write(f"... and {len(places) - 20} more; --nplusone-report=out.html shows all")
        if self.baseline_path is not None:
            write(self._about_baseline())
        for path in self.reports:
            write(f"report: {path}")
        self._annotate(write)

    def _about_baseline(self) -> str:
        name = self.baseline_path.name if self.baseline_path is not None else ""
        left = len(self._after) if self._after is not None else 0
        if self._baseline is None:
            return f"baseline {name} made with {left} known findings"
        gone = len(self._baseline) - left
        return f"baseline {name}: {left} known findings left" + (f", {gone} gone" if gone else "")

    def _annotate(self, write: Any) -> None:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            from dal.detection.reports.github import as_github

            for line in as_github(self.scopes, level="error" if self.mode == "fail" else "warning"):
                write(line)


def _marked(item: pytest.Item) -> dict[str, Any]:
    """Return what the nearest marker says, checked."""
    marked: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("nplusone"))):
        unknown = sorted(set(mark.kwargs) - _KEYWORDS)
        if unknown or mark.args:
            wrong = ", ".join(unknown) or "a positional argument"
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.nplusone does not know {wrong}; it takes {', '.join(sorted(_KEYWORDS))}"
            )
        marked |= mark.kwargs
    return marked


def _hold_to_budget(report: Report, marked: dict[str, Any]) -> None:
    most, longest = marked.get("max_queries"), marked.get("max_seconds")
    if most is not None and report.count > most:
        shapes = "\n".join(f"{seen.count:4d} x {seen.sql[:160]}\n       at {seen.call_site}" for seen in report.statements)
        pytest.fail(f"{report.count} statements, allowed are {most}\n{shapes}", pytrace=False)
    if longest is not None and report.seconds > longest:
        pytest.fail(f"{report.seconds:.3f} s in the database, allowed are {longest} s", pytrace=False)


def _prepares(finding: Finding, item: pytest.Item) -> bool:
    """Tell whether a finding is the test's own preparation of data."""
    if finding.rule == "row-by-row-writes" or getattr(finding, "reason", "") in ("expired", "refresh"):
        file = finding.call_site.rpartition(":")[0]
        return _is_test_code(Path(file), item)
    return False


def _is_test_code(path: Path, item: pytest.Item) -> bool:
    patterns: Sequence[str] = [*item.config.getini("python_files"), "conftest.py", "factories.py", "*_factory.py"]
    return any(path.match(pattern) for pattern in patterns)


def _places(scopes: Sequence[ScopeRecord]) -> list[tuple[tuple[str, str, str], tuple[set[str], int]]]:
    """Gather findings by place, the most statements first."""
    found: dict[tuple[str, str, str], tuple[set[str], int]] = {}
    for scope in scopes:
        for finding in scope["findings"]:
            site = f"{finding['file']}:{finding['line']} in {finding['function']}"
            key = (f"{finding['rule']} {finding['subject']}", site, finding["fix"])
            names, queries = found.get(key, (set(), 0))
            found[key] = (names | {scope["name"]}, queries + finding["queries"])
    return sorted(found.items(), key=lambda entry: -entry[1][1])

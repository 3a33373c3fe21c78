"""Every scenario of the table on SQLite: what has to be flagged is, at the right line, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from dal.detection import Report, detect
from tests.detection.scenarios import applications, columns, eager_loads, lazy_loads, ported, statements, writes  # noqa: F401
from tests.detection.scenarios.models import Base, seed
from tests.detection.scenarios.table import TABLE, App, Scenario

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    engine.dispose()
    return path


@pytest.fixture
def app(seeded: Path, tmp_path: Path) -> Iterator[App]:
    engine = create_engine(f"sqlite:///{shutil.copy(seeded, tmp_path / 'shop.db')}")
    with Session(engine) as session:
        yield App(engine, session)
    engine.dispose()


def watch(scenario: Scenario, app: App) -> Report:
    with detect() as report:
        scenario.run(app)
    return report


def marked(site: str) -> bool:
    """Tell whether a call site is a line that the scenario marks as the one to name."""
    file, _, rest = site.partition(":")
    line = int(rest.split(" ")[0])
    return "# HERE" in Path(file).read_text(encoding="utf-8").splitlines()[line - 1]


@pytest.mark.parametrize("scenario", [s for s in TABLE.values() if s.dirty], ids=lambda s: s.name)
def test_flagged(scenario: Scenario, app: App) -> None:
    report = watch(scenario, app)
    found = [f for f in report.findings if f.rule == scenario.rule and scenario.subject in ("", f.subject)]
    assert found, f"{scenario.name}: nothing about {scenario.rule} {scenario.subject}\n{report}"
    if scenario.name not in {"chain_of_parents_by_recursion", "in_two_branches_of_a_loop"}:
        assert marked(found[0].call_site), str(report)
    assert found[0].fix


@pytest.mark.parametrize("scenario", [s for s in TABLE.values() if not s.dirty], ids=lambda s: s.name)
def test_silent(scenario: Scenario, app: App) -> None:
    report = watch(scenario, app)
    assert not report.findings, str(report)
    assert not report._scope.failed


def test_as_many_clean_as_dirty() -> None:
    dirty = sum(scenario.dirty for scenario in TABLE.values())
    assert dirty >= 75
    assert len(TABLE) >= 150
    assert abs(len(TABLE) - 2 * dirty) <= len(TABLE) // 8

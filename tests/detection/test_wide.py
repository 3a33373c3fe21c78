"""`detect(wide=True)`: columns of wide rows that nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, Integer, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, load_only, mapped_column
from sqlalchemy.pool import StaticPool

from dal.detection import UnusedColumns, detect


class Base(DeclarativeBase): ...


class Wide(Base):
    __tablename__ = "wide"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


for _number in range(12):
    setattr(Wide, f"c{_number}", mapped_column(Integer, default=_number))


class Narrow(Base):
    __tablename__ = "narrow"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([*(Wide(name=str(n)) for n in range(5)), *(Narrow(name=str(n)) for n in range(5))])
        session.commit()
    yield engine
    engine.dispose()


def names(session: Session) -> list[str]:
    return [row.name for row in session.scalars(select(Wide))]


def everything(session: Session) -> list[object]:
    return [[getattr(row, f"c{n}") for n in range(12)] for row in session.scalars(select(Wide))]


def narrow(session: Session) -> list[str]:
    return [row.name for row in session.scalars(select(Narrow))]


def test_unused_columns_are_named(engine: Engine) -> None:
    with Session(engine) as session, detect(wide=True) as report:
        names(session)
    (finding,) = report.findings
    assert isinstance(finding, UnusedColumns)
    assert (finding.entity, len(finding.columns)) == ("Wide", 12)
    assert finding.fix == ".options(load_only(Wide.id, Wide.name))"
    assert "in names" in finding.call_site


@pytest.mark.parametrize("act", [everything, narrow])
def test_silence(engine: Engine, act: Callable[[Session], object]) -> None:
    with Session(engine) as session, detect(wide=True) as report:
        act(session)
    assert not report.findings


def test_only_when_asked_for(engine: Engine) -> None:
    with Session(engine) as session, detect() as report:
        names(session)
    assert not report.findings


def test_held_rows_may_still_be_read(engine: Engine) -> None:
    with Session(engine) as session, detect(wide=True) as report:
        held = session.scalars(select(Wide)).all()
    assert len(held) == 5
    assert not report.findings


def test_the_fix_is_silent(engine: Engine) -> None:
    with Session(engine) as session, detect(wide=True) as report:
        assert [row.name for row in session.scalars(select(Wide).options(load_only(Wide.name)))]
    assert not report.findings

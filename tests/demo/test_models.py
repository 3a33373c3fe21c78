from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import StaticPool, create_engine, select
from sqlalchemy.orm import Session

from dal.demo.environment import environment
from dal.demo.models import Airline, Airport, Base, Flight, Plane, Weather
from dal.migrations import Migrations

NOON = datetime(2013, 7, 1, 16, tzinfo=UTC)


def flight(**changed: object) -> Flight:
    values: dict[str, object] = {
        "year": 2013, "month": 7, "day": 1, "sched_dep_time": 1200, "sched_arr_time": 1400, "carrier": "UA", "flight": 1,
        "tailnum": "N1", "origin": "EWR", "dest": "IAH", "distance": 1400, "hour": 12, "minute": 0, "time_hour": NOON,
    }  # fmt: skip
    return Flight(**values | changed)


def test_the_mappings_agree_without_a_warning() -> None:
    Flight.registry.configure()
    assert set(Base.metadata.tables) == {"airlines", "airports", "planes", "weather", "flights"}


def test_the_migration_makes_what_the_models_say(tmp_path: Path) -> None:
    migrations = Migrations(f"sqlite:///{tmp_path}/flights.db", folder=environment())
    assert [revision.id for revision in migrations.up()] == ["0001"]
    assert migrations.check() == []
    migrations.down("base")
    assert not migrations.status().current


def test_a_hole_in_the_data_is_none_and_not_an_error() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            [
                Airline(carrier="UA", name="United"),
                Airport(faa="EWR", name="Newark", lat=40.7, lon=-74.2, alt=18, tz=-5, dst="A"),
                Plane(tailnum="N1", type="jet", manufacturer="BOEING", model="737", engines=2, seats=149, engine="Turbo-fan"),
                Weather(origin="EWR", year=2013, month=7, day=1, hour=12, precip=0, visib=10, time_hour=NOON),
                flight(),
                flight(tailnum=None, dest="BQN", carrier="??", origin="JFK"),
            ]
        )
        session.commit()
        whole, holes = session.scalars(select(Flight).order_by(Flight.id))
        assert whole.airline is not None
        assert whole.airline.flights == [whole]
        assert whole.plane is not None
        assert whole.origin_airport is not None
        assert whole.origin_airport.departures == [whole]
        assert whole.weather is not None
        assert whole.dest_airport is None
        assert (holes.airline, holes.plane, holes.origin_airport, holes.dest_airport, holes.weather) == (None,) * 5
    engine.dispose()

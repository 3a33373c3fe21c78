"""Parallel scans: a table cut in parts, read by several workers at the same time, all of them in one snapshot."""

from collections import Counter

from sqlalchemy import insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Database, PartFailed


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "example10_parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    town: Mapped[str]
    weight: Mapped[int]


def weigh(parcels: list[Parcel]) -> Counter[str]:
    """Called once a part, with its rows; in a process it is found by its name, so it is no lambda."""
    found: Counter[str] = Counter()
    for parcel in parcels:
        found[parcel.town] += parcel.weight
    return found


def merge(whole: Counter[str], part: Counter[str]) -> Counter[str]:
    whole.update(part)
    return whole


def inspect(parcel: Parcel) -> int:
    if parcel.weight > 95:
        raise ValueError(f"parcel {parcel.id} weighs {parcel.weight} kg")
    return parcel.weight


# Processes are started by importing this file again: what they must not do stands below this line.
if __name__ == "__main__":
    with Database.embedded() as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        towns = ["Oslo", "Bergen", "Tromsø"]
        with db.transaction() as session:
            rows = [{"id": n, "town": towns[n % 3], "weight": 1 + n * 7 % 95} for n in range(1, 3001)]
            session.execute(insert(Parcel), rows)

        scan = db.parallel(select(Parcel), by=Parcel.id, workers=2)
        print("threads:  ", sorted(scan.map(weigh).reduce(merge).items()))

        scan = db.parallel(select(Parcel), by=Parcel.id, workers=2, processes=True)
        print("processes:", sorted(scan.map(weigh).reduce(merge).items()))

        # Without a key the table is cut by where its rows lie; with a hash, equal keys stay together.
        print("physical: ", sum(db.parallel(select(Parcel)).map_rows(inspect)), "kg")
        apart = db.parallel(select(Parcel.town), by=Parcel.town, split="hash", parts=3).map(set)
        print("by hash:  ", sorted(town for part in apart for town in part))

        with db.transaction() as session:
            session.add(Parcel(id=3001, town="Oslo", weight=99))
        try:
            db.parallel(select(Parcel), by=Parcel.id, workers=2, parts=3).map_rows(inspect).list()
        except PartFailed as error:
            print("stopped:  ", error.part.number, "of", error.part.of, "-", error.__cause__)

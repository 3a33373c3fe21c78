"""Work in the background: put into the queue in a transaction, run by a worker, asked about from anywhere.

On the command line: `dal worker`, as many as the work needs, on as many machines. Here one runs inside this process.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dal import Database

# A worker imports what it calls, so that has to stand in a module.
WORK = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import current_job


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "example12_parcels"

    id: Mapped[int] = mapped_column(primary_key=True)
    grams: Mapped[int]


def weigh(limit: int) -> int:
    with current_job().db.transaction() as session:
        return session.query(Parcel).filter(Parcel.grams > limit).count()


def heavy_enough(row):
    if row["grams"] < 1:
        raise ValueError("a parcel weighs something")
    return row
"""


def main(folder: Path) -> None:
    (folder / "example12_work.py").write_text(WORK)
    (folder / "parcels.csv").write_text("id,grams\n1,500\n2,0\n3,2500\n")
    sys.path.insert(0, str(folder))
    from example12_work import Base, Parcel, heavy_enough, weigh

    with Database.embedded() as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        imported = db.jobs.import_file(folder / "parcels.csv", into=Parcel, validate=heavy_enough)
        print("before a worker is there:", imported.progress().state)

        with db.worker():
            result = imported.wait(timeout=60)
            print("inserted", result.inserted, "rejected", [(row.line, row.reason) for row in result.rejected])
            print("heavier than a kilogram:", db.jobs.submit(weigh, 1000).wait(timeout=60))

        with db.transaction() as session:
            weighing = db.jobs.using(session=session).submit(weigh, 1000)
            session.rollback()
        print("submitted in a transaction that was rolled back:", weighing in db.jobs.list("waiting"))


with TemporaryDirectory() as folder:
    main(Path(folder))

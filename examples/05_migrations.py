"""Change the schema while many instances of the application start.

On the command line: `dal migrate init --metadata models:Base`, then `new`, `up`, `down`, `status`, `check`. Here the same from
Python, in a folder of its own, and ten threads that call `up` at the same time.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text

from dal import Database
from dal.migrations import Migrations, init

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "example05_tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
"""


def main(folder: Path) -> None:
    (folder / "example05_models.py").write_text(MODELS)
    sys.path.insert(0, str(folder))
    written = init(folder / "migrations", metadata="example05_models:Base")
    print("wrote", [path.name for path in written])

    with Database.embedded() as server:
        with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("DROP DATABASE IF EXISTS example05"))
            connection.execute(text("CREATE DATABASE example05"))
        with Database(server.url.set(database="example05")) as db:
            migrate(db, folder)


def migrate(db: Database, folder: Path) -> None:
    migrations = Migrations(db.engine, folder=folder / "migrations")
    print("before:", *migrations.check())
    created = migrations.new("create tickets")
    assert created is not None
    print("new:", created.message)

    with ThreadPoolExecutor(10) as instances:
        applied = list(instances.map(lambda _: migrations.up(), range(10)))
    print("ten instances applied", sum(map(len, applied)), "migration")
    print("after:", migrations.check(), "up to date:", migrations.status().up_to_date)

    with db.transaction() as session:
        session.execute(text("ALTER TABLE example05_tickets ADD COLUMN by_hand integer"))
    print("by hand:", *migrations.check())

    print("took back:", [revision.message for revision in migrations.down("base")])


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(folder))

"""See what is committed: in a loop that acknowledges, and in a flow that keeps a table of sums.

The server's log has to tell changes (wal_level=logical); where it cannot, `db.changes(..., via="outbox")` reads what triggers
wrote. A name is a consumer: its stream goes on behind what was acknowledged, whatever was killed in between.
"""

import time

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import BulkWriter, Change, Database, sum_of


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "example09_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str]
    total: Mapped[int]
    paid: Mapped[bool] = mapped_column(default=False)


class Revenue(Base):
    __tablename__ = "example09_revenue"

    shop: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[int] = mapped_column(primary_key=True)
    revenue: Mapped[int]


def trade(db: Database) -> None:
    with db.transaction() as session:
        session.add_all([Order(id=1, shop="Oslo", total=30), Order(id=2, shop="Bergen", total=5)])
    with db.transaction() as session:
        session.get_one(Order, 1).paid = True
    with db.transaction() as session:
        session.delete(session.get_one(Order, 2))


def read(db: Database) -> None:
    """Until nothing is left to acknowledge; a consumer that never ends would have no `break`."""
    for change in db.changes(Order, name="log"):
        print(change.kind, change.key, "before:", change.old, "after:", change.new)
        change.ack()
        if change.kind == "delete":
            break


def is_paid(change: Change) -> bool:
    return change.kind == "insert" and change.new is not None and change.new["paid"]


def to_sale(change: Change) -> dict[str, int | str]:
    assert change.new is not None
    return {"shop": change.new["shop"], "total": change.new["total"], "second": change.key}


def sum_up(db: Database) -> None:
    """Sums by shop and hour, exactly once: they are written in one transaction with the stream's position."""
    sales = db.changes(Order, name="revenue").filter(is_paid).map(to_sale)
    hours = sales.window(seconds=3600, by="shop", at="second", lateness=0, aggregate={"revenue": sum_of("total")})
    rows = hours.map(lambda row: {"shop": row["shop"], "hour": row["window_start"].hour, "revenue": row["revenue"]})
    with rows.to(BulkWriter(db, Revenue)) as flow:  # it runs from here on
        with db.transaction() as session:
            for second, shop, total in ((10, "Oslo", 30), (20, "Oslo", 12), (3700, "Bergen", 5), (9000, "Oslo", 1)):
                session.add(Order(id=second, shop=shop, total=total, paid=True))
        while flow.stats().written < 2:  # the hour of the last one is not over
            time.sleep(0.01)
    with db.session() as session:
        for row in session.scalars(select(Revenue).order_by(Revenue.hour)):
            print(f"hour {row.hour}: {row.shop} {row.revenue}")


def main() -> None:
    with Database.embedded(".dal/changes", settings={"wal_level": "logical"}) as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        db.changes(Order, name="log").create()  # changes from here on will be in it
        trade(db)
        read(db)
        sum_up(db)
        for name in ("log", "revenue"):
            db.changes(Order, name=name).drop()  # or the server keeps its log for them


if __name__ == "__main__":
    main()

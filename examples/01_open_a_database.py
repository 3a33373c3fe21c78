"""Open a database, and let the transaction decide what stays.

`Database.embedded()` starts a real PostgreSQL from PyPI in ./.dal/postgres; with a server of your own it would be
`Database("postgresql+psycopg://app@localhost/shop")`. The sessions are SQLAlchemy's own.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import Database


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "example01_accounts"

    owner: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]


def transfer(session: Session, source: str, target: str, amount: int) -> int:
    giver, taker = session.get_one(Account, source), session.get_one(Account, target)
    giver.balance -= amount
    taker.balance += amount
    if giver.balance < 0:
        raise ValueError(f"{source} has not enough")
    return giver.balance


def main() -> None:
    with Database.embedded() as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)

        with db.transaction() as session:  # commits at the end
            session.add_all([Account(owner="Ada", balance=100), Account(owner="Grace", balance=20)])

        print("Ada keeps", db.run(transfer, "Ada", "Grace", 30))  # one transaction, run again whole on a transient fault

        try:
            db.run(transfer, "Ada", "Grace", 1000)
        except ValueError as error:
            print("refused:", error)

        with db.session() as session:  # the caller commits, or does not
            for account in session.scalars(select(Account).order_by(Account.owner)):
                print(account.owner, account.balance)
            print("together", session.scalar(select(func.sum(Account.balance))))


if __name__ == "__main__":
    main()

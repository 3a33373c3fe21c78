"""Flask-SQLAlchemy and SQLModel: a policy is an ORM option there as well."""

from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import StaticPool
from sqlmodel import Field, Relationship, Session, SQLModel, select

from dal import Repository, batched, eager, strict, using_policy
from dal.errors import NotLoaded
from tests.loading.counting import expect


class Crew(SQLModel, table=True):
    __tablename__ = "crews"
    id: int | None = Field(default=None, primary_key=True)
    sailors: list["Sailor"] = Relationship(back_populates="crew")


class Sailor(SQLModel, table=True):
    __tablename__ = "sailors"
    id: int | None = Field(default=None, primary_key=True)
    crew_id: int | None = Field(default=None, foreign_key="crews.id")
    crew: Crew | None = Relationship(back_populates="sailors")


def test_sqlmodel() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    SQLModel.metadata.create_all(engine, tables=[Crew.__table__, Sailor.__table__])  # type: ignore[attr-defined]
    with Session(engine) as session:
        session.add_all([Crew(sailors=[Sailor(), Sailor()]) for _ in range(5)])
        session.commit()
        session.expunge_all()
        with expect(session, 2):
            crews = session.exec(select(Crew).options(batched())).all()
            assert [len(crew.sailors) for crew in crews] == [2] * 5
        session.expunge_all()
        with expect(session, 2):
            sailors = session.exec(select(Sailor).options(batched())).all()
            assert {sailor.crew.id for sailor in sailors if sailor.crew} == {1, 2, 3, 4, 5}
        session.expunge_all()
        sailors_of: Any = Crew.sailors
        with expect(session, 2):
            crews = Repository(session, Crew).list(policy=eager(sailors_of))
        assert [len(crew.sailors) for crew in crews] == [2] * 5
        session.expunge_all()
        with using_policy(strict()), pytest.raises(NotLoaded, match=r"Crew\.sailors"):
            session.exec(select(Crew)).first().sailors  # type: ignore[union-attr]
    engine.dispose()


class Base(DeclarativeBase): ...


def test_flask_sqlalchemy() -> None:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(model_class=Base)
    db.init_app(app)

    class Author(db.Model):  # type: ignore[name-defined, misc]
        __tablename__ = "authors"
        id: Mapped[int] = mapped_column(primary_key=True)
        books: Mapped[list[Any]] = relationship("Book", back_populates="author")

    class Book(db.Model):  # type: ignore[name-defined, misc]
        __tablename__ = "books"
        id: Mapped[int] = mapped_column(primary_key=True)
        author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
        author: Mapped[Any] = relationship("Author", back_populates="books")

    with app.app_context():
        db.create_all()
        db.session.add_all([Author(books=[Book(), Book()]) for _ in range(5)])
        db.session.commit()
        db.session.remove()
        session = db.session()
        with expect(session, 2):
            authors = db.session.scalars(db.select(Author).options(batched())).all()
            assert [len(author.books) for author in authors] == [2] * 5
        db.session.expunge_all()
        with expect(session, 2):
            page = db.paginate(db.select(Author).order_by(Author.id).options(eager(Author.books)), per_page=5, count=False)
            assert [len(author.books) for author in page.items] == [2] * 5
        db.session.expunge_all()
        with using_policy(strict()), pytest.raises(NotLoaded, match=r"Author\.books"):
            db.session.scalars(db.select(Author)).all()[0].books
        db.session.remove()
        db.engine.dispose()

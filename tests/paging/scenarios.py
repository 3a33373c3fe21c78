"""What is paged: a SELECT, an order, and what dal has to add to it to tell rows apart. Each is a fact, none a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, and_, case, cast, func, literal, select, union
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Bundle, aliased, contains_eager, joinedload, selectinload, with_polymorphic

from tests.paging.models import Animal, Author, Book, Cat, Dog, Entry, Seat, Tag, ledger

Order = Sequence[Any]


@dataclass(frozen=True)
class Scenario:
    """A fact.

    Args:
        name: What it is about.
        statement: The SELECT.
        order_by: The order as a caller writes it.
        added: What dal adds to it.
        key: What the caller says tells the rows apart.
        only: The databases that have it; all by default.
    """

    name: str
    statement: Callable[[], Any]
    order_by: Callable[[], Order]
    added: Callable[[], Order] = tuple
    key: Callable[[], Sequence[ColumnElement[Any]]] | None = None
    only: frozenset[str] = frozenset({"sqlite", "postgresql", "mysql", "mariadb"})


def authors(name: str, *order_by: Any, added: Order = (Author.id,)) -> Scenario:
    return Scenario(name, lambda: select(Author), lambda: order_by, lambda: added)


def _placed(column: Any, direction: str, nulls: str) -> Any:
    ordered = column.desc() if direction == "desc" else column.asc()
    return ordered.nulls_first() if nulls == "first" else ordered.nulls_last() if nulls == "last" else ordered


Other = aliased(Author, name="other")
Both = with_polymorphic(Animal, "*")
descending = (Author.id.desc(),)
Half = aliased(Author, select(Author).where(Author.active).subquery("half"))
latest = select(Book.author_id, func.max(Book.pages).label("pages")).group_by(Book.author_id).subquery("latest")
numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < 9))
names = union(select(Author.name.label("x")), select(Author.info)).subquery("names")
odd = (Author.group % 2).label("odd")
rank = func.row_number().over(partition_by=Author.group, order_by=[Author.nick, Author.id])

SCENARIOS = [
    *(
        authors(
            f"{column.key} {direction} nulls {nulls}",
            _placed(column, direction, nulls),
            added=descending if direction == "desc" else (Author.id,),
        )
        for column in (Author.nick, Author.mood, Author.rating, Author.fee, Author.born)
        for direction in ("asc", "desc")
        for nulls in ("by default", "first", "last")
    ),
    authors("no order", added=(Author.id,)),
    authors("the key alone", Author.id.desc(), added=()),
    authors("ties", Author.group),
    authors("mixed directions", Author.group.desc(), Author.info, Author.id.desc(), added=()),
    authors("mixed directions and NULLs", Author.nick.desc().nulls_last(), Author.group, Author.born.nulls_first()),
    authors("two that may be NULL", Author.nick, Author.born),
    authors("text by the database's collation", Author.name, Author.created),
    authors("microseconds", Author.created.desc(), added=descending),
    authors("exact decimals", Author.rate),
    authors("a type with processors, used once", Author.fee.desc(), Author.rate, added=(Author.id,)),
    authors("UUIDs", Author.code),
    authors("truth values", Author.active.desc(), added=descending),
    authors("a comparison", Author.group > 1),
    authors("a column named info", Author.info),
    authors("a hybrid", Author.shout),
    authors("a correlated subquery", Author.book_count.desc(), Author.nick),
    authors("an expression", Author.group * 2 + Author.id % 3),
    authors("coalesce", func.coalesce(Author.nick, "m").desc(), added=descending),
    authors("a case", case((Author.group == 1, 0), else_=None), Author.info),
    authors("a cast", cast(Author.group, String)),
    authors("a key repeated", Author.group, Author.group.desc(), added=(Author.id,)),
    Scenario(
        "an order of its own comes first",
        lambda: select(Author).order_by(Author.group.desc()),
        lambda: [Author.nick],
        lambda: [Author.id],
    ),
    Scenario(
        "filters", lambda: select(Author).where(Author.group != 1, Author.active), lambda: [Author.nick], lambda: [Author.id]
    ),
    Scenario(
        "a filter that leaves no NULLs",
        lambda: select(Author).where(Author.nick.is_not(None)),
        lambda: [Author.nick.desc()],
        lambda: [Author.id.desc()],
    ),
    Scenario("nothing found", lambda: select(Author).where(Author.group > 99), lambda: [Author.nick], lambda: [Author.id]),
    Scenario("a column_property", lambda: select(Book), lambda: [Book.score.desc()], lambda: [Book.id.desc()]),
    Scenario("a composite key", lambda: select(Seat), lambda: [Seat.price], lambda: [Seat.letter, Seat.number]),
    Scenario("half of a composite key", lambda: select(Seat), lambda: [Seat.number.desc()], lambda: [Seat.letter.desc()]),
    Scenario("a unique column", lambda: select(Tag), lambda: [Tag.label], tuple),
    Scenario("an alias", lambda: select(Other), lambda: [Other.nick], lambda: [Other.id]),
    Scenario(
        "a to-one join adds no key",
        lambda: select(Book).join(Book.author).where(Author.active),
        lambda: [Author.nick, Book.title],
        lambda: [Book.id],
    ),
    Scenario(
        "a to-many join adds one",
        lambda: select(Author).join(Author.books),
        lambda: [Author.group],
        lambda: [Author.id, Book.id],
    ),
    Scenario(
        "two entities",
        lambda: select(Author, Book).join(Author.books),
        lambda: [Book.pages.desc()],
        lambda: [Author.id.desc(), Book.id.desc()],
    ),
    Scenario(
        "an outer join",
        lambda: select(Author, Book).outerjoin(Author.books),
        lambda: [Book.title.desc(), Author.id],
        lambda: [Book.id],
    ),
    Scenario(
        "an outer join, columns",
        lambda: select(Author.name, Book.title).outerjoin(Author.books),
        lambda: [Book.pages],
        lambda: [Author.id, Book.id],
    ),
    Scenario(
        "an implicit join",
        lambda: select(Author.name, Book.title).where(Book.author_id == Author.id),
        lambda: [Author.name],
        lambda: [Book.id],
    ),
    Scenario(
        "a self join",
        lambda: select(Author, Other).join(Other, and_(Author.group == Other.group, Author.id < Other.id)),
        lambda: [Other.nick],
        lambda: [Author.id, Other.id],
    ),
    Scenario(
        "many to many",
        lambda: select(Author, Tag).join(Author.tags),
        lambda: [Tag.label.desc()],
        lambda: [Author.id.desc()],
    ),
    Scenario("columns", lambda: select(Author.id, Author.name), lambda: [Author.nick], lambda: [Author.id]),
    Scenario(
        "an order that is not selected",
        lambda: select(Author.name),
        lambda: [Author.born.desc(), Author.group],
        lambda: [Author.id],
    ),
    Scenario(
        "labels",
        lambda: select(Author.id.label("number"), (Author.group + 1).label("team")),
        lambda: [(Author.group + 1).label("team")],
        lambda: [Author.id],
    ),
    Scenario(
        "a label by its name, in the SELECT itself",
        lambda: select(Author.id.label("number"), Author.nick.label("called")).order_by("called"),
        tuple,
        lambda: [Author.id],
    ),
    Scenario("a bundle", lambda: select(Bundle("pair", Author.id, Author.nick)), lambda: [Author.nick], lambda: [Author.id]),
    Scenario(
        "an entity and an expression",
        lambda: select(Author, func.upper(Author.nick)),
        lambda: [func.upper(Author.nick).nulls_last()],
        lambda: [Author.id],
    ),
    Scenario(
        "with_only_columns", lambda: select(Author).with_only_columns(Author.id), lambda: [Author.nick], lambda: [Author.id]
    ),
    Scenario("a table", lambda: select(ledger), lambda: [ledger.c.amount], lambda: [ledger.c.number]),
    Scenario(
        "columns of a table",
        lambda: select(ledger.c.number, ledger.c.side),
        lambda: [ledger.c.amount.desc(), ledger.c.side],
        lambda: [ledger.c.number],
    ),
    Scenario("an imperative mapping", lambda: select(Entry), lambda: [ledger.c.amount], lambda: [ledger.c.number]),
    Scenario("joined inheritance", lambda: select(Dog), lambda: [Dog.speed, Dog.name], lambda: [Dog.id]),
    Scenario("single-table inheritance", lambda: select(Cat), lambda: [Cat.lives, Cat.name], lambda: [Cat.id]),
    Scenario("a hierarchy by its base", lambda: select(Animal), lambda: [Animal.name], lambda: [Animal.id]),
    Scenario("a hierarchy as a whole", lambda: select(Both), lambda: [Both.Dog.speed], lambda: [Both.id]),
    Scenario(
        "aggregates",
        lambda: select(Author.group, func.count().label("n"), func.max(Author.nick)).group_by(Author.group),
        lambda: [func.max(Author.nick).desc()],
        lambda: [Author.group.desc()],
    ),
    Scenario(
        "groups of an expression",
        lambda: select(odd, func.sum(Author.id)).group_by(odd),
        lambda: [func.sum(Author.id)],
        lambda: [odd],
    ),
    Scenario(
        "groups with HAVING",
        lambda: select(Author.nick, func.count()).group_by(Author.nick).having(func.count() > 1),
        lambda: [func.count()],
        lambda: [Author.nick],
    ),
    Scenario(
        "an entity and an aggregate",
        lambda: select(Author, func.count(Book.id)).outerjoin(Author.books).group_by(Author.id),
        lambda: [func.count(Book.id).desc()],
        lambda: [Author.id.desc()],
    ),
    Scenario("one aggregate alone", lambda: select(func.count(Author.id)), tuple, tuple),
    Scenario("DISTINCT", lambda: select(Author.nick, Author.group).distinct(), lambda: [Author.group], lambda: [Author.nick]),
    Scenario(
        "DISTINCT entities",
        lambda: select(Author).join(Author.books).distinct(),
        lambda: [Author.nick],
        lambda: [Author.id],
    ),
    Scenario(
        "DISTINCT ON",
        lambda: select(Author).ext(distinct_on(Author.group)).order_by(Author.group, Author.nick),
        tuple,
        tuple,
        only=frozenset({"postgresql"}),
    ),
    Scenario(
        "the first ten",
        lambda: select(Author).order_by(Author.nick, Author.id).limit(10),
        tuple,
        tuple,
    ),
    Scenario(
        "all but the first three",
        lambda: select(Author.id, Author.nick).order_by(Author.nick.desc(), Author.id).limit(100).offset(3),
        tuple,
        tuple,
    ),
    Scenario(
        "a window function", lambda: select(Author.name, rank.label("r")), lambda: [rank.desc()], lambda: [Author.id.desc()]
    ),
    Scenario(
        "a window function that is not ordered by",
        lambda: select(Author.name, rank.label("r")),
        lambda: [Author.nick.desc()],
        lambda: [Author.id.desc()],
    ),
    Scenario(
        "a join to a subquery of groups",
        lambda: select(Author.name, latest.c.pages).join(latest, latest.c.author_id == Author.id),
        lambda: [latest.c.pages],
        lambda: [Author.id],
    ),
    Scenario("a CTE", lambda: select(latest), lambda: [latest.c.pages.desc()], lambda: [latest.c.author_id.desc()]),
    Scenario("a union", lambda: select(names), lambda: [names.c.x.desc()], tuple),
    Scenario(
        "a CTE that calls itself",
        lambda: select(numbers),
        lambda: [numbers.c.n % 3],
        lambda: [numbers.c.n],
        key=lambda: [numbers.c.n],
    ),
    Scenario(
        "an entity of a subquery",
        lambda: select(Half),
        lambda: [Half.nick],
        lambda: [Half.id],
    ),
    Scenario(
        "joinedload",
        lambda: select(Author).options(joinedload(Author.books)),
        lambda: [Author.nick, Author.born],
        lambda: [Author.id],
    ),
    Scenario(
        "selectinload",
        lambda: select(Author).options(selectinload(Author.books)),
        lambda: [Author.nick.nulls_last()],
        lambda: [Author.id],
    ),
    Scenario(
        "contains_eager",
        lambda: select(Book).join(Book.author).options(contains_eager(Book.author)),
        lambda: [Author.nick.desc()],
        lambda: [Book.id.desc()],
    ),
]

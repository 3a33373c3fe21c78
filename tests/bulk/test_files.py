"""Files into tables: what a CSV file may look like, and what becomes of each of its lines."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, Table, Text, func, select, text

from dal import BulkWriter, CsvDialect, Database, FileProgress
from dal.bulk.files.raw import why_not_raw
from dal.bulk.files.row_out import csv_of
from dal.bulk.files.source import BLOCK, zstd
from dal.bulk.target import target_of
from dal.bulk.wire import Wire
from dal.errors import ConfigError, FileError, RowConflict, RowError, UsageError
from tests.bulk.models import City, Engineer, Guest, Mood, Seat, User, Versioned

USERS = "id,email,age,plan\n1,a@b,3,free\n2,c@d,,paid\n"


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def users(db: Database, entity: Any = User) -> list[Any]:
    with db.session() as session:
        columns = entity.id, entity.email, entity.age, entity.plan
        return [tuple(row) for row in session.execute(select(*columns).order_by(entity.id))]


routes = pytest.mark.parametrize("entity", [Guest, User], ids=["raw", "typed"])


FOUND = [(1, "a@b", 3, "free"), (2, "c@d", None, "paid")]


def test_a_csv_file(writer: Callable[[Any], Any], db: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "users.csv", USERS)
    result = writer(User).load(path)
    assert (result.inserted, list(result.rejected)) == (2, [])
    assert users(db) == FOUND
    with db.session() as session:
        assert set(session.execute(select(User.mood, User.balance)).all()) == {(Mood.glad, Decimal(7))}


LOOKS = {
    "semicolons": USERS.replace(",", ";"),
    "tabs": USERS.replace(",", "\t"),
    "pipes": USERS.replace(",", "|"),
    "single quotes": "id,email,age,plan\n'1','a@b',3,'free'\n'2','c@d',,'paid'\n",
    "quotes everywhere": '"id","email","age","plan"\n"1","a@b","3","free"\n"2","c@d",,"paid"\n',
    "column names, spaces, capitals": USERS.replace("id,email,age", "ID,E Mail, Age"),
    "another order": "plan,age,email,id\nfree,3,a@b,1\npaid,,c@d,2\n",
    "windows": USERS.replace("\n", "\r\n"),
    "no last line end": USERS.rstrip(),
    "a mark": "\ufeff" + USERS,
    "NA": USERS.replace(",,", ",NA,"),
    "NULL": USERS.replace(",,", ",NULL,"),
}


@pytest.mark.parametrize("look", LOOKS)
@routes
def test_what_a_file_looks_like_is_found_out(pg: Database, tmp_path: Path, look: str, entity: Any) -> None:
    path = written(tmp_path / "users.csv", LOOKS[look])
    assert BulkWriter(pg, entity).load(path).inserted == 2
    assert users(pg, entity) == FOUND


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_encodings(pg: Database, tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path / "cities.csv", "id,name\n1,Tromsø\n".encode(encoding))
    marked = encoding in {"utf-8", "utf-8-sig", "utf-16"}
    BulkWriter(pg, City).load(path, dialect=CsvDialect(encoding=None if marked else encoding))
    with pg.session() as session:
        assert session.scalars(select(City.name)).all() == ["Tromsø"]


def test_an_encoding_that_is_none_is_told(pg: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "cities.csv", "id,name\n1,Oslo\n2,Tromsø\n".encode("cp1252"))
    with pytest.raises(FileError, match="line 3 is not UTF-8: 0xf8 stands there"):
        BulkWriter(pg, City).load(path)


def packed(kind: str, content: bytes) -> bytes:
    if kind == "plain":
        return content
    return gzip.compress(content) if kind == "gz" else zstd().compress(content)


@pytest.mark.parametrize("kind", ["plain", "gz", "zst"])
@pytest.mark.parametrize("how", ["path", "file", "text", "url"])
def test_where_it_comes_from(pg: Database, tmp_path: Path, kind: str, how: str, served: str) -> None:
    path = written(tmp_path / f"users.csv.{kind}", packed(kind, USERS.encode()))
    bulk = BulkWriter(pg, User)
    if how == "path":
        bulk.load(str(path))
    elif how == "file":
        bulk.load(io.BytesIO(path.read_bytes()))
    elif how == "text":
        bulk.load(io.StringIO(USERS))
    else:
        with urlopen(f"{served}/{path.name}") as response:
            bulk.load(response)
    assert users(pg) == FOUND


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the test's folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_json_lines(writer: Callable[[Any], Any], db: Database, tmp_path: Path) -> None:
    lines = '{"id": 1, "email": "a@b", "age": 3, "settings": {"a": ["ø"]}}\n\n{"id": 2, "e mail": "c@d", "mood": "sad"}\n'
    result = writer(User).load(written(tmp_path / "users.jsonl", lines))
    assert result.inserted == 2
    with db.session() as session:
        found = session.execute(select(User.email, User.settings, User.mood).order_by(User.id)).all()
    assert found == [("a@b", {"a": ["ø"]}, Mood.glad), ("c@d", None, Mood.sad)]


def test_a_file_without_a_header(pg: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "users.csv", USERS.split("\n", 1)[1])
    with pytest.raises(UsageError, match="names no attribute of User"):
        BulkWriter(pg, User).load(path)
    BulkWriter(pg, User).load(path, columns=[User.id, "email", User.age, User.plan])
    assert users(pg) == FOUND


def test_fields_that_are_named_otherwise_or_left_out(pg: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "users.csv", USERS.replace("email", "Address").replace("age", "junk"))
    with pytest.raises(UsageError, match="has the field 'Address', and User no such attribute"):
        BulkWriter(pg, User).load(path)
    BulkWriter(pg, User).load(path, columns={"address": User.email, "junk": None})
    assert users(pg) == [(1, "a@b", None, "free"), (2, "c@d", None, "paid")]


def test_a_file_that_cannot_fit_is_refused_before_harm(pg: Database, tmp_path: Path) -> None:
    bulk = BulkWriter(pg, User)
    for content, told in {
        "id,age\n1,2\n": "no field for User.email",
        "id,email,Email\n1,a,b\n": "two fields are email",
        "": "is empty",
        "\n\n": "is empty",
    }.items():
        with pytest.raises((UsageError, FileError), match=told):
            bulk.load(written(tmp_path / "users.csv", content))
    with pytest.raises(UsageError, match="columns names 1 fields, and .* has 4"):
        bulk.load(written(tmp_path / "users.csv", USERS), columns=[User.id])
    with pytest.raises(UsageError, match="cannot be read"):
        bulk.load(tmp_path / "nothing.csv")
    with pytest.raises(UsageError, match="an address, not a path"):
        bulk.load("https://example.org/users.csv")
    with pytest.raises(UsageError, match="neither a path nor a file"):
        bulk.load(7)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="format='xml' is not known"):
        bulk.load(tmp_path / "users.csv", format="xml")  # type: ignore[arg-type]
    with pytest.raises(FileError, match="damaged"):
        bulk.load(written(tmp_path / "users.csv.gz", gzip.compress(USERS.encode() * 1000)[:-9]))
    for bad in ({"delimiter": ";;"}, {"quote": "ø"}, {"delimiter": ";", "quote": ";"}, {"encoding": "klingon"}):
        with pytest.raises(ConfigError):
            CsvDialect(**bad)
    assert users(pg) == []


@routes
def test_the_first_bad_line_ends_it(pg: Database, tmp_path: Path, entity: Any) -> None:
    path = written(
        tmp_path / "users.csv", "id,email,age\n1,a@b,3\n2,'c\n,7\n".replace("'", '"').replace("c\n", 'c\nd"') + "3,e,old\n"
    )
    with pytest.raises(RowError) as caught:
        BulkWriter(pg, entity).load(path)
    error = caught.value
    assert (error.line, error.position, error.column, error.value) == (5, 2, "age", "old")
    assert f"line 5 of {path} was refused, and nothing was written: {entity.__name__}.age = 'old'" in str(error)
    assert users(pg, entity) == []


BAD = """id,email,age,city_id
1,a@b,1,
2,,2,
3,c@d,old,
4,a@b,4,
5,"e
f",500,
6,g@h,6,77
7,i@j,7
8,k@l,8,
"""


def test_bad_lines_are_set_aside_and_named(writer: Callable[[Any], Any], db: Database, tmp_path: Path) -> None:
    result = writer(User).load(written(tmp_path / "users.csv", BAD), on_error="reject")
    assert [each.line for each in result.rejected] == [3, 4, 5, 6, 8, 9]
    assert [each.position for each in result.rejected] == [1, 2, 3, 4, 5, 6]
    assert result.inserted == 2
    assert [user[0] for user in users(db)] == [1, 8]
    assert (result.rejected[1].column, result.rejected[1].value) == ("age", "old")
    assert all(each.reason for each in result.rejected)


@routes
def test_what_the_server_says_of_bad_lines(pg: Database, tmp_path: Path, entity: Any) -> None:
    path = written(tmp_path / "users.csv", BAD)
    told: list[Any] = []
    result = BulkWriter(pg, entity).load(path, on_error="reject", rejects=told.append)
    found = {each.line: (each.sqlstate, each.column) for each in result.rejected}
    assert found[3] == ("23502", "email")
    assert found[5][0] == "23505"
    assert found[6][0] == "23514"
    assert found[8] == ("23503", "city_id")
    assert [each.line for each in told] == [each.line for each in result.rejected]
    with pytest.raises(RowError, match="more than 2 rows were refused"):
        BulkWriter(pg, entity).load(path, on_error="reject", max_rejected=2)
    assert len(users(pg, entity)) == 2


@routes
def test_many_bad_lines(pg: Database, tmp_path: Path, entity: Any) -> None:
    lines = [f"{n},{n}@b,{'x' if n % 7 == 0 else n % 100}" for n in range(1, 5001)]
    path = written(tmp_path / "users.csv", "id,email,age\n" + "\n".join(lines) + "\n")
    result = BulkWriter(pg, entity).load(path, on_error="reject")
    assert [each.line for each in result.rejected] == [n + 1 for n in range(1, 5001) if n % 7 == 0]
    assert len(users(pg, entity)) == result.inserted == 5000 - 714


def test_bad_lines_of_json(db: Database, tmp_path: Path) -> None:
    lines = '{"id": 1, "email": "a@b"}\n[1]\n{"id": 2, "height": 3}\n{"id": 3\n{"id": 4, "email": "c@d", "mood": "mad"}\n'
    result = BulkWriter(db, User).load(written(tmp_path / "users.jsonl", lines), on_error="reject")
    assert [each.line for each in result.rejected] == [2, 3, 4, 5]
    assert result.inserted == 1


class Checked(pydantic.BaseModel):
    id: int
    email: str
    age: int | None = pydantic.Field(lt=100)
    plan: str


class Strict(msgspec.Struct):
    id: int
    email: str
    age: int | None
    plan: str


def adult(row: dict[str, Any]) -> dict[str, Any]:
    if row["age"] is not None and row["age"] < 18:
        raise ValueError("a child")
    return {**row, "email": row["email"].upper()}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("validate", "bad"), [(Checked, "400"), (Strict, "x"), (adult, "3")])
def test_validation(db: Database, tmp_path: Path, validate: Any, bad: str) -> None:
    path = written(tmp_path / "users.csv", USERS.replace(",3,", f",{bad},"))
    with pytest.raises(RowError, match="line 2"):
        BulkWriter(db, User).load(path, validate=validate)
    result = BulkWriter(db, User).load(path, validate=validate, on_error="reject")
    assert [each.line for each in result.rejected] == [2]
    assert [user[1].lower() for user in users(db)] == ["c@d"]


def test_writing_over_rows_that_are_there(writer: Callable[[Any], Any], db: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "users.csv", USERS)
    writer(User).load(path)
    written(path, USERS.replace("c@d,", "c@d,9") + "3,e@f,5,free\n")
    result = writer(User).load(path, key=[User.id])
    assert (result.inserted, result.updated, result.unchanged) == (1, 1, 1)
    assert users(db)[1] == (2, "c@d", 9, "paid")


def test_in_the_callers_transaction(pg: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "users.csv", USERS)
    with pg.session() as session:
        BulkWriter(session, User).load(path)
        assert session.scalar(select(func.count()).select_from(User)) == 2
        session.rollback()
    assert users(pg) == []


def test_joined_inheritance_and_keys_of_several_columns(pg: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "engineers.csv", "name,language\na,Python\nb,C\n")
    assert BulkWriter(pg, Engineer).load(path).inserted == 2
    with pg.session() as session:
        assert [(each.kind, each.language) for each in session.scalars(select(Engineer).order_by(Engineer.id))] == [
            ("engineer", "Python"),
            ("engineer", "C"),
        ]
    seats = written(tmp_path / "seats.csv", "row,place,taken\n1,a,yes\n1,b,0\n")
    assert BulkWriter(pg, Seat).load(seats).inserted == 2


def test_progress(pg: Database, tmp_path: Path) -> None:
    content = "id,email\n" + "".join(f"{n},{'x' * 40}{n}\n" for n in range(20_000))
    path = written(tmp_path / "users.csv", content)
    for options in ({}, {"on_error": "reject"}, {"validate": dict}):
        told: list[FileProgress] = []
        BulkWriter(pg, User).load(path, progress=told.append, **options)
        assert len(told) > 1
        assert [each.done for each in told] == sorted(each.done for each in told)
        assert (told[-1].done, told[-1].total, told[-1].rows) == (len(content), len(content), 20_000)
        with pg.transaction() as session:
            session.execute(text("TRUNCATE users"))
    BulkWriter(pg, User).load(path, progress=True)


def test_a_line_that_would_end_copy(pg: Database, tmp_path: Path) -> None:
    with pg.transaction() as session:
        session.execute(text("CREATE TABLE words (word text)"))
    words = Table("words", MetaData(), Column("word", Text))
    path = written(tmp_path / "words.csv", "word\na\n\\.\nb\n")
    assert BulkWriter(pg, words).load(path).inserted == 3
    with pg.session() as session:
        assert session.scalars(select(words.c.word)).all() == ["a", "\\.", "b"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["", "NA", "NULL", '"', '""', ",", "\n", "\r\n", "\\", "\\.", "a\nb", "'", "'a'", ";;"]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(TEXTS | st.none(), TEXTS | st.none()), min_size=1, max_size=8))
@pytest.mark.parametrize("block", [BLOCK, 8])
def test_whatever_is_written_is_read_by_both_routes(
    pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, rows: list[tuple[Any, Any]]
) -> None:
    """As CSV by ourselves; read back by COPY, and by Python."""
    monkeypatch.setattr("dal.bulk.files.load.BLOCK", block)
    things = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("a", Text), Column("b", Text))
    numbered = [(n, *row) for n, row in enumerate(rows)]
    path = written(tmp_path / "things.csv", csv_of([("id", "a", "b"), *numbered]))
    with pg.transaction() as session:
        things.drop(session.connection(), checkfirst=True)
        things.create(session.connection())
    for options in ({}, {"validate": dict}, {"on_error": "reject"}):
        result = BulkWriter(pg, things).load(path, dialect=CsvDialect(delimiter=",", quote='"'), **options)
        assert (result.inserted, list(result.rejected)) == (len(rows), [])
        with pg.transaction() as session:
            found = [tuple(row) for row in session.execute(select(things).order_by(things.c.id))]
            session.execute(things.delete())
        assert found == numbered


@pytest.mark.parametrize(
    ("delimiter", "formats"), [(",", ["text", "csv"]), (";", ["text", "csv"]), ("x", ["csv"])], ids=["comma", "semicolon", "x"]
)
def test_what_is_plain_goes_as_text_and_the_rest_as_csv(
    pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delimiter: str, formats: list[str]
) -> None:
    monkeypatch.setattr("dal.bulk.files.load.BLOCK", 64)
    sent: list[str] = []
    copy = Wire.copy

    def counted(wire: Wire, statement: str, *options: Any) -> Any:
        sent.append(statement.split("FORMAT ")[1][:4].strip(","))
        return copy(wire, statement, *options)

    monkeypatch.setattr(Wire, "copy", counted)
    lines = ["id,email,age,plan", *(f"{each},{each}@b,{each % 90},plain" for each in range(1, 21))]
    lines += ['21,"a ""b""",1,"li\nne"', "22,back\\slash,2,plain", "23,w@b,3,plain"]
    dialect = CsvDialect(delimiter=delimiter)
    for bad, line in ((5, 6), (21, 22), (23, 25)):
        with pytest.raises(RowError) as raised:
            spoilt = [each.replace(",plain", ",plain,more") if each.startswith(f"{bad},") else each for each in lines]
            spoilt = [each.replace('1,"li', '1,9,"li') if each.startswith(f"{bad},") else each for each in spoilt]
            BulkWriter(pg, Guest).load(
                written(tmp_path / "users.csv", "\n".join(spoilt).replace(",", delimiter)), dialect=dialect
            )
        assert (raised.value.line, raised.value.position) == (line, bad - 1)
    sent.clear()
    path = written(tmp_path / "users.csv", "\n".join(lines).replace(",", delimiter))
    assert BulkWriter(pg, Guest).load(path, dialect=dialect).inserted == 23
    assert sent == formats
    assert users(pg, Guest)[-4:] == [
        (20, "20@b", 20, "plain"),
        (21, 'a "b"', 1, "li\nne"),
        (22, "back\\slash", 2, "plain"),
        (23, "w@b", 3, "plain"),
    ]


@routes
@pytest.mark.parametrize("cell", ["two\nlines", "two\r\nlines", "a\rreturn", "many\n\n\nlines\r\n\r\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_within_quotes_do_not_shift_the_row_that_is_named(
    pg: Database, tmp_path: Path, entity: Any, cell: str, end: str
) -> None:
    """COPY counts lines by the line ends of the file: of CR LF, a bare LF in quotes is none to it."""
    head = f'id,email,age,plan\n1,"{cell}",1,free\n2,c@d,2,free\n'.replace("\n", end, 1).replace(",free\n", f",free{end}")
    path = written(tmp_path / "users.csv", f"{head}3,e@f,many,free{end}4,g@h,4,free{end}")
    line = 1 + head.count("\n")
    result = BulkWriter(pg, entity).load(path, on_error="reject")
    assert [(each.position, each.line, each.row["id"]) for each in result.rejected] == [(2, line, "3")]
    assert [row[:2] for row in users(pg, entity)] == [(1, cell), (2, "c@d"), (4, "g@h")]
    with pg.transaction() as session:
        session.execute(text("TRUNCATE users, guests"))
    with pytest.raises(RowError) as raised:
        BulkWriter(pg, entity).load(path)
    assert (raised.value.line, raised.value.position) == (line, 2)


def test_what_only_the_server_reads_is_written_beside_many_bad_lines(pg: Database, tmp_path: Path) -> None:
    with pg.transaction() as session:
        session.execute(text("CREATE TABLE flags (id int PRIMARY KEY, done bool, at timestamp)"))
    flags = Table("flags", MetaData(), Column("id", Integer, primary_key=True), Column("done", Boolean), Column("at", DateTime))
    lines = [f"{each},tr,2020/01/02 3:4" if each % 3 else f"{each},maybe,now" for each in range(90)]
    result = BulkWriter(pg, flags).load(written(tmp_path / "flags.csv", "\n".join(["id,done,at", *lines])), on_error="reject")
    assert [each.position for each in result.rejected] == list(range(0, 90, 3))
    assert result.inserted == 60
    with pg.session() as session:
        assert session.scalar(select(func.count()).select_from(flags).where(flags.c.done)) == 60


@pytest.mark.parametrize("place", [0, 3, 199])
def test_rows_that_refer_to_later_ones_come_by_one_copy(
    pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr("dal.bulk.files.load.BLOCK", 64)
    with pg.transaction() as session:
        session.execute(text("CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes, note text)"))
    nodes = Table("nodes", MetaData(), Column("id", Integer, primary_key=True), Column("parent", Integer), Column("note", Text))
    lines = [f"{each},{199 - each},{'' if each != place else chr(34) + 'x' + chr(34)}" for each in range(200)]
    told: list[FileProgress] = []
    path = written(tmp_path / "nodes.csv", "\n".join(["id,parent,note", *lines]))
    assert BulkWriter(pg, nodes).load(path, progress=told.append).inserted == 200
    assert max(each.rows for each in told) <= 200


@pytest.mark.parametrize("quote", ["'", '"'])
def test_an_end_of_copy_within_quotes_is_a_value(pg: Database, tmp_path: Path, quote: str) -> None:
    path = written(tmp_path / "users.csv", f"id;email;age;plan\n1;{quote}x\n\\.\ny{quote};1;free\n2;z@z;2;free\n")
    assert BulkWriter(pg, Guest).load(path, dialect=CsvDialect(delimiter=";", quote=quote)).inserted == 2
    assert [row[1] for row in users(pg, Guest)] == ["x\n\\.\ny", "z@z"]


def test_which_files_python_has_to_look_at(pg: Database) -> None:
    dialect = pg.engine.dialect
    assert why_not_raw(target_of(Guest), ["id", "email"], dialect) is None
    assert why_not_raw(target_of(City), ["name"], dialect) is None
    for entity, names, told in (
        (Guest, ["id", None], "left out"),
        (User, ["id", "email"], "User.mood has a default that Python gives"),
        (Engineer, ["name", "language"], "several tables"),
        (Versioned, ["name"], "a version that Python counts"),
    ):
        assert told in str(why_not_raw(target_of(entity), names, dialect))


def test_conflicts_are_integrity_errors(pg: Database, tmp_path: Path) -> None:
    with pytest.raises(RowConflict, match="line 3"):
        BulkWriter(pg, User).load(written(tmp_path / "users.csv", "id,email\n1,a\n1,b\n"))

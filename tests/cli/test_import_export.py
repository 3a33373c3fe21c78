from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, func, select
from typer.testing import CliRunner, Result

from dal import Database
from dal.cli.app import app
from dal.errors import ConfigError, DalError, UsageError

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Guest(Base):
    __tablename__ = "guests"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(10))
    age: Mapped[int | None]
"""


@pytest.fixture
def db(dal_database: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """An application in the current folder, and its database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAL_URL", dal_database.render_as_string(hide_password=False))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "guest_models.py").write_text(MODELS)
    sys.modules.pop("guest_models", None)
    import guest_models  # type: ignore[import-not-found]

    with Database(dal_database) as db:
        guest_models.Base.metadata.create_all(db.engine)
        yield db
    sys.modules.pop("guest_models", None)


def dal(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def count(db: Database) -> int:
    from guest_models import Guest

    with db.session() as session:
        return session.scalar(select(func.count()).select_from(Guest)) or 0


def test_a_file_goes_in_and_out(db: Database) -> None:
    Path("guests.csv").write_text("id,name,age\n1,ada,36\n2,bob,\n")
    answer = dal("import", "guests.csv", "--into", "guest_models:Guest")
    assert answer.exit_code == 0, answer.output
    assert "2 rows inserted in" in answer.output
    assert "guests.csv" in answer.output
    answer = dal("export", "SELECT name, age FROM guests WHERE age > 30 AND name LIKE 'a%'", "out.jsonl", "--quiet")
    assert answer.exit_code == 0, answer.output
    assert json.loads(Path("out.jsonl").read_text()) == {"name": "ada", "age": 36}
    answer = dal("export", "guest_models:Guest", "out.csv", "--quiet")
    assert Path("out.csv").read_text() == "id,name,age\n1,ada,36\n2,bob,\n"
    answer = dal("export", "SELECT * FROM guests", "out.parquet", "--quiet")
    assert answer.exit_code == 0, answer.output
    assert dal("import", "out.parquet", "--into", "guest_models:Guest", "--key", "id", "--quiet").exit_code == 0


def test_over_rows_that_are_there_and_again(db: Database) -> None:
    Path("guests.csv").write_text("id;name;age\n1;ada;36\n")
    dal("import", "guests.csv", "--into", "guest_models:Guest", "--quiet")
    Path("guests.csv").write_text("id;name;age\n1;ada;37\n2;bob;-\n")
    answer = dal("import", "guests.csv", "--into", "guest_models:Guest", "--key", "id", "--resume", "June", "--null", "-")
    assert "1 rows inserted, 1 updated" in answer.output
    answer = dal("import", "guests.csv", "--into", "guest_models:Guest", "--key", "id", "--resume", "June", "--null", "-")
    assert "0 rows inserted" in answer.output


def test_bad_rows_are_told(db: Database) -> None:
    Path("guests.csv").write_text("id,name,age\n1,ada,36\n2,bob,old\n3,x,1\n1,y,1\n")
    answer = dal("import", "guests.csv", "--into", "guest_models:Guest", "--quiet")
    assert isinstance(answer.exception, DalError)
    assert "line 3 of guests.csv" in str(answer.exception)
    assert answer.exception.hint.endswith("--reject")
    assert count(db) == 0
    answer = dal("import", "guests.csv", "--into", "guest_models:Guest", "--rejects", "bad.jsonl", "--quiet")
    assert answer.exit_code == 1
    assert "2 rows inserted, 2 rejected" in answer.output
    assert "line 3: age = 'old'" in answer.output
    assert [json.loads(line)["line"] for line in Path("bad.jsonl").read_text().splitlines()] == [3, 5]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_class_is_exported_in_parts(db: Database, ending: str) -> None:
    Path("guests.csv").write_text("id,name,age\n" + "".join(f"{n},g{n},{n % 90}\n" for n in range(1, 5001)))
    dal("import", "guests.csv", "--into", "guest_models:Guest", "--quiet")
    answer = dal("export", "guest_models:Guest", f"out.{ending}", "--workers", "2")
    assert "5,000 rows in" in answer.output, answer.output
    with db.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE guests")
    dal("import", f"out.{ending}", "--into", "guest_models:Guest", "--quiet")
    assert count(db) == 5000
    answer = dal("export", "SELECT * FROM guests", "other.csv", "--workers", "2")
    assert isinstance(answer.exception, UsageError)
    assert "SQL text" in str(answer.exception)


def test_an_export_writes_nothing_to_the_database(db: Database) -> None:
    Path("guests.csv").write_text("id,name,age\n1,ada,36\n")
    dal("import", "guests.csv", "--into", "guest_models:Guest", "--quiet")
    answer = dal("export", "DELETE FROM guests RETURNING id", "out.csv", "--quiet")
    assert answer.exit_code != 0
    assert count(db) == 1
    assert not Path("out.csv").exists()


def test_names_that_mean_nothing(db: Database) -> None:
    Path("guests.csv").write_text("id,name,age\n1,ada,36\n")
    for name, told in (("Guest", "not accepted"), ("nothing:Guest", "cannot be imported"), ("guest_models:Host", "has no")):
        answer = dal("import", "guests.csv", "--into", name)
        assert isinstance(answer.exception, ConfigError)
        assert told in str(answer.exception)
    assert isinstance(dal("import", "no.csv", "--into", "guest_models:Guest").exception, UsageError)

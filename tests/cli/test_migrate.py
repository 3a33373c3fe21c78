from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dal.cli.app import app
from dal.errors import ConnectFailed, UsageError

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"models_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("DAL_URL", "sqlite:///shop.db")
    return name


def dal(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["migrate", *arguments])


def test_from_nothing_to_a_table_and_back(models: str) -> None:
    answer = dal("init", "--metadata", f"{models}:Base")
    assert answer.output.splitlines()[-1] == "next: dal migrate new 'create tables', then dal migrate up"
    assert Path("migrations/env.py").is_file()

    answer = dal("check")
    assert answer.exit_code == 1
    assert answer.output == "table users is in the models, not in the database\n"

    answer = dal("new", "create users")
    assert answer.output.startswith("wrote migrations/versions/")
    revision = next(Path("migrations/versions").glob("*.py")).name.split("_")[0]

    answer = dal("check")
    assert (answer.exit_code, answer.output) == (1, f"migration {revision} create users is not applied\n")
    assert dal("status").output == f"database  sqlite:///shop.db\ncurrent   none\npending   {revision} create users\n"
    assert dal("up").output == f"applied {revision} create users\n"
    assert dal("up").output == "nothing to apply\n"
    assert dal("status").output == f"database  sqlite:///shop.db\ncurrent   {revision}\nup to date\n"

    answer = dal("check")
    assert (answer.exit_code, answer.output) == (0, "models and database do not differ\n")
    assert dal("new", "again").output == "models and database do not differ: nothing written\n"
    assert dal("down", "-1").output == f"took back {revision} create users\n"

    assert dal("up").exit_code == 0
    next(Path("migrations/versions").glob("*.py")).unlink()
    assert f"unknown   {revision}: no file in migrations" in dal("status").output
    assert isinstance(dal("up").exception, UsageError)


def test_the_password_is_never_printed(models: str) -> None:
    dal("init", "--metadata", f"{models}:Base")
    answer = dal("status", "--url", "postgresql+psycopg://app:geheim@127.0.0.1:1/shop")
    assert isinstance(answer.exception, ConnectFailed)
    assert "geheim" not in answer.output + str(answer.exception)


def test_an_option_is_no_revision(models: str) -> None:
    answer = dal("down", "--yes")
    assert answer.exit_code == 2
    assert "no such option: --yes" in answer.output

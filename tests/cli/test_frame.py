from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dal.cli.target import database_config
from dal.errors import ConfigError


def run(
    *arguments: str, code: str = "from dal.cli import main; main()", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAL_")} | {"TERM": "dumb"}
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=60)


def test_help_names_every_command() -> None:
    answer = run("--help")
    assert answer.returncode == 0, answer.stderr
    for command in ("check", "demo", "migrate", "pool"):
        assert command in answer.stdout
    assert "\x1b[" not in answer.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_named(missing: str) -> None:
    answer = run("--help", code=f"import sys; sys.modules[{missing!r}] = None; from dal.cli import main; main()")
    assert answer.returncode == 1
    assert answer.stderr == (
        f"error: the command line needs the package {missing!r}, which is not installed\n  hint: pip install 'dal[cli]'\n"
    )


def test_the_frame_imports_no_command_s_luggage() -> None:
    answer = run(
        code="import sys; from dal.cli.app import app;"
        "print([name for name in ('alembic', 'yaml', 'dal.demo', 'dal.migrations', 'rich') if name in sys.modules])"
    )
    assert answer.stdout.strip() == "[]", answer.stderr


def test_an_error_is_two_lines_and_no_traceback(tmp_path: Path) -> None:
    answer = run("migrate", "status", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: no database is named\n  hint: add --url ")
    assert "Traceback" not in answer.stderr


def test_what_the_database_refuses_is_told_without_a_traceback(tmp_path: Path) -> None:
    answer = run("export", "SELECT * FROM nowhere", "out.csv", "--quiet", "--url", "sqlite://", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr == "error: the database refused it: no such table: nowhere\n"
    assert not (tmp_path / "out.csv").exists()


def test_a_mistyped_command_is_told() -> None:
    answer = run("migrate", "upp")
    assert answer.returncode == 2
    assert "No such command 'upp'" in answer.stderr
    answer = run("migrate", "up", "--ulr", "sqlite://")
    assert answer.returncode == 2


class TestTarget:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in list(os.environ):
            if name.startswith("DAL_"):
                monkeypatch.delenv(name)

    def test_the_nearest_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("database.yaml").write_text("database: {url: 'sqlite:///default.db'}")
        Path("other.toml").write_text("[database]\nurl = 'sqlite:///other.db'\n")
        assert database_config(None, None).url.database == "default.db"
        monkeypatch.setenv("DAL_URL", "sqlite:///environment.db")
        assert database_config(None, None).url.database == "environment.db"
        assert database_config(None, Path("other.toml")).url.database == "other.db"
        assert database_config("sqlite:///url.db", None).url.database == "url.db"

    def test_two_names_are_one_too_many(self) -> None:
        with pytest.raises(ConfigError, match="both"):
            database_config("sqlite://", Path("database.yaml"))

    def test_none_is_told(self) -> None:
        with pytest.raises(ConfigError, match="no database is named"):
            database_config(None, None)

"""An application with models on disk, as `dal migrate` meets it."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from dal.migrations import init

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
"""


@dataclass(frozen=True)
class Application:
    """A package `name` in `root` with a module `models`, and the database it uses."""

    root: Path
    name: str
    url: str
    models: str = MODELS

    def write_models(self, text: str) -> None:
        (self.root / self.name / "models.py").write_text(text)
        for module in [module for module in sys.modules if module.split(".")[0] == self.name]:
            del sys.modules[module]
        # Two writes within the clock of the file system must not meet one cached bytecode.
        for cached in (self.root / self.name).glob("__pycache__/*"):
            cached.unlink()

    def write_migration(self, identifier: str, follows: str | None, upgrade: str, downgrade: str = "pass") -> None:
        (self.root / "migrations" / "versions" / f"{identifier}.py").write_text(
            f'"""Step {identifier}"""\n\nimport time\n\nfrom alembic import op\n\n'
            f"revision = {identifier!r}\ndown_revision = {follows!r}\n\n\n"
            f"def upgrade():\n    {upgrade}\n\n\ndef downgrade():\n    {downgrade}\n"
        )

    def dal(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `dal` as a process of its own in the application's folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "dal.cli", *arguments],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(params=["postgresql", "sqlite"])
def application(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("dal_database").render_as_string(hide_password=False)
    name = f"app_{uuid.uuid4().hex}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    application = Application(tmp_path, name, url)
    application.write_models(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    init(metadata=f"{name}.models:Base")
    return application

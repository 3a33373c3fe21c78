"""Keys of cursors from code, file and environment; refused in production where there is none."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from dal import AsyncDatabase, ConfigError, CursorConfig, Database, DatabaseConfig, PoolConfig

KEY = "a key of sixteen bytes"


def test_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "database.yaml"
    file.write_text(
        "database:\n  url: sqlite://\n  cursors:\n    keys: ['${CURSOR_KEY}', another key of the house]\n"
        "    production: ${PRODUCTION:-true}\n    expires: 1h\n",
        encoding="utf-8",
    )
    found = DatabaseConfig.from_file(file, environ={"CURSOR_KEY": KEY}).cursors
    assert found == CursorConfig(keys=[KEY, "another key of the house"], production=True, expires="1h")


def test_from_the_environment() -> None:
    environ = {"DAL_URL": "sqlite://", "DAL_CURSORS__KEYS": f"{KEY},another key of the house", "DAL_CURSORS__EXPIRES": "30m"}
    found = DatabaseConfig.from_env({**environ, "DAL_CURSORS__PRODUCTION": "true"}).cursors
    assert found == CursorConfig(keys=[KEY, "another key of the house"], production=True, expires=1800)
    assert DatabaseConfig.from_env({"DAL_URL": "sqlite://"}).cursors is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"production": True}, "no key"),
        ({"keys": ["short"]}, "16 bytes"),
        ({"keys": [7]}, "16 bytes"),
        ({"keys": KEY}, "not a list"),
        ({"keys": {KEY}}, "not a list"),
        ({"keys": [KEY], "production": "yes"}, "production"),
        ({"keys": [KEY], "expires": 0}, "expires"),
        ({"keys": [KEY], "expires": "soon"}, "expires"),
    ],
)
def test_bad_values(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        CursorConfig(**arguments)
    assert caught.value.hint
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [{"DAL_CURSORS__KEY": KEY}, {"DAL_CURSORS__PRODUCTION": "maybe"}, {"DAL_CURSORS__PRODUCTION": "true"}],
)
def test_a_bad_environment(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        DatabaseConfig.from_env({"DAL_URL": "sqlite://", **environ})
    assert KEY not in str(caught.value)


def test_production_without_a_key_does_not_open() -> None:
    with pytest.raises(ConfigError, match="no key to sign cursors"):
        Database("sqlite://", cursors=CursorConfig(production=True))
    with pytest.raises(ConfigError, match="cursors"):
        Database("sqlite://", cursors=[KEY])  # type: ignore[arg-type]


def test_the_key_is_shown_nowhere() -> None:
    config = CursorConfig(keys=[KEY])
    with Database("sqlite://", cursors=config) as db:
        assert KEY not in f"{config!r} {config} {db!r} {db.config!r}"


def test_copies() -> None:
    config = DatabaseConfig(url="sqlite://", cursors=CursorConfig(keys=[KEY], expires="1h"))
    assert pickle.loads(pickle.dumps(config)).cursors == copy.deepcopy(config).cursors == config.cursors


async def test_sessions_know_them() -> None:
    config = CursorConfig(keys=[KEY])
    whole = DatabaseConfig(url="sqlite://", cursors=config)
    for options in ({"cursors": config}, {"pool": PoolConfig(max_pool_size=9), "cursors": None}):
        with Database(whole, **options) as db, db.session() as session:
            assert session.info["dal.cursors"] is config
            with Session() as own:
                assert db.bind(own).info["dal.cursors"] is config
    async with AsyncDatabase(whole) as async_db, async_db.session() as async_session:
        assert async_session.sync_session.info["dal.cursors"] is config

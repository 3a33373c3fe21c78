from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from traceback import format_exception

import pytest

from dal import ConfigError, DatabaseConfig, PoolConfig, batched
from dal.config import PolicyConfig

YAML = """
database:
  url: postgresql+psycopg://app:${DB_PASSWORD}@localhost/shop
  connection_pool:
    min_pool_size: 5
    max_pool_size: 20
    connection_timeout: 30s
    idle_timeout: 10m
    max_lifetime: 1h
    validation_query: "SELECT 1"
    test_on_borrow: true
    test_while_idle: true
    retry_attempts: 3
    retry_delay: 1s
  policies:
    profile_page: {eager: [User.profile, User.orders], otherwise: batched}
"""
TOML = """
[database]
url = "postgresql+psycopg://app:${DB_PASSWORD}@localhost/shop"
[database.connection_pool]
min_pool_size = 5
max_pool_size = 20
connection_timeout = "30s"
idle_timeout = "10m"
max_lifetime = "1h"
validation_query = "SELECT 1"
test_on_borrow = true
test_while_idle = true
retry_attempts = 3
retry_delay = "1s"
[database.policies]
profile_page = {eager = ["User.profile", "User.orders"], otherwise = "batched"}
"""


def written(folder: Path, content: str, ending: str = "yaml") -> Path:
    file = folder / f"database.{ending}"
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(("content", "ending"), [(YAML, "yaml"), (YAML, "yml"), (TOML, "toml")])
def test_the_promised_file_loads(tmp_path: Path, content: str, ending: str) -> None:
    config = DatabaseConfig.from_file(written(tmp_path, content, ending), environ={"DB_PASSWORD": "s3cret"})
    assert config.url.password == "s3cret"
    assert config.pool == PoolConfig(
        min_pool_size=5,
        max_pool_size=20,
        connection_timeout=30,
        idle_timeout=600,
        max_lifetime=3600,
        validation_query="SELECT 1",
        test_on_borrow=True,
        test_while_idle=True,
        retry_attempts=3,
        retry_delay=1,
    )
    assert config.policies == {"profile_page": PolicyConfig(eager=("User.profile", "User.orders"), otherwise="batched")}


@pytest.mark.parametrize("password", ["p@ss/w:rd?", "%41", "#{}", "ä b"])
def test_a_password_may_hold_any_character(tmp_path: Path, password: str) -> None:
    config = DatabaseConfig.from_file(written(tmp_path, YAML), environ={"DB_PASSWORD": password})
    assert (config.url.password, config.url.host, config.url.database) == (password, "localhost", "shop")


def test_a_whole_url_from_the_environment_is_taken_as_it_is(tmp_path: Path) -> None:
    file = written(tmp_path, "database: {url: '${THE_URL}'}")
    assert DatabaseConfig.from_file(file, environ={"THE_URL": "sqlite:///a b.db"}).url.database == "a b.db"


def test_a_variable_may_have_a_default(tmp_path: Path) -> None:
    file = written(tmp_path, "database: {url: 'postgresql://${HOST:-localhost}/shop'}")
    assert DatabaseConfig.from_file(file, environ={}).url.host == "localhost"


def test_a_variable_may_hold_any_setting(tmp_path: Path) -> None:
    lines = ["max_pool_size: ${SIZE}", "test_while_idle: ${IDLE}", "idle_timeout: ${TIME}", "retry_delay: ${DELAY:-0.5}"]
    file = written(tmp_path, pool_yaml("\n    ".join(lines)))
    found = DatabaseConfig.from_file(file, environ={"SIZE": "7", "IDLE": "false", "TIME": "90"}).pool
    assert found == PoolConfig(max_pool_size=7, test_while_idle=False, idle_timeout=90, retry_delay=0.5)


@pytest.mark.parametrize(("content", "ending"), [(YAML, "YAML"), (TOML, "toml")])
def test_a_file_as_windows_writes_it(tmp_path: Path, content: str, ending: str) -> None:
    file = written(tmp_path, "\ufeff" + content.replace("\n", "\r\n"), ending)
    assert DatabaseConfig.from_file(file, environ={"DB_PASSWORD": "s3cret"}).pool.max_pool_size == 20


def test_the_password_is_shown_nowhere(tmp_path: Path) -> None:
    config = DatabaseConfig.from_file(written(tmp_path, YAML), environ={"DB_PASSWORD": "s3cret"})
    assert "s3cret" not in f"{config!r} {config} {config.url} {config.url!r}"


def pool_yaml(line: str) -> str:
    return f"database:\n  url: 'sqlite://'\n  connection_pool:\n    {line}\n"


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (pool_yaml("max_pool_sise: 5"), r"connection_pool\.max_pool_sise: unknown key \(with the value 5\)", "max_pool_size"),
        (pool_yaml("idle_timeout: soon"), "idle_timeout: 'soon' is not a duration", "10m"),
        (pool_yaml("idle_timeout: 0"), "idle_timeout: 0 is not accepted", "30s"),
        (pool_yaml("min_pool_size: -1"), "min_pool_size: -1 is not accepted", "0 or more"),
        (pool_yaml("max_pool_size: 0"), "max_pool_size: 0 is not accepted", "1 or more"),
        (pool_yaml("max_pool_size: 2.5"), "max_pool_size: 2.5 is not accepted", "whole number"),
        (pool_yaml("min_pool_size: 30"), "min_pool_size: 30 is more than max_pool_size: 20", "raise max_pool_size"),
        (pool_yaml("test_on_borrow: sometimes"), "test_on_borrow: 'sometimes' is not accepted", "'always'"),
        (pool_yaml("test_while_idle: always"), "test_while_idle: 'always' is not accepted", "true or false"),
        (pool_yaml("validation_query: 1"), "validation_query: 1 is not accepted", "SELECT 1"),
        (pool_yaml("retry_delay: -1s"), "retry_delay: '-1s' is not a duration", "500ms"),
        ("database: {urll: x}", r"database\.urll: unknown key\n", "did you mean 'url'"),
        ("database: {url: 'sqlite://', pool: {}}", "database.pool: unknown key", "connection_pool"),
        ("databases: {}", "databases: unknown key", "database"),
        ("database: {}", "database.url is missing", "postgresql"),
        ("database: 7", "database: 7 is not a table", "keys"),
        ("- a", "is not a table", "keys"),
        ("database: {url: nonsense}", "url: this is not a database URL", "postgresql"),
        ("database: {url: 'sqlite://', policy: page}", "policy: 'page' is not among the policies", "none is defined"),
        ("database: {url: 'sqlite://', policies: {p: {eager: User.x}}}", "policies.p.eager: 'User.x' is not accepted", "list"),
        ("database: {url: 'sqlite://', policies: {p: {eager: [orders]}}}", "policies.p.eager", "User.profile"),
        ("database: {url: 'sqlite://', policies: {3: {otherwise: lazy}}}", "policies: the name 3 is not a text", '"3"'),
        ("database: {url: 'sqlite://', policies: {p: {otherwise: 3}}}", "policies.p.otherwise: 3 is not accepted", "lazy"),
        ("database: {url: 'sqlite://', policies: {p: {egaer: []}}}", "policies.p.egaer: unknown key", "did you mean 'eager'"),
        ("database: {url: 'x://${NOT_SET}'}", "NOT_SET", "export NOT_SET"),
        ("database: [", "this is not YAML", "database:"),
    ],
)
def test_a_bad_file_names_key_value_and_accepted_form(tmp_path: Path, content: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        DatabaseConfig.from_file(written(tmp_path, content), environ={})
    assert hint in caught.value.hint


SECRET = "postgresql+psycopg://app:s3cret@localhost/shop"


@pytest.mark.parametrize(
    "content",
    [
        f"databse: {{url: '{SECRET}'}}",
        f"database: '{SECRET}'",
        f"database: {{dsn: '{SECRET}'}}",
        f"database: {{url: 'sqlite://', connection_pool: '{SECRET}'}}",
        f"database: {{url: 'sqlite://', connection_pool: ['{SECRET}']}}",
        f"database: {{url: 'sqlite://', connection_pool: {{uri: '{SECRET}'}}}}",
        f'database:\n  url: "{SECRET}\n',
        f"database:\n  url: {SECRET}: x\n",
        f"database:\n  url: {SECRET.replace('/shop', ':port/shop')}\n",
    ],
)
def test_a_password_in_the_wrong_place_is_not_shown(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DatabaseConfig.from_file(written(tmp_path, content))
    assert "s3cret" not in "".join(format_exception(caught.value))


def test_a_password_in_the_query_of_a_url_is_masked() -> None:
    config = DatabaseConfig(url="postgresql+psycopg://app@localhost/shop?password=s3cret&sslmode=require")
    assert repr(config.url) == "postgresql+psycopg://app:***@localhost/shop?sslmode=require"
    assert config.url.password == "s3cret"


def test_an_at_sign_in_a_password_is_told() -> None:
    with pytest.raises(ConfigError, match="%40") as caught:
        DatabaseConfig(url="postgresql+psycopg://app:s3@cret@localhost/shop")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "# nothing yet"])
def test_an_empty_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match="the table 'database' is missing"):
        DatabaseConfig.from_file(written(tmp_path, content))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolicyConfig(eager="User.orders"), "eager: 'User.orders'"),  # type: ignore[arg-type]
        (lambda: PolicyConfig(eager=("orders",)), "eager:.*orders"),
        (lambda: PolicyConfig(otherwise=batched()), "otherwise: batched"),  # type: ignore[arg-type]
        (lambda: DatabaseConfig(url="sqlite://", pool={"max_pool_size": 3}), "pool: a dict"),  # type: ignore[arg-type]
        (lambda: DatabaseConfig(url="sqlite://", policies={"page": {"eager": []}}), "'page': a dict"),  # type: ignore[dict-item]
    ],
)
def test_a_value_of_the_wrong_type_in_code(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert caught.value.hint


def test_an_unknown_key_that_may_hold_a_secret_hides_its_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        DatabaseConfig.from_file(written(tmp_path, "database: {url: 'sqlite://', password: s3cret}"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("name", "message"), [("none.yaml", "cannot be read"), ("x.ini", "ending '.ini'")])
def test_a_file_that_is_not_there_or_of_another_kind(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "x.ini").write_text("")
    with pytest.raises(ConfigError, match=message):
        DatabaseConfig.from_file(tmp_path / name)


def test_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is not TOML"):
        DatabaseConfig.from_file(written(tmp_path, "database = [", "toml"))


def test_the_environment() -> None:
    environ = {
        "DAL_URL": "postgresql://app@localhost/shop",
        "DAL_POOL__MAX_POOL_SIZE": "7",
        "DAL_POOL__IDLE_TIMEOUT": "5m",
        "DAL_POOL__TEST_WHILE_IDLE": "false",
        "DAL_POOL__TEST_ON_BORROW": "always",
        "HOME": "elsewhere",
    }
    config = DatabaseConfig.from_env(environ)
    assert config.pool == PoolConfig(max_pool_size=7, idle_timeout=300, test_while_idle=False, test_on_borrow="always")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "DAL_URL is not set"),
        ({"DAL_URL": "sqlite://", "DAL_POOL__SIZE": "3"}, "DAL_POOL__SIZE: unknown key"),
        ({"DAL_URL": "sqlite://", "DAL_POOL_MAX_POOL_SIZE": "3"}, "(?s)DAL_POOL_MAX.*DAL_POOL__MAX_POOL_SIZE, with two"),
        ({"DAL_URL": "sqlite://", "DAL_POOL__MAX_POOL_SIZE": "many"}, "max_pool_size: 'many' is not accepted"),
        ({"DAL_URL": "sqlite://", "DAL_POOL__TEST_WHILE_IDLE": "perhaps"}, "test_while_idle: 'perhaps' is not accepted"),
    ],
)
def test_a_bad_environment(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DatabaseConfig.from_env(environ)


def test_settings_travel_to_another_process(tmp_path: Path) -> None:
    config = DatabaseConfig.from_file(written(tmp_path, YAML), environ={"DB_PASSWORD": "s3cret"})
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert twin == config
        assert twin.url.password == "s3cret"


def test_settings_are_frozen_and_named() -> None:
    config = PoolConfig()
    with pytest.raises(AttributeError):
        config.max_pool_size = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        PoolConfig(5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected"):
        PoolConfig(size=5)  # type: ignore[call-arg]

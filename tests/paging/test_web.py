"""The helpers for FastAPI and Litestar: what a client sends, what it gets back, and 400 where a cursor is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.testing import TestClient as LitestarClient
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, StaticPool, create_engine
from sqlalchemy.orm import Session

from dal import CursorError, Repository
from dal.paging import Page, fastapi, litestar
from dal.paging.web import PageParams
from tests.paging.conftest import CONFIG
from tests.paging.models import AUTHORS, METADATA, Author, fill


class AuthorOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    nick: str | None


class AuthorView(msgspec.Struct):
    id: int
    nick: str | None


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    METADATA.create_all(engine)
    with Session(engine) as session, session.begin():
        fill(session)
    yield engine
    engine.dispose()


def page_of(engine: Engine, params: PageParams) -> Page[Author]:
    with Session(engine, info=CONFIG.info(), expire_on_commit=False) as session:
        return Repository(session, Author).page(order_by=[Author.nick], **params)


def with_fastapi(engine: Engine) -> Any:
    app = FastAPI()
    fastapi.answer_cursor_errors(app)

    @app.get("/simple", response_model=fastapi.PageOut[AuthorOut])
    def simple(params: Annotated[PageParams, Depends(fastapi.page_params(size=4, max_size=10, total="exact"))]) -> Page[Author]:
        return page_of(engine, params)

    @app.get("/relay")
    def relay(
        params: Annotated[PageParams, Depends(fastapi.connection_params(size=4, max_size=10))],
    ) -> fastapi.ConnectionOut[AuthorOut]:
        return fastapi.ConnectionOut[AuthorOut].of(page_of(engine, params))

    return TestClient(app)


def with_litestar(engine: Engine) -> Any:
    @get("/simple", dependencies={"params": litestar.page_params(size=4, max_size=10, total="exact")}, sync_to_thread=False)
    def simple(params: NamedDependency[PageParams]) -> litestar.PageOut[AuthorView]:
        return litestar.PageOut.of(page_of(engine, params), AuthorView)

    @get("/relay", dependencies={"params": litestar.connection_params(size=4, max_size=10)}, sync_to_thread=False)
    def relay(params: NamedDependency[PageParams]) -> litestar.ConnectionOut[AuthorView]:
        return litestar.ConnectionOut.of(page_of(engine, params), AuthorView)

    app = Litestar([simple, relay], exception_handlers={CursorError: litestar.answer_cursor_error})
    return LitestarClient(app)


@pytest.fixture(scope="module", params=[with_fastapi, with_litestar], ids=["fastapi", "litestar"])
def client(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Any]:
    make: Callable[[Engine], Any] = request.param
    with make(engine) as client:
        yield client


def test_simple_pages(client: Any) -> None:
    found: list[int] = []
    url = "/simple"
    while True:
        answer = client.get(url)
        assert answer.status_code == 200
        body = answer.json()
        assert body["total"] == {"value": AUTHORS, "exact": True}
        found += [each["id"] for each in body["items"]]
        if body["next"] is None:
            break
        url = f"/simple?size=5&after={body['next']}"
    assert sorted(found) == list(range(1, AUTHORS + 1))
    assert set(body["items"][0]) == {"id", "nick"}
    back = client.get(f"/simple?size=5&before={body['previous']}").json()
    assert [each["id"] for each in back["items"]] == found[4:9]


def test_a_connection(client: Any) -> None:
    first = client.get("/relay?first=3").json()
    assert set(first["pageInfo"]) == {"hasNextPage", "hasPreviousPage", "startCursor", "endCursor"}
    assert first["pageInfo"]["hasNextPage"] is True
    assert first["pageInfo"]["hasPreviousPage"] is False
    assert first["pageInfo"]["startCursor"] == first["edges"][0]["cursor"]
    second = client.get(f"/relay?first=3&after={first['pageInfo']['endCursor']}").json()
    back = client.get(f"/relay?last=3&before={second['pageInfo']['startCursor']}").json()
    assert [each["node"] for each in back["edges"]] == [each["node"] for each in first["edges"]]
    last = client.get("/relay?last=3").json()
    assert len(last["edges"]) == 3
    assert last["pageInfo"]["hasNextPage"] is False
    assert last["pageInfo"]["hasPreviousPage"] is True
    assert len(client.get("/relay").json()["edges"]) == 4


@pytest.mark.parametrize(
    "url", ["/simple?after=x", "/relay?after=x", "/simple?after=a&before=b", "/relay?first=1&last=1", "/relay?first=1&before=x"]
)
def test_a_bad_cursor_is_a_400(url: str, client: Any) -> None:
    answer = client.get(url)
    assert answer.status_code == 400
    assert "hint" not in answer.json()["detail"]


def test_a_cursor_of_the_other_page(client: Any) -> None:
    cursor = client.get("/simple").json()["next"]
    assert client.get(f"/relay?after={cursor}").status_code == 200, "the same query, whatever the shape of the answer"
    assert client.get(f"/simple?after={cursor[:-1]}").status_code == 400


@pytest.mark.parametrize("url", ["/simple?size=0", "/simple?size=11", "/relay?first=0", "/relay?last=-1", "/simple?size=x"])
def test_a_bad_size_is_the_clients_error(url: str, client: Any) -> None:
    assert client.get(url).status_code in {400, 422}


def test_the_parameters_are_described(client: Any) -> None:
    if isinstance(client, TestClient):
        described = client.get("/openapi.json").json()["paths"]["/simple"]["get"]["parameters"]
        assert {each["name"] for each in described} == {"size", "after", "before"}
        assert next(each for each in described if each["name"] == "size")["schema"]["maximum"] == 10

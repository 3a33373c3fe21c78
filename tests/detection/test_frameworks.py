"""Applications that have never heard of dal: FastAPI, Flask-SQLAlchemy, SQLModel, Pydantic, Jinja."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from flask import Flask
from jinja2 import DictLoader, Environment, FileSystemLoader
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.pool import StaticPool

from dal.detection import Detected, detect, listeners
from dal.detection.asgi import DetectionMiddleware
from dal.detection.wsgi import DetectionMiddleware as WsgiMiddleware
from tests.detection.scenarios.models import Base, User, seed


class PostView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    title: str


class UserView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str
    posts: list[PostView]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """A middleware keeps the listeners for the life of its process; the tests after this file want it without."""
    yield
    listeners._holders = 0
    with listeners._lock:
        listeners._tidy()


@pytest.fixture
def api(engine: Engine) -> FastAPI:
    app = FastAPI()

    def opened() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    @app.get("/users", response_model=list[UserView])
    def users(session: Session = Depends(opened)) -> Any:  # noqa: B008
        return session.scalars(select(User)).all()

    @app.get("/eager", response_model=list[UserView])
    def eager(session: Session = Depends(opened)) -> Any:  # noqa: B008
        return session.scalars(select(User).options(selectinload(User.posts))).all()

    @app.get("/encoded", response_model=None)
    def encoded(session: Session = Depends(opened)) -> Any:  # noqa: B008
        return session.scalars(select(User).options(selectinload(User.posts))).all()

    @app.get("/users/{key}", response_model=UserView)
    def user(key: int, session: Session = Depends(opened)) -> Any:  # noqa: B008
        return session.get(User, key)

    @app.get("/async/{key}")
    async def coroutine(key: int, session: Session = Depends(opened)) -> dict[str, str]:  # noqa: B008
        found = session.get(User, key)
        return {"name": found.name if found else ""}

    @app.get("/page", response_class=HTMLResponse)
    def page(session: Session = Depends(opened)) -> str:  # noqa: B008
        return f"<html><body>{sum(len(user.posts) for user in session.scalars(select(User)))} posts</body></html>"

    return app


def test_fastapi_response_model(api: FastAPI) -> None:
    with TestClient(api) as client, detect() as report:
        assert len(client.get("/users").json()) == 6
    (finding,) = report.findings
    assert (finding.subject, finding.queries) == ("User.posts", 6)
    assert finding.loaded_at is not None
    assert "in users" in finding.loaded_at


def test_fastapi_eager(api: FastAPI) -> None:
    with TestClient(api) as client, detect() as report:
        client.get("/eager")
    assert not report.findings, str(report)


def test_fastapi_without_a_response_model_reads_all_there_is(api: FastAPI) -> None:
    """Its encoder takes `vars()` of each object, eager relationships included."""
    with TestClient(api) as client, detect() as report:
        assert len(client.get("/encoded").json()[0]["posts"]) == 5
    assert not report.findings, str(report)


@pytest.mark.parametrize("path", ["/users", "/async"])
def test_requests_of_a_test_are_no_loop(api: FastAPI, path: str) -> None:
    with TestClient(api) as client, detect() as report:
        for key in range(1, 6):
            assert client.get(f"{path}/{key}").status_code == 200
    assert report.count >= 5
    assert not report.findings, str(report)


def test_requests_to_flask_are_no_loop_either(engine: Engine) -> None:
    app = Flask(__name__)

    @app.get("/users/<int:key>")
    def user(key: int) -> str:
        with Session(engine) as session:
            found = session.get(User, key)
            return found.name if found else ""

    with detect() as report:
        for key in range(1, 6):
            app.test_client().get(f"/users/{key}")
    assert report.count == 5
    assert not report.findings, str(report)


def test_pydantic_from_attributes(engine: Engine) -> None:
    with Session(engine) as session, detect() as report:
        views = [UserView.model_validate(user) for user in session.scalars(select(User)).all()]
    assert len(views[0].posts) == 5
    (finding,) = report.findings
    assert finding.subject == "User.posts"
    assert "test_pydantic_from_attributes" in finding.call_site


@pytest.mark.parametrize("kind", ["file", "dict"])
def test_jinja_names_the_line_of_the_template(engine: Engine, tmp_path: Path, kind: str) -> None:
    source = "<ul>\n{% for user in users %}\n  <li>{{ user.name }}:\n    {{ user.posts|length }}</li>\n{% endfor %}\n</ul>"
    (tmp_path / "users.html").write_text(source, encoding="utf-8")
    loader = FileSystemLoader(tmp_path) if kind == "file" else DictLoader({"users.html": source})
    template = Environment(loader=loader, autoescape=True).get_template("users.html")
    with Session(engine) as session, detect() as report:
        template.render(users=session.scalars(select(User)).all())
    (finding,) = report.findings
    assert "users.html:4 in template" in finding.call_site
    assert any("test_jinja" in line for line in finding.stack)


def test_flask_sqlalchemy(tmp_path: Path) -> None:
    from tests.detection.library import Author, Book, db

    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'flask.db'}"
    db.init_app(app)

    @app.get("/")
    def index() -> str:
        return str(sum(len(author.books) for author in db.session.scalars(db.select(Author))))

    with app.app_context():
        db.create_all()
        db.session.add_all([Author(books=[Book(), Book()]) for _ in range(4)])
        db.session.commit()
    with detect() as report:
        assert app.test_client().get("/").data == b"8"
    with app.app_context():
        db.engine.dispose()
    (finding,) = report.findings
    assert (finding.subject, finding.queries) == ("Author.books", 4)
    assert "in index" in finding.call_site


def test_sqlmodel() -> None:
    sqlmodel = pytest.importorskip("sqlmodel")
    from tests.detection.squad import Recruit, Squad

    engine = create_engine("sqlite://", poolclass=StaticPool)
    sqlmodel.SQLModel.metadata.create_all(engine, tables=[Recruit.__table__, Squad.__table__])  # type: ignore[attr-defined]
    with sqlmodel.Session(engine) as session:
        session.add_all([Squad(name=str(number), recruits=[Recruit(name="a"), Recruit(name="b")]) for number in range(3)])
        session.commit()
    with sqlmodel.Session(engine) as session, detect() as report:
        for squad in session.exec(sqlmodel.select(Squad)).all():
            len(squad.recruits)
    (finding,) = report.findings
    assert (finding.subject, finding.queries) == ("Squad.recruits", 3)
    engine.dispose()


def test_asgi_middleware(api: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    told: list[object] = []
    app = DetectionMiddleware(api, panel=True, observer=told.append)
    with caplog.at_level("INFO", "dal.detection.requests"), TestClient(app) as client:
        response = client.get("/users")
        page = client.get("/page")
        client.get("/eager")
    assert (response.headers["x-dal-queries"], response.headers["x-dal-findings"]) == ("7", "1")
    assert "dal-panel" in page.text
    assert "selectinload(User.posts)" in page.text
    assert page.text.endswith("</div></body></html>")
    assert int(page.headers["content-length"]) == len(page.content)
    assert [fact.name for fact in told if isinstance(fact, Detected)] == ["GET /users", "GET /page"]
    assert "GET /users 200: 7 statements" in caplog.text
    assert "GET /eager 200: 2 statements" in caplog.text


def test_asgi_middleware_outside_the_sample(api: FastAPI) -> None:
    with TestClient(DetectionMiddleware(api, sample=0.0)) as client:
        assert "x-dal-queries" not in client.get("/users").headers


def test_wsgi_middleware(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)

    @app.get("/page")
    def page() -> str:
        with Session(engine) as session:
            return f"<body>{sum(len(user.posts) for user in session.scalars(select(User)))}</body>"

    @app.get("/json")
    def plain() -> dict[str, int]:
        with Session(engine) as session:
            return {"users": len(session.scalars(select(User)).all())}

    @app.get("/stream")
    def stream() -> Any:
        def rows() -> Iterator[str]:
            with Session(engine) as session:
                for user in session.scalars(select(User)):
                    yield f"{len(user.posts)}\n"

        return app.response_class(rows(), mimetype="text/plain")

    app.wsgi_app = WsgiMiddleware(app.wsgi_app, panel=True)  # type: ignore[method-assign]
    with caplog.at_level("INFO", "dal.detection.requests"):
        client = app.test_client()
        shown = client.get("/page")
        assert b"dal-panel" in shown.data
        assert int(shown.headers["content-length"]) == len(shown.data)
        with client.get("/json") as answer:
            assert answer.headers["x-dal-queries"] == "1"
        streamed = client.get("/stream")
        streamed.get_data()
        streamed.close()
    assert "GET /page 200 OK: 7 statements" in caplog.text
    assert "GET /stream 200 OK: 7 statements" in caplog.text
    assert caplog.text.count("User.posts was loaded 6 times") == 2

"""N+1 detection: what it finds and what it costs, with queryspy (from PyPI) side by side in the same run.

Run it with `python benchmarks/detection.py [verdicts|statement|suite|sample ...]`. The verdicts are those over the scenarios of
tests/detection; costs are CPU time of paired rounds, without detection, with dal, with queryspy, in random order. queryspy is
left out where it is not installed; it has to be importable but not loaded by pytest (`pip install --target DIR queryspy`,
`PYTHONPATH=DIR`). Limits beside the figures are the ones the project sets itself.
"""

from __future__ import annotations

import functools
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from dal.detection import detect, taps
from tests.detection.scenarios import applications, columns, eager_loads, lazy_loads, ported, statements, writes  # noqa: F401
from tests.detection.scenarios.models import Base, User, seed
from tests.detection.scenarios.table import COLUMN, N1, REPEATED, TABLE, App, Scenario

try:
    import queryspy
except ImportError:
    queryspy = None

ROUNDS = 40
LOOP = 300
SUITES = 15
SHARE = 600
SINGLE = 40_000


@contextmanager
def shop() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield engine
    engine.dispose()


@functools.cache
def seeded() -> bytes:
    """Return a shop as the bytes of a database file."""
    with shop() as engine, engine.connect() as connection:
        return bytes(connection.connection.driver_connection.serialize())  # type: ignore[union-attr]


@contextmanager
def filed_shop() -> Iterator[Engine]:
    """A shop of its own in a file, for scenarios with threads."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "shop.db"
        path.write_bytes(seeded())
        engine = create_engine(f"sqlite:///{path}")
        yield engine
        engine.dispose()


def dal_speaks(scenario: Scenario) -> bool:
    with filed_shop() as engine, Session(engine) as session, detect() as report:
        app = App(engine, session)
        scenario.run(app)
    return bool(report.findings)


def queryspy_speaks(scenario: Scenario) -> bool:
    with filed_shop() as engine, Session(engine) as session, queryspy.record() as recorder:
        app = App(engine, session)
        scenario.run(app)
    return bool(recorder.findings())


def verdicts() -> None:
    """Count who speaks about what; the second line leaves out the kinds that queryspy does not claim to know."""
    tools: dict[str, Callable[[Scenario], bool]] = {"dal": dal_speaks}
    if queryspy is not None:
        tools["queryspy"] = queryspy_speaks
    known = {"", N1, COLUMN, REPEATED}
    for name, speaks in tools.items():
        said = {scenario.name: speaks(scenario) for scenario in TABLE.values()}
        for label, picked in (
            ("all scenarios", list(TABLE.values())),
            ("loads and repeated reads", [scenario for scenario in TABLE.values() if scenario.rule in known]),
        ):
            dirty = [scenario for scenario in picked if scenario.dirty]
            clean = [scenario for scenario in picked if not scenario.dirty]
            hits = sum(said[scenario.name] for scenario in dirty)
            alarms = sum(said[scenario.name] for scenario in clean)
            precision = hits / max(hits + alarms, 1)
            print(
                f"verdicts   {name:9} {label:25} found {hits}/{len(dirty)}, false alarms {alarms}/{len(clean)}: "
                f"recall {hits / len(dirty):.3f}, precision {precision:.3f}"
            )
        if name == "queryspy":
            print("           false alarms:", ", ".join(s.name for s in TABLE.values() if not s.dirty and said[s.name]))
            print("           missed:", ", ".join(s.name for s in TABLE.values() if s.dirty and not said[s.name]))


def gets(engine: Engine) -> None:
    with Session(engine) as session:
        for key in range(LOOP):
            session.get(User, key % 6 + 1)
            session.expunge_all()


def lists(engine: Engine) -> None:
    with Session(engine) as session:
        for limit in range(LOOP):
            session.scalars(select(User).where(User.id <= limit % 6 + 1)).all()
            session.expunge_all()


def watched_by(tool: str) -> AbstractContextManager[object]:
    if tool == "dal":
        return detect()
    return queryspy.record() if tool == "queryspy" else nullcontext()


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def statement() -> None:
    """What one ORM statement costs more when it is watched, on in-memory SQLite, where statements are cheapest."""
    tools = ["off", "dal", *(["queryspy"] if queryspy is not None else [])]
    for name, work in (("session.get", gets), ("select().where()", lists)):
        with shop() as engine:
            work(engine)
            times: dict[str, list[float]] = {tool: [] for tool in tools}
            for _ in range(ROUNDS):
                for tool in random.sample(tools, len(tools)):
                    with watched_by(tool):
                        times[tool].append(cpu(lambda work=work, engine=engine: work(engine)))  # type: ignore[misc]
        base = statistics.median(times["off"]) / LOOP * 1e6
        for tool in tools[1:]:
            more = statistics.median(a - b for a, b in zip(times[tool], times["off"], strict=True)) / LOOP * 1e6
            best = (min(times[tool]) - min(times["off"])) / LOOP * 1e6
            limit = "limit 10 us" if tool == "dal" else ""
            print(
                f"statement  {name:17} {base:6.1f} us, with {tool:9}+{more:5.1f} us (best rounds +{best:.1f}), "
                f"{more / base:.1%} {limit}"
            )


APP = """
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.pool import StaticPool
from tests.detection.scenarios.models import Base, User, seed

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})

def opened():
    with Session(engine) as session:
        yield session

class PostView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    title: str

class UserView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str
    posts: list[PostView]

@app.get("/users", response_model=list[UserView])
def users(session: Session = Depends(opened)):
    return session.scalars(select(User).options(selectinload(User.posts))).all()

@app.get("/users/{key}", response_model=UserView)
def user(key: int, session: Session = Depends(opened)):
    return session.get(User, key)

@app.post("/users", response_model=UserView)
def create(session: Session = Depends(opened)):
    found = User(name="new")
    session.add(found)
    session.commit()
    return found
"""
TESTS = """
import pytest
from fastapi.testclient import TestClient
from shop_app import Base, Session, app, engine, seed

@pytest.fixture
def client():
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        seed(session)
    yield TestClient(app)
    Base.metadata.drop_all(engine)

@pytest.mark.parametrize("number", range(60))
def test_pages(client, number):
    assert len(client.get("/users").json()) == 6
    for key in (1, 2, 3):
        assert client.get(f"/users/{key}").json()["posts"]
    assert client.post("/users").json()["name"] == "new"
"""


def suite() -> None:
    """What a whole test suite of a small web application costs more, in CPU time of its process.

    Bytecode is kept between the rounds, as it is where a package is installed; the first rounds, which make it, do not count.
    """
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "shop_app.py").write_text(APP, encoding="utf-8")
        (Path(home) / "test_shop.py").write_text(TESTS, encoding="utf-8")
        times: dict[str, list[float]] = {"off": [], "fail": []}
        for number in range(SUITES + 1):
            for mode in random.sample(list(times), 2):
                took = _suite_seconds(home, mode)
                if number:
                    times[mode].append(took)
    base = statistics.median(times["off"])
    differences = [a - b for a, b in zip(times["fail"], times["off"], strict=True)]
    best = min(times["fail"]) / min(times["off"]) - 1
    print(
        f"suite      60 tests of an API, {base:.2f} s, with --nplusone=fail {statistics.median(differences) / base:+.1%} "
        f"in the median of {SUITES} pairs (quartiles {_quartiles(differences, base)}), best rounds {best:+.1%} (limit 3%)"
    )


def _quartiles(differences: list[float], base: float) -> str:
    low, _, high = statistics.quantiles(differences, n=4)
    return f"{low / base:+.1%} to {high / base:+.1%}"


def _suite_seconds(home: str, mode: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    plugins = [] if _installed() else ["-p", "dal.testing.nplusone"]
    root = str(Path(__file__).resolve().parent.parent)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": os.pathsep.join((root, home)), "PYTHONPYCACHEPREFIX": str(Path(home) / "bytecode")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, f"--nplusone={mode}", "-c", os.devnull]
    subprocess.run(
        [*command, home], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=home
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _installed() -> bool:
    from importlib.metadata import entry_points

    return any(entry.value == "dal.testing.nplusone" for entry in entry_points(group="pytest11"))


def transaction(engine: Engine, key: int) -> bool:
    """Send five statements in a transaction of its own; say whether it was watched."""
    with Session(engine) as session:
        for more in range(5):
            session.get(User, (key + more) % 6 + 1)
            session.expunge_all()
        return bool(taps._connections)


def many_transactions(engine: Engine) -> None:
    for key in range(SHARE):
        transaction(engine, key)


def empty_transactions(engine: Engine) -> None:
    for _ in range(LOOP):
        with Session(engine) as session:
            session.connection()


def sample() -> None:
    """What a production application pays when one transaction in a hundred is watched; five statements each.

    The whole is some tenths of a percent, less than rounds differ by; so it is also put together from its parts, each measured
    where it is large: what a transaction that is not watched pays, seen on empty ones, and what a watched one pays more than
    its neighbours. One in a hundred finds nothing of detection in the processor's caches and costs twice what it costs when
    all are watched.
    """
    with shop() as engine:
        base, more = _sampled(engine, many_transactions, 0.01, ROUNDS * 3)
        _, passed = _sampled(engine, empty_transactions, 0.0, ROUNDS)
        watched = _watched_more(engine)
    whole, passed = base / SHARE, passed / LOOP
    parts = (0.99 * passed + 0.01 * watched) / whole
    print(
        f"sample     1% of transactions of 5 statements, {whole * 1e6:.0f} us each: {more / base:+.2%} measured as a whole; "
        f"{parts:+.2%} by its parts, +{passed * 1e6:.2f} us not watched, +{watched * 1e6:.0f} us watched (limit 0.5%)"
    )


def _watched_more(engine: Engine) -> float:
    """Return the seconds that a watched transaction and the one after it cost more, at one in a hundred."""
    times: dict[str, list[float]] = {"alone": [], "watched": [], "after": []}
    with detect.install(sample=0.01, observer=lambda fact: None):
        before = False
        for key in range(SINGLE):
            started = time.perf_counter()
            watched = transaction(engine, key)
            took = time.perf_counter() - started
            times["watched" if watched else "after" if before else "alone"].append(took)
            before = watched
    alone, watched_one, after = (statistics.median(times[kind]) for kind in ("alone", "watched", "after"))
    return watched_one - alone + after - alone


def _sampled(engine: Engine, work: Callable[[Engine], None], share: float, rounds: int) -> tuple[float, float]:
    """Return the seconds of a round without detection and what a share costs more; a watched transaction is rare, so a mean."""
    times: dict[str, list[float]] = {"off": [], "sampled": []}
    work(engine)
    for _ in range(rounds):
        for mode in random.sample(list(times), 2):
            with detect.install(sample=share, observer=lambda fact: None) if mode == "sampled" else nullcontext():
                times[mode].append(cpu(lambda: work(engine)))
    differences = sorted(a - b for a, b in zip(times["sampled"], times["off"], strict=True))
    cut = rounds // 10 if 0 < share < 1 else rounds * 2 // 5
    return statistics.median(times["off"]), statistics.mean(differences[cut:-cut])


SECTIONS = {"verdicts": verdicts, "statement": statement, "suite": suite, "sample": sample}

if __name__ == "__main__":
    for section in sys.argv[1:] or SECTIONS:
        SECTIONS[section]()

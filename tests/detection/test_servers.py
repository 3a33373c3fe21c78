"""The whole table again, on PostgreSQL and on MariaDB: other drivers, other placeholders, row counts that tell."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal.detection import MultipliedRows, detect
from tests.detection.scenarios import applications, columns, eager_loads, lazy_loads, ported, statements, writes  # noqa: F401
from tests.detection.scenarios.models import Base, seed
from tests.detection.scenarios.table import TABLE, App

STREAMS = {
    "deferred_column_of_an_export",
    "export_with_its_children_in_chunks",
    "export_with_the_children_of_each",
    "in_partitions_of_a_stream",
    "inside_yield_per",
    "many_to_many_backward_inside_yield_per",
    "many_to_many_inside_yield_per",
    "many_to_one_inside_yield_per",
    "one_to_one_backward_inside_yield_per",
    "yield_per_with_selectin",
}
"""What a connection of pymysql cannot do: ask something else while it streams."""


def refill(engine: Engine) -> None:
    """Bring the shop back to how it was."""
    with Session(engine) as session:
        if engine.dialect.name == "mysql":
            session.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        if engine.dialect.name == "postgresql":
            session.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        else:
            for table in Base.metadata.tables.values():
                session.execute(table.delete())
            session.execute(text("SET FOREIGN_KEY_CHECKS = 1"))
        session.commit()
        seed(session)
        if engine.dialect.name == "postgresql":
            for table in Base.metadata.tables.values():
                if "id" in table.c and table.c["id"].type.python_type is int:
                    # The seed names its ids, and the sequences have to know.
                    behind = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), 10000)"
                    session.execute(text(behind))
        session.commit()


def judge_all(engine: Engine) -> list[str]:
    """Run the table; return what was wrong, one line each."""
    Base.metadata.create_all(engine)
    refill(engine)
    wrong = []
    for scenario in TABLE.values():
        if engine.driver == "pymysql" and scenario.name in STREAMS:
            continue
        with Session(engine) as session, detect() as report:
            app = App(engine, session)
            scenario.run(app)
        hits = [found for found in report.findings if found.rule == scenario.rule and scenario.subject in ("", found.subject)]
        if scenario.dirty and not hits:
            wrong.append(f"{scenario.name}: missed {scenario.rule}")
        if not scenario.dirty and report.findings:
            wrong.append(f"{scenario.name}: {report.findings[0].message}")
        if scenario.writes:
            refill(engine)
    return wrong


def multiplied(engine: Engine) -> MultipliedRows:
    with Session(engine) as session, detect() as report:
        TABLE["two_joined_collections"].run(App(engine, session))
    (found,) = report.findings
    assert isinstance(found, MultipliedRows)
    return found


def test_postgresql(dal_database: URL) -> None:
    engine = create_engine(dal_database)
    assert judge_all(engine) == []
    found = multiplied(engine)
    assert (found.measured, found.rows) == (True, 150)
    engine.dispose()


def test_mariadb(mariadb: URL) -> None:
    engine = create_engine(mariadb)
    assert judge_all(engine) == []
    found = multiplied(engine)
    assert (found.measured, found.rows) == (True, 150)
    engine.dispose()

"""Arguments of the wrong kind: a UsageError that names them and writes the line, and nothing is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from dal import BulkWriter, Database, UsageError
from dal.pipeline.sources import read_csv, read_jsonl, read_parquet
from tests.bulk.conftest import made
from tests.bulk.models import City

ROWS = [{"id": 1, "name": "Rome"}]
Case = Callable[[Any, Path], object]

CASES: dict[str, tuple[Case, str]] = {
    "rows": (lambda bulk, file: bulk.insert(5), "rows is a int"),
    "rows in parts": (lambda bulk, file: bulk.insert(5, commit_every=10), "rows is a int"),
    "one text": (lambda bulk, file: bulk.insert("Rome", commit_every=10), "rows is a str"),
    "columns": (lambda bulk, file: bulk.insert([(1, "Rome")], columns=5), "columns is 5, not a list"),
    "returning": (lambda bulk, file: bulk.insert(ROWS, returning=5), "returning is 5, not a list"),
    "key": (lambda bulk, file: bulk.upsert(ROWS, key=None), "key is None, not a list"),
    "set_": (lambda bulk, file: bulk.upsert(ROWS, key=["id"], set_=5), "set_ is 5, not a list"),
    "duplicates": (lambda bulk, file: bulk.upsert(ROWS, key=["id"], duplicates=[]), r"duplicates=\[\] is not known"),
    "on_error": (lambda bulk, file: bulk.insert(ROWS, on_error=[]), r"on_error=\[\] is neither"),
    "max_rejected": (lambda bulk, file: bulk.insert(ROWS, on_error="reject", max_rejected="9"), "max_rejected='9'"),
    "none rejected": (lambda bulk, file: bulk.insert(ROWS, max_rejected=-1), "max_rejected=-1"),
    "progress": (lambda bulk, file: bulk.load(file, progress="yes"), "progress='yes' is neither True nor a function"),
    "progress of a dump": (
        lambda bulk, file: bulk.dump(select(City), file.with_suffix(".jsonl"), progress="yes"),
        "progress='yes' is neither",
    ),
    "format of a dump": (lambda bulk, file: bulk.dump(select(City), file.with_suffix(".jsonl"), format="xml"), "format='xml'"),
    "validate": (lambda bulk, file: bulk.load(file, validate=5), "validate=5 is no function"),
    "resume": (lambda bulk, file: bulk.load(file, resume=5), "resume=5 is no name"),
    "on_part": (lambda bulk, file: bulk.load(file, resume="cities", on_part=5), "on_part=5 is no function"),
    "header": (lambda bulk, file: bulk.load(file, header="no"), "header='no' is neither"),
    "dialect": (lambda bulk, file: bulk.load(file, dialect=";"), "dialect=';' is no CsvDialect"),
    "most of a load": (lambda bulk, file: bulk.load(file, max_rejected="9"), "max_rejected='9'"),
    "read_csv": (lambda bulk, file: read_csv(None), "None is no path"),  # type: ignore[arg-type]
    "delimiter": (lambda bulk, file: read_csv(file, delimiter=";;"), "delimiter=';;'"),
    "encoding": (lambda bulk, file: read_csv(file, encoding="utf-nine"), "encoding='utf-nine'"),
    "read_jsonl": (lambda bulk, file: read_jsonl(5), "5 is no path"),  # type: ignore[arg-type]
    "read_parquet": (lambda bulk, file: read_parquet(None), "None is no path"),  # type: ignore[arg-type]
}


@pytest.fixture
def small(tmp_path: Path) -> Any:
    with made(URL.create("sqlite", database=str(tmp_path / "arguments.db"))) as db:
        yield db


@pytest.mark.parametrize("case", CASES)
def test_the_caller_is_told(small: Database, tmp_path: Path, case: str) -> None:
    file = tmp_path / "cities.csv"
    file.write_text("id,name\n1,Rome\n")
    call, said = CASES[case]
    with pytest.raises(UsageError, match=said) as raised:
        call(BulkWriter(small, City), file)
    assert raised.value.hint
    with small.session() as session:
        assert session.scalar(select(func.count()).select_from(City)) == 0
    assert not file.with_suffix(".jsonl").exists()

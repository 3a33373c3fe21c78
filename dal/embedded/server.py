"""EmbeddedServer: one user's handle on a real PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy.engine import URL

from dal.embedded import databases
from dal.embedded.backup import copy_cluster
from dal.embedded.binaries import find_binaries
from dal.embedded.cluster import create_cluster
from dal.embedded.owner import Owner
from dal.embedded.password import keep_password, password_file, set_password
from dal.embedded.service import Running, Service
from dal.embedded.settings import checked_settings, effective_settings
from dal.embedded.sockets import PORT
from dal.embedded.use import Use, make_folder
from dal.errors import ServerError, UsageError

__all__ = ["EmbeddedServer"]

Mode = Literal["smart", "fast", "immediate"]

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedServer:
    """A real PostgreSQL 18 for as long as somebody uses it.

    Several objects, in one process or in many, may use the same data folder: the first starts the server, the last one
    to stop, or to die by whatever signal, takes it down. Only the OS user who made the data folder gets in.

    Args:
        data: The folder of the data, made when missing. By default a temporary one that goes with the last user.
        settings: Server settings (`wal_level`, `max_connections`, `fsync` ...). Where the server already runs for
            another user, it has to run with these. A temporary server does not sync to disk unless told to.
        tcp: Listen on a free port of 127.0.0.1 too, with a password; `url()` then gives that address.
        temporary: Whether the data goes with its last user; by default it does where no folder is given.

    Raises:
        UsageError: A setting has no proper name, is not text, or is one the server's address depends on.

    Example:
        >>> import psycopg
        >>> with EmbeddedServer(settings={"wal_level": "logical"}) as server:
        ...     url = server.url().set(drivername="postgresql")
        ...     with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        ...         connection.execute("SHOW wal_level").fetchone()
        ('logical',)
    """

    def __init__(
        self,
        data: str | Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        tcp: bool = False,
        temporary: bool | None = None,
    ) -> None:
        self._data = None if data is None else Path(os.path.abspath(data))
        self._asked = checked_settings(settings or {})
        self._tcp = tcp
        self._temporary = data is None if temporary is None else temporary
        self._use: Use | None = None
        self._service: Service | None = None
        self._running: Running | None = None

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self._data or 'temporary')!r}, {'in use' if self._use else 'not in use'})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def data(self) -> Path:
        """The folder of the data, the log and the locks; a temporary one is known once started."""
        if self._data is None:
            raise UsageError("a temporary server has no folder before it is started", hint="server.start()")
        return self._data

    @property
    def log(self) -> Path:
        """The file the server logs to, since its last start."""
        return self.data / "server.log"

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._known().pid

    @property
    def port(self) -> int | None:
        """The port of 127.0.0.1 it listens on, or None."""
        return self._known().port

    @property
    def socket_folder(self) -> Path:
        """The folder of its unix socket: what libpq takes as `host`."""
        return self._known().socket_folder

    @property
    def password(self) -> str:
        """The password of the role postgres, needed over TCP and for replication."""
        return password_file(self.data).read_text()

    @property
    def is_running(self) -> bool:
        """Whether the server runs at this moment."""
        return self._running is not None and self._running.is_alive()

    def url(self, database: str = "postgres", *, driver: str = "psycopg") -> URL:
        """Build the URL of a database.

        Args:
            database: Its name.
            driver: The driver of SQLAlchemy's postgresql dialect.

        Returns:
            Over TCP, with the password, where `tcp=True`; else over the socket, where this OS user needs none.
        """
        running = self._known()
        name = f"postgresql+{driver}"
        if self._tcp:
            return URL.create(name, "postgres", self.password, "127.0.0.1", running.port, database)
        query = {"host": str(running.socket_folder), "port": str(running.port or PORT)}
        return URL.create(name, "postgres", database=database, query=query)

    def start(self) -> Self:
        """Use the server: start it, or join those who use it; again after `halt()` or a crash, bring it back.

        Raises:
            MissingExtra: The wheel with PostgreSQL is not installed.
            ServerError: It does not start here, or runs with other settings.
        """
        owner = Owner.choose()
        binaries = find_binaries(owner)
        use, service = self._join(owner)
        try:
            with use.alone():
                if not service.cluster.exists():
                    create_cluster(service.cluster, binaries=binaries, owner=owner, temporary=self._temporary)
                settings = effective_settings(self._asked, temporary=self._temporary)
                self._running = service.ensure(binaries, settings=settings, tcp=self._tcp)
                self._agree(self._running)
                set_password(service.folder, conninfo=self._conninfo())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End this use; the last one to do so takes the server down and waits until it is gone. Twice is once."""
        use, self._use = self._use, None
        if use is not None:
            use.end()

    def halt(self, mode: Mode = "fast") -> None:
        """Take the server down for all its users and stay a user; `start()` brings it back at the same address.

        Args:
            mode: "smart" waits for clients to leave, "fast" disconnects them, "immediate" is a crash with notice.

        Raises:
            ServerError: It did not stop in time.
            UsageError: There is no such mode.
        """
        if mode not in _SIGNALS:
            raise UsageError(f"mode: {mode!r} is none", hint=f"one of {', '.join(_SIGNALS)}")
        self._take_down(_SIGNALS[mode])

    def kill(self) -> None:
        """Crash the server with SIGKILL; `start()` recovers it at the same address."""
        self._take_down(signal.SIGKILL)

    def restart(self, mode: Mode = "fast") -> None:
        """Take the server down and start it again at the same address.

        Args:
            mode: How clients are treated, see `halt()`.
        """
        self.halt(mode)
        self.start()

    def create_database(self, name: str, *, template: str | None = None) -> URL:
        """Create a database.

        Args:
            name: Its name.
            template: The database to clone, by default an empty one.

        Returns:
            Its URL.

        Raises:
            ServerError: It exists, or the template is in use.
        """
        databases.create_database(self.url(name), template=template)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and end the connections to it.

        Args:
            name: Its name.
        """
        databases.drop_database(self.url(name))

    def basebackup(
        self, data: str | Path | None = None, *, settings: Mapping[str, str] | None = None, tcp: bool = False
    ) -> EmbeddedServer:
        """Copy the running server into a streaming replica.

        Args:
            data: The new server's folder, which must not exist or be empty; by default a temporary one.
            settings: The replica's settings.
            tcp: Whether it listens on 127.0.0.1.

        Returns:
            The replica, not started but in use: `with primary.basebackup() as replica:`.

        Raises:
            ServerError: pg_basebackup failed.
        """
        source = self._known()
        owner = Owner.choose()
        replica = EmbeddedServer(data, settings=settings, tcp=tcp)
        use, service = replica._join(owner)
        try:
            with use.alone():
                copy_cluster(
                    service.cluster,
                    binaries=find_binaries(owner),
                    owner=owner,
                    source={"host": str(source.socket_folder), "port": str(source.port or PORT), "password": self.password},
                    sync=not replica._temporary,
                )
                keep_password(service.folder, self.password)
        except BaseException:
            replica.stop()
            raise
        return replica

    def promote(self) -> None:
        """Make a replica a primary and wait until it is one.

        Raises:
            ServerError: It is no replica, or was not promoted within a minute.
        """
        databases.promote(self._conninfo())

    def _take_down(self, how: signal.Signals) -> None:
        self._known()
        assert self._use is not None
        assert self._service is not None
        with self._use.alone():
            self._service.take_down(how)

    def _join(self, owner: Owner) -> tuple[Use, Service]:
        if self._use is not None and self._use.is_mine and self._service is not None:
            return self._use, self._service
        self._data = make_folder(self._data)
        self._service = Service(self._data, owner, self._temporary)
        self._use = Use(self._service)
        return self._use, self._service

    def _agree(self, running: Running) -> None:
        other = {name: running.settings.get(name) for name, value in self._asked.items() if running.settings.get(name) != value}
        if self._tcp and running.port is None:
            other["tcp"] = "False"
        if other:
            told = ", ".join(f"{name}={'its default' if value is None else value}" for name, value in sorted(other.items()))
            raise ServerError(
                f"the embedded server in {self.data} already runs for another user, with {told}",
                hint="use the same settings, or a data folder of your own",
            )

    def _known(self) -> Running:
        if self._running is None or self._use is None:
            raise UsageError("the embedded server is not in use by this object", hint="with EmbeddedServer() as server: ...")
        return self._running

    def _conninfo(self) -> str:
        running = self._known()
        return f"host='{running.socket_folder}' port={running.port or PORT} user=postgres dbname=postgres"

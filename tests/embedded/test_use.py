"""Users of one folder who come while others go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dal.embedded import use as room
from dal.embedded.locks import FileLock
from dal.embedded.owner import Owner
from dal.embedded.service import Service
from dal.embedded.use import Use, make_folder


class Vanishing(type(Path())):  # type: ignore[misc]
    """A folder that its last user removes as soon as somebody finds it, once."""

    found = False

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        super().mkdir(mode, parents, exist_ok)
        if not self.found:
            type(self).found = True
            shutil.rmtree(self)


def test_folder_removed_while_it_is_looked_at_is_made_anew(tmp_path: Path) -> None:
    assert make_folder(Vanishing(tmp_path / "data")).is_dir()
    assert Vanishing.found


def test_name_struck_out_before_it_is_locked_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(make_folder(tmp_path / "data"), Owner.choose(), temporary=True)
    first = Use(service)
    first._name.release()  # as it does when it ends
    looks: list[bool | None] = []

    class Late(FileLock):
        def acquire(self, *, shared: bool = False) -> bool:
            if not looks:
                looks.append(None)
                looks.append(first._has_others())
            return super().acquire(shared=shared)

    monkeypatch.setattr(room, "FileLock", Late)
    second = Use(service)
    assert looks == [None, False]
    assert first._has_others()
    first.end()
    second.end()
    assert not service.folder.exists()

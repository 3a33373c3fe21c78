from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
SERVICES = {"primary", "replica", "pgbouncer", "redis"}


def compose_command() -> list[str]:
    """The Compose of this machine, new or old; `config` of either needs no engine."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    old = shutil.which("docker-compose")
    if old is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    return [old]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    content = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return dict(content["services"])


def test_compose_accepts_the_file() -> None:
    answer = subprocess.run(
        [*compose_command(), "-f", str(DOCKER / "compose.yaml"), "config"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DAL_PRIMARY_PORT": "15432"},
    )
    assert answer.returncode == 0, answer.stderr
    resolved = yaml.safe_load(answer.stdout)
    assert set(resolved["services"]) == SERVICES
    assert "15432" in str(resolved["services"]["primary"]["ports"])


def test_every_service_is_pinned_and_says_when_it_is_well(services: dict[str, Any]) -> None:
    assert set(services) == SERVICES
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+[\w.-]*$", service["image"]), f"{name} is not pinned: {service['image']}"
        assert service["healthcheck"]["test"], name


def test_nothing_is_offered_to_other_machines(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_every_file_it_mounts_is_there(services: dict[str, Any]) -> None:
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    files = [DOCKER / path for path in mounted if path.startswith("./")]
    assert len(files) == 4
    for path in files:
        assert path.is_file()
        assert path.suffix != ".sh" or os.access(path, os.X_OK)


def test_primary_and_replica_are_one_version(services: dict[str, Any]) -> None:
    assert services["primary"]["image"] == services["replica"]["image"]

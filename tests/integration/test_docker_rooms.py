"""The Dockerfile read as data: each target copies exactly its rooms, is not root, pins what it stands on;
compose parses.

No container engine is used: docker/README.md says what was not run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.docs_docker import Dockerfile, parse_dockerfile, parse_form, room_faults
from tests.support.docs_processes import PROCESSES, Process

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ("compose.demo.yml", "compose.production.yml")
BUILD_STAGES = {"base", "runtime", "runtime-packages", "verifier-packages"}


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return parse_dockerfile((ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8"))


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.module)
def test_each_target_copies_exactly_its_rooms(process: Process, dockerfile: Dockerfile) -> None:
    rooms = tuple(path for room in process.rooms for path in _expanded(room))
    assert room_faults(dockerfile, process.target, rooms, ROOT) == []


def _expanded(room: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(room)) if "*" in room else [room]


def test_a_copied_room_too_many_and_one_too_few_are_found() -> None:
    planted = parse_dockerfile(
        "FROM a:1 AS street-door\nCOPY mobile_api ./mobile_api\nCOPY app ./app\nCOPY chain ./x\n"
    )
    assert room_faults(planted, "street-door", ("mobile_api", "verifier"), ROOT) == [
        "street-door: chain is copied to ./x",
        "street-door: copies app, which is not its room",
        "street-door: copies chain, which is not its room",
        "street-door: does not copy verifier",
    ]


def test_a_copy_of_a_base_counts_for_what_stands_on_it() -> None:
    planted = parse_dockerfile("FROM a:1 AS base\nCOPY . ./\nFROM base AS log\nCOPY chain ./chain\n")
    assert room_faults(planted, "log", ("chain",), ROOT) != []


def test_every_process_is_a_target_and_every_target_a_process(dockerfile: Dockerfile) -> None:
    assert set(dockerfile.targets) - BUILD_STAGES - {"public"} == {process.target for process in PROCESSES}


@pytest.mark.parametrize("target", sorted({process.target for process in PROCESSES}))
def test_each_target_starts_one_of_its_processes(target: str, dockerfile: Dockerfile) -> None:
    command = (dockerfile.targets[target].all("CMD") or ["[]"])[-1]
    words = parse_form(dockerfile.last(target, "ENTRYPOINT")) + parse_form(command)
    assert words[:2] == ["python", "-m"]
    modules = [process.module.removesuffix(".__main__") for process in PROCESSES if process.target == target]
    assert words[2] in modules


def test_nobody_is_root_and_nothing_is_unpinned(dockerfile: Dockerfile) -> None:
    for name in set(dockerfile.targets) - BUILD_STAGES:
        user = dockerfile.last(name, "USER")
        assert user is not None, name
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), name
    for image in dockerfile.arguments.values():
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+(@sha256:[0-9a-f]{64})?", image), image
    for target in dockerfile.targets.values():
        assert target.base in dockerfile.targets or target.base in {
            f"${{{name}}}" for name in dockerfile.arguments
        }
    installs = [
        rest for target in dockerfile.targets.values() for rest in target.all("RUN") if "pip install" in rest
    ]
    assert installs
    for line in installs:
        assert "--require-hashes" in line
        assert "--no-deps" in line


def test_the_verifier_image_holds_the_verifiers_packages_only(dockerfile: Dockerfile) -> None:
    line = [rest for target in dockerfile.line_of("verifier") for rest in target.all("COPY")]
    assert [rest for rest in line if "packages" in rest] == ["--from=verifier-packages /opt/venv /opt/venv"]


def test_no_secret_is_baked_in(dockerfile: Dockerfile) -> None:
    for target in dockerfile.targets.values():
        for word, rest in target.instructions:
            assert not re.search(r"(?i)(password|secret|token)\s*=", rest), (target.name, word)
    ignored = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().split("\n")
    assert "**" in ignored
    assert "!var" not in ignored


@pytest.mark.parametrize(
    "text",
    [
        "RUN x\n",
        "FROM a:1\n",
        "FROM a:1 AS x\nFROM b:1 AS x\n",
        "FROM a:1 AS x\nADD . .\n",
        "FROM a:1 AS x\nVOLUME y\n",
    ],
)
def test_what_the_reader_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"stage|instruction"):
        parse_dockerfile(text)


# --- compose
# ---------------------------------------------------------------------------------------------------


def _compose(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker" / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def compose_faults(compose: dict[str, Any], targets: set[str]) -> list[str]:
    """Services that could do more than they must, or refer to what is not there."""
    faults = []
    for name, service in compose["services"].items():
        wanted = {
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "init": True,
        }
        faults += [f"{name}: {key}" for key, value in wanted.items() if service.get(key) != value]
        faults += [
            f"{name}: no {key}"
            for key in ("mem_limit", "pids_limit", "tmpfs", "restart")
            if not service.get(key)
        ]
        if service.get("privileged") or "docker.sock" in str(service.get("volumes")):
            faults.append(f"{name}: holds the engine")
        build = service.get("build")
        if build and build["target"] not in targets:
            faults.append(f"{name}: no target {build['target']}")
        if not build and "?" not in service.get("image", ""):
            faults.append(f"{name}: an image that is not asked for by digest")
        for network in service.get("networks", []):
            faults += [f"{name}: no network {network}"] if network not in compose["networks"] else []
        if not service.get("networks") and not service.get("network_mode"):
            faults.append(f"{name}: would join the default network")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith(".") and source not in compose["volumes"]:
                faults.append(f"{name}: no volume {source}")
        for port in service.get("ports", []):
            if not re.match(r"127\.0\.0\.1:|\$\{\w+:\?[^}]+\}:", port):
                faults.append(f"{name}: port {port} is open to everybody")
        faults += [
            f"{name}: no {file}"
            for file in service.get("env_file", [])
            if not (ROOT / "docker" / file).is_file()
        ]
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    return faults + [f"volume {volume} is nobody's" for volume in compose["volumes"] if volume not in used]


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_lets_no_service_do_more_than_it_must(name: str, dockerfile: Dockerfile) -> None:
    assert compose_faults(_compose(name), set(dockerfile.targets)) == []


def test_a_careless_service_is_found() -> None:
    planted = {
        "services": {
            "x": {"image": "a:latest", "ports": ["80:80"], "volumes": ["store:/s"], "networks": ["n"]}
        },
        "networks": {},
        "volumes": {"lost": None},
    }
    faults = compose_faults(planted, set())
    for part in ("read_only", "cap_drop", "port 80:80", "no volume store", "no network n", "digest", "lost"):
        assert any(part in fault for fault in faults), part


def test_gate_and_signer_have_no_network_and_the_worker_no_port() -> None:
    demo, production = (_compose(name)["services"] for name in COMPOSE)
    assert demo["register-gate"]["network_mode"] == demo["signer"]["network_mode"] == "none"
    # The embedded chain answers on loopback only, and the log is its only caller.
    assert demo["chain-devnode"]["network_mode"] == "service:log"
    for services in (demo, production):
        for name in ("worker", "signer", "register-gate"):
            assert "ports" not in services[name], name
        assert not set(services["street-door"]["networks"]) & {"city", "number-using", "key-zone", "dmz"}
    assert production["register-gate"]["networks"] == ["number-using"]
    assert production["signer"]["networks"] == ["key-zone"]


def test_only_the_signer_is_given_the_citys_keys() -> None:
    for name in COMPOSE:
        for service, value in _compose(name)["services"].items():
            for volume in value.get("volumes", []):
                source = volume.split(":")[0]
                holds_keys = source in ("../var/docker/keys", "../var/docker/keys/signer", "./secrets/signer")
                assert not holds_keys or service == "signer", (name, service)


def test_production_starts_no_mock_part() -> None:
    services = _compose("compose.production.yml")["services"]
    mocks = {process.target for process in PROCESSES if process.is_demo_only}
    assert not mocks & set(services)
    assert not re.search(r"devnode|counterparts|demo", str(services))

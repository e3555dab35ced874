"""The files of `akashi chain besu-config` are well-formed: genesis, peers, keys, settings and compose say one thing.

No Besu is started here or anywhere else in these tests.
"""

from __future__ import annotations

import argparse
import ipaddress
import itertools
import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
import rlp
import yaml
from eth_keys.datatypes import PrivateKey

from chain import besu
from chain.errors import SettingsError

CHAIN_ID = 20250


def counted() -> Any:
    """Keys that differ and are the same in each run."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def plan(**options: Any) -> besu.Network:
    return besu.plan_network(options.pop("chain_id", CHAIN_ID), random=counted(), **options)


@pytest.fixture
def written(tmp_path: Path) -> tuple[besu.Network, Path]:
    network = plan()
    besu.write_network(tmp_path / "net", network)
    return network, tmp_path / "net"


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_extra_data_names_exactly_the_validators(written) -> None:
    network, directory = written
    extra = bytes.fromhex(load(directory / "genesis.json")["extraData"][2:])
    assert len(extra) == 124
    vanity, validators, vote, number, seals = rlp.decode(extra)
    assert vanity == bytes(32)
    assert validators == sorted(validators)
    assert set(validators) == {node.address for node in network.validators}
    assert (vote, number, seals) == ([], b"", [])
    assert network.nodes[-1].address not in validators, "the RPC node makes no blocks"


def test_the_extra_data_is_byte_for_byte_what_qbft_writes() -> None:
    """Built by hand beside the library: f87a, vanity, f854 with four addresses, c0, 80, c0."""
    addresses = [bytes([number]) * 20 for number in (4, 1, 3, 2)]
    listed = b"".join(b"\x94" + bytes([number]) * 20 for number in (1, 2, 3, 4))
    expected = b"\xf8\x7a" + b"\xa0" + bytes(32) + b"\xf8\x54" + listed + b"\xc0\x80\xc0"
    assert besu.build_extra_data(addresses) == expected


def test_the_genesis_is_prague_from_the_start_and_free(written) -> None:
    _, directory = written
    genesis = load(directory / "genesis.json")
    config = genesis["config"]
    assert config["chainId"] == CHAIN_ID
    assert config["zeroBaseFee"] is True
    assert all(config[name] == 0 for name in ("londonBlock", "shanghaiTime", "cancunTime", "pragueTime"))
    assert not [name for name in config if name.endswith(("Block", "Time")) and config[name] != 0]
    assert config["qbft"]["blockperiodseconds"] < config["qbft"]["requesttimeoutseconds"]
    assert bytes.fromhex(genesis["mixHash"][2:]) == b"tical byzantine fault tolerance".rjust(32, b"c")
    assert genesis["difficulty"] == "0x1"
    assert int(genesis["gasLimit"], 16) >= 30_000_000
    assert genesis["alloc"] == {}


def test_enodes_keys_and_addresses_belong_together(written) -> None:
    network, directory = written
    enodes = load(directory / "static-nodes.json")
    assert len(enodes) == len(set(enodes)) == 5
    for node, enode in zip(network.nodes, enodes, strict=True):
        home = directory / "nodes" / node.name
        key = PrivateKey(bytes.fromhex((home / "key").read_text()[2:]))
        assert enode == f"enode://{key.public_key.to_bytes().hex()}@{node.p2p_address}:30303"
        assert (home / "address").read_text().strip() == key.public_key.to_address()
        assert (home / "public-key").read_text().strip() == "0x" + key.public_key.to_bytes().hex()
        settings = tomllib.loads((home / "besu.toml").read_text())
        assert settings["p2p-host"] == node.p2p_address


def test_keys_are_private_and_nowhere_else(written) -> None:
    network, directory = written
    for node in network.nodes:
        home = directory / "nodes" / node.name
        assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        others = [path for path in directory.rglob("*") if path.is_file() and path.name != "key"]
        assert not [path for path in others if node.private_key.hex() in path.read_text()]


def test_random_keys_differ(tmp_path: Path) -> None:
    first, second = besu.plan_network(CHAIN_ID), besu.plan_network(CHAIN_ID)
    keys = [node.private_key for node in (*first.nodes, *second.nodes)]
    assert len(set(keys)) == 10


def test_each_node_answers_nobody_but_whom_it_must(written) -> None:
    network, directory = written
    for node in network.nodes:
        settings = tomllib.loads((directory / "nodes" / node.name / "besu.toml").read_text())
        assert settings["min-gas-price"] == 0
        assert settings["discovery-enabled"] is False
        assert settings["sync-mode"] == "FULL"
        assert settings["host-allowlist"] == ["localhost", "127.0.0.1"]
        if node.is_validator:
            assert settings["rpc-http-host"] == "127.0.0.1"
        else:
            assert settings["rpc-http-host"] == node.door_address
            assert "ADMIN" not in settings["rpc-http-api"]
    assert not [path for path in directory.rglob("*") if path.is_file() and "0.0.0.0" in path.read_text()]


class Strict(yaml.SafeLoader):
    """YAML without keys that are there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return super().construct_mapping(node, deep)


def test_the_compose_file_starts_every_node_and_opens_one_port_on_loopback(written) -> None:
    network, directory = written
    compose = yaml.load((directory / "compose.yml").read_text(), Strict)
    assert set(compose["services"]) == {node.name for node in network.nodes}
    addresses = set()
    for node in network.nodes:
        service = compose["services"][node.name]
        assert service["image"] == besu.IMAGE == "hyperledger/besu:26.3.0"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["networks"]["p2p"] == {"ipv4_address": node.p2p_address}
        assert service.get("ports", []) == ([] if node.is_validator else ["127.0.0.1:8545:8545"])
        assert ("door" in service["networks"]) is not node.is_validator
        sources = {volume.split(":")[1]: volume.split(":") for volume in service["volumes"]}
        settings = tomllib.loads((directory / "nodes" / node.name / "besu.toml").read_text())
        for name in ("genesis-file", "static-nodes-file", "node-private-key-file"):
            source, _, mode = sources[settings[name]]
            assert mode == "ro"
            assert (directory / source).is_file()
        assert (directory / sources[settings["data-path"]][0]).is_dir()
        assert f"--config-file={'/etc/besu/besu.toml'}" in service["command"]
        addresses.add(ipaddress.ip_address(node.p2p_address))
    subnets = {
        name: ipaddress.ip_network(compose["networks"][name]["ipam"]["config"][0]["subnet"])
        for name in ("p2p", "door")
    }
    assert compose["networks"]["p2p"]["internal"] is True
    assert not subnets["p2p"].overlaps(subnets["door"])
    assert all(address in subnets["p2p"] for address in addresses)
    assert len(addresses) == 5
    assert ipaddress.ip_address(network.nodes[-1].door_address) in subnets["door"]


def test_an_organisation_keeps_its_own_key(tmp_path: Path) -> None:
    own = PrivateKey(b"\x11" * 32).public_key.to_bytes()
    network = plan(public_keys=[own])
    besu.write_network(tmp_path / "net", network)
    first = network.nodes[0]
    assert (first.public_key, first.private_key) == (own, None)
    home = tmp_path / "net" / "nodes" / "validator-1"
    assert not (home / "key").exists()
    assert own.hex() in (tmp_path / "net" / "static-nodes.json").read_text()
    assert first.address in rlp.decode(besu.build_extra_data([n.address for n in network.validators]))[1]
    assert "kept by its organisation" in (tmp_path / "net" / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"chain_id": 992011}, "bad-chain-id"),
        ({"chain_id": 1}, "bad-chain-id"),
        ({"chain_id": 0}, "bad-chain-id"),
        ({"chain_id": 2**53}, "bad-chain-id"),
        ({"validators": 3}, "bad-validators"),
        ({"validators": 17}, "bad-validators"),
        ({"image": "hyperledger/besu"}, "bad-image"),
        ({"image": "hyperledger/besu:latest"}, "bad-image"),
        ({"image": 'x:1.2.3"\n'}, "bad-image"),
        ({"subnet": "8.8.8.0/24"}, "bad-subnet"),
        ({"subnet": "127.0.0.0/24"}, "bad-subnet"),
        ({"subnet": "10.0.0.0/28"}, "bad-subnet"),
        ({"subnet": "10.0.0.1/24"}, "bad-subnet"),
        ({"public_keys": [bytes(64)]}, "bad-public-key"),
        ({"public_keys": [b"\x01" * 33]}, "bad-public-key"),
        ({"public_keys": [PrivateKey(b"\x11" * 32).public_key.to_bytes()] * 2}, "bad-public-key"),
    ],
)
def test_plans_that_cannot_be_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(SettingsError) as caught:
        plan(**options)
    assert caught.value.code == code


def test_what_is_allowed_beside_it() -> None:
    assert len(plan(validators=16).nodes) == 17
    digest = "hyperledger/besu:26.3.0@sha256:" + "0f" * 32
    assert plan(image=digest).image == digest
    assert plan(subnet="10.1.0.0/16").p2p_subnet == "10.1.0.0/17"


def test_nothing_is_overwritten(written) -> None:
    network, directory = written
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match="directory-in-use"):
        besu.write_network(directory, network)
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_command(tmp_path: Path, capsys) -> None:
    parser = argparse.ArgumentParser()
    besu.add_commands(parser.add_subparsers(), lambda function: function)
    options = parser.parse_args(["besu-config", "--out", str(tmp_path / "net"), "--chain-id", "20250"])
    assert options.run(options) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["validators"]) == 4
    assert (tmp_path / "net" / "nodes" / "validator-4" / "key").is_file()
    bad = parser.parse_args(
        ["besu-config", "--out", str(tmp_path / "b"), "--chain-id", "20250", "--public-key", "0xzz"]
    )
    with pytest.raises(SettingsError, match="bad-public-key"):
        bad.run(bad)
    assert not (tmp_path / "b").exists()

"""`akashi chain besu-config`: the files of a Besu QBFT network for production: validators, one RPC node, no fees.

    DIR/genesis.json, static-nodes.json, compose.yml, README.md
    DIR/nodes/<name>/key (0600, only where it was made here), address, public-key, besu.toml, data/

It writes files and starts nothing; no network of these files has been started by us (docs/how-to/run-on-besu.md). An
organisation that makes its own key hands in the public one, and its private key is never here.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_keys.datatypes import PrivateKey, PublicKey
from eth_keys.exceptions import BadSignature, ValidationError
from rlp import encode as rlp_encode

from chain.errors import SettingsError

MIN_VALIDATORS: Final = 4  # fewer bear no fault at all (3f + 1)
MAX_VALIDATORS: Final = 16
RESERVED_CHAIN_IDS: Final = (
    1,
    992011,
)  # Ethereum itself; the demo chain, where the contract asks for no delay
MAX_CHAIN_ID: Final = 2**53 - 1
P2P_PORT: Final = 30303
RPC_PORT: Final = 8545
IMAGE: Final = "hyperledger/besu:26.3.0"
SUBNET: Final = "172.30.99.0/24"
# the mix hash by which Besu knows a BFT network
BFT_MIX_HASH: Final = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
GAS_LIMIT: Final = "0x2faf080"
BLOCK_SECONDS: Final = 2
EMPTY_BLOCK_SECONDS: Final = 60
REQUEST_TIMEOUT_SECONDS: Final = 4
EPOCH_BLOCKS: Final = 30_000
MAX_LOG_RANGE: Final = 5_000
FORK_BLOCKS: Final = (
    "homesteadBlock", "eip150Block", "eip155Block", "eip158Block", "byzantiumBlock", "constantinopleBlock",
    "petersburgBlock", "istanbulBlock", "berlinBlock", "londonBlock",
)  # fmt: skip
FORK_TIMES: Final = ("shanghaiTime", "cancunTime", "pragueTime")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*(?::[0-9]+\.[0-9]+\.[0-9]+)?(?:@sha256:[0-9a-f]{64})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its name, addresses on the two networks, and its key as far as it is known here."""

    name: str
    is_validator: bool
    p2p_address: str
    door_address: str | None  # of the RPC node, on the network whose port is published
    public_key: bytes  # 64 bytes
    private_key: bytes | None

    @property
    def address(self) -> bytes:
        """20 bytes, by which QBFT names a validator."""
        return bytes(PublicKey(self.public_key).to_canonical_address())

    @property
    def enode(self) -> str:
        """Where the others find it."""
        return f"enode://{self.public_key.hex()}@{self.p2p_address}:{P2P_PORT}"


@dataclass(frozen=True, slots=True)
class Network:
    """A plan of the whole network."""

    chain_id: int
    image: str
    p2p_subnet: str
    door_subnet: str
    nodes: tuple[Node, ...]  # validators first, the RPC node last

    @property
    def validators(self) -> tuple[Node, ...]:
        """The nodes that make blocks."""
        return tuple(node for node in self.nodes if node.is_validator)


def plan_network(
    chain_id: int,
    *,
    validators: int = MIN_VALIDATORS,
    public_keys: Sequence[bytes] = (),
    image: str = IMAGE,
    subnet: str = SUBNET,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Network:
    """Names, addresses and keys. `public_keys` (64 bytes each) are those of the first validators; the others' are made.

    Raises: SettingsError.
    """
    if not 0 < chain_id <= MAX_CHAIN_ID or chain_id in RESERVED_CHAIN_IDS:
        raise SettingsError("bad-chain-id", f"{chain_id} is not free for a network of one's own")
    if not MIN_VALIDATORS <= validators <= MAX_VALIDATORS:
        raise SettingsError(
            "bad-validators", f"{MIN_VALIDATORS} to {MAX_VALIDATORS} validators: fewer bear no fault"
        )
    if len(public_keys) > validators or len(set(public_keys)) != len(public_keys):
        raise SettingsError("bad-public-key", "more public keys than validators, or one of them twice")
    if not _IMAGE.fullmatch(image) or ":" not in image:
        raise SettingsError("bad-image", "the image needs a version number or a digest")
    p2p, door = _split(subnet)
    nodes = []
    for number in range(1, validators + 1):
        given = public_keys[number - 1] if number <= len(public_keys) else None
        public, private = _make_key(random) if given is None else (_checked(given), None)
        nodes.append(Node(f"validator-{number}", True, str(p2p[10 + number]), None, public, private))
    public, private = _make_key(random)
    nodes.append(Node("rpc-1", False, str(p2p[10]), str(door[10]), public, private))
    return Network(chain_id, image, str(p2p), str(door), tuple(nodes))


def build_genesis(network: Network) -> dict[str, Any]:
    """Block 0: Prague rules from the start, QBFT, no base fee, no money."""
    config: dict[str, Any] = {"chainId": network.chain_id}
    config |= dict.fromkeys((*FORK_BLOCKS, *FORK_TIMES), 0)
    config["zeroBaseFee"] = True
    config["qbft"] = {
        "blockperiodseconds": BLOCK_SECONDS,
        "xemptyblockperiodseconds": EMPTY_BLOCK_SECONDS,
        "epochlength": EPOCH_BLOCKS,
        "requesttimeoutseconds": REQUEST_TIMEOUT_SECONDS,
    }
    return {
        "config": config,
        "nonce": "0x0",
        "timestamp": "0x0",
        "extraData": "0x" + build_extra_data([node.address for node in network.validators]).hex(),
        "gasLimit": GAS_LIMIT,
        "difficulty": "0x1",
        "mixHash": BFT_MIX_HASH,
        "coinbase": "0x" + "00" * 20,
        "alloc": {},
    }


def build_extra_data(validators: Sequence[bytes]) -> bytes:
    """The extra data of a QBFT genesis: RLP of vanity, sorted validators, no vote, round 0, no seals."""
    return bytes(rlp_encode([bytes(32), sorted(validators), [], b"", []]))


def format_node_settings(network: Network, node: Node) -> str:
    """One node's besu.toml. A validator answers RPC to itself only, the RPC node to the network with the published port."""
    apis = ["ETH", "NET", "QBFT", "ADMIN"] if node.is_validator else ["ETH", "NET", "WEB3", "TXPOOL", "QBFT"]
    values: dict[str, Any] = {
        "genesis-file": "/etc/besu/genesis.json",
        "data-path": "/var/lib/besu",
        "node-private-key-file": "/etc/besu/key",
        "static-nodes-file": "/etc/besu/static-nodes.json",
        "discovery-enabled": False,
        "nat-method": "NONE",
        "p2p-host": node.p2p_address,
        "p2p-interface": node.p2p_address,
        "p2p-port": P2P_PORT,
        "max-peers": len(network.nodes),
        "sync-mode": "FULL",
        "min-gas-price": 0,
        "tx-pool": "sequenced",
        "revert-reason-enabled": True,
        "metrics-enabled": True,
        "metrics-host": "127.0.0.1",
        "rpc-http-enabled": True,
        "rpc-http-host": node.door_address or "127.0.0.1",
        "rpc-http-port": RPC_PORT,
        "rpc-http-api": apis,
        "host-allowlist": ["localhost", "127.0.0.1"],
        "rpc-max-logs-range": MAX_LOG_RANGE,
    }
    # TOML writes strings, integers, booleans and lists of strings as JSON does
    return "".join(f"{name}={json.dumps(value)}\n" for name, value in values.items())


def format_compose(network: Network) -> str:
    """All nodes on one machine, for staging; each organisation later starts its own service on its own machine."""
    lines = [
        "# Made by akashi chain besu-config. Only the RPC node has a port, on this machine's loopback.",
        "# AKASHI_UID and AKASHI_GID: who made these files (id -u, id -g); keys are readable by that user alone.",
        "name: akashi-besu",
        "services:",
    ]
    for node in network.nodes:
        lines += _service(network, node)
    lines += [
        "networks:",
        "  p2p:",
        "    internal: true",
        f'    ipam: {{config: [{{subnet: "{network.p2p_subnet}"}}]}}',
        "  door:",
        f'    ipam: {{config: [{{subnet: "{network.door_subnet}"}}]}}',
    ]
    return "\n".join(lines) + "\n"


def _service(network: Network, node: Node) -> list[str]:
    home = f"./nodes/{node.name}"
    lines = [
        f"  {node.name}:",
        f'    image: "{network.image}"',
        '    command: ["--config-file=/etc/besu/besu.toml"]',
        '    user: "${AKASHI_UID:?id -u}:${AKASHI_GID:?id -g}"',
        "    restart: always",
        "    stop_grace_period: 60s",
        "    cap_drop: [ALL]",
        '    security_opt: ["no-new-privileges:true"]',
        "    volumes:",
        '      - "./genesis.json:/etc/besu/genesis.json:ro"',
        '      - "./static-nodes.json:/etc/besu/static-nodes.json:ro"',
        f'      - "{home}/besu.toml:/etc/besu/besu.toml:ro"',
        f'      - "{home}/key:/etc/besu/key:ro"',
        f'      - "{home}/data:/var/lib/besu"',
    ]
    if node.door_address is not None:
        lines += ["    ports:", f'      - "127.0.0.1:{RPC_PORT}:{RPC_PORT}"']
    lines += ["    networks:", f'      p2p: {{ipv4_address: "{node.p2p_address}"}}']
    if node.door_address is not None:
        lines.append(f'      door: {{ipv4_address: "{node.door_address}"}}')
    return lines


def format_readme(network: Network) -> str:
    """What lies here and what is left to do."""
    rows = "".join(
        f"| {node.name} | {node.p2p_address} | 0x{node.address.hex()} | "
        f"{'made here' if node.private_key else 'kept by its organisation'} |\n"
        for node in network.nodes
    )
    return README.format(
        chain_id=network.chain_id, image=network.image, rows=rows, faults=(len(network.validators) - 1) // 3
    )


README: Final = """# Besu QBFT network, chain {chain_id}

Made by `akashi chain besu-config`. Not started by whoever wrote the generator: try it on a staging machine first.

| node | address | account | private key |
|---|---|---|---|
{rows}
It bears {faults} faulty validator(s); with more it stops. Image: {image} (pin it by digest before production).

1. A validator whose key is kept by its organisation: put that file at `nodes/<name>/key`, mode 0600, on its machine only.
2. `AKASHI_UID=$(id -u) AKASHI_GID=$(id -g) docker compose up --detach`
3. Ask for the number of peers and blocks (JSON-RPC at http://127.0.0.1:8545): net_peerCount, eth_blockNumber.
4. Ask whether EIP-2537 is there: eth_call to 0x000000000000000000000000000000000000000f with 384 zero bytes must answer 1
   in 32 bytes. An empty answer means no: deploy the registry in ECDSA mode then.
5. Deploy the registry, and give the log its address.

Before production: one validator an organisation, each on its own machine (move its folder under `nodes/`, delete it here,
put its real address into `static-nodes.json`, `p2p-host` and `p2p-interface` everywhere); a firewall that lets only these
addresses reach port 30303; TLS and authentication in front of the RPC node if the log runs on another machine.
"""


def write_network(directory: Path, network: Network) -> None:
    """Write everything into a new or empty directory; keys are never overwritten.

    Raises: SettingsError("directory-in-use").
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SettingsError("directory-in-use", f"{directory.name} is not an empty directory")
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "genesis.json", json.dumps(build_genesis(network), indent=2) + "\n")
    enodes = [node.enode for node in network.nodes]
    _write(directory / "static-nodes.json", json.dumps(enodes, indent=2) + "\n")
    _write(directory / "compose.yml", format_compose(network))
    _write(directory / "README.md", format_readme(network))
    for node in network.nodes:
        home = directory / "nodes" / node.name
        (home / "data").mkdir(parents=True, mode=0o700)
        if node.private_key is not None:
            _write(home / "key", "0x" + node.private_key.hex(), mode=0o600)
        _write(home / "public-key", "0x" + node.public_key.hex() + "\n")
        _write(home / "address", "0x" + node.address.hex() + "\n")
        _write(home / "besu.toml", format_node_settings(network, node))


def add_commands(commands: Any, guarded: Callable[[Any], Any]) -> None:
    """Add `besu-config` to the commands of `akashi chain`; `guarded` turns our errors into an exit status."""
    parser = commands.add_parser(
        "besu-config", help="write the files of a Besu QBFT network (starts nothing)"
    )
    parser.add_argument("--out", type=Path, required=True, help="a new or empty directory")
    parser.add_argument("--chain-id", type=int, required=True, help="a number that no other network has")
    parser.add_argument("--validators", type=int, default=MIN_VALIDATORS)
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        help="64 bytes in hexadecimal: a validator whose organisation keeps its own key (repeat)",
    )
    parser.add_argument("--image", default=IMAGE, help="container image with a version or a digest")
    parser.add_argument("--subnet", default=SUBNET, help="private network of the compose file, /24 or larger")
    parser.set_defaults(run=guarded(run))


def run(options: argparse.Namespace) -> int:
    """Plan and write; prints what was made, without any key."""
    try:
        keys = [bytes.fromhex(text.removeprefix("0x")) for text in options.public_key]
    except ValueError as error:
        raise SettingsError("bad-public-key", "a public key is 64 bytes in hexadecimal") from error
    network = plan_network(
        options.chain_id,
        validators=options.validators,
        public_keys=keys,
        image=options.image,
        subnet=options.subnet,
    )
    write_network(options.out, network)
    validators = {node.name: "0x" + node.address.hex() for node in network.validators}
    print(json.dumps({"chain_id": network.chain_id, "validators": validators}, indent=1))
    return 0


def _make_key(random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    while True:
        private = random(32)
        try:
            return bytes(PrivateKey(private).public_key.to_bytes()), private
        except (ValidationError, ValueError):
            continue  # zero, or not below the curve's order: as good as never


def _checked(public_key: bytes) -> bytes:
    # a point of the curve: compressing and decompressing gives it back
    try:
        key = PublicKey(public_key)
        if PublicKey.from_compressed_bytes(key.to_compressed_bytes()) == key:
            return public_key
    except (ValidationError, BadSignature, ValueError):
        pass
    raise SettingsError("bad-public-key", "not the 64 bytes of a secp256k1 public key")


def _split(subnet: str) -> tuple[ipaddress.IPv4Network, ipaddress.IPv4Network]:
    # the first half for the nodes among themselves, the second for the one published port
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise SettingsError("bad-subnet", "--subnet is an IPv4 network such as " + SUBNET) from error
    if not network.is_private or network.is_loopback or network.prefixlen > 24:
        raise SettingsError("bad-subnet", "--subnet is a private IPv4 network of /24 or larger")
    first, second = network.subnets(prefixlen_diff=1)
    return first, second


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)

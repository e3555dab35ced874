"""The whole house on one machine: which processes, in which order, with which settings. 模擬/MOCK, demo profile only.

    House(home).start()   sets up what is missing, starts every process, waits until each answers
    House(home).stop()    ends them, last first

Ports are chosen once and kept in HOME/addresses.json, so that a process that was killed comes back where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from app.house.contract import Contract, find_or_deploy_contract
from app.house.home import Home
from app.house.login_provider import CLIENT_ID, login_issuer, pin_login_provider
from app.house.processes import Process, Processes, answers, answers_at, free_port, log_says, python
from app.house.setup import (
    CITY,
    ISSUER,
    ORIGIN,
    PUBLIC_URL,
    log_verifier_key,
    publish_trust_list,
    set_up,
    utc_now,
)
from app.house.witnesses import WITNESSES, register_witnesses, write_witness_addresses
from app.mailbox import CityMailbox
from verifier.formats.signed_note import format_vkey
from verifier.trust import TrustList

PORTS: Final = ("chain", "trust-services", "jpki", "digital-auth", "mail", "door", "log", "staff", *WITNESSES)
IPAMJ: Final = ("/usr/share/fonts/truetype/ipamj/ipamjm.ttf",)
MAIL_SENDER: Final = "door@door.mihon.example"


@dataclass(frozen=True, slots=True)
class HouseSettings:
    """How big the mock city is, and how fast the house beats: in seconds."""

    residents: int = 1000
    seed: int = 8
    log_beat: float = 0.25
    status_beat: int = 2
    anchor_seconds: int = 2
    chain_id: int = 992011


class House:
    """One city's processes."""

    def __init__(
        self,
        home: Home,
        settings: HouseSettings | None = None,
        *,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.home = home
        self._settings = settings or HouseSettings()
        self._say = say
        self.processes = Processes(home.logs)
        self._ports: dict[str, int] = {}
        self.trust: TrustList | None = None
        self.contract: Contract | None = None
        self.registration_gas = 0  # what it cost to register the witnesses, if that was done now

    def port(self, name: str) -> int:
        """The loopback port of a process."""
        return self._ports[name]

    def address(self, name: str) -> str:
        """http address of a process."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def start(self) -> None:
        """Set up what is missing and start everything. Raises CityError when a process does not become ready."""
        now = utc_now()
        if set_up(self.home, residents=self._settings.residents, seed=self._settings.seed, now=now):
            self._say(f"見本市を作りました: {self._settings.residents} 人 / made a mock city")
        self._ports = self._read_ports()
        start = self.processes.start
        start(self._chain())
        contract = self.contract = find_or_deploy_contract(
            self.home, rpc=self.address("chain"), chain_id=self._settings.chain_id
        )
        start(self._trust_services())
        start(self._jpki())
        start(self._digital_auth(), wait=False)
        start(self._mail())
        start(self._door())
        start(self._signer())
        self.processes.wait_ready("digital-auth")
        pin_login_provider(self.home, self.address("digital-auth"))
        start(self._gate())
        self._start_witnesses(contract)
        start(self._log(contract.address))
        start(self._staff())
        self.trust = publish_trust_list(
            self.home, chain=contract.trust(), now=now, log_key=log_verifier_key(self.home)
        )
        self._publish_trust(self.trust)
        start(self._worker())
        self._say("すべてのプロセスが動いています / every process answers")

    def _start_witnesses(self, contract: Contract) -> None:
        self.registration_gas = register_witnesses(self.home, contract)
        write_witness_addresses(self.home, {name: self.address(name) for name in WITNESSES})
        for name in WITNESSES:
            self.processes.start(self._witness(name, contract), wait=False)
        for name in WITNESSES:
            self.processes.wait_ready(name)

    def stop(self) -> None:
        """End every process."""
        self.processes.stop_all()

    def restart(self, name: str) -> None:
        """Start a killed process again."""
        self.processes.restart(name)

    # ---- the processes, each with nothing but what it needs -------------------------------------------------------

    def _chain(self) -> Process:
        port = self.port("chain")
        command = python(
            "-m", "chain.devnode", "--data", str(self.home.chain), "--port", str(port),
            "--chain-id", str(self._settings.chain_id),
        )  # fmt: skip
        return Process("chain", command, self._environment(), answers(port))

    def _trust_services(self) -> Process:
        port = self.port("trust-services")
        command = python(
            "-m", "app.counterparts.trust_services", "serve", "--directory", str(self.home.keys), "--port", str(port)
        )  # fmt: skip
        return Process("trust-services", command, self._environment(), answers(port))

    def _jpki(self) -> Process:
        port = self.port("jpki")
        command = python(
            "-m", "app.counterparts.jpki", "serve", "--directory", str(self.home.jpki), "--port", str(port)
        )  # fmt: skip
        return Process("jpki", command, self._environment(), answers(port))

    def _digital_auth(self) -> Process:
        port, home = self.port("digital-auth"), self.home
        command = python(
            "-m", "app.counterparts.digital_auth", "serve", "--directory", str(home.digital_auth),
            "--cards", str(home.login_cards), "--jpki-anchors", str(home.jpki_anchors),
            "--jpki-address", self.address("jpki"), "--jpki-token", str(home.jpki_token("digital-auth")),
            "--port", str(port),
        )  # fmt: skip
        return Process("digital-auth", command, self._environment(), answers(port))

    def _login(self) -> Mapping[str, str]:
        return {
            "AKASHI_LOGIN_ISSUER": login_issuer(self.address("digital-auth")),
            "AKASHI_LOGIN_CLIENT_ID": CLIENT_ID,
            "AKASHI_LOGIN_DISCOVERY": str(self.home.login_discovery),
            "AKASHI_LOGIN_KEYS": str(self.home.login_keys),
        }

    def _mail(self) -> Process:
        port = self.port("mail")
        command = python(
            "-m", "app.counterparts.mail", "--directory", str(self.home.mail), "--port", str(port)
        )
        return Process("mail", command, self._environment(), answers(port))

    def _door(self) -> Process:
        port = self.port("door")
        environment = self._environment(
            AKASHI_DOOR_DATABASE_URL=self.home.store("door"),
            AKASHI_DOOR_PUBLIC_URL=PUBLIC_URL,
            AKASHI_DOOR_CITY=CITY,
            AKASHI_DOOR_CITY_KEYS=str(self.home.door_keys),
            AKASHI_DOOR_PUBLIC_DIR=str(self.home.public),
            AKASHI_DOOR_PORT=str(port),
            AKASHI_DOOR_WALLET_ATTESTERS=str(self.home.wallet_attesters),
            AKASHI_DOOR_SMTP_HOST="127.0.0.1",
            AKASHI_DOOR_SMTP_PORT=str(self.port("mail")),
            AKASHI_DOOR_SMTP_SENDER=MAIL_SENDER,
        )
        return Process("door", python("-m", "mobile_api"), environment, answers(port))

    def _signer(self) -> Process:
        command = python("-m", "app.sealing.signer", "--settings", str(self.home.signer_settings))
        return Process("signer", command, self._environment(), answers_at(self.home.socket("signer")))

    def _gate(self) -> Process:
        environment = self._environment(
            AKASHI_GATE_SOCKET=str(self.home.socket("gate")),
            AKASHI_GATE_TOKEN_FILE=str(self.home.token("gate")),
            AKASHI_GATE_STORE=self.home.store("gate"),
            AKASHI_GATE_REGISTERS=self.home.store("registers"),
            AKASHI_GATE_KEY_FILE=str(self.home.keys / "gate" / "authorisation.key.pem"),
            AKASHI_GATE_COUNTER_TOKEN_FILE=str(self.home.token("counter")),
            AKASHI_GATE_LETTERS=str(self.home.letters),
            AKASHI_JPKI_ANCHORS=str(self.home.jpki_anchors),
            AKASHI_TRAFFIC_LOG=str(self.home.logs / "traffic-gate.log"),
            **self._login(),
        )
        command = python("-m", "app.registers.gate_process")
        return Process("gate", command, environment, answers_at(self.home.socket("gate")))

    def _log(self, contract: str) -> Process:
        port = self.port("log")
        environment = self._environment(
            AKASHI_LOG_ORIGIN=ORIGIN,
            AKASHI_LOG_DIRECTORY=str(self.home.log),
            AKASHI_LOG_PORT=str(port),
            AKASHI_LOG_TOKEN_FILE=str(self.home.token("log")),
            AKASHI_LOG_VKEY=format_vkey(log_verifier_key(self.home)),
            AKASHI_LOG_SIGNER_SOCKET=str(self.home.socket("signer")),
            AKASHI_LOG_SIGNER_TOKEN_FILE=str(self.home.keys / "signer" / "log.token"),
            AKASHI_LOG_SIGNER_KEY_ID="checkpoint-1",
            AKASHI_LOG_BEAT=str(self._settings.log_beat),
            AKASHI_LOG_RPC=self.address("chain"),
            AKASHI_LOG_CHAIN_ID=str(self._settings.chain_id),
            AKASHI_LOG_CONTRACT=contract,
            AKASHI_LOG_ACCOUNTS=str(self.home.chain / "accounts.json"),
            AKASHI_LOG_ANCHOR_SECONDS=str(self._settings.anchor_seconds),
            AKASHI_LOG_DOOR=self.address("door"),
            AKASHI_LOG_DOOR_KEY_FILE=str(self.home.publisher_key),
            AKASHI_LOG_WITNESS_POLICY=str(self.home.witness_policy),
            AKASHI_LOG_WITNESS_URLS=str(self.home.witness_addresses),
            AKASHI_LOG_TSA=f"{self.address('trust-services')}/tsa",
        )
        return Process("log", python("-m", "chain.service"), environment, answers(port))

    def _witness(self, name: str, contract: Contract) -> Process:
        port = self.port(name)
        command = python(
            "-m", "chain.witness", "--data", str(self.home.witness(name)), "--port", str(port),
            "--logs", str(self.home.witness_logs), "--anchor", f"{contract.chain_id}:{contract.address}",
        )  # fmt: skip
        return Process(name, command, self._environment(), answers(port))

    def _staff(self) -> Process:
        port = self.port("staff")
        environment = self._environment(
            AKASHI_STAFF_DATABASE_URL=self.home.store("staff"),
            AKASHI_STAFF_TOKEN_FILE=str(self.home.token("staff")),
            AKASHI_STAFF_BIND=f"127.0.0.1:{port}",
        )
        return Process("staff", python("-m", "app.staff"), environment, answers(port))

    def _worker(self) -> Process:
        font = next((path for path in IPAMJ if Path(path).exists()), "")
        environment = self._environment(
            AKASHI_WORKER_STORE=self.home.store("worker"),
            AKASHI_PUBLIC_URL=PUBLIC_URL,
            AKASHI_DOOR_ADDRESS=self.address("door"),
            AKASHI_MAILBOX_KEY_FILE=str(self.home.mailbox_key),
            AKASHI_GATE_SOCKET=str(self.home.socket("gate")),
            AKASHI_GATE_TOKEN_FILE=str(self.home.token("gate")),
            AKASHI_SIGNER_SOCKET=str(self.home.socket("signer")),
            AKASHI_SIGNER_TOKEN_FILE=str(self.home.keys / "signer" / "worker.token"),
            AKASHI_CERTIFICATES=str(self.home.keys / "certificates"),
            AKASHI_LOG_ADDRESS=self.address("log"),
            AKASHI_LOG_TOKEN_FILE=str(self.home.token("log")),
            AKASHI_TRUST_SERVICES=self.address("trust-services"),
            AKASHI_JPKI_ADDRESS=self.address("jpki"),
            AKASHI_JPKI_TOKEN_FILE=str(self.home.jpki_token("mihon-city")),
            **self._login(),
            AKASHI_JPKI_ANCHORS=str(self.home.jpki_anchors),
            AKASHI_TRUST_DIR=str(self.home.trust),
            AKASHI_STAFF_ADDRESS=self.address("staff"),
            AKASHI_STAFF_TOKEN_FILE=str(self.home.token("staff")),
            AKASHI_SMTP_ADDRESS=f"127.0.0.1:{self.port('mail')}",
            AKASHI_TRAFFIC_LOG=str(self.home.traffic),
            AKASHI_WALLET_ATTESTERS=str(self.home.wallet_attesters),
            AKASHI_STATUS_BEAT=str(self._settings.status_beat),
            AKASHI_IPAMJ_FONT=font,
        )
        ready = log_says(self.home.logs / "worker.log", "issuance worker ready")
        return Process("worker", python("-m", "app.worker_process"), environment, ready)

    @staticmethod
    def _environment(**values: str) -> Mapping[str, str]:
        return {"AKASHI_PROFILE": "demo", "AKASHI_CITY_CODE": CITY, "PYTHONUNBUFFERED": "1", **values}

    # ---- small things ----------------------------------------------------------------------------------------------

    def _read_ports(self) -> dict[str, int]:
        path = self.home.addresses
        if path.exists():
            return read_addresses(self.home)
        ports: dict[str, int] = {}
        while len(set(ports.values())) < len(PORTS):
            ports = {name: free_port() for name in PORTS}
        path.write_bytes(orjson.dumps(ports))
        return ports

    def _publish_trust(self, trust: TrustList) -> None:
        door = CityMailbox.from_key_file(self.address("door"), self.home.mailbox_key, city=CITY)
        door.put_public(f"{CITY}/trust/{trust.version}.root.json", trust.data)
        door.put_public(f"{CITY}/trust/root.json", trust.data)


def read_addresses(home: Home) -> dict[str, int]:
    """The ports of a house that was started before, by process."""
    return {str(name): int(port) for name, port in orjson.loads(home.addresses.read_bytes()).items()}


def addresses(house: House) -> list[tuple[str, str]]:
    """What `make up` prints: (what, address)."""
    return [
        ("street door / 市の郵便受け", house.address("door")),
        ("staff console / 職員の画面", house.address("staff")),
        ("log / 発行台帳", house.address("log")),
        *((f"witness {name} (模擬/MOCK)", house.address(name)) for name in WITNESSES),
        ("chain (模擬/MOCK)", house.address("chain")),
        ("card CA (模擬/MOCK)", house.address("jpki")),
        ("login / デジタル認証アプリ (模擬/MOCK)", house.address("digital-auth")),
        ("mail (模擬/MOCK)", f"smtp://127.0.0.1:{house.port('mail')}"),
        ("issuer / 発行者", ISSUER),
    ]

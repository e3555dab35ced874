"""Where the processes of one city on one machine keep their things: one directory, one path a thing.

    HOME/keys/          seal, credential, status, log … keys (only the signer opens them) and public certificates
    HOME/tokens/        one channel token a pair of processes, 0600
    HOME/stores/        one SQLite store a process
    HOME/log/ chain/ witnesses/ public/ jpki/ mail/ trust/ logs/ wallet-provider/ offers/
    HOME/digital-auth/  the mock login provider, its cards, and the city's copies of its documents
    HOME/addresses.json which port each process answers on

Production gives each process its own settings instead; this layout is for laptops, tests and the demo.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# sun_path holds 108 bytes on Linux; a deep home falls back to a short private directory of its own.
MAX_SOCKET_PATH: Final = 100


@dataclass(frozen=True, slots=True)
class Home:
    """The layout below `root`."""

    root: Path

    @property
    def keys(self) -> Path:
        """Key files and certificates of the demo PKI."""
        return self.root / "keys"

    @property
    def tokens(self) -> Path:
        """Channel tokens."""
        return self.root / "tokens"

    @property
    def log(self) -> Path:
        """The log's tiles and its small tables."""
        return self.root / "log"

    @property
    def chain(self) -> Path:
        """The embedded chain's store and the anchorer's account."""
        return self.root / "chain"

    @property
    def witnesses(self) -> Path:
        """What the mock witnesses share: which log they watch, and what the log knows of them."""
        return self.root / "witnesses"

    def witness(self, name: str) -> Path:
        """Keys and memory of one witness."""
        return self.witnesses / name

    @property
    def witness_logs(self) -> Path:
        """The logs that a witness watches."""
        return self.witnesses / "logs"

    @property
    def witness_policy(self) -> Path:
        """The policy text of log and trust list."""
        return self.witnesses / "policy"

    @property
    def witness_addresses(self) -> Path:
        """Where the log finds each witness."""
        return self.witnesses / "addresses"

    @property
    def public(self) -> Path:
        """The street door's static public files."""
        return self.root / "public"

    @property
    def jpki(self) -> Path:
        """The mock card CA and its cards."""
        return self.root / "jpki"

    @property
    def mail(self) -> Path:
        """What the mock mail server received."""
        return self.root / "mail"

    @property
    def letters(self) -> Path:
        """Letters with confirmation codes that the register gate posted (模擬/MOCK)."""
        return self.root / "letters"

    @property
    def trust(self) -> Path:
        """The trust list and the keys of those who sign it."""
        return self.root / "trust"

    @property
    def logs(self) -> Path:
        """One text log a process."""
        return self.root / "logs"

    @property
    def addresses(self) -> Path:
        """Which port each process answers on."""
        return self.root / "addresses.json"

    @property
    def signer(self) -> Path:
        """The signer's store and audit."""
        return self.root / "signer"

    @property
    def signer_settings(self) -> Path:
        """The signer's settings file."""
        return self.keys / "signer" / "signer.json"

    @property
    def mailbox_key(self) -> Path:
        """Signs the worker's calls to the street door."""
        return self.tokens / "mailbox.key.pem"

    @property
    def publisher_key(self) -> Path:
        """Signs the log's uploads to the street door."""
        return self.tokens / "publisher.key.pem"

    @property
    def door_keys(self) -> Path:
        """The public halves, as the street door reads them."""
        return self.tokens / "door-keys.json"

    @property
    def jpki_anchors(self) -> Path:
        """The card CAs' certificates alone, as the city reads them."""
        return self.jpki / "anchors"

    @property
    def trust_list(self) -> Path:
        """The newest trust list."""
        return self.trust / "root.json"

    @property
    def letter(self) -> Path:
        """The letter with the trust list's fingerprint."""
        return self.trust / "letter.txt"

    @property
    def staff_passwords(self) -> Path:
        """Name and password of the demo's members of staff (0600)."""
        return self.root / "staff-passwords.txt"

    def jpki_token(self, body: str) -> Path:
        """The credential of a body that may ask the card CA."""
        return self.token(f"jpki-{body}")

    @property
    def digital_auth(self) -> Path:
        """The mock login provider's clients, keys and store."""
        return self.root / "digital-auth"

    @property
    def login_cards(self) -> Path:
        """Mock cards (NAME.card) that can be held to the login provider."""
        return self.digital_auth / "cards"

    @property
    def login_discovery(self) -> Path:
        """The city's copy of the login provider's discovery document."""
        return self.root / "login-discovery.json"

    @property
    def login_keys(self) -> Path:
        """The city's copy of the login provider's keys."""
        return self.root / "login-keys.json"

    @property
    def wallet_provider(self) -> Path:
        """The mock authority of a wallet provider (模擬), and what it signs attestations with."""
        return self.root / "wallet-provider"

    @property
    def wallet_attesters(self) -> Path:
        """Its certificate alone, as city and street door read it."""
        return self.wallet_provider / "authorities.pem"

    def offers(self, resident_id: str) -> Path:
        """The scripted phone and card of one resident (`akashi offer create`)."""
        return self.root / "offers" / resident_id

    @property
    def contract(self) -> Path:
        """What is known of the contract on the chain (JSON)."""
        return self.chain / "contract.json"

    def token(self, name: str) -> Path:
        """A channel token's file."""
        return self.tokens / f"{name}.token"

    def trust_signer(self, number: int) -> Path:
        """The key of one of the trust list's signers (demo: all on one machine)."""
        return self.trust / f"signer-{number}.key.pem"

    @property
    def traffic(self) -> Path:
        """The zone guard's traffic lines."""
        return self.logs / "traffic.log"

    def store(self, name: str) -> str:
        """The database address of a process's store."""
        return f"sqlite:///{self.store_path(name)}"

    def store_path(self, name: str) -> Path:
        """The SQLite file of a process's store."""
        return self.root / "stores" / f"{name}.sqlite"

    def socket(self, name: str) -> Path:
        """A Unix socket's path, short enough for the kernel."""
        path = self.root.resolve() / "sockets" / f"{name}.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"akashi-{os.getuid()}-{digest}" / f"{name}.sock"

    def create(self) -> None:
        """Make the directories, private to this user."""
        for path in (
            self.root,
            self.tokens,
            self.root / "stores",
            self.chain,
            self.public,
            self.jpki,
            self.mail,
            self.trust,
            self.logs,
            self.socket("any").parent,
        ):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

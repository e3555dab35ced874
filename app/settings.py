"""Every setting of the issuance worker and the register gate, in two tables, read once from the environment.

There is no default profile: without AKASHI_PROFILE=demo or production nothing starts. Paths name files; no secret is
ever the value of a variable. `read_worker_settings` and `read_gate_settings` are the only readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.errors import SettingsError

PROFILES: Final = ("demo", "production")
MIN_STATUS_BEAT: Final = {"demo": 1, "production": 600}
"""Seconds. What is revoked between two publications appears together: a short beat would show one person's copies."""
STATUS_SIZES: Final = {"demo": (1024, 1 << 20), "production": (1 << 17, 1 << 20)}
"""Entries. Whoever asks for a small list tells more about which entry he wants to know."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One row: its name, what it means, its default (None = required)."""

    name: str
    meaning: str
    default: str | None = None


COMMON: Final = (
    Variable("AKASHI_PROFILE", "demo or production; anything else starts nothing"),
    Variable("AKASHI_CITY_CODE", "six-digit city code", "992011"),
    Variable("AKASHI_GATE_SOCKET", "Unix socket of the register gate"),
    Variable("AKASHI_GATE_TOKEN_FILE", "channel token of the worker at the gate (0600)"),
    Variable("AKASHI_TRAFFIC_LOG", "file of the zone guard's traffic lines; empty: none", ""),
    Variable("AKASHI_JPKI_ANCHORS", "directory with the card CAs' certificates (DER)"),
)

LOGIN: Final = (
    Variable("AKASHI_LOGIN_ISSUER", "issuer of the login provider (デジタル認証アプリ); empty: no login", ""),
    Variable("AKASHI_LOGIN_CLIENT_ID", "the city's client_id there", ""),
    Variable("AKASHI_LOGIN_DISCOVERY", "file: its discovery document, copied and checked by a person", ""),
    Variable("AKASHI_LOGIN_KEYS", "file: its JWK set, copied and checked by a person", ""),
)
"""The worker and the register gate each have their own copy: neither takes the provider's keys from the other."""

GATE_VARIABLES: Final = (
    *COMMON,
    *LOGIN,
    Variable("AKASHI_GATE_STORE", "database address of the gate's own store"),
    Variable("AKASHI_GATE_REGISTERS", "database address of the resident and tax registers"),
    Variable("AKASHI_GATE_KEY_FILE", "Ed25519 key that signs authorisations (0600)"),
    Variable("AKASHI_GATE_COUNTER_TOKEN_FILE", "channel token of the counter (0600); empty: no counter", ""),
    Variable("AKASHI_GATE_COUNTER_CODE_SECONDS", "life of a code that the counter prints", "900"),
    Variable(
        "AKASHI_GATE_LETTERS", "directory for letters with codes (模擬/MOCK, demo only); empty: none", ""
    ),
)

WORKER_VARIABLES: Final = (
    *COMMON,
    *LOGIN,
    Variable("AKASHI_WORKER_STORE", "database address of the worker's store"),
    Variable("AKASHI_PUBLIC_URL", "https address under which the city is known to the public"),
    Variable("AKASHI_DOOR_ADDRESS", "where the street door is reached from the city"),
    Variable("AKASHI_MAILBOX_KEY_FILE", "P-256 key that signs the city's mailbox tokens (0600)"),
    Variable("AKASHI_SIGNER_SOCKET", "Unix socket of the signer"),
    Variable("AKASHI_SIGNER_TOKEN_FILE", "channel token of the worker at the signer (0600)"),
    Variable("AKASHI_CERTIFICATES", "directory with the city's public certificates"),
    Variable("AKASHI_LOG_ADDRESS", "where the log process is reached"),
    Variable("AKASHI_LOG_TOKEN_FILE", "channel token of the worker at the log (0600)"),
    Variable("AKASHI_TRUST_SERVICES", "where time-stamps and revocation lists are had"),
    Variable("AKASHI_JPKI_ADDRESS", "where the revocation of card certificates is asked"),
    Variable("AKASHI_JPKI_TOKEN_FILE", "the city's credential there (0600); empty: none is sent", ""),
    Variable("AKASHI_TRUST_DIR", "directory with the current trust list"),
    Variable("AKASHI_STAFF_ADDRESS", "where the staff console is reached; empty: none", ""),
    Variable("AKASHI_STAFF_TOKEN_FILE", "channel token of the worker at the console; empty: none", ""),
    Variable("AKASHI_SMTP_ADDRESS", "host:port of the mail server for confirmation mails; empty: none", ""),
    Variable("AKASHI_IPAMJ_FONT", "path of the IPAmj Mincho font; empty: the smaller set of characters", ""),
    Variable("AKASHI_VALIDITY_DAYS", "how long a certificate is valid, in days", "92"),
    Variable("AKASHI_STATUS_BEAT", "seconds between two publications of status lists", "3600"),
    Variable("AKASHI_STATUS_LIFE", "seconds after which a status list token expires", "604800"),
    Variable("AKASHI_STATUS_TTL", "seconds a reader may keep a status list token", "3600"),
    Variable("AKASHI_STATUS_LISTS", "how many status lists are open for new certificates", "4"),
    Variable("AKASHI_STATUS_SIZE", "entries of a status list, a multiple of eight", "131072"),
    Variable(
        "AKASHI_WALLET_PROFILES",
        "for wallets of others: p1, p2, both, or none; empty: p1,p2 in the demo, in production p2 once there are attesters",
        "",
    ),
    Variable(
        "AKASHI_WALLET_ATTESTERS",
        "file: certificates (PEM) of the authorities of trusted wallet providers; empty: none, and p2 gives nothing",
        "",
    ),
    Variable("AKASHI_WALLET_CODE_LIFE", "seconds the codes of an offer to a wallet count", "600"),
    Variable("AKASHI_NONCE_STOCK", "how many nonces lie ready at the street door", "200"),
    Variable(
        "AKASHI_MANDATE_DEVICE_DAYS", "days a phone must be registered before it confirms a mandate", "3"
    ),
)


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """Checked settings of the login provider: its documents are read by `app.identity.login_provider`."""

    issuer: str
    client_id: str
    discovery: Path
    keys: Path


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Checked settings of the register gate."""

    profile: str
    city: str
    socket: Path
    token_file: Path
    traffic: Path | None
    jpki_anchors: Path
    store: str
    registers: str
    key_file: Path
    counter_token_file: Path | None
    counter_code_seconds: int
    letters: Path | None
    login: LoginSettings | None = None


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Checked settings of the issuance worker. Times in seconds."""

    profile: str
    city: str
    gate_socket: Path
    gate_token_file: Path
    traffic: Path | None
    jpki_anchors: Path
    store: str
    public_url: str
    door: str
    mailbox_key_file: Path
    signer_socket: Path
    signer_token_file: Path
    certificates: Path
    log: str
    log_token_file: Path
    trust_services: str
    jpki: str
    jpki_token_file: Path | None
    trust_dir: Path
    staff: str
    staff_token_file: Path | None
    smtp: str
    ipamj_font: Path | None
    validity_days: int
    status_beat: int
    status_life: int
    status_ttl: int
    status_lists: int
    status_size: int
    nonce_stock: int
    mandate_device_days: int
    wallet_profiles: tuple[str, ...]
    wallet_attesters: Path | None
    wallet_code_life: int
    login: LoginSettings | None = None

    @property
    def issuer(self) -> str:
        """`iss` of the credential."""
        return f"{self.public_url}/{self.city}"

    @property
    def vct(self) -> str:
        """The credential's type."""
        return f"{self.public_url}/vct/income-certificate/1"

    def status_uri(self, number: int) -> str:
        """Address of a status list."""
        return f"{self.issuer}/status/{number}"


def read_gate_settings(environ: Mapping[str, str]) -> GateSettings:
    """The gate's settings. Raises SettingsError naming the variable, never its value."""
    values = _read(environ, GATE_VARIABLES)
    profile = _profile(values)
    letters = _path_or_none(values["AKASHI_GATE_LETTERS"])
    if letters is not None:
        require_demo(profile, "AKASHI_GATE_LETTERS")
    return GateSettings(
        profile=profile,
        city=_city(values),
        socket=Path(values["AKASHI_GATE_SOCKET"]),
        token_file=Path(values["AKASHI_GATE_TOKEN_FILE"]),
        traffic=_path_or_none(values["AKASHI_TRAFFIC_LOG"]),
        jpki_anchors=Path(values["AKASHI_JPKI_ANCHORS"]),
        store=values["AKASHI_GATE_STORE"],
        registers=values["AKASHI_GATE_REGISTERS"],
        key_file=Path(values["AKASHI_GATE_KEY_FILE"]),
        counter_token_file=_path_or_none(values["AKASHI_GATE_COUNTER_TOKEN_FILE"]),
        counter_code_seconds=_number(values, "AKASHI_GATE_COUNTER_CODE_SECONDS", 60, 86400),
        letters=letters,
        login=_login(values),
    )


def read_worker_settings(environ: Mapping[str, str]) -> WorkerSettings:
    """The worker's settings. Raises SettingsError naming the variable, never its value."""
    values = _read(environ, WORKER_VARIABLES)
    profile = _profile(values)
    public_url = values["AKASHI_PUBLIC_URL"]
    if not public_url.startswith("https://") or public_url.endswith("/"):
        raise SettingsError("bad-setting", "AKASHI_PUBLIC_URL: https://host without a slash at the end")
    settings = WorkerSettings(
        profile=profile,
        city=_city(values),
        gate_socket=Path(values["AKASHI_GATE_SOCKET"]),
        gate_token_file=Path(values["AKASHI_GATE_TOKEN_FILE"]),
        traffic=_path_or_none(values["AKASHI_TRAFFIC_LOG"]),
        jpki_anchors=Path(values["AKASHI_JPKI_ANCHORS"]),
        store=values["AKASHI_WORKER_STORE"],
        public_url=public_url,
        door=values["AKASHI_DOOR_ADDRESS"],
        mailbox_key_file=Path(values["AKASHI_MAILBOX_KEY_FILE"]),
        signer_socket=Path(values["AKASHI_SIGNER_SOCKET"]),
        signer_token_file=Path(values["AKASHI_SIGNER_TOKEN_FILE"]),
        certificates=Path(values["AKASHI_CERTIFICATES"]),
        log=values["AKASHI_LOG_ADDRESS"],
        log_token_file=Path(values["AKASHI_LOG_TOKEN_FILE"]),
        trust_services=values["AKASHI_TRUST_SERVICES"],
        jpki=values["AKASHI_JPKI_ADDRESS"],
        jpki_token_file=_path_or_none(values["AKASHI_JPKI_TOKEN_FILE"]),
        trust_dir=Path(values["AKASHI_TRUST_DIR"]),
        staff=values["AKASHI_STAFF_ADDRESS"],
        staff_token_file=_path_or_none(values["AKASHI_STAFF_TOKEN_FILE"]),
        smtp=values["AKASHI_SMTP_ADDRESS"],
        ipamj_font=_path_or_none(values["AKASHI_IPAMJ_FONT"]),
        validity_days=_number(values, "AKASHI_VALIDITY_DAYS", 1, 366),
        status_beat=_number(values, "AKASHI_STATUS_BEAT", MIN_STATUS_BEAT[profile], 86400),
        status_life=_number(values, "AKASHI_STATUS_LIFE", 60, 90 * 86400),
        status_ttl=_number(values, "AKASHI_STATUS_TTL", 1, 86400),
        status_lists=_number(values, "AKASHI_STATUS_LISTS", 1, 64),
        status_size=_status_size(values, profile),
        nonce_stock=_number(values, "AKASHI_NONCE_STOCK", 1, 10000),
        mandate_device_days=_number(values, "AKASHI_MANDATE_DEVICE_DAYS", 0, 90),
        wallet_profiles=_wallet_profiles(values, profile),
        wallet_attesters=_path_or_none(values["AKASHI_WALLET_ATTESTERS"]),
        wallet_code_life=_number(values, "AKASHI_WALLET_CODE_LIFE", 60, 86400),
        login=_login(values),
    )
    if settings.status_ttl * 2 > settings.status_life:
        # A token is renewed at half of its life: whoever keeps it for its ttl must not be left with an expired one.
        raise SettingsError("bad-setting", "AKASHI_STATUS_TTL: at most half of AKASHI_STATUS_LIFE")
    return settings


def require_demo(profile: str, what: str) -> None:
    """Refuse to start a mock-up in production. Raises SettingsError."""
    if profile != "demo":
        raise SettingsError("mock-in-production", f"{what} is 模擬/MOCK and starts in the demo profile only")


def _read(environ: Mapping[str, str], table: tuple[Variable, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for row in table:
        value = environ.get(row.name, "")
        if not value:
            if row.default is None:
                raise SettingsError("missing-setting", f"{row.name}: {row.meaning}")
            value = row.default
        values[row.name] = value
    return values


def _profile(values: Mapping[str, str]) -> str:
    profile = values["AKASHI_PROFILE"]
    if profile not in PROFILES:
        raise SettingsError("bad-setting", "AKASHI_PROFILE: demo or production")
    return profile


def _login(values: Mapping[str, str]) -> LoginSettings | None:
    given = [values[row.name] for row in LOGIN]
    if not any(given):
        return None
    if not all(given):
        raise SettingsError("bad-setting", "AKASHI_LOGIN_…: all four, or none for no login")
    issuer, client_id, discovery, keys = given
    return LoginSettings(issuer, client_id, Path(discovery), Path(keys))


def _city(values: Mapping[str, str]) -> str:
    city = values["AKASHI_CITY_CODE"]
    if len(city) != 6 or not city.isascii() or not city.isdigit():
        raise SettingsError("bad-setting", "AKASHI_CITY_CODE: six digits")
    return city


def _wallet_profiles(values: Mapping[str, str], profile: str) -> tuple[str, ...]:
    text, has_attesters = values["AKASHI_WALLET_PROFILES"], bool(values["AKASHI_WALLET_ATTESTERS"])
    if not text:
        return ("p1", "p2") if profile == "demo" else ("p2",) if has_attesters else ()
    wanted = () if text == "none" else tuple(sorted(text.split(",")))
    if len(set(wanted)) != len(wanted) or not set(wanted) <= {"p1", "p2"}:
        raise SettingsError("bad-setting", "AKASHI_WALLET_PROFILES: p1, p2, p1,p2 or none")
    if profile == "production" and "p2" in wanted and not has_attesters:
        raise SettingsError("missing-setting", "AKASHI_WALLET_ATTESTERS: p2 would let nobody in")
    return wanted


def _number(values: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = values[name]
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise SettingsError("bad-setting", f"{name}: an integer from {low} to {high}")
    return int(text)


def _status_size(values: Mapping[str, str], profile: str) -> int:
    size = _number(values, "AKASHI_STATUS_SIZE", *STATUS_SIZES[profile])
    if size % 8:
        raise SettingsError("bad-setting", "AKASHI_STATUS_SIZE: a multiple of eight")
    return size


def _path_or_none(text: str) -> Path | None:
    return Path(text) if text else None

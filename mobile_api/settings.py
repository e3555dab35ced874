"""Every setting of the street door, in one table, read once from the environment.

There is no default profile: without AKASHI_PROFILE=demo or production nothing starts. Paths name files; no
secret is ever the value of a variable (the SMTP password lies in a file). `settings_from_environment` is
the only reader of the environment in this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mobile_api.errors import SettingsError

PREFIX: Final = "AKASHI_DOOR_"
PROFILE_VARIABLE: Final = "AKASHI_PROFILE"
_DAY: Final = 86400


class Profile(StrEnum):
    """Which world this process lives in."""

    DEMO = "demo"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the table: variable AKASHI_DOOR_<NAME>, how it is read, default (None = required),
    meaning.
    """

    name: str
    read: Callable[[str], Any]
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The street door's settings; the meaning of each field stands in `VARIABLES`. Times in seconds, sizes in
    bytes.
    """

    profile: Profile
    database_url: str
    public_url: str
    city: str
    city_keys: Path
    public_dir: Path
    host: str = "127.0.0.1"
    port: int = 8440
    workers: int = 1
    threads: int = 24
    request_timeout: int = 60
    trusted_proxies: int = 0
    max_waiters: int = 16
    phone_wait: int = 20
    city_wait: int = 25
    max_envelope: int = 64 << 10
    max_answer: int = 64 << 10
    max_package: int = 4 << 20
    max_submission: int = 4 << 20
    max_public: int = 8 << 20
    max_waiting_envelopes: int = 20
    max_submissions: int = 2000
    max_nonces: int = 10000
    rate_account: int = 240
    rate_sign_up: int = 60
    rate_nonce: int = 30
    rate_request: int = 120
    rate_mail: int = 10
    rate_presentation: int = 60
    keep_fetched_package: int = 3600
    keep_package: int = 30 * _DAY
    keep_answer: int = 30 * _DAY
    keep_envelope: int = 7 * _DAY
    keep_nonce: int = _DAY
    keep_fetched_submission: int = _DAY
    keep_presentation: int = _DAY
    keep_fetched_presentation: int = 3600
    max_request_life: int = 180 * _DAY
    sweep_interval: int = 300
    smtp_host: str = ""
    smtp_port: int = 25
    smtp_security: str = "none"
    smtp_sender: str = ""
    smtp_user: str = ""
    smtp_password_file: Path | None = None
    smtp_timeout: int = 15
    wallet_profiles: tuple[str, ...] = ()
    wallet_attesters: Path | None = None
    wallet_wait: int = 5
    wallet_login_wait: int = 15
    wallet_waiters: int = 6
    wallet_nonce_life: int = 300
    wallet_access_life: int = 3600
    wallet_offer_life: int = _DAY
    wallet_dpop_nonce: str = "accepted"
    rate_wallet: int = 600
    rate_grant: int = 120


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return int(text)

    return read


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or text != f"https://{parts.netloc}" or "@" in text:
        raise ValueError("https://host without a path")
    return text


def _city(text: str) -> str:
    if len(text) != 6 or not text.isascii() or not text.isdigit():
        raise ValueError("a six-digit city code")
    return text


def _word(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return text

    return read


def _text(text: str) -> str:
    return text


def _path(text: str) -> Path:
    if not text:
        raise ValueError("a path")
    return Path(text)


def _profiles(text: str) -> tuple[str, ...]:
    if text == "none":
        return ("none",)
    words = tuple(text.split(",")) if text else ()
    if not set(words) <= {"p1", "p2"} or len(set(words)) != len(words):
        raise ValueError("p1, p2, p1,p2 or none")
    return words


def _optional_path(text: str) -> Path | None:
    return Path(text) if text else None


VARIABLES: Final[tuple[Variable, ...]] = (
    Variable("DATABASE_URL", _text, None, "the door's own store: sqlite:///path or postgresql+psycopg://…"),
    Variable(
        "PUBLIC_URL",
        _url,
        None,
        "the address that iss, QR codes and lists carry; never taken from a Host header",
    ),
    Variable("CITY", _city, None, "the six-digit city code, first segment of every public path"),
    Variable(
        "CITY_KEYS", _path, None, "file: JWK set of the city's mailbox keys (public), each with a scope"
    ),
    Variable("PUBLIC_DIR", _path, None, "directory of the public static files"),
    Variable("HOST", _text, "127.0.0.1", "address to listen on"),
    Variable("PORT", _integer(0, 65535), "8440", "port to listen on"),
    Variable("WORKERS", _integer(1, 32), "1", "processes; rate limits count per process"),
    Variable("THREADS", _integer(2, 256), "24", "threads a process; long polls hold one each"),
    Variable("REQUEST_TIMEOUT", _integer(30, 600), "60", "seconds until a stuck process is replaced"),
    Variable("TRUSTED_PROXIES", _integer(0, 4), "0", "how many X-Forwarded-For hops are our own proxies"),
    Variable(
        "MAX_WAITERS", _integer(0, 250), "16", "long polls at a time in a process; more are answered at once"
    ),
    Variable("PHONE_WAIT", _integer(0, 25), "20", "longest wait of a phone's poll"),
    Variable("CITY_WAIT", _integer(0, 28), "25", "longest wait of the city's poll"),
    Variable("MAX_ENVELOPE", _integer(1024, 1 << 20), str(64 << 10), "largest envelope"),
    Variable("MAX_ANSWER", _integer(1024, 1 << 20), str(64 << 10), "largest answer"),
    Variable("MAX_PACKAGE", _integer(1024, 6 << 20), str(4 << 20), "largest package"),
    Variable("MAX_SUBMISSION", _integer(1024, 6 << 20), str(4 << 20), "largest submission, also by mail"),
    Variable("MAX_PUBLIC", _integer(1024, 32 << 20), str(8 << 20), "largest public file"),
    Variable(
        "MAX_WAITING_ENVELOPES", _integer(1, 1000), "20", "envelopes of one account that wait for the city"
    ),
    Variable("MAX_SUBMISSIONS", _integer(1, 100000), "2000", "submissions that lie under one request"),
    Variable("MAX_NONCES", _integer(1, 1000000), "10000", "nonces kept in stock"),
    Variable("RATE_ACCOUNT", _integer(1, 100000), "240", "calls of one account a minute"),
    Variable("RATE_SIGN_UP", _integer(1, 100000), "60", "new accounts from one network address an hour"),
    Variable("RATE_NONCE", _integer(1, 100000), "30", "nonces of one account an hour"),
    Variable("RATE_REQUEST", _integer(1, 100000), "120", "calls under one request id a minute"),
    Variable("RATE_MAIL", _integer(1, 100000), "10", "mails under one request id a minute"),
    Variable(
        "RATE_PRESENTATION",
        _integer(1, 100000),
        "60",
        "requests to wallets from one network address a minute",
    ),
    Variable(
        "KEEP_FETCHED_PACKAGE", _integer(0, 30 * _DAY), "3600", "a package is deleted this long after pick-up"
    ),
    Variable("KEEP_PACKAGE", _integer(60, 366 * _DAY), str(30 * _DAY), "… and this long if nobody comes"),
    Variable("KEEP_ANSWER", _integer(60, 366 * _DAY), str(30 * _DAY), "answers are deleted after"),
    Variable(
        "KEEP_ENVELOPE",
        _integer(60, 366 * _DAY),
        str(7 * _DAY),
        "envelopes the city never took are deleted after",
    ),
    Variable("KEEP_NONCE", _integer(60, 30 * _DAY), str(_DAY), "nonces are dropped after"),
    Variable(
        "KEEP_FETCHED_SUBMISSION",
        _integer(0, 30 * _DAY),
        str(_DAY),
        "a submission is deleted this long after it was fetched",
    ),
    Variable(
        "KEEP_PRESENTATION",
        _integer(0, 30 * _DAY),
        str(_DAY),
        "a wallet's answer that no desk fetched is deleted this long after its request ended",
    ),
    Variable(
        "KEEP_FETCHED_PRESENTATION",
        _integer(0, 30 * _DAY),
        "3600",
        "… and this long after it was fetched, if the desk does not delete it",
    ),
    Variable(
        "MAX_REQUEST_LIFE", _integer(60, 366 * _DAY), str(180 * _DAY), "longest life of a submission request"
    ),
    Variable("SWEEP_INTERVAL", _integer(1, _DAY), "300", "pause between two sweeps"),
    Variable("SMTP_HOST", _text, "", "mail server for submissions by mail; empty = this door relays no mail"),
    Variable("SMTP_PORT", _integer(1, 65535), "25", "its port"),
    Variable(
        "SMTP_SECURITY", _word("none", "starttls", "tls"), "none", "none | starttls | tls; none only in demo"
    ),
    Variable("SMTP_SENDER", _text, "", "envelope sender and From of relayed mail"),
    Variable("SMTP_USER", _text, "", "login name at the mail server, if it wants one"),
    Variable("SMTP_PASSWORD_FILE", _optional_path, "", "file with the password for it"),
    Variable("SMTP_TIMEOUT", _integer(1, 55), "15", "seconds for the whole conversation's single steps"),
    Variable(
        "WALLET_PROFILES",
        _profiles,
        "",
        "for wallets of others: p1, p2, both, or none; empty = p1,p2 in demo, in production p2 once there are attesters",
    ),
    Variable(
        "WALLET_ATTESTERS",
        _optional_path,
        "",
        "file: certificates (PEM) of the authorities of trusted wallet providers; p2 lets nobody in without it",
    ),
    Variable(
        "WALLET_WAIT", _integer(0, 20), "5", "longest wait for the city before a wallet is told to come again"
    ),
    Variable("WALLET_LOGIN_WAIT", _integer(1, 25), "15", "longest wait for the city while a browser logs in"),
    Variable(
        "WALLET_WAITERS",
        _integer(1, 200),
        "6",
        "wallets that wait at a time in a process; each holds a thread",
    ),
    Variable("WALLET_NONCE_LIFE", _integer(30, 3600), "300", "seconds a challenge for a key proof counts"),
    Variable("WALLET_ACCESS_LIFE", _integer(60, _DAY), "3600", "seconds an access token of a wallet counts"),
    Variable("WALLET_OFFER_LIFE", _integer(60, 7 * _DAY), str(_DAY), "longest life of an offer's code"),
    Variable(
        "WALLET_DPOP_NONCE",
        _word("accepted", "required"),
        "accepted",
        "accepted | required: must a DPoP proof in p2 carry a challenge of ours",
    ),
    Variable(
        "RATE_WALLET", _integer(1, 1000000), "600", "calls of wallets from one network address a minute"
    ),
    Variable("RATE_GRANT", _integer(1, 100000), "120", "calls under one grant a minute"),
)


def settings_from_environment(environ: Mapping[str, str]) -> Settings:
    """Read the table above from `environ`.

    Raises: SettingsError for a missing profile, a missing or unreadable value, or an unknown AKASHI_DOOR_
    variable (a misspelt limit must not be silently ignored).
    """
    try:
        profile = Profile(environ.get(PROFILE_VARIABLE, ""))
    except ValueError:
        raise SettingsError("no-profile", f"{PROFILE_VARIABLE} must be demo or production") from None
    known = {PREFIX + variable.name for variable in VARIABLES}
    if unknown := sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        raise SettingsError("unknown-setting", unknown[0])
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        text = environ.get(PREFIX + variable.name, variable.default)
        if text is None or (variable.default is None and not text):
            raise SettingsError("missing-setting", f"{PREFIX}{variable.name}: {variable.meaning}")
        try:
            values[variable.name.lower()] = variable.read(text)
        except ValueError as error:
            raise SettingsError("bad-setting", f"{PREFIX}{variable.name} must be {error}") from None
    settings = Settings(profile=profile, **values)
    check_settings(settings)
    return settings


def served_profiles(settings: Settings) -> tuple[str, ...]:
    """The profiles for wallets of others that this door serves: of "p1" and "p2"."""
    if settings.wallet_profiles:
        return tuple(profile for profile in settings.wallet_profiles if profile != "none")
    if settings.profile is Profile.DEMO:
        return ("p1", "p2")
    return ("p2",) if settings.wallet_attesters else ()


def check_settings(settings: Settings) -> None:
    """Combinations that must not run. Raises: SettingsError."""
    if settings.smtp_host and not settings.smtp_sender:
        raise SettingsError("missing-setting", f"{PREFIX}SMTP_SENDER is needed with a mail server")
    if settings.profile is Profile.PRODUCTION:
        if settings.smtp_host and settings.smtp_security == "none":
            raise SettingsError("insecure-setting", "production relays mail over TLS only")
        if settings.public_url.endswith(".example"):
            raise SettingsError("mock-in-production", "the public address is a mock name (模擬)")
        if settings.city.startswith("99"):
            raise SettingsError("mock-in-production", "the city code belongs to no prefecture (模擬)")
        if "p2" in settings.wallet_profiles and settings.wallet_attesters is None:
            raise SettingsError("missing-setting", f"{PREFIX}WALLET_ATTESTERS: p2 would let nobody in")
    if settings.max_waiters + settings.wallet_waiters >= settings.threads:
        raise SettingsError(
            "bad-setting",
            "who waits would take every thread: MAX_WAITERS + WALLET_WAITERS must be below THREADS",
        )

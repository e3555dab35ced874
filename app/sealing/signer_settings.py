"""The signer's settings: a JSON file beside the keys, paths relative to it.

    {"v":1,"socket":"run/signer.sock","store":"sqlite:///…","audit":"audit.jsonl","origin":"door…/992011/log/1",
     "gate_public_key":base64 of 32 bytes,"tokens":{"worker":"worker.token","log":"log.token"},
     "keys":[{"key_id","purpose","kind":"software","file","certificates":[pem files, own first]},
             {"key_id","purpose","kind":"pkcs11","module","token","label","pin_file","certificates":[…]}]}

A remote key (`remote_key`) needs a transport and so is handed to `SignerService` in code, not configured
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.frames import read_token
from app.sealing.authorisation import PURPOSES
from app.sealing.city_key import CityKey, SoftwareKey
from app.sealing.errors import KeyUnusableError, SettingsInvalidError
from app.sealing.key_files import read_private_file, read_private_key
from app.sealing.pki import CHANNELS, CITY_KEYS, DemoPki
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64_encode

PROFILES: Final = ("demo", "production")
KEY_PURPOSES: Final = PURPOSES | {"envelope", "checkpoint"}
MARKS: Final = ("MOCK", "模擬")


@dataclass(frozen=True, slots=True)
class ConfiguredKey:
    """A key, what it may be used for, and its certificates in DER (own first, without the root; may be
    empty)."""

    key_id: str
    purpose: str
    key: CityKey
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignerSettings:
    """What the signer process needs to start."""

    socket: Path
    store_url: str
    audit: Path
    origin: str
    gate_key: Ed25519PublicKey
    tokens: dict[str, str] = field(repr=False)
    keys: tuple[ConfiguredKey, ...] = field(repr=False)


def load_signer_settings(path: Path, *, profile: str | None) -> SignerSettings:
    """Read the settings and the keys. `profile`: the value of AKASHI_PROFILE.

    In production software keys and certificates marked MOCK/模擬 are refused.
    Raises: SettingsInvalidError, KeyUnusableError.
    """
    if profile not in PROFILES:
        raise SettingsInvalidError("no-profile", "AKASHI_PROFILE must be demo or production")
    base = path.parent
    try:
        content = orjson.loads(path.read_bytes())
        if content["v"] != 1:
            raise SettingsInvalidError("bad-settings", "unknown version")
        tokens = {name: _token(base / content["tokens"][name]) for name in CHANNELS}
        sessions: dict[tuple[str, str], Any] = {}
        keys = tuple(_configured(base, entry, sessions) for entry in content["keys"])
        settings = SignerSettings(
            socket=base / content["socket"],
            store_url=content["store"],
            audit=base / content["audit"],
            origin=content["origin"],
            gate_key=Ed25519PublicKey.from_public_bytes(base64_decode(content["gate_public_key"])),
            tokens=tokens,
            keys=keys,
        )
    except FileNotFoundError as error:
        raise SettingsInvalidError("no-settings", Path(str(error.filename)).name) from error
    except (
        orjson.JSONDecodeError,
        FormatError,
        KeyError,
        TypeError,
        ValueError,
        UnsupportedAlgorithm,
    ) as error:
        raise SettingsInvalidError("bad-settings", type(error).__name__) from error
    _check(settings, profile)
    return settings


def write_demo_settings(pki: DemoPki, *, origin: str, runtime: Path) -> Path:
    """Write `signer.json` for the demo PKI (once) and return its path. `runtime`: directory for socket, store
    and audit.

    Raises: SettingsInvalidError, KeyUnusableError.
    """
    path = pki.directory / "signer" / "signer.json"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime = runtime.resolve()
    gate_key = read_private_key(pki.directory / "gate" / "authorisation.key.pem").public_key()
    keys = []
    for key_id, purpose in CITY_KEYS.items():
        names = (key_id, "issuing") if key_id in pki.certificates else ()
        certificates = [f"../certificates/{name}.pem" for name in names]
        entry = {"key_id": key_id, "purpose": purpose, "kind": "software", "file": f"{key_id}.key.pem"}
        keys.append({**entry, "certificates": certificates})
    content = {
        "v": 1,
        "mock": True,
        "socket": str(runtime / "signer.sock"),
        "store": f"sqlite:///{runtime / 'signer.sqlite'}",
        "audit": str(runtime / "signer-audit.jsonl"),
        "origin": origin,
        "gate_public_key": base64_encode(gate_key.public_bytes(Encoding.Raw, PublicFormat.Raw)),
        "tokens": {name: f"{name}.token" for name in CHANNELS},
        "keys": keys,
    }
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    return path


def _token(path: Path) -> str:
    read_private_file(path)
    token = read_token(path)
    if len(token) < 32:
        raise SettingsInvalidError("bad-settings", "a channel token is too short")
    return token


def _configured(base: Path, entry: dict[str, Any], sessions: dict[tuple[str, str], Any]) -> ConfiguredKey:
    certificates = tuple(
        x509.load_pem_x509_certificate((base / name).read_bytes()).public_bytes(Encoding.DER)
        for name in entry["certificates"]
    )
    return ConfiguredKey(entry["key_id"], entry["purpose"], _open_key(base, entry, sessions), certificates)


def _open_key(base: Path, entry: dict[str, Any], sessions: dict[tuple[str, str], Any]) -> CityKey:
    if entry["kind"] == "software":
        return SoftwareKey(read_private_key(base / entry["file"]))
    if entry["kind"] == "pkcs11":
        # Imported only here: the module is an extra that a laptop need not have.
        from app.sealing.pkcs11_key import Pkcs11Key, Pkcs11Session, Pkcs11Settings

        where = (entry["module"], entry["token"])
        if where not in sessions:
            pin = read_private_file(base / entry["pin_file"]).decode("ascii").strip()
            sessions[where] = Pkcs11Session(Pkcs11Settings(Path(entry["module"]), entry["token"], pin))
        return Pkcs11Key(sessions[where], entry["label"])
    raise SettingsInvalidError("bad-settings", "a key is software or pkcs11")


def _check(settings: SignerSettings, profile: str) -> None:
    ids = [key.key_id for key in settings.keys]
    if len(set(ids)) != len(ids) or any(key.purpose not in KEY_PURPOSES for key in settings.keys):
        raise SettingsInvalidError("bad-settings", "a key id appears twice, or a purpose is unknown")
    tokens = list(settings.tokens.values())
    if len(set(tokens)) != len(tokens):
        raise SettingsInvalidError("bad-settings", "two channels share a token")
    publics = [key.key.public_key() for key in settings.keys]
    if any(one == other for index, one in enumerate(publics) for other in publics[:index]):
        raise SettingsInvalidError("bad-settings", "two purposes share a key")
    for key, public in zip(settings.keys, publics, strict=True):
        if key.certificates:
            own = x509.load_der_x509_certificate(key.certificates[0])
            if own.public_key() != public:
                raise KeyUnusableError(
                    "wrong-certificate", f"{key.key_id}: the certificate is of another key"
                )
    if profile == "production":
        _refuse_mocks(settings)


def _refuse_mocks(settings: SignerSettings) -> None:
    for key in settings.keys:
        if key.key.is_software:
            raise SettingsInvalidError("mock-in-production", f"{key.key_id} is a software key")
        for encoded in key.certificates:
            subject = x509.load_der_x509_certificate(encoded).subject.rfc4514_string()
            if any(mark in subject for mark in MARKS):
                raise SettingsInvalidError(
                    "mock-in-production", f"{key.key_id} has a mock certificate (模擬)"
                )

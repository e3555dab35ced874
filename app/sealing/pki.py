"""The demo PKI (模擬/MOCK): root → issuing authority → the city's certificates, and a time-stamping authority
beside it.

In the world outside these are three parties: an accredited certification service, a time-stamping service,
and the city. Here one command makes the keys of all three into directories of their own, so that each process
gets only its own:

    ca/            root, issuing, tsa-ca, ocsp, tsa keys   → the trust-services counterpart
    signer/        the city's keys by purpose, channel tokens   → the signer
    gate/          the register gate's authorisation key   → the register gate
    certificates/  all certificates (public)
    pki.json       what was made, when, for whom

Nothing is made twice: an existing PKI is loaded, never renewed by the way. The production profile refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from app.sealing.certificates import (
    AUTHORITY,
    OCSP_RESPONDER,
    PAGE_SEAL,
    SIGNING,
    TIME_STAMP,
    Issuer,
    Profile,
    build_certificate,
    build_name,
)
from app.sealing.errors import KeyUnusableError, PkiError
from app.sealing.key_files import create_key_directory, create_token, read_private_key, write_private_key

MANIFEST: Final = "pki.json"
CHANNELS: Final = ("worker", "log")
# Key id → purpose. The number at the end counts up when a key is replaced, on purpose, with a new entry here.
CITY_KEYS: Final[dict[str, str]] = {
    "page-seal-1": "page_seal",
    "credential-1": "credential",
    "status-list-1": "status_list",
    "statement-1": "statement",
    "login-1": "login",
    "envelope-1": "envelope",
    "checkpoint-1": "checkpoint",
}


@dataclass(frozen=True, slots=True)
class PkiSettings:
    """For whom the PKI is made.

    iss           what the credential's certificate speaks for, e.g. https://door.mihon.example/992011
    services_url  where certificates say that OCSP and revocation lists are; a process maps it to where they
    really are *_years       validity of 365 days each
    """

    iss: str
    city_name: str = "見本市"
    corporate_number: str = "7000020992011"
    services_url: str = "http://trust.mihon.example"
    root_years: int = 20
    issuing_years: int = 15
    city_years: int = 5
    tsa_years: int = 11

    @property
    def status_uri(self) -> str:
        """What the status-list certificate speaks for: the address below which the lists lie."""
        return f"{self.iss}/status"


@dataclass(frozen=True, slots=True)
class DemoPki:
    """A PKI on disk. `certificates` by name: root, issuing, tsa-ca, tsa, ocsp, page-seal-1, credential-1,
    status-list-1."""

    directory: Path
    created: datetime
    certificates: dict[str, x509.Certificate] = field(repr=False)

    def der(self, name: str) -> bytes:
        """One certificate in DER. Raises: PkiError."""
        if name not in self.certificates:
            raise PkiError("no-such-certificate", name)
        return self.certificates[name].public_bytes(Encoding.DER)

    @property
    def page_chain(self) -> tuple[bytes, ...]:
        """DER: seal, issuing, root, tsa, tsa-ca: what a sealed page carries in its security store."""
        return tuple(self.der(name) for name in ("page-seal-1", "issuing", "root", "tsa", "tsa-ca"))

    def issuer(self, stem: str) -> Issuer:
        """An authority with its key, for the trust-services counterpart. Raises: PkiError,
        KeyUnusableError."""
        key = read_private_key(self.directory / "ca" / f"{stem}.key.pem")
        if not isinstance(key, ec.EllipticCurvePrivateKey) or stem not in self.certificates:
            raise PkiError("no-such-authority", stem)
        return Issuer(self.certificates[stem], key, stem)


def create_demo_pki(directory: Path, settings: PkiSettings, now: datetime) -> DemoPki:
    """Make the PKI in `directory`, which must hold none. `now`: UTC, start of all validity.

    Raises: PkiError("pki-exists"), KeyUnusableError.
    """
    if (directory / MANIFEST).exists():
        raise PkiError("pki-exists", "an existing PKI is never renewed by the way")
    for name in ("", "ca", "signer", "gate", "certificates"):
        create_key_directory(directory / name)
    made = _Maker(directory, settings, now)
    made.authorities()
    made.services()
    made.city()
    gate_key = ed25519.Ed25519PrivateKey.generate()
    write_private_key(directory / "gate" / "authorisation.key.pem", gate_key)
    for channel in CHANNELS:
        create_token(directory / "signer" / f"{channel}.token")
    manifest = {
        "v": 1,
        "mock": True,
        "created": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "city_name": settings.city_name,
        "iss": settings.iss,
        "status_uri": settings.status_uri,
        "services_url": settings.services_url,
        "certificates": sorted(made.certificates),
        "keys": CITY_KEYS,
    }
    # Written last: a PKI whose making was cut short has no manifest and is not taken for one.
    (directory / MANIFEST).write_bytes(
        orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    )
    return load_demo_pki(directory)


def load_demo_pki(directory: Path) -> DemoPki:
    """Read an existing PKI. Raises: PkiError("no-pki" | "bad-pki")."""
    try:
        manifest = orjson.loads((directory / MANIFEST).read_bytes())
        created = datetime.strptime(manifest["created"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        certificates = {
            name: x509.load_pem_x509_certificate((directory / "certificates" / f"{name}.pem").read_bytes())
            for name in manifest["certificates"]
        }
    except FileNotFoundError as error:
        raise PkiError("no-pki", "no PKI has been made here") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PkiError("bad-pki", "the PKI on disk is damaged") from error
    return DemoPki(directory, created, certificates)


class _Maker:
    def __init__(self, directory: Path, settings: PkiSettings, now: datetime) -> None:
        self._directory = directory
        self._settings = settings
        self._now = now
        self._issuers: dict[str, Issuer] = {}
        self.certificates: dict[str, x509.Certificate] = {}

    def authorities(self) -> None:
        provider = "見本認証サービス"
        self._authority("root", "見本ルート認証局 Root CA", provider, 1, self._settings.root_years)
        self._authority(
            "issuing", "見本eシール認証局 Issuing CA", provider, 0, self._settings.issuing_years, "root"
        )
        self._authority("tsa-ca", "見本時刻認証局 TSA CA", "見本タイムスタンプ", 0, self._settings.root_years)

    def services(self) -> None:
        years = self._settings.tsa_years
        self._end("ca", "tsa", build_name("見本TSA", "見本タイムスタンプ"), TIME_STAMP, "tsa-ca", years)
        responder = build_name("見本OCSP responder", "見本認証サービス")
        self._end("ca", "ocsp", responder, OCSP_RESPONDER, "issuing", self._settings.city_years)

    def city(self) -> None:
        settings = self._settings
        profiles = {
            "page-seal-1": ("e-seal", PAGE_SEAL),
            "credential-1": ("credential", Profile(SIGNING, san_uri=settings.iss)),
            "status-list-1": ("status list", Profile(SIGNING, san_uri=settings.status_uri)),
        }
        for key_id in CITY_KEYS:
            path = self._directory / "signer" / f"{key_id}.key.pem"
            if key_id in profiles:
                title, profile = profiles[key_id]
                subject = build_name(
                    f"{settings.city_name} {title}", settings.city_name, settings.corporate_number
                )
                self._end("signer", key_id, subject, profile, "issuing", settings.city_years)
            elif CITY_KEYS[key_id] == "checkpoint":
                write_private_key(path, ed25519.Ed25519PrivateKey.generate())
            else:
                write_private_key(path, ec.generate_private_key(ec.SECP256R1()))

    def _authority(
        self,
        stem: str,
        title: str,
        organisation: str,
        path_length: int,
        years: int,
        issuer: str | None = None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = build_certificate(
            subject=build_name(title, organisation),
            key=key.public_key(),
            profile=Profile(AUTHORITY, path_length=path_length),
            issuer=key if issuer is None else self._issuers[issuer],
            not_before=self._now,
            years=years,
            services_url=self._settings.services_url,
        )
        write_private_key(self._directory / "ca" / f"{stem}.key.pem", key)
        self._issuers[stem] = Issuer(certificate, key, stem)
        self._keep(stem, certificate)

    def _end(
        self, holder: str, name: str, subject: x509.Name, profile: Profile, issuer: str, years: int
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = build_certificate(
            subject=subject,
            key=key.public_key(),
            profile=profile,
            issuer=self._issuers[issuer],
            not_before=self._now,
            years=years,
            services_url=self._settings.services_url,
        )
        write_private_key(self._directory / holder / f"{name}.key.pem", key)
        self._keep(name, certificate)

    def _keep(self, name: str, certificate: x509.Certificate) -> None:
        self.certificates[name] = certificate
        path = self._directory / "certificates" / f"{name}.pem"
        if path.exists():
            raise KeyUnusableError("file-exists", path.name)
        path.write_bytes(certificate.public_bytes(Encoding.PEM))

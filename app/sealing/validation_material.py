"""What a sealed page carries so that it can be checked for ever and offline: the chain and the revocation
lists.

The lists are fetched from the authority (`ca.status`) before sealing and used until they are `MAX_AGE` old.
Nothing is taken on trust: each list must be signed by its authority and cover the present.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.errors import UnavailableError
from app.sealing.errors import PkiError
from verifier.errors import AkashiVerifierError
from verifier.formats.x509_path import Usage, parse_certificate, parse_crl, verify_path, verify_revocation

MAX_AGE: Final = timedelta(hours=1)
CRL_STEMS: Final = ("root", "issuing", "tsa-ca")


@dataclass(frozen=True, slots=True)
class ValidationMaterial:
    """Certificates and lists in DER.

    certificates  seal, issuing, root, tsa, tsa-ca: the first two also go beside the signature
    crls          of root, issuing and tsa-ca
    """

    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]

    @property
    def seal_certificate(self) -> bytes:
        """The page seal's own certificate."""
        return self.certificates[0]

    @property
    def issuing_certificate(self) -> bytes:
        """The certificate of the authority that issued it."""
        return self.certificates[1]


def build_material(
    certificates: Sequence[bytes], crls: Sequence[bytes], *, at: datetime
) -> ValidationMaterial:
    """Material whose parts fit together at the instant `at`: seal and TSA certificate valid and not revoked.

    `certificates`: seal, issuing, root, tsa, tsa-ca (DER). Raises: PkiError("bad-material").
    """
    try:
        seal, issuing, root, tsa, tsa_ca = (parse_certificate(der) for der in certificates)
        lists = [parse_crl(der) for der in crls]
        seal_path = verify_path(seal, intermediates=[issuing], anchors=[root], at=at, usage=Usage.PAGE_SEAL)
        tsa_path = verify_path(tsa, intermediates=[], anchors=[tsa_ca], at=at, usage=Usage.TIME_STAMP)
        for path in (seal_path, tsa_path):
            verify_revocation(path, lists, at=at)
    except (AkashiVerifierError, ValueError) as error:
        raise PkiError("bad-material", str(error)) from error
    return ValidationMaterial(tuple(certificates), tuple(crls))


class MaterialSource:
    """Keeps the material fresh: `current(now)` fetches the lists when those in hand are older than MAX_AGE.

    `fetch_crl`: file stem of an authority → list in DER; raises UnavailableError when the authority does not
    answer. When it does not, the lists in hand are used as long as they cover the present.
    """

    def __init__(self, certificates: Sequence[bytes], fetch_crl: Callable[[str], bytes]) -> None:
        self._certificates = tuple(certificates)
        self._fetch_crl = fetch_crl
        self._lock = threading.Lock()
        self._material: ValidationMaterial | None = None
        self._fetched: datetime | None = None

    def current(self, now: datetime) -> ValidationMaterial:
        """Material that covers `now` (UTC). Raises: UnavailableError, PkiError("bad-material")."""
        with self._lock:
            if self._material is None or self._fetched is None or now - self._fetched > MAX_AGE:
                self._refresh(now)
            if self._material is None:
                raise PkiError("bad-material", "no revocation lists")
            return self._material

    def _refresh(self, now: datetime) -> None:
        try:
            crls = tuple(self._fetch_crl(stem) for stem in CRL_STEMS)
        except UnavailableError:
            if self._material is None:
                raise
            build_material(self._certificates, self._material.crls, at=now)
            return
        self._material = build_material(self._certificates, crls, at=now)
        self._fetched = now

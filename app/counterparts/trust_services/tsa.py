"""The time-stamping authority (模擬/MOCK): a query in, a signed token out.

Sources: RFC 3161, RFC 5816. Tokens have the profile of `verifier.formats.timestamp`. A real authority has an
audited clock and an accreditation (令和3年総務省告示第146号); this one has the machine's clock and says so in
its certificate. This module speaks no HTTP: `server` does.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from verifier.errors import FormatError
from verifier.formats import der
from verifier.formats.cms import ID_TST_INFO, format_signed_attributes, format_signed_data
from verifier.formats.encoding import sha256
from verifier.formats.timestamp import TimestampQuery, parse_query

# 2.999 is the arc that X.660 sets aside for examples: a demo has no business in anybody's real arc.
POLICY: Final = "2.999.992011.1"
ACCURACY_SECONDS: Final = 1

# PKIFailureInfo bit numbers (RFC 3161 section 2.4.2)
_BAD_ALGORITHM: Final = 0
_BAD_DATA_FORMAT: Final = 5
_UNACCEPTED_POLICY: Final = 15


class DemoTsa:
    """Answers time-stamp queries with `key`, whose certificate is `certificate`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._encoded = certificate.public_bytes(Encoding.DER)
        self._key = key

    def answer(self, query: bytes, now: datetime) -> bytes:
        """A TimeStampResp (DER) for a TimeStampReq: granted with a token, or a rejection with its reason."""
        try:
            parsed = parse_query(query)
        except FormatError as error:
            return _rejection(_BAD_ALGORITHM if error.code == "unsupported-digest" else _BAD_DATA_FORMAT)
        if parsed.policy not in (None, POLICY):
            return _rejection(_UNACCEPTED_POLICY)
        granted = der.encode(der.SEQUENCE, der.encode_integer(0))
        return der.encode(der.SEQUENCE, granted, self.token(parsed, now))

    def token(self, query: TimestampQuery, now: datetime) -> bytes:
        """The TimeStampToken (DER)."""
        content = _tst_info(query, now)
        digest = sha256(content)
        attributes = format_signed_attributes(ID_TST_INFO, digest, self._encoded)
        r, s = decode_dss_signature(self._key.sign(attributes, ec.ECDSA(hashes.SHA256())))
        return format_signed_data(
            content_type=ID_TST_INFO,
            content=content,
            certificates=(self._encoded,) if query.with_certificate else (),
            signer=self._certificate,
            message_digest=digest,
            signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        )


def _tst_info(query: TimestampQuery, now: datetime) -> bytes:
    nonce = b"" if query.nonce is None else der.encode_integer(query.nonce)
    return der.encode(
        der.SEQUENCE,
        der.encode_integer(1),
        der.encode_oid(POLICY),
        query.imprint,
        # Random numbers of 64 bits do not repeat within the life of a demo and need no counter on disk.
        der.encode_integer(secrets.randbits(63) + 1),
        der.encode_generalized_time(now),
        der.encode(der.SEQUENCE, der.encode_integer(ACCURACY_SECONDS)),
        nonce,
    )


def _rejection(reason: int) -> bytes:
    octets = bytearray(reason // 8 + 1)
    octets[reason // 8] |= 0x80 >> reason % 8
    unused = 7 - reason % 8
    failure = der.encode(0x03, bytes((unused,)), bytes(octets))
    return der.encode(der.SEQUENCE, der.encode(der.SEQUENCE, der.encode_integer(2), failure))

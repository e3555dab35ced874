"""The city's client of the trust services: one time-stamp for one digest, one revocation list of one
authority.

RFC 3161 section 3.4 and RFC 2585 over HTTP. Answers are read strictly and checked at once: imprint, nonce and
signature of a token, signed by exactly the authority's certificate that the sealed pages carry. An address in
a certificate is not followed:
`base_url` is a setting.
"""

from __future__ import annotations

import http.client
import secrets
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from app.errors import UnavailableError
from app.sealing.errors import TimestampError
from verifier.errors import FormatError
from verifier.formats.timestamp import MAX_TOKEN_BYTES, build_query, parse_response, verify_token
from verifier.formats.x509_path import MAX_CRL_BYTES

TIMEOUT_SECONDS: Final = 10.0


class TrustServicesClient:
    """`base_url`: e.g. http://127.0.0.1:8318. `tsa_certificate`: DER, the only one whose tokens are taken."""

    def __init__(self, base_url: str, tsa_certificate: bytes, *, timeout: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise TimestampError("bad-address", "the trust services' address is not http(s)")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/")
        self._tsa_certificate = tsa_certificate
        self._timeout = timeout

    def timestamp(self, digest: bytes) -> bytes:
        """A token (DER) over a SHA-256 digest. Raises: UnavailableError, TimestampError."""
        # 64 random bits; the top bit keeps its length the same.
        nonce = secrets.randbits(63) | 1 << 63
        body = self._ask(
            "POST",
            "/tsa",
            build_query(digest, nonce),
            {"Content-Type": "application/timestamp-query"},
            MAX_TOKEN_BYTES + 64,
        )
        try:
            token = parse_response(body)
            signer = verify_token(token, digest=digest, nonce=nonce)
        except FormatError as error:
            raise TimestampError(error.code, "the time-stamping authority's answer is no answer") from error
        if signer.public_bytes(Encoding.DER) != self._tsa_certificate:
            raise TimestampError("other-authority", "stamped by another authority than the configured one")
        return token.encoded

    def fetch_crl(self, stem: str) -> bytes:
        """The revocation list (DER) of one authority. Raises: UnavailableError."""
        return self._ask("GET", f"/crl/{stem}.crl", None, {}, MAX_CRL_BYTES)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str], limit: int) -> bytes:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            data = response.read(limit + 1)
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError("trust-services-unreachable", type(error).__name__) from error
        finally:
            connection.close()
        if response.status != 200 or len(data) > limit:
            raise UnavailableError("trust-services-failed", f"status {response.status}")
        return data

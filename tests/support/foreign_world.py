"""Documents of the city for checkers that others wrote: dated by the wall clock, because they judge by the present.

Everything is made by the sealing room with the keys of `sealing_world`. 模擬/MOCK.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from app.sealing.city_key import SoftwareKey
from app.sealing.credential import JAPAN, CredentialFrame, finish_credential, prepare_credential
from app.sealing.key_files import read_private_key
from app.sealing.status_list import build_bits, finish_status_list, prepare_status_list
from tests.support.sealing_world import ISS, NOW, SAMPLE, world
from verifier.formats.credential import parse_credential, select_disclosures
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import es256_signer, format_jwk
from verifier.formats.key_binding import build_key_binding

VCT = "https://door.mihon.example/vct/income-certificate/1"
STATUS_URI = f"{ISS}/status/1"
STATUS_INDEX = 1234
STATUS_SIZE = 1 << 12
AUDIENCE = "x509_hash:" + base64url_encode(bytes(range(32)))
NONCE = "n-0S6_WzA2Mj-of-one-request"
SECONDS = int(NOW.timestamp())


@dataclass(frozen=True)
class Document:
    """A credential and the phone's key it is bound to."""

    credential: str
    holder: ec.EllipticCurvePrivateKey

    def present(
        self,
        *paths: tuple[str, ...],
        nonce: str = NONCE,
        audience: str = AUDIENCE,
        issued: int = SECONDS,
        holder: ec.EllipticCurvePrivateKey | None = None,
    ) -> str:
        """Only `paths` are disclosed (none: everything), bound by the phone to one request."""
        chosen = parse_credential(self.credential.encode("ascii"))
        shown = (select_disclosures(chosen, paths) if paths else chosen).serialise()
        sign = es256_signer(holder or self.holder)
        binding = build_key_binding(shown, audience=audience, nonce=nonce, issued=issued, sign=sign)
        return (shown + binding).decode("ascii")


def sign(key_id: str, digest: bytes) -> bytes:
    """By a key of the signer's folder."""
    path = world().pki.directory / "signer" / f"{key_id}.key.pem"
    return SoftwareKey(read_private_key(path)).sign_digest(digest)


def make_data(*, issued: datetime = NOW, days: int = 92) -> dict[str, Any]:
    """certificate.json of the sample, issued on that day and valid for so many days after it."""
    first = issued.astimezone(JAPAN).date()
    return dict(SAMPLE) | {
        "issued_on": first.isoformat(),
        "valid_until": (first + timedelta(days=days)).isoformat(),
    }


def make_document(
    data: Mapping[str, Any] | None = None,
    *,
    chain: Sequence[str] = ("credential-1", "issuing"),
    **changes: Any,
) -> Document:
    """A genuine credential; `changes`: fields of the frame."""
    holder = ec.generate_private_key(ec.SECP256R1())
    values = {
        "iss": ISS,
        "vct": VCT,
        "holder_jwk": format_jwk(holder.public_key()),
        "status_uri": STATUS_URI,
        "status_index": STATUS_INDEX,
        "page_digest": bytes(range(32)),
        "certificates": tuple(world().pki.der(name) for name in chain),
    } | changes
    prepared = prepare_credential(data or make_data(), CredentialFrame(**values))
    return Document(finish_credential(prepared, sign(chain[0], prepared.digest)), holder)


@functools.cache
def document() -> Document:
    """One for a test process."""
    return make_document()


def make_status(invalid: Iterable[int] = (), *, issued: datetime = NOW, uri: str = STATUS_URI) -> str:
    """A status list token of the city in which these entries are invalid."""
    prepared = prepare_status_list(
        build_bits(STATUS_SIZE, invalid),
        uri=uri,
        issued=issued,
        lifetime=timedelta(days=7),
        ttl=timedelta(hours=12),
        certificates=(world().pki.der("status-list-1"), world().pki.der("issuing")),
    )
    return finish_status_list(prepared, sign("status-list-1", prepared.digest))


def anchor_pems() -> list[str]:
    """The city's root, as a stranger would pin it."""
    return [world().certificate("root").public_bytes(Encoding.PEM).decode("ascii")]


def with_one_byte_changed(text: str, place: int) -> str:
    """The same text with another base64url character at `place`."""
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]

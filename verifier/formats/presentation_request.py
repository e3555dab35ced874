"""The question of an employer's desk to a wallet of others: a signed request object, and the address that leads to it.

Sources: OpenID4VP 1.0 sections 5 (request), 5.9.3 (`x509_hash`), 5.10 (`request_uri`), 8.3 (encrypted answers); RFC 9101
(JAR); HAIP 1.0 (signed request, `x509_hash`, `direct_post.jwt`, both encryptions, a fresh key for each request).
A compact JWS (ES256, typ oauth-authz-req+jwt, header x5c with the leaf alone) over

    {"response_type":"vp_token","response_mode":"direct_post.jwt","client_id":"x509_hash:…","response_uri":…,"nonce":…,
     "state":…,"dcql_query":{…},"client_metadata":{…},"aud":"https://self-issued.me/v2","iat":…,"exp":…,
     "verifier_info":[the city's recipient statement]?,"akashi_return_uri":"https://…"?}

The certificate only says that request, answer and desk belong together: everybody can make one. Who asks is said by the
city's recipient statement in `verifier_info`, which names the key of this certificate (docs/decisions/0021).
Only what this module builds is parsed; wallets read it with their own code. It knows no clock, no network and no trust.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.compact_jwe import ALGORITHM, ENCRYPTIONS
from verifier.formats.credential import peek_x5c
from verifier.formats.dcql import DcqlQuery, format_dcql, read_dcql
from verifier.formats.encoding import (
    JSON,
    base64_encode,
    base64url_decode,
    base64url_encode,
    canonical_json,
    sha256,
)
from verifier.formats.jose import ALGORITHM as SIGNATURE_ALGORITHM
from verifier.formats.jose import (
    Jws,
    SignDigest,
    build_jws,
    format_jwk,
    parse_jwk,
    parse_jws,
    same_thumbprint,
    thumbprint,
)
from verifier.formats.names import AUTHORIZATION_REQUEST_TYP, CREDENTIAL_TYP, RECIPIENT_STATEMENT_TYP
from verifier.formats.recipient import RecipientStatement, check_upload, parse_recipient_statement
from verifier.formats.x509_path import PathError, p256_key, parse_certificate

MAX_REQUEST_OBJECT_BYTES: Final = 64 << 10
MAX_NAME_LENGTH: Final = 200
MAX_RETURN_URI_LENGTH: Final = 512
ID_SIZE: Final = 16
RANDOM_SIZE: Final = 32
"""Bytes of nonce and state: 256 bits each."""
PREFIX: Final = "x509_hash:"
AUDIENCE: Final = "https://self-issued.me/v2"
SCHEME: Final = "openid4vp://"
MAX_LINK_LENGTH: Final = 400
"""Of both addresses: with 64 characters of host a QR code of version 13, which a phone still reads from a screen."""

_REQUIRED: Final = frozenset(
    {
        *("response_type", "response_mode", "client_id", "response_uri", "nonce", "state"),
        *("dcql_query", "client_metadata", "aud", "iat", "exp"),
    }
)
_OPTIONAL: Final = frozenset({"verifier_info", "akashi_return_uri"})
_FIXED: Final = {"response_type": "vp_token", "response_mode": "direct_post.jwt", "aud": AUDIENCE}
_RESPONSE_URI: Final = re.compile(r"(https://[0-9A-Za-z.:-]{1,64})/vp/([A-Za-z0-9_-]{22})/response")
_REQUEST_URI: Final = re.compile(r"(https://[0-9A-Za-z.:-]{1,64})/vp/([A-Za-z0-9_-]{22})")
_CLIENT_ID: Final = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class PresentationRequest:
    """What a desk asks of a wallet.

    certificate      DER of the leaf whose key signs; it makes the client_id
    public_url, id   the street door ("https://host") and the request's place there: 16 random bytes, base64url
    nonce, state     32 random bytes each, base64url
    query            what is asked for
    encryption_key   a key made for this request alone
    issued, expires  Unix seconds
    name?            as the desk calls itself: for display, nobody vouches for it
    statement?       the city's recipient statement (JWS text)
    return_uri?      where the wallet sends the person back to, when request and wallet are on one device (https)
    """

    certificate: bytes
    public_url: str
    id: str
    nonce: str
    state: str
    query: DcqlQuery
    encryption_key: ec.EllipticCurvePublicKey
    issued: int
    expires: int
    name: str | None = None
    statement: str | None = None
    return_uri: str | None = None

    @property
    def client_id(self) -> str:
        """`x509_hash:` and the base64url SHA-256 of the certificate: also the `aud` of key bindings, prefix and all."""
        return certificate_client_id(self.certificate)

    @property
    def signing_key(self) -> ec.EllipticCurvePublicKey:
        """The key of the certificate."""
        return p256_key(parse_certificate(self.certificate))

    @property
    def kid(self) -> str:
        """How the encryption key is named in the request and in the answer: its thumbprint."""
        return thumbprint(self.encryption_key)

    @property
    def request_uri(self) -> str:
        """Where a wallet fetches the request object."""
        return f"{self.public_url}/vp/{self.id}"

    @property
    def response_uri(self) -> str:
        """Where a wallet posts its answer."""
        return f"{self.request_uri}/response"

    @property
    def wallet_address(self) -> str:
        """`openid4vp://?client_id=…&request_uri=…`: the text of the QR code. Raises: FormatError("bad-request-link")."""
        return _link(SCHEME, self.client_id, self.request_uri)

    @property
    def link(self) -> str:
        """The same as an https address, for browsers that open no foreign schemes. Raises: FormatError."""
        return _link(f"{self.public_url}/vp", self.client_id, self.request_uri)


def certificate_client_id(certificate: bytes) -> str:
    """The client identifier of a certificate (DER), with its prefix (section 5.9.3)."""
    return PREFIX + base64url_encode(sha256(certificate))


def build_presentation_request(request: PresentationRequest, sign: SignDigest) -> bytes:
    """The signed request object; `sign` belongs to the certificate's key. Raises: LimitError, FormatError."""
    metadata: dict[str, JSON] = {
        "jwks": {"keys": [_encryption_jwk(request.encryption_key)]},
        "encrypted_response_enc_values_supported": list(ENCRYPTIONS),
        "vp_formats_supported": _formats(),
    }
    if request.name is not None:
        metadata["client_name"] = request.name
    payload: dict[str, JSON] = {
        **_FIXED,
        "client_id": request.client_id,
        "response_uri": request.response_uri,
        "nonce": request.nonce,
        "state": request.state,
        "dcql_query": format_dcql(request.query),
        "client_metadata": metadata,
        "iat": request.issued,
        "exp": request.expires,
    }
    if request.statement is not None:
        payload["verifier_info"] = [{"format": RECIPIENT_STATEMENT_TYP, "data": request.statement}]
    if request.return_uri is not None:
        payload["akashi_return_uri"] = request.return_uri
    header = {"typ": AUTHORIZATION_REQUEST_TYP, "x5c": [base64_encode(request.certificate)]}
    data = build_jws(header, canonical_json(payload), sign)
    parse_presentation_request(data)
    return data


def parse_presentation_request(data: bytes) -> PresentationRequest:
    """The request, signed by the key of its certificate. Who that is, and whether it is in force, is not said.

    Raises: LimitError, FormatError.
    """
    jws = parse_jws(data, typ=AUTHORIZATION_REQUEST_TYP, max_bytes=MAX_REQUEST_OBJECT_BYTES)
    if set(jws.header) != {"alg", "typ", "x5c"}:
        raise _bad("a header has exactly alg, typ and x5c")
    certificate = _verified_certificate(jws)
    payload = jws.payload_object()
    if not _REQUIRED <= set(payload) <= _REQUIRED | _OPTIONAL:
        raise _bad("wrong members")
    for name, value in _FIXED.items():
        if payload[name] != value:
            raise _bad(f"{name} is {value}")
    expected = certificate_client_id(certificate)
    if not isinstance(payload["client_id"], str) or not hmac.compare_digest(
        payload["client_id"].encode("utf-8", "surrogatepass"), expected.encode()
    ):
        raise FormatError("other-client", "client_id is not the hash of the certificate")
    match = _RESPONSE_URI.fullmatch(_text(payload, "response_uri", MAX_LINK_LENGTH))
    if match is None:
        raise _bad("response_uri is https://<host>/vp/<id>/response")
    issued, expires = _instant(payload, "iat"), _instant(payload, "exp")
    if expires <= issued:
        raise _bad("exp lies before iat")
    key, client_name = _metadata(payload["client_metadata"])
    request = PresentationRequest(
        certificate=certificate,
        public_url=check_upload(match[1]),
        id=check_id(match[2]),
        nonce=_random(payload, "nonce"),
        state=_random(payload, "state"),
        query=read_dcql(payload["dcql_query"]),
        encryption_key=key,
        issued=issued,
        expires=expires,
        name=client_name,
        statement=_statement_text(payload["verifier_info"]) if "verifier_info" in payload else None,
        return_uri=check_return_uri(payload["akashi_return_uri"]) if "akashi_return_uri" in payload else None,
    )
    if request.statement is not None:
        check_statement(request.statement, request.signing_key, request.public_url)
    return request


def check_statement(text: str, key: ec.EllipticCurvePublicKey, public_url: str) -> RecipientStatement:
    """The recipient statement, if it names this signing key and this street door. Whether a city signed it is not said.

    Raises: LimitError, FormatError.
    """
    statement, _jws = parse_recipient_statement(text.encode("utf-8", "surrogatepass"))
    if not same_thumbprint(statement.signing_key, thumbprint(key)):
        raise FormatError("other-statement", "the recipient statement names another signing key")
    if statement.upload != public_url:
        raise FormatError("other-statement", "the recipient statement names another street door")
    return statement


def check_id(value: JSON) -> str:
    """`value`, if it is 16 bytes in base64url. Raises: FormatError("bad-id")."""
    if not isinstance(value, str) or len(base64url_decode(value)) != ID_SIZE:
        raise FormatError("bad-id", "an id is 16 bytes in base64url")
    return value


def check_return_uri(value: JSON) -> str:
    """`value`, if it is a plain https address to which `response_code` can be added. Raises: FormatError."""
    text = value if isinstance(value, str) else ""
    fault = FormatError(
        "bad-return-uri", f"a plain https address of at most {MAX_RETURN_URI_LENGTH} characters"
    )
    if len(text) > MAX_RETURN_URI_LENGTH or not all("!" <= char <= "~" for char in text):
        raise fault
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError as error:
        raise fault from error
    if (
        parts.scheme != "https"
        or not host
        or "@" in parts.netloc
        or any(char in text for char in '"<>\\^`{|}#')
    ):
        raise fault
    if any(name == "response_code" for name, _value in parse_qsl(parts.query, keep_blank_values=True)):
        raise FormatError("bad-return-uri", "response_code is the street door's to add")
    return text


def parse_link(text: str) -> tuple[str, str]:
    """(client_id, request_uri) of either address. Raises: FormatError("bad-request-link")."""
    start, separator, query = text.partition("?")
    known = start == SCHEME or (start.startswith("https://") and start.endswith("/vp"))
    if not known or not separator or len(text) > MAX_LINK_LENGTH:
        raise FormatError("bad-request-link", "not the address of a request to a wallet")
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    if len(pairs) != 2 or set(values) != {"client_id", "request_uri"}:
        raise FormatError("bad-request-link", "client_id and request_uri, once each")
    match = _REQUEST_URI.fullmatch(values["request_uri"])
    if match is None or not _CLIENT_ID.fullmatch(values["client_id"]):
        raise FormatError("bad-request-link", "not the address of a request to a wallet")
    return values["client_id"], values["request_uri"]


def _verified_certificate(jws: Jws) -> bytes:
    chain = peek_x5c(jws)
    if len(chain) != 1:
        raise FormatError("bad-x5c", "x5c holds the certificate of the request's key alone, never its root")
    certificate = parse_certificate(chain[0])
    try:
        key = p256_key(certificate)
    except PathError as error:
        raise FormatError("bad-x5c", error.detail) from error
    if certificate.issuer == certificate.subject or _signed_by(certificate, key):
        raise FormatError("self-signed", "the certificate of a request is not self-signed")
    jws.verify(key)
    return chain[0]


def _signed_by(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> bool:
    # Whatever its issuer is called: a root under another name stays one.
    try:
        algorithm = certificate.signature_hash_algorithm
        if algorithm is None:
            return False
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _link(start: str, client_id: str, request_uri: str) -> str:
    text = f"{start}?client_id={quote(client_id, safe='')}&request_uri={quote(request_uri, safe='')}"
    parse_link(text)
    return text


def _encryption_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, JSON]:
    return {**format_jwk(key), "kid": thumbprint(key), "use": "enc", "alg": ALGORITHM}


def _formats() -> dict[str, JSON]:
    algorithms = [SIGNATURE_ALGORITHM]
    return {CREDENTIAL_TYP: {"sd-jwt_alg_values": algorithms, "kb-jwt_alg_values": algorithms}}


def _metadata(value: JSON) -> tuple[ec.EllipticCurvePublicKey, str | None]:
    required = {"jwks", "encrypted_response_enc_values_supported", "vp_formats_supported"}
    if not isinstance(value, dict) or not required <= set(value) <= required | {"client_name"}:
        raise _bad("client_metadata has wrong members")
    if value["encrypted_response_enc_values_supported"] != list(ENCRYPTIONS):
        raise _bad("both A128GCM and A256GCM are taken")
    if value["vp_formats_supported"] != _formats():
        raise _bad(f"only {CREDENTIAL_TYP} with {SIGNATURE_ALGORITHM} is taken")
    keys = (
        value["jwks"].get("keys")
        if isinstance(value["jwks"], dict) and set(value["jwks"]) == {"keys"}
        else None
    )
    if not isinstance(keys, list) or len(keys) != 1 or not isinstance(keys[0], dict):
        raise _bad("jwks holds one key")
    key = parse_jwk({name: item for name, item in keys[0].items() if name not in ("kid", "use", "alg")})
    if keys[0] != _encryption_jwk(key):
        raise _bad("the encryption key has kid (its thumbprint), use enc and alg ECDH-ES")
    return key, _text(value, "client_name", MAX_NAME_LENGTH) if "client_name" in value else None


def _statement_text(value: JSON) -> str:
    entry = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(entry, dict) or set(entry) != {"format", "data"}:
        raise _bad("verifier_info holds one recipient statement")
    if entry["format"] != RECIPIENT_STATEMENT_TYP:
        raise _bad("verifier_info holds one recipient statement")
    return _text(entry, "data", 8 << 10)


def _random(payload: dict[str, JSON], name: str) -> str:
    text = _text(payload, name, 64)
    if len(base64url_decode(text)) != RANDOM_SIZE:
        raise _bad(f"{name} is {RANDOM_SIZE} bytes in base64url")
    return text


def _instant(payload: dict[str, JSON], name: str) -> int:
    value = payload[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise _bad(f"{name} is not a time")
    return value


def _text(value: dict[str, JSON], name: str, limit: int) -> str:
    text = value.get(name)
    if not isinstance(text, str) or any(char < " " for char in text):
        raise _bad(f"{name} is text")
    if not 1 <= len(text) <= limit:
        raise LimitError("bad-presentation-request", f"{name} has 1 to {limit} characters")
    return text


def _bad(detail: str) -> FormatError:
    return FormatError("bad-presentation-request", detail)

"""Key proofs of wallets: who asks for a credential shows that it holds the key the credential will name.

Sources: OpenID4VCI 1.0 appendix F.1 (proof type `jwt`), appendix D.1 (key attestation), HAIP 1.0 section 4.5.1.
The street door checks proofs as a filter, the city checks them always; both with this module, so that what one refuses
the other does not take. Keys come in the header `jwk` only. An attestation vouches for a key, it does not replace the
proof: an attested key without a proof of its own gets nothing. Whether the challenge in `nonce` is ours, fresh and
unused is the caller's question (`wallet_nonce`, and a store). Pure: keys, trust and time are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.exchanges import MAX_PROOF, MAX_PROOFS
from verifier.errors import FormatError, LimitError
from verifier.formats.credential import peek_x5c
from verifier.formats.encoding import JSON
from verifier.formats.jose import Jws, parse_jwk, parse_jws, thumbprint
from verifier.formats.names import KEY_ATTESTATION_TYPS, KEY_PROOF_TYP
from verifier.formats.x509_path import PathError, Usage, p256_key, parse_certificate, verify_path

IAT_WINDOW: Final = 300
MAX_NONCE: Final = 256
MAX_ATTESTED_KEYS: Final = 50
MAX_ATTESTATION_LIFE: Final = 400 * 86400
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})

_JWK_MEMBERS: Final = ("crv", "kty", "x", "y")
_OTHER_KEYS: Final = ("kid", "x5c", "trust_chain", "x5t", "x5t#S256")
_LEVELS: Final = ("key_storage", "user_authentication")


@dataclass(frozen=True, slots=True)
class KeyAttestation:
    """What a wallet provider vouches for. Levels as it says them, e.g. ("iso_18045_high",); empty: not said."""

    keys: tuple[ec.EllipticCurvePublicKey, ...]
    key_storage: tuple[str, ...]
    user_authentication: tuple[str, ...]
    nonce: str | None


@dataclass(frozen=True, slots=True)
class KeyProofs:
    """The proofs of one request, all of them good.

    keys          one a proof, in their order, all different: each gets one credential
    nonce         the one challenge that all of them carry; not yet looked at
    issuer        the client id that the proofs name in `iss`; None: they name none
    attestations  one a proof, None where a proof has none
    """

    keys: tuple[ec.EllipticCurvePublicKey, ...]
    nonce: str
    issuer: str | None
    attestations: tuple[KeyAttestation | None, ...]


def verify_key_proofs(
    proofs: Sequence[str],
    *,
    audience: str,
    now: datetime,
    anonymous: bool,
    attesters: Sequence[x509.Certificate] = (),
    attestation_required: bool = False,
) -> KeyProofs:
    """Check the `jwt` proofs of one credential request.

    audience              the credential issuer identifier, exactly
    anonymous             pre-authorized code without a client: `iss` must be absent (appendix F.1)
    attesters             certificates of the authorities of trusted wallet providers
    attestation_required  each proof must carry a key attestation by one of them (profile p2)

    Raises: FormatError, LimitError: every one of them is the protocol's `invalid_proof`.
    """
    if not 1 <= len(proofs) <= MAX_PROOFS:
        raise LimitError("too-many-proofs", f"1 to {MAX_PROOFS} key proofs")
    if len(set(proofs)) != len(proofs):
        raise FormatError("proof-twice", "each proof is for another key")
    known: dict[str, KeyAttestation] = {}
    checked = [_verify(proof, audience, now, attesters, known) for proof in proofs]
    keys, nonces, issuers, attestations = zip(*checked, strict=True)
    if len({thumbprint(key) for key in keys}) != len(keys):
        raise FormatError("key-twice", "each proof is for another key")
    if len(set(nonces)) != 1:
        raise FormatError("different-nonces", "the proofs of one request carry the same nonce")
    if len(set(issuers)) != 1 or (anonymous and issuers[0] is not None):
        raise FormatError("proof-issuer", "iss is absent, or the client's id in every proof")
    if attestation_required and None in attestations:
        raise FormatError("no-key-attestation", "header key_attestation is needed")
    return KeyProofs(keys, nonces[0], issuers[0], attestations)


def verify_key_attestation(
    text: str, *, now: datetime, attesters: Sequence[x509.Certificate]
) -> KeyAttestation:
    """Check one key attestation: signature, path to one of `attesters`, time. Raises: FormatError, LimitError."""
    jws = parse_jws(text, max_bytes=MAX_PROOF)
    if jws.header.get("typ") not in KEY_ATTESTATION_TYPS:
        raise FormatError("bad-typ", "not a key attestation")
    jws.verify(attester_key(jws, attesters, now))
    claims = jws.payload_object()
    seconds = int(now.timestamp())
    issued, expires = _integer(claims, "iat"), _integer(claims, "exp")
    if not issued - IAT_WINDOW <= seconds < expires or expires - issued > MAX_ATTESTATION_LIFE:
        raise FormatError("attestation-expired", "the key attestation is not of now")
    keys = claims.get("attested_keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_ATTESTED_KEYS:
        raise FormatError("bad-attestation", f"attested_keys holds 1 to {MAX_ATTESTED_KEYS} keys")
    storage, authentication = (_levels(claims.get(name)) for name in _LEVELS)
    nonce = claims.get("nonce")
    if nonce is not None and (not isinstance(nonce, str) or len(nonce) > MAX_NONCE):
        raise FormatError("bad-attestation", "nonce is a short text")
    return KeyAttestation(tuple(read_public_jwk(key) for key in keys), storage, authentication, nonce)


def attester_key(jws: Jws, attesters: Sequence[x509.Certificate], now: datetime) -> ec.EllipticCurvePublicKey:
    """The key of an attestation's signer: header `x5c` with a path to one of `attesters`, which x5c leaves out.

    The trust anchor does not travel and the signer's certificate is not self-signed (HAIP 1.0 section 4.5.1).
    Raises: FormatError, LimitError.
    """
    chain = [parse_certificate(der) for der in peek_x5c(jws)]
    if any(certificate in attesters for certificate in chain):
        raise FormatError("anchor-in-x5c", "the trust anchor does not belong into x5c")
    try:
        verify_path(chain[0], intermediates=chain[1:], anchors=attesters, at=now, usage=Usage.ATTESTATION)
        return p256_key(chain[0])
    except PathError as error:
        raise FormatError("untrusted-attester", error.code) from error


def read_public_jwk(value: JSON) -> ec.EllipticCurvePublicKey:
    """A P-256 public key of somebody else: members we do not know are ignored, private ones refused.

    Raises: FormatError("bad-jwk" | "private-key").
    """
    if not isinstance(value, dict):
        raise FormatError("bad-jwk", "a key is a JSON object")
    if PRIVATE_MEMBERS & set(value):
        # Its key is burnt: whoever saw this text can use it.
        raise FormatError("private-key", "a private key was sent")
    return parse_jwk({name: value[name] for name in _JWK_MEMBERS if name in value})


def _verify(
    text: str,
    audience: str,
    now: datetime,
    attesters: Sequence[x509.Certificate],
    known: dict[str, KeyAttestation],
) -> tuple[ec.EllipticCurvePublicKey, str, str | None, KeyAttestation | None]:
    jws = parse_jws(text, typ=KEY_PROOF_TYP, max_bytes=MAX_PROOF)
    if present := [name for name in _OTHER_KEYS if name in jws.header]:
        raise FormatError("bad-proof-header", f"the key is in jwk, not in {present[0]}")
    key = read_public_jwk(jws.header.get("jwk"))
    jws.verify(key)
    claims = jws.payload_object()
    if claims.get("aud") != audience:
        raise FormatError("proof-audience", "aud is the credential issuer identifier")
    if abs(int(now.timestamp()) - _integer(claims, "iat")) > IAT_WINDOW:
        raise FormatError("proof-expired", f"iat is more than {IAT_WINDOW} s away")
    nonce, issuer = claims.get("nonce"), claims.get("iss")
    if not isinstance(nonce, str) or not 1 <= len(nonce) <= MAX_NONCE:
        raise FormatError("no-nonce", "a proof carries the nonce of the nonce endpoint")
    if issuer is not None and (not isinstance(issuer, str) or not 1 <= len(issuer) <= MAX_NONCE):
        raise FormatError("proof-issuer", "iss is the client's id")
    attestation = _attestation(jws, key, nonce, now, attesters, known)
    return key, nonce, issuer, attestation


def _attestation(
    jws: Jws,
    key: ec.EllipticCurvePublicKey,
    nonce: str,
    now: datetime,
    attesters: Sequence[x509.Certificate],
    known: dict[str, KeyAttestation],
) -> KeyAttestation | None:
    if "key_attestation" not in jws.header:
        return None
    text = jws.header["key_attestation"]
    if not isinstance(text, str):
        raise FormatError("bad-attestation", "key_attestation is a JWT")
    if not attesters:
        # Nobody is trusted here, nor is anything asked for: an attestation says nothing, good or bad.
        return None
    if text not in known:
        known[text] = verify_key_attestation(text, now=now, attesters=attesters)
    found = known[text]
    if thumbprint(key) not in {thumbprint(attested) for attested in found.keys}:
        raise FormatError("key-not-attested", "the attestation is for other keys")
    if found.nonce is not None and found.nonce != nonce:
        raise FormatError("attestation-nonce", "the attestation was made for another nonce")
    return found


def _integer(claims: dict[str, JSON], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or value < 0:
        raise FormatError("bad-claim", f"{name} is a number of seconds")
    return value


def _levels(value: JSON) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > 10 or not all(isinstance(item, str) for item in value):
        raise FormatError("bad-attestation", "levels are a short list of texts")
    return tuple(item[:100] for item in value)

"""Key proofs: a table of what is refused, each beside a proof that is taken."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey

from mobile_api.key_proof import (
    IAT_WINDOW,
    read_public_jwk,
    verify_key_attestation,
    verify_key_proofs,
)
from tests.support.wallet_provider import make_wallet_provider, new_key, sign
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import format_jwk, thumbprint
from verifier.formats.names import KEY_PROOF_TYP

NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
AUDIENCE = "https://door.mihon.example/992011"
NONCE = "n" * 80
KEY = new_key()
PROVIDER = make_wallet_provider(NOW)
OTHER_PROVIDER = make_wallet_provider(NOW)


def proof(key: Any = KEY, header: dict | None = None, signer: Any = None, **claims: Any) -> str:
    head = {"typ": KEY_PROOF_TYP, "jwk": format_jwk(key.public_key()), **(header or {})}
    body = {"aud": AUDIENCE, "iat": int(NOW.timestamp()), "nonce": NONCE, **claims}
    return sign(
        {name: value for name, value in head.items() if value is not None},
        {name: value for name, value in body.items() if value is not None},
        signer or key,
    )


def verify(*proofs: str, **options: Any) -> Any:
    return verify_key_proofs(proofs, **{"audience": AUDIENCE, "now": NOW, "anonymous": True, **options})


def test_good_proofs_give_their_keys_in_order() -> None:
    keys = [new_key() for _ in range(10)]
    found = verify(*(proof(key) for key in keys))
    assert [thumbprint(key) for key in found.keys] == [thumbprint(key.public_key()) for key in keys]
    assert (found.nonce, found.issuer, set(found.attestations)) == (NONCE, None, {None})


def test_proofs_made_by_other_libraries_are_taken() -> None:
    jwk = format_jwk(KEY.public_key())
    claims = {"aud": AUDIENCE, "iat": int(NOW.timestamp()), "nonce": NONCE}
    # Members that we do not know, in the header and in the key, are none of our business.
    head = {"typ": KEY_PROOF_TYP, "jwk": {**jwk, "use": "sig", "alg": "ES256", "kid": "1"}, "unknown": 1}
    by_pyjwt = jwt.encode(claims, KEY, algorithm="ES256", headers=head)
    assert verify(by_pyjwt).nonce == NONCE
    by_joserfc = joserfc_jws.serialize_compact(
        {"alg": "ES256", "typ": KEY_PROOF_TYP, "jwk": jwk}, json.dumps(claims), ECKey.import_key(KEY)
    )
    assert verify(by_joserfc).nonce == NONCE


def _unsigned(alg: str) -> str:
    head = {"alg": alg, "typ": KEY_PROOF_TYP, "jwk": format_jwk(KEY.public_key())}
    body = {"aud": AUDIENCE, "iat": int(NOW.timestamp()), "nonce": NONCE}
    return ".".join([*(base64url_encode(canonical_json(part)) for part in (head, body)), ""])


def _by_mac() -> str:
    # The public key as the secret of a MAC: the classic confusion of algorithms.
    jwk = format_jwk(KEY.public_key())
    head = {"alg": "HS256", "typ": KEY_PROOF_TYP, "jwk": jwk}
    body = {"aud": AUDIENCE, "iat": int(NOW.timestamp()), "nonce": NONCE}
    signed = ".".join(base64url_encode(canonical_json(part)) for part in (head, body))
    mac = hmac.digest(canonical_json(jwk), signed.encode(), "sha256")
    return f"{signed}.{base64url_encode(mac)}"


PRIVATE = {**format_jwk(KEY.public_key()), "d": base64url_encode(b"d" * 32)}
SECONDS = int(NOW.timestamp())
BAD = {
    "none": lambda: _unsigned("none"),
    "None": lambda: _unsigned("None"),
    "no signature": lambda: _unsigned("ES256"),
    "mac": _by_mac,
    "another signer": lambda: proof(signer=new_key()),
    "wrong typ": lambda: proof(header={"typ": "JWT"}),
    "no typ": lambda: proof(header={"typ": None}),
    "no key": lambda: proof(header={"jwk": None}),
    "kid alone": lambda: proof(header={"jwk": None, "kid": "did:example:1#1"}),
    "jwk and kid": lambda: proof(header={"kid": "1"}),
    "jwk and x5c": lambda: proof(header={"x5c": PROVIDER.x5c()}),
    "jku": lambda: proof(header={"jku": "https://evil.example/keys"}),
    "x5u": lambda: proof(header={"x5u": "https://evil.example/chain"}),
    "crit": lambda: proof(header={"crit": ["exp"]}),
    "private key": lambda: proof(header={"jwk": PRIVATE}),
    "symmetric key": lambda: proof(header={"jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
    "key is text": lambda: proof(header={"jwk": "key"}),
    "other curve": lambda: proof(header={"jwk": {**format_jwk(KEY.public_key()), "crv": "P-384"}}),
    "point off the curve": lambda: proof(
        header={"jwk": {**format_jwk(KEY.public_key()), "y": format_jwk(KEY.public_key())["x"]}}
    ),
    "audience of p2": lambda: proof(aud=AUDIENCE + "/haip"),
    "audience list": lambda: proof(aud=[AUDIENCE]),
    "audience with slash": lambda: proof(aud=AUDIENCE + "/"),
    "no audience": lambda: proof(aud=None),
    "old": lambda: proof(iat=SECONDS - IAT_WINDOW - 1),
    "of the future": lambda: proof(iat=SECONDS + IAT_WINDOW + 1),
    "no time": lambda: proof(iat=None),
    "time is text": lambda: proof(iat=str(SECONDS)),
    "time is a truth": lambda: proof(iat=True),
    "no nonce": lambda: proof(nonce=None),
    "empty nonce": lambda: proof(nonce=""),
    "nonce is a number": lambda: proof(nonce=1),
    "long nonce": lambda: proof(nonce="n" * 257),
    "issuer of an anonymous wallet": lambda: proof(iss="https://wallet.example"),
    "oversized": lambda: proof(more="x" * 9000),
    "two parts": lambda: "a.b",
    "not ascii": lambda: proof() + "é",
    "a lone surrogate": lambda: "\ud800.a.b",
    "empty": lambda: "",
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_proofs_are_refused_with_our_error(case: str) -> None:
    assert verify(proof()).nonce == NONCE
    with pytest.raises(FormatError):
        verify(BAD[case]())


def test_times_at_the_edge_of_the_window_are_taken() -> None:
    for moment in (SECONDS - IAT_WINDOW, SECONDS + IAT_WINDOW):
        assert verify(proof(iat=moment)).nonce == NONCE


def test_a_request_is_one_set_of_different_keys_under_one_nonce() -> None:
    other = new_key()
    assert len(verify(proof(), proof(other)).keys) == 2
    with pytest.raises(FormatError, match="proof-twice"):
        verify(*[proof()] * 2)
    with pytest.raises(FormatError, match="key-twice"):
        verify(proof(), proof(iat=SECONDS - 1))
    with pytest.raises(FormatError, match="different-nonces"):
        verify(proof(), proof(other, nonce="m" * 80))
    with pytest.raises(FormatError, match="too-many-proofs"):
        verify()
    with pytest.raises(FormatError, match="too-many-proofs"):
        verify(*[proof()] * 21)


def test_a_known_client_is_named_by_all_proofs_or_by_none() -> None:
    known = {"anonymous": False}
    other = new_key()
    assert verify(proof(), **known).issuer is None
    assert verify(proof(iss="w"), proof(other, iss="w"), **known).issuer == "w"
    with pytest.raises(FormatError, match="proof-issuer"):
        verify(proof(iss="w"), proof(other), **known)
    with pytest.raises(FormatError, match="proof-issuer"):
        verify(proof(iss=""), **known)


# --- key attestations ---------------------------------------------------------------------------------------

TRUSTED = {"attesters": [PROVIDER.anchor], "attestation_required": True}


def attested(key: Any = KEY, text: Any = None, **claims: Any) -> str:
    attestation = text or PROVIDER.key_attestation([key], NOW, **claims)
    return proof(key, {"key_attestation": attestation})


def test_an_attested_key_is_taken_and_one_of_many() -> None:
    found = verify(attested(), **TRUSTED)
    assert found.attestations[0].key_storage == ("iso_18045_moderate",)
    keys = [new_key() for _ in range(5)]
    text = PROVIDER.key_attestation(keys, NOW, nonce=NONCE)
    found = verify(*(attested(key, text) for key in keys), **TRUSTED)
    assert len(found.keys) == 5
    # A key that is attested and not proven gets nothing.
    assert len(verify(attested(keys[0], text), **TRUSTED).keys) == 1
    legacy = PROVIDER.key_attestation([KEY], NOW, header={"typ": "keyattestation+jwt"})
    assert verify(attested(text=legacy), **TRUSTED).attestations[0]


def test_without_trusted_providers_an_attestation_says_nothing() -> None:
    assert verify(attested()).attestations == (None,)
    with pytest.raises(FormatError, match="no-key-attestation"):
        verify(attested(), attestation_required=True)


BAD_ATTESTATIONS = {
    "none at all": lambda: proof(),
    "not text": lambda: proof(header={"key_attestation": 1}),
    "another provider": lambda: attested(text=OTHER_PROVIDER.key_attestation([KEY], NOW)),
    "another key": lambda: attested(text=PROVIDER.key_attestation([new_key()], NOW)),
    "another nonce": lambda: attested(nonce="m" * 80),
    "expired": lambda: attested(exp=SECONDS),
    "no end": lambda: attested(exp=None),
    "of the future": lambda: attested(iat=SECONDS + 3600),
    "for ever": lambda: attested(exp=SECONDS + 10**9),
    "no keys": lambda: attested(attested_keys=[]),
    "keys are text": lambda: attested(attested_keys="x"),
    "private keys": lambda: attested(attested_keys=[PRIVATE]),
    "wrong typ": lambda: attested(text=PROVIDER.key_attestation([KEY], NOW, header={"typ": KEY_PROOF_TYP})),
    "no x5c": lambda: attested(text=PROVIDER.key_attestation([KEY], NOW, header={"x5c": []})),
    "x5c of somebody else": lambda: attested(
        text=OTHER_PROVIDER.key_attestation([KEY], NOW, header={"x5c": PROVIDER.x5c()})
    ),
    "levels are no list": lambda: attested(key_storage="high"),
    "itself": lambda: attested(text=proof()),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ATTESTATIONS)
def test_bad_attestations_are_refused(case: str) -> None:
    assert verify(attested(), **TRUSTED).attestations
    with pytest.raises(FormatError):
        verify(BAD_ATTESTATIONS[case](), **TRUSTED)


def test_the_anchor_does_not_travel_and_signs_nothing_itself() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    from verifier.formats.encoding import base64_encode

    anchor = base64_encode(PROVIDER.anchor.public_bytes(Encoding.DER))
    text = PROVIDER.key_attestation([KEY], NOW, header={"x5c": [*PROVIDER.x5c(), anchor]})
    with pytest.raises(FormatError, match="anchor-in-x5c"):
        verify_key_attestation(text, now=NOW, attesters=[PROVIDER.anchor])


def test_an_expired_signer_is_refused() -> None:
    later = NOW + timedelta(days=200)
    text = PROVIDER.key_attestation([KEY], later)
    with pytest.raises(FormatError, match="untrusted-attester"):
        verify_key_attestation(text, now=later, attesters=[PROVIDER.anchor])


def test_a_key_of_somebody_else_may_say_more_but_never_its_secret() -> None:
    jwk = format_jwk(KEY.public_key())
    assert thumbprint(read_public_jwk({**jwk, "use": "enc", "kid": "x"})) == thumbprint(KEY.public_key())
    for name in ("d", "p", "k", "oth"):
        with pytest.raises(FormatError, match="private-key"):
            read_public_jwk({**jwk, name: "x"})

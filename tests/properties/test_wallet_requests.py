"""What a wallet puts into a credential request, at the door, in the city too: refused in the protocol's words."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wallets.answers import DeniedError
from app.wallets.credential_request import _proofs, _response
from mobile_api.wallets.oauth_errors import OAuthError
from mobile_api.wallets.response_key import PARAMETER, read_response_key
from verifier.formats.jose import format_jwk

JWK = format_jwk(ec.derive_private_key(7, ec.SECP256R1()).public_key())
GOOD = {"alg": "ECDH-ES", "enc": "A128GCM", "jwk": JWK}
LEAVES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8) | st.just("ECDH-ES") | st.just(JWK)
)
VALUES = (
    LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.sampled_from(["jwt", "alg", "kid"]), LEAVES)
)
CHANGES = st.dictionaries(st.sampled_from(["alg", "enc", "jwk", "zip"]), VALUES)
OF_KEY = st.dictionaries(st.sampled_from(["alg", "use", "kid", "kty", "crv", "x", "y", "d"]), VALUES)


@settings(max_examples=300, deadline=None)
@given(changes=CHANGES, of_key=OF_KEY)
def test_any_response_encryption(changes: dict[str, Any], of_key: dict[str, Any]) -> None:
    value = {PARAMETER: {**GOOD, "jwk": {**JWK, **of_key}, **changes}}
    for read, error in (
        (_response, DeniedError),
        (lambda said: read_response_key(said, needed=True), OAuthError),
    ):
        try:
            found = read(value)
        except error:
            continue
        assert found is not None
        assert found.enc == "A128GCM" or found.enc == "A256GCM"


@pytest.mark.parametrize("member", ["alg", "enc"])
@pytest.mark.parametrize("wrong", [[], {}, ["A128GCM"], None, 1])
def test_a_list_for_a_word(member: str, wrong: Any) -> None:
    for value in ({**GOOD, member: wrong}, {**GOOD, "jwk": {**JWK, "alg": wrong}}):
        with pytest.raises(DeniedError):
            _response({PARAMETER: value})
        with pytest.raises(OAuthError):
            read_response_key({PARAMETER: value}, needed=True)
    assert _response({PARAMETER: GOOD}) is not None
    assert read_response_key({PARAMETER: GOOD}, needed=True) is not None


@settings(max_examples=200, deadline=None)
@given(value=st.dictionaries(st.sampled_from(["proofs", "proof"]), VALUES))
def test_any_proofs(value: dict[str, Any]) -> None:
    try:
        found = _proofs(value)
    except DeniedError:
        return
    assert all(isinstance(proof, str) for proof in found)

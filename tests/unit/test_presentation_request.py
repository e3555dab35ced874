"""The signed request to wallets of others: one form, every member of which is needed, and nobody else's signature."""

import dataclasses
import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import OctKey

from tests.support.presentation_desk import SECONDS, Desk
from tests.support.verifier_bundles import NOW, PUBLIC_URL, new_key
from tests.support.wallet_of_others import read_request, sign, unb64
from verifier.desk_certificate import make_certificate
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64_encode, base64url_encode
from verifier.formats.jose import es256_signer, format_jwk, thumbprint
from verifier.formats.presentation_request import (
    MAX_LINK_LENGTH,
    check_return_uri,
    parse_link,
    parse_presentation_request,
)
from verifier.formats.recipient import RecipientStatement, build_recipient_statement
from verifier.presets import PRESETS, load_preset
from verifier.qr_image import qr_matrix

DESK = Desk()
PARTS = DESK.request.decode().split(".")
HEADER, PAYLOAD = (json.loads(unb64(part)) for part in PARTS[:2])


def resigned(*, header=None, drop=(), key=None, **changes):
    """The request with other members, signed by the desk again: only the members are wrong."""
    payload = {name: value for name, value in (PAYLOAD | changes).items() if name not in drop}
    head = {name: value for name, value in (HEADER | (header or {})).items() if value is not None}
    return sign(head, payload, key or DESK.signing)


def code_of(data):
    with pytest.raises(FormatError) as error:
        parse_presentation_request(data)
    return error.value.code


def certificate(subject, issuer, signer, key=None):
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(subject))
        .issuer_name(x509.Name.from_rfc4514_string(issuer))
        .public_key(key or DESK.signing.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
        .sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def test_what_was_built_is_read_back():
    assert parse_presentation_request(DESK.request) == DESK.asked
    assert parse_presentation_request(resigned()) == DESK.asked


def test_a_wallet_reads_it_by_the_standard():
    read = read_request(DESK.request)
    assert read["response_type"] == "vp_token" and read["response_mode"] == "direct_post.jwt"
    assert read["response_uri"] == f"{PUBLIC_URL}/vp/{DESK.asked.id}/response"
    assert read["client_metadata"]["encrypted_response_enc_values_supported"] == ["A128GCM", "A256GCM"]
    (key,) = read["client_metadata"]["jwks"]["keys"]
    assert (key["alg"], key["use"], key["kid"]) == ("ECDH-ES", "enc", thumbprint(DESK.key.public_key()))
    assert "dc+sd-jwt" in read["client_metadata"]["vp_formats_supported"]
    assert len(unb64(read["nonce"])) >= 16


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_asked(preset):
    asked = DESK.ask(
        query=load_preset(preset).query, name="株式会社見本商事", return_uri="https://a.example/x?y=1"
    )
    assert parse_presentation_request(DESK.build(asked)) == asked


def test_both_addresses_lead_to_it_and_fit_a_qr_code():
    for address in (DESK.asked.wallet_address, DESK.asked.link):
        assert parse_link(address) == (DESK.asked.client_id, f"{PUBLIC_URL}/vp/{DESK.asked.id}")
        assert len(qr_matrix(address)) <= 17 + 4 * 9 + 8  # version 9
    longest = dataclasses.replace(DESK.asked, public_url="https://" + "a" * 60 + ".jp")
    assert len(longest.wallet_address) <= MAX_LINK_LENGTH
    assert len(qr_matrix(longest.link)) <= 17 + 4 * 13 + 8


@pytest.mark.parametrize(
    "address",
    [
        "",
        "openid4vp://",
        "openid4vp://?client_id=x",
        "https://door.example/other?client_id=x509_hash%3A"
        + "a" * 43
        + "&request_uri=https%3A%2F%2Fa%2Fvp%2F"
        + "a" * 22,
        DESK.asked.wallet_address.replace("x509_hash", "x509_san_dns"),
        DESK.asked.wallet_address.replace("https", "http"),
        DESK.asked.wallet_address + "&request_uri=https%3A%2F%2Fevil.example%2Fvp%2F" + "a" * 22,
        DESK.asked.wallet_address + "&x=1",
        DESK.asked.wallet_address + "a" * 400,
    ],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(FormatError):
        parse_link(address)


@pytest.mark.parametrize("name", sorted(PAYLOAD))
def test_every_member_is_needed(name):
    assert code_of(resigned(drop=[name])) == "bad-presentation-request"


@pytest.mark.parametrize("name", sorted(PAYLOAD))
@pytest.mark.parametrize("value", [None, 7, "", "x", [], {}, True, {"a": 1}, ["x"]])
def test_every_member_has_one_type(name, value):
    if (name, value) != ("iat", 7):  # a time like another
        code_of(resigned(**{name: value}))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redirect_uri": "https://a.example"}, "bad-presentation-request"),
        ({"scope": "x"}, "bad-presentation-request"),
        ({"transaction_data": ["e30"]}, "bad-presentation-request"),
        ({"response_type": "code"}, "bad-presentation-request"),
        ({"response_mode": "direct_post"}, "bad-presentation-request"),
        ({"aud": "https://wallet.example"}, "bad-presentation-request"),
        ({"client_id": "x509_hash:" + "A" * 43}, "other-client"),
        ({"client_id": PAYLOAD["client_id"].removeprefix("x509_hash:")}, "other-client"),
        ({"client_id": PAYLOAD["client_id"].replace("x509_hash", "x509_san_dns")}, "other-client"),
        ({"response_uri": PAYLOAD["response_uri"].replace("https", "http")}, "bad-presentation-request"),
        ({"response_uri": PAYLOAD["response_uri"] + "?x=1"}, "bad-presentation-request"),
        ({"response_uri": f"{PUBLIC_URL}/vp/../{DESK.asked.id}/response"}, "bad-presentation-request"),
        ({"response_uri": PAYLOAD["response_uri"].removesuffix("/response")}, "bad-presentation-request"),
        ({"nonce": base64url_encode(bytes(31))}, "bad-presentation-request"),
        ({"state": base64url_encode(bytes(33))}, "bad-presentation-request"),
        ({"exp": PAYLOAD["iat"]}, "bad-presentation-request"),
        ({"iat": -1}, "bad-presentation-request"),
        ({"iat": True}, "bad-presentation-request"),
        ({"dcql_query": {"credentials": []}}, "bad-dcql"),
        ({"akashi_return_uri": "http://a.example"}, "bad-return-uri"),
        ({"verifier_info": []}, "bad-presentation-request"),
        ({"verifier_info": [{"format": "jwt", "data": "x"}]}, "bad-presentation-request"),
        ({"verifier_info": [{"format": "akashi-recipient+jwt", "data": "x"}]}, "bad-jws"),
    ],
)
def test_members_of_another_kind(changes, code):
    assert code_of(resigned(**changes)) == code


@pytest.mark.parametrize(
    "change",
    [
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [*PAYLOAD["client_metadata"]["jwks"]["keys"] * 2]}},
        {"jwks_uri": "https://a.example/jwks"},
        {"jwks": {"keys": [PAYLOAD["client_metadata"]["jwks"]["keys"][0] | {"alg": "ECDH-ES+A128KW"}]}},
        {"jwks": {"keys": [PAYLOAD["client_metadata"]["jwks"]["keys"][0] | {"kid": "1"}]}},
        {"jwks": {"keys": [PAYLOAD["client_metadata"]["jwks"]["keys"][0] | {"d": "AA"}]}},
        {"jwks": {"keys": [format_jwk(new_key().public_key())]}},
        {"encrypted_response_enc_values_supported": ["A128GCM"]},
        {"encrypted_response_enc_values_supported": ["A128CBC-HS256"]},
        {"vp_formats_supported": {"mso_mdoc": {}}},
        {"client_name": ""},
        {"client_name": "a\nb"},
        {"client_name": "a" * 201},
    ],
)
def test_metadata_of_another_kind(change):
    code_of(resigned(client_metadata=PAYLOAD["client_metadata"] | change))


def test_algorithms_are_not_chosen_by_the_header():
    for algorithm in ("none", "ES384", "HS256", "", None):
        assert code_of(resigned(header={"alg": algorithm})) == "bad-alg"
    assert code_of(sign(HEADER | {"alg": "none"}, PAYLOAD, None)) == "bad-alg"
    symmetric = OctKey.import_key(DESK.certificate.hex())
    assert code_of(resigned(header={"alg": "HS256"}, key=symmetric)) == "bad-alg"
    assert code_of(resigned(header={"typ": "JWT"})) == "bad-typ"
    for extra in ({"jwk": format_jwk(DESK.signing.public_key())}, {"kid": "x"}, {"x5u": "https://a.example"}):
        assert code_of(resigned(header=extra)) in ("bad-presentation-request", "bad-jws-header")


def test_somebody_elses_signature_or_certificate():
    assert code_of(resigned(key=new_key())) == "bad-signature"
    other = make_certificate(new_key().public_key(), NOW)[0]
    assert code_of(resigned(header={"x5c": [base64_encode(other)]})) == "bad-signature"
    flipped = bytearray(DESK.request)
    flipped[-5] ^= 1
    assert code_of(bytes(flipped)) in ("bad-signature", "bad-base64url")


def test_the_certificate_alone_and_never_self_signed():
    leaf, root = make_certificate(DESK.signing.public_key(), NOW)
    for chain in ([], [base64_encode(leaf), base64_encode(root)], ["x"], "x", None):
        assert code_of(resigned(header={"x5c": chain})).startswith(("bad-", "certificate"))
    own = certificate("CN=a", "CN=a", DESK.signing)
    assert code_of(resigned(header={"x5c": [base64_encode(own)]})) == "self-signed"
    hidden = certificate("CN=a", "CN=b", DESK.signing)
    assert code_of(resigned(header={"x5c": [base64_encode(hidden)]})) == "self-signed"
    same_name = certificate("CN=a", "CN=a", new_key())
    assert code_of(resigned(header={"x5c": [base64_encode(same_name)]})) == "self-signed"
    edwards = ed25519.Ed25519PrivateKey.generate()
    other_key = certificate("CN=a", "CN=b", edwards, edwards.public_key())
    assert code_of(resigned(header={"x5c": [base64_encode(other_key)]})) == "bad-x5c"
    curve = certificate("CN=a", "CN=b", new_key(), ec.generate_private_key(ec.SECP384R1()).public_key())
    assert code_of(resigned(header={"x5c": [base64_encode(curve)]})) == "bad-x5c"
    # the control: another authority, another name, and the request is read
    good = certificate("CN=a", "CN=b", new_key())
    client = DESK.ask(certificate=good).client_id
    assert parse_presentation_request(resigned(header={"x5c": [base64_encode(good)]}, client_id=client))


def test_too_large():
    with pytest.raises(LimitError):
        parse_presentation_request(DESK.request + b"A" * (64 << 10))
    with pytest.raises(LimitError):
        DESK.build(DESK.ask(name="a" * 201))


def test_the_recipient_statement_names_this_key_and_door():
    city_key = new_key()

    def statement(**changes):
        values = {
            "city": "992011",
            "name": "株式会社見本商事",
            "keys": (thumbprint(DESK.key.public_key()),),
            "signing_key": thumbprint(DESK.signing.public_key()),
            "upload": PUBLIC_URL,
            "issued": SECONDS - 60,
            "expires": SECONDS + 60,
        } | changes
        made = build_recipient_statement(
            RecipientStatement(**values), kid=thumbprint(city_key.public_key()), sign=es256_signer(city_key)
        )
        return made.decode()

    asked = DESK.ask(statement=statement())
    assert parse_presentation_request(DESK.build(asked)) == asked
    for wrong in ({"signing_key": thumbprint(new_key().public_key())}, {"upload": "https://other.example"}):
        with pytest.raises(FormatError) as error:
            DESK.build(DESK.ask(statement=statement(**wrong)))
        assert error.value.code == "other-statement"


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "http://a.example",
        "https://",
        "https://u:p@a.example/",
        "https://a.example/#x",
        "https://a.example/?response_code=1",
        "https://a.example/ x",
        "https://a.example/\u3042",
        "https://[a.example/",
        "javascript:alert(1)",
        "https://a.example/" + "a" * 512,
    ],
)
def test_addresses_that_nobody_is_sent_back_to(address):
    with pytest.raises(FormatError):
        check_return_uri(address)
    assert check_return_uri("https://a.example:8443/done?x=1") == "https://a.example:8443/done?x=1"

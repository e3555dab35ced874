"""Exchanges between street door and city: what is written is read, everything else is refused with our errors."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api import exchanges
from mobile_api.exchanges import (
    CredentialQuestion,
    DeferredQuestion,
    Denied,
    Granted,
    Issued,
    LoginFinish,
    LoginStart,
    Noted,
    NotificationQuestion,
    Pending,
    Question,
    Redirect,
    ResponseKey,
    SealedCredentialQuestion,
    SealedDeferredQuestion,
    open_answer,
    open_question,
    seal_answer,
    seal_question,
)
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64url_encode, canonical_json, parse_json
from verifier.formats.jose import agreement, format_jwk, thumbprint
from verifier.formats.names import (
    ANSWER_TYPE,
    ENVELOPE_TYPE,
    EXCHANGE_ANSWER_TYPE,
    EXCHANGE_TYPE,
    PACKAGE_TYPE,
)
from verifier.formats.package import pack

CITY = ec.generate_private_key(ec.SECP256R1())
DOOR = ec.generate_private_key(ec.SECP256R1())
WALLET = ec.generate_private_key(ec.SECP256R1())
ID = base64url_encode(bytes(range(16)))
RESPONSE = ResponseKey(WALLET.public_key(), "k1", "A128GCM")
QUESTIONS = [
    CredentialQuestion("income_certificate", ("a.b.c", "d.e.f")),
    CredentialQuestion("income_certificate", ("a.b.c",), RESPONSE),
    SealedCredentialQuestion("a..b.c.d"),
    DeferredQuestion("t" * 22),
    DeferredQuestion("t" * 22, RESPONSE),
    SealedDeferredQuestion("a..b.c.d"),
    NotificationQuestion("n" * 22, "credential_accepted"),
    LoginStart(ID, "income_certificate"),
    LoginFinish(ID, "code=abc&state=def"),
]
ANSWERS = [
    Issued("application/json", b"{}"),
    Issued("application/jwt", b"a..b.c.d"),
    Pending("t" * 22, 5),
    Pending("t" * 22, 5, b"a..b.c.d"),
    Denied("invalid_proof", "the key proof is not valid"),
    Noted(),
    Redirect("https://login.example/auth?state=x"),
    Redirect("https://login.example:8443?state=x&scope=openid%20sign"),
    Redirect("http://127.0.0.1:8450/authorize?state=x"),
    Granted(ID),
]


def question(body, **changes):
    fields = {"exchange": ID, "profile": "p1", "grant": ID, "dpop": None, **changes}
    return Question(reply_key=DOOR.public_key(), body=body, **fields)


def same(one, two):
    def plain(value):
        if isinstance(value, ec.EllipticCurvePublicKey):
            return thumbprint(value)
        if hasattr(value, "__slots__") and not isinstance(value, bytes | str):
            return {name: plain(getattr(value, name)) for name in value.__slots__}
        return value

    return plain(one) == plain(two)


@pytest.mark.parametrize("body", QUESTIONS, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("dpop", [None, thumbprint(WALLET.public_key())], ids=["bearer", "bound"])
def test_a_question_reaches_the_city_alone(body, dpop):
    asked = question(body, dpop=dpop, grant=None if isinstance(body, LoginStart | LoginFinish) else ID)
    data = seal_question(asked, CITY.public_key(), os.urandom)
    read = open_question(data, thumbprint(CITY.public_key()), agreement(CITY))
    assert same(read, asked)
    with pytest.raises(FormatError):
        open_question(data, thumbprint(DOOR.public_key()), agreement(DOOR))


@pytest.mark.parametrize("body", ANSWERS, ids=lambda body: type(body).__name__)
def test_an_answer_reaches_the_asking_process_alone(body):
    data = seal_answer(ID, body, DOOR.public_key(), os.urandom)
    assert open_answer(data, thumbprint(DOOR.public_key()), agreement(DOOR)) == (ID, body)
    with pytest.raises(FormatError):
        open_answer(data, thumbprint(CITY.public_key()), agreement(CITY))


def test_an_answer_never_passes_as_a_question():
    data = seal_answer(ID, Noted(), CITY.public_key(), os.urandom)
    with pytest.raises(FormatError) as error:
        open_question(data, thumbprint(CITY.public_key()), agreement(CITY))
    assert error.value.code == "wrong-package-type"


@pytest.mark.parametrize(
    "body",
    [
        CredentialQuestion("income certificate", ("a",)),
        CredentialQuestion("income_certificate", ()),
        CredentialQuestion("income_certificate", ("a",) * (exchanges.MAX_PROOFS + 1)),
        CredentialQuestion("income_certificate", ("a" * (exchanges.MAX_PROOF + 1),)),
        CredentialQuestion("income_certificate", ("a\n",)),
        CredentialQuestion("income_certificate", ("a",), ResponseKey(WALLET.public_key(), None, "A128CBC")),
        SealedCredentialQuestion("x" * (exchanges.MAX_JWE + 1)),
        NotificationQuestion("n" * 22, "credential_eaten"),
        LoginFinish(ID, "a b"),
        LoginFinish("short", "a"),
    ],
)
def test_a_question_beyond_a_limit_is_not_written(body):
    with pytest.raises((FormatError, LimitError)):
        seal_question(question(body), CITY.public_key(), os.urandom)


@pytest.mark.parametrize(
    "body",
    [
        Issued("text/html", b"x"),
        Issued("application/json", b""),
        Pending("t" * 22, 0),
        Pending("t", 5),
        Denied("invalid_proof", 'a "quoted" word'),
        Denied("invalid_proof", "日本語"),
        Denied("x" * 60, "too long"),
        Redirect("javascript:alert(1)"),
        Redirect("http://evil.example/"),
        Redirect("http://127.0.0.1:8443@evil.example/"),
        Redirect("http://127.0.0.1:8443.evil.example/"),
        Redirect("https://login.example@evil.example/auth"),
        Redirect("https:///evil.example/"),
        Redirect("https://evil.example\\@login.example/"),
        Redirect("https://login.example/auth#fragment"),
        Redirect("https://"),
        Granted("someone"),
    ],
)
def test_an_answer_beyond_a_limit_is_not_written(body):
    with pytest.raises((FormatError, LimitError)):
        seal_answer(ID, body, DOOR.public_key(), os.urandom)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"kind": "unknown"},
        {"kind": ["noted"]},
        {"exchange": "x"},
        {"body": {"more": 1}},
        {"more": 1},
    ],
)
def test_other_members_are_refused(change):
    value = {**parse_json(exchanges.format_answer(ID, Noted())), **change}
    data = pack(
        canonical_json(value), [DOOR.public_key()], content_type=EXCHANGE_ANSWER_TYPE, typ=EXCHANGE_TYPE
    )
    with pytest.raises(FormatError):
        open_answer(data, thumbprint(DOOR.public_key()), agreement(DOOR))


def test_a_private_key_is_never_taken_for_a_public_one():
    jwk = {**format_jwk(WALLET.public_key()), "d": "AA"}
    with pytest.raises(FormatError):
        exchanges._read_response({"jwk": jwk, "kid": None, "enc": "A128GCM"})


@pytest.mark.parametrize("typ", [ENVELOPE_TYPE, PACKAGE_TYPE, ANSWER_TYPE])
def test_a_package_of_another_kind_is_no_exchange(typ):
    """A phone's message, a certificate and an answer are sealed to keys alike; their typ is what tells them apart."""
    data = exchanges.format_answer(ID, Noted())
    good = pack(data, [DOOR.public_key()], content_type=EXCHANGE_ANSWER_TYPE, typ=EXCHANGE_TYPE)
    assert open_answer(good, thumbprint(DOOR.public_key()), agreement(DOOR)) == (ID, Noted())
    other = pack(data, [DOOR.public_key()], content_type=EXCHANGE_ANSWER_TYPE, typ=typ)
    with pytest.raises(FormatError):
        open_answer(other, thumbprint(DOOR.public_key()), agreement(DOOR))


@pytest.mark.parametrize(
    "changes",
    [
        {"dpop": "short"},
        {"dpop": "A" * 42 + "="},
        {"dpop": 1},
        {"grant": "g"},
        {"grant": "A" * 21 + "B"},
        {"profile": "p3"},
    ],
)
def test_what_a_token_stands_for_has_its_form(changes):
    asked = question(DeferredQuestion("t" * 22), dpop=thumbprint(WALLET.public_key()))
    value = parse_json(exchanges._question_bytes(asked))
    exchanges.parse_question(canonical_json(value))
    with pytest.raises(FormatError):
        exchanges.parse_question(canonical_json({**value, **changes}))

"""The answer of a wallet: one encrypted object, arrays of one presentation, a state; nothing else opens or parses."""

import json

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey

from tests.support.presentation_desk import Desk, wallet_with
from tests.support.verifier_bundles import mini_city, new_key
from tests.support.wallet_of_others import REGISTRY, encrypt
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import agreement
from verifier.formats.key_binding import parse_foreign_key_binding
from verifier.formats.presentation_response import (
    MAX_PLAINTEXT_BYTES,
    MAX_RESPONSE_BYTES,
    encrypt_presentation_response,
    open_presentation_response,
    parse_presentation,
    parse_presentation_response,
)

DESK = Desk()
WALLET = wallet_with(mini_city())
SHOWN = WALLET.present(DESK.read).decode()
ID = "income_certificate"


def opened(data):
    return open_presentation_response(data, DESK.asked, agreement(DESK.key))


def parsed(value):
    return parse_presentation_response(value if isinstance(value, bytes) else json.dumps(value).encode())


def code_of(call, *arguments):
    with pytest.raises(FormatError) as error:
        call(*arguments)
    return error.value.code


@pytest.mark.parametrize("enc", ["A128GCM", "A256GCM"])
def test_a_foreign_librarys_answer_is_opened_and_ours_by_it(enc):
    answer = parsed(opened(WALLET.answer(DESK.read, header={"enc": enc})))
    assert answer.state == DESK.asked.state and set(answer.presentations) == {ID}
    ours = encrypt_presentation_response({ID: [SHOWN]}, DESK.asked, enc=enc)
    plain = jwe.decrypt_compact(ours.decode(), ECKey.import_key(DESK.key), registry=REGISTRY).plaintext
    assert json.loads(plain) == {"vp_token": {ID: [SHOWN]}, "state": DESK.asked.state}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (SHOWN.encode(), "bad-jwe"),
        (json.dumps({"vp_token": {ID: [SHOWN]}, "state": DESK.asked.state}).encode(), "bad-jwe"),
        (SHOWN.split("~")[0].encode(), "bad-jwe"),
        (b"", "bad-jwe"),
        (b"a.b.c.d.e", "bad-jwe"),
        (WALLET.answer(DESK.read, header={"kid": None}), "not-for-this-key"),
        (WALLET.answer(DESK.read, header={"kid": "x"}), "not-for-this-key"),
        (WALLET.answer(DESK.read, key=ECKey.import_key(new_key().public_key())), "decryption-failed"),
        (WALLET.answer(DESK.read, header={"enc": "A128CBC-HS256"}), "bad-enc"),
        (WALLET.answer(DESK.read, header={"alg": "ECDH-ES+A128KW"}), "bad-jwe"),
        (WALLET.answer(DESK.read)[:-4], "bad-jwe"),
        (WALLET.answer(DESK.read).rpartition(b".")[0] + b"." + b"A" * 22, "decryption-failed"),
    ],
)
def test_what_does_not_open(data, code):
    assert code_of(opened, data) in (code, "bad-base64url", "bad-jwe")
    if code in ("not-for-this-key", "decryption-failed", "bad-enc"):
        assert code_of(opened, data) == code


def test_a_shared_secret_is_no_key_of_ours():
    head = {"alg": "dir", "enc": "A128GCM", "kid": DESK.asked.kid}
    registry = jwe.JWERegistry(algorithms=["dir", "A128GCM"])
    data = jwe.encrypt_compact(head, b"{}", OctKey.import_key("0" * 16), registry=registry)
    assert code_of(opened, data.encode()) == "bad-alg"


def test_too_large():
    with pytest.raises(LimitError):
        opened(b"A" * (MAX_RESPONSE_BYTES + 1))
    with pytest.raises(LimitError):
        parsed(b"[" + b" " * MAX_PLAINTEXT_BYTES + b"]")
    with pytest.raises(LimitError):
        parsed({"vp_token": {f"c{n}": [SHOWN] for n in range(5)}})
    with pytest.raises(LimitError):
        parse_presentation(b"A" * (1 << 18))


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "x",
        {"state": "x"},
        {"vp_token": {}},
        {"vp_token": []},
        {"vp_token": SHOWN},
        {"vp_token": [SHOWN]},
        {"vp_token": {ID: SHOWN}},  # the bare text of drafts before 1.0
        {"vp_token": {ID: []}},
        {"vp_token": {ID: [SHOWN, SHOWN]}},
        {"vp_token": {ID: [7]}},
        {"vp_token": {ID: [{"jwt": SHOWN}]}},
        {"vp_token": {ID: [SHOWN]}, "state": 7},
        {"vp_token": {ID: [SHOWN]}, "state": ""},
        {"vp_token": {ID: [SHOWN]}, "state": "x" * 513},
        {"vp_token": {ID: [SHOWN]}, "error": "access_denied"},
        {"error": 7},
        {"error": "a b"},
        {"error": "x" * 65},
        {str(n): n for n in range(17)},
        b'{"vp_token":{"a":["x"]},"vp_token":{"a":["x"]}}',
        b'{"vp_token":{"a":["x"],"a":["x"]}}',
        b"\xff",
        b"eyJhbGciOiJFUzI1NiJ9.e30.AA",
    ],
)
def test_what_is_no_answer(value):
    code_of(parsed, value)


def test_members_that_oauth_allows_are_ignored_and_a_refusal_is_read():
    answer = parsed(
        {"vp_token": {ID: [SHOWN]}, "state": "s", "iss": "https://w.example", "presentation_submission": {}}
    )
    assert answer.state == "s" and answer.error is None
    refusal = parsed({"error": "access_denied", "error_description": "no", "state": "s"})
    assert refusal.error == "access_denied" and not refusal.presentations


def test_a_presentation_is_split_at_its_last_tilde_and_its_disclosures_sorted():
    presentation = parse_presentation(SHOWN.encode())
    assert presentation.sd_jwt + presentation.key_binding == SHOWN.encode()
    jwt, *disclosures, _last = presentation.sd_jwt.split(b"~")
    turned = b"~".join([jwt, *reversed(disclosures), b""]) + presentation.key_binding
    assert parse_presentation(turned).credential == presentation.credential
    assert parse_presentation(turned).sd_jwt != presentation.sd_jwt or len(disclosures) < 2


@pytest.mark.parametrize(
    "text", ["", "~", "~~", "a", "a~b", SHOWN.rpartition("~")[0] + "~", SHOWN.split("~")[0], "é~x"]
)
def test_what_is_no_presentation(text):
    code_of(parse_presentation, text.encode())


def test_a_key_binding_by_somebody_elses_program_may_say_more_but_not_less():
    claims = {"iat": 1, "aud": "a", "nonce": "n", "sd_hash": "h"}

    def binding(**changes):
        return WALLET.bind(b"x~", DESK.read, header={"kid": "k"}, **changes)

    assert parse_foreign_key_binding(binding(**claims, jti="1", exp=5, nbf=2)).expires == 5
    for name in claims:
        assert code_of(parse_foreign_key_binding, binding(**claims | {name: None})) == "bad-key-binding"
    for name, value in (("iat", "1"), ("aud", ["a"]), ("exp", "x"), ("nbf", -1), ("iat", True)):
        assert code_of(parse_foreign_key_binding, binding(**claims | {name: value})) == "bad-key-binding"
    assert (
        code_of(parse_foreign_key_binding, WALLET.bind(b"x~", DESK.read, header={"typ": "JWT"})) == "bad-typ"
    )
    assert (
        code_of(parse_foreign_key_binding, WALLET.bind(b"x~", DESK.read, header={"alg": "none"})) == "bad-alg"
    )


def test_the_plaintext_may_be_ours_byte_for_byte():
    plain = canonical_json({"vp_token": {ID: [SHOWN]}, "state": "x"})
    assert opened(encrypt(DESK.read, plain)) == plain

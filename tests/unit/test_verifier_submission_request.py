"""Requests of employers: descriptor, QR secret, what the door knows, recipient statements, key binding."""

import dataclasses
import datetime as dt

import pytest

from tests.support.verifier_bundles import NOW, PUBLIC_URL, mini_city, new_key
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import canonical_json, sha256
from verifier.formats.jose import build_jws, es256_signer, parse_jws, thumbprint
from verifier.formats.key_binding import build_key_binding, parse_key_binding, presentation_hash
from verifier.formats.recipient import (
    RecipientStatement,
    build_recipient_statement,
    check_corporate_number,
    check_upload,
    verify_recipient_statement,
)
from verifier.formats.submission_request import (
    decrypt_descriptor,
    encrypt_descriptor,
    format_instant,
    format_request_qr,
    parse_instant,
    parse_request_qr,
    parse_submission_request,
    request_nonce,
    request_secret,
    upload_token,
    upload_token_hash,
)
from verifier.request_file import RequestFile, format_request_file, parse_request_file


@pytest.fixture(scope="module")
def descriptor():
    return mini_city().request(mail="jinji@example.co.jp", corporate_number="7000020992011", id_hint="AB")


def resigned(descriptor, **changes):
    """The descriptor with other members, signed by the same desk."""
    city = mini_city()
    payload = {**parse_jws(descriptor).payload_object(), **changes}
    payload = {name: value for name, value in payload.items() if value is not None}
    header = dict(parse_jws(descriptor).header)
    return build_jws(header, canonical_json(payload), es256_signer(city.desk_signing))


def test_round_trip(descriptor):
    request = parse_submission_request(descriptor)
    assert (request.name, request.mail, request.id_hint) == ("株式会社見本商事", "jinji@example.co.jp", "AB")
    assert request.audience() == "urn:akashi:recipient:" + thumbprint(mini_city().desk.public_key())
    assert request.asks_for_page()
    assert parse_submission_request(resigned(descriptor)) == request


def test_the_signature_is_checked_when_it_is_read(descriptor):
    head, payload, signature = descriptor.split(b".")
    other = resigned(descriptor, purpose="別の目的").split(b".")[1]
    with pytest.raises(FormatError, match="bad-signature"):
        parse_submission_request(b".".join([head, other, signature]))
    assert parse_submission_request(b".".join([head, payload, signature]))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"recipient": {}},
        {"recipient": {"name": ""}},
        {"recipient": {"name": "x", "corporate_number": "1000020992011"}},
        {"recipient": {"name": "x", "url": "y"}},
        {"purpose": "a\nb"},
        {"purpose": "あ" * 401},
        {"items": []},
        {"items": ["Income.Total"]},
        {"items": ["a"] * 65},
        {"keep_until": "20310331"},
        {"keys": []},
        {"keys": [1]},
        {"mail": "a@b\r\nBcc: c@d"},
        {"mail": "two@a.jp, three@b.jp"},
        {"upload": "http://plain.example"},
        {"upload": "https://host/path"},
        {"upload": "https://user@host"},
        {"expires": "2026-12-04"},
        {"salt": "AA"},
        {"signing_jwk": None},
        {"unknown": 1},
    ],
)
def test_other_requests_are_refused(descriptor, changes):
    with pytest.raises(FormatError):
        parse_submission_request(resigned(descriptor, **changes))


def test_nine_keys_are_too_many():
    keys = tuple(new_key().public_key() for _ in range(9))
    with pytest.raises(FormatError):
        mini_city().request(keys=keys)
    assert len(parse_submission_request(mini_city().request(keys=keys[:8])).keys) == 8


def test_the_door_stores_only_ciphertext_and_hashes(descriptor):
    secret = request_secret(descriptor)
    stored = encrypt_descriptor(descriptor)
    assert secret == sha256(descriptor)
    assert decrypt_descriptor(stored, secret) == descriptor
    assert encrypt_descriptor(descriptor) != stored
    assert upload_token_hash(secret).hex() not in upload_token(secret)
    assert len(upload_token(secret)) == 43
    for wrong in (bytes(32), sha256(secret)):
        with pytest.raises(FormatError, match="decryption-failed"):
            decrypt_descriptor(stored, wrong)


def test_a_door_cannot_swap_the_descriptor(descriptor):
    """Even who knows k (the phone's holder) cannot make another descriptor answer to it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from verifier.formats import submission_request as module

    secret = request_secret(descriptor)
    key = module._derive(secret, module._KEY_INFO)
    forged = bytes(12) + AESGCM(key).encrypt(bytes(12), mini_city().request(purpose="別"), None)
    with pytest.raises(FormatError, match="decryption-failed"):
        decrypt_descriptor(forged, secret)


def test_every_flipped_byte_of_the_ciphertext_is_noticed(descriptor):
    stored = encrypt_descriptor(descriptor)
    for position in range(0, len(stored), 7):
        spoilt = bytearray(stored)
        spoilt[position] ^= 1
        with pytest.raises(FormatError):
            decrypt_descriptor(bytes(spoilt), request_secret(descriptor))
    with pytest.raises(LimitError):
        decrypt_descriptor(bytes(17 << 10), bytes(32))


def test_qr_text_fits_its_version(descriptor):
    text = format_request_qr(PUBLIC_URL, "ABCDE23456", request_secret(descriptor))
    assert len(text) <= 85
    assert parse_request_qr(text) == (PUBLIC_URL, "ABCDE23456", request_secret(descriptor))


@pytest.mark.parametrize(
    "text",
    [
        "https://door.mihon.example/r/ABCDE23456",
        "http://door.mihon.example/r/ABCDE23456#k=" + "A" * 43,
        "https://door.mihon.example/r/ABCDE2345#k=" + "A" * 43,
        "https://door.mihon.example/r/ABCDE23456#k=" + "A" * 42,
        "https://door.mihon.example/r/ABCDE23456#k=" + "A" * 42 + "B",
        "https://evil.example@door/r/ABCDE23456#k=" + "A" * 43,
        "https://" + "a" * 60 + "/r/ABCDE23456#k=" + "A" * 43,
    ],
)
def test_other_qr_texts_are_refused(text):
    with pytest.raises(FormatError):
        parse_request_qr(text)


def test_request_file_round_trip_and_windows(descriptor):
    stored = RequestFile(descriptor, "ABCDE23456", PUBLIC_URL)
    data = format_request_file(stored)
    assert parse_request_file(data) == stored
    assert parse_request_file(data.replace(b"\n", b"\r\n")) == stored
    assert parse_request_file(b"\xef\xbb\xbf" + data) == stored
    assert parse_request_file(descriptor + b"\r\n") == RequestFile(descriptor)
    assert stored.qr_text.endswith(request_nonce(descriptor))
    with pytest.raises(FormatError, match="not-posted"):
        _ = RequestFile(descriptor).qr_text


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"v":1,"descriptor":1}', b'{"v":2,"descriptor":"a"}', b"\xff"]
)
def test_other_request_files_are_refused(data):
    with pytest.raises(FormatError):
        parse_request_file(data)


@pytest.mark.parametrize("text", ["2026-11-20T01:02:03", "2026-11-20 01:02:03Z", "2026-11-20T01:02:3Z", ""])
def test_instants_have_one_form(text):
    with pytest.raises(FormatError):
        parse_instant(text)


def test_instants_round_trip():
    assert parse_instant(format_instant(NOW)) == NOW
    with pytest.raises(FormatError):
        format_instant(NOW.replace(microsecond=1))
    with pytest.raises(FormatError):
        format_instant(NOW.astimezone(dt.timezone(dt.timedelta(hours=9))))


class TestRecipientStatement:
    key = new_key()

    def statement(self, **changes):
        city = mini_city()
        base = RecipientStatement(
            city="992011",
            name="株式会社見本商事",
            keys=(thumbprint(city.desk.public_key()),),
            signing_key=thumbprint(city.desk_signing.public_key()),
            upload=PUBLIC_URL,
            issued=100,
            expires=200,
            corporate_number="7000020992011",
        )
        return dataclasses.replace(base, **changes)

    def signed(self, **changes):
        return build_recipient_statement(
            self.statement(**changes), kid=thumbprint(self.key.public_key()), sign=es256_signer(self.key)
        )

    def test_round_trip(self):
        assert self.verified(self.signed()) == self.statement()
        assert self.verified(self.signed(corporate_number=None)).corporate_number is None

    def verified(self, data, now=150, city="992011"):
        return verify_recipient_statement(data, self.key.public_key(), city=city, now=now)

    @pytest.mark.parametrize(
        ("code", "options"),
        [
            ("statement-expired", {"now": 200}),
            ("statement-expired", {"now": 99}),
            ("other-city", {"city": "131016"}),
        ],
    )
    def test_not_in_force(self, code, options):
        with pytest.raises(FormatError, match=code):
            self.verified(self.signed(), **options)

    def test_another_key(self):
        with pytest.raises(FormatError, match="bad-signature"):
            verify_recipient_statement(self.signed(), new_key().public_key(), city="992011", now=150)

    @pytest.mark.parametrize(
        "changes",
        [
            {"city": "9920"},
            {"name": ""},
            {"keys": ()},
            {"keys": ("x",)},
            {"upload": "ftp://x"},
            {"issued": -1},
        ],
    )
    def test_other_statements(self, changes):
        with pytest.raises(FormatError):
            self.signed(**changes)


@pytest.mark.parametrize(
    "number", ["1000020992011", "700002099201", "70000209920111", "７000020992011", 7, ""]
)
def test_corporate_numbers_have_a_check_digit(number):
    with pytest.raises(FormatError):
        check_corporate_number(number)


@pytest.mark.parametrize("number", ["7000020992011", "8700110005901", "5835678256246"])
def test_good_corporate_numbers(number):
    assert check_corporate_number(number) == number


@pytest.mark.parametrize(
    "text", ["https://", "https://a/b", "https://a?b", "https://a b", "//a", 1, "https://é"]
)
def test_upload_is_a_host(text):
    with pytest.raises(FormatError):
        check_upload(text)


class TestKeyBindingForm:
    def build(self, **changes):
        values = {"audience": "urn:a", "nonce": "n", "issued": 1, "sign": es256_signer(mini_city().holder)}
        return build_key_binding(b"jwt~", **{**values, **changes})

    def test_round_trip(self):
        binding = parse_key_binding(self.build())
        assert (binding.audience, binding.nonce, binding.issued) == ("urn:a", "n", 1)
        assert binding.sd_hash == presentation_hash(b"jwt~")

    @pytest.mark.parametrize("changes", [{"audience": ""}, {"nonce": ""}, {"issued": -1}, {"issued": True}])
    def test_other_bindings(self, changes):
        with pytest.raises(FormatError):
            parse_key_binding(self.build(**changes))

    def test_more_claims_are_refused(self):
        payload = canonical_json({"aud": "a", "iat": 1, "nonce": "n", "sd_hash": "s", "exp": 5})
        with pytest.raises(FormatError):
            parse_key_binding(build_jws({"typ": "kb+jwt"}, payload, es256_signer(mini_city().holder)))

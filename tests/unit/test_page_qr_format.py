"""The page code: one layout, one encoding, one length, and nothing else accepted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from datetime import date
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.jose import es256_signer, parse_jwk
from verifier.formats.names import PAGE_QR_LABEL
from verifier.formats.page_qr import (
    MAX_PAGE_QR_BYTES,
    NAME_BYTES,
    PAGE_QR_BYTES,
    STATEMENT_BYTES,
    PageStatement,
    build_statement_from,
    format_page_qr,
    page_key_id,
    page_qr_length,
    parse_page_qr,
    statement_to_be_signed,
    verify_page_signature,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "good"
URL = "https://door.mihon.example"
KEY = ec.derive_private_key(0x0DDC0FFEE, ec.SECP256R1())
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def certificate() -> dict:
    return json.loads((VECTORS / "certificate-sample.json").read_bytes())


@pytest.fixture
def statement(certificate: dict) -> PageStatement:
    return build_statement_from(certificate, bytes(range(16)), page_key_id(KEY.public_key()))


def signed_text(statement: PageStatement) -> str:
    digest = hashlib.sha256(statement_to_be_signed(statement)).digest()
    return format_page_qr(URL, statement, es256_signer(KEY)(digest))


def with_byte(text: str, index: int, value: int) -> str:
    head, _, fragment = text.partition("#")
    payload = bytearray(base64url_decode(fragment))
    payload[index] = value
    return f"{head}#{base64url_encode(bytes(payload))}"


def test_the_statement_holds_the_figures_of_the_certificate(statement: PageStatement) -> None:
    assert statement == PageStatement(
        city_code="992011",
        certificate_id=bytes(range(16)),
        document_kind="income_certificate",
        exempt=False,
        fiscal_year=2026,
        name="𠮷塚　花子",
        name_truncated=False,
        birthdate=date(1985, 3, 15),
        income_total=3560000,
        gross_total=3560000,
        annual_tax_total=241000,
        issued_on=date(2026, 11, 20),
        valid_until=date(2027, 2, 20),
        key_id=page_key_id(KEY.public_key()),
    )


def test_a_code_reads_back_and_its_signature_verifies(statement: PageStatement) -> None:
    signed = parse_page_qr(signed_text(statement))
    assert signed.statement == statement
    assert signed.public_url == URL
    verify_page_signature(signed, KEY.public_key())


def test_the_layout_is_the_documented_one(statement: PageStatement) -> None:
    # Taken apart here with struct alone, as another implementation would from the page in docs/formats.
    message = statement_to_be_signed(statement)
    assert message.startswith(PAGE_QR_LABEL)
    body = message[len(PAGE_QR_LABEL) :]
    assert len(body) == STATEMENT_BYTES
    fields = struct.unpack(">B3s16sBBH96sI6s6s6sII8s", body)
    number = [int.from_bytes(fields[i], "big", signed=True) for i in (8, 9, 10)]
    assert fields[:6] == (1, (992011).to_bytes(3, "big"), bytes(range(16)), 1, 0, 2026)
    assert fields[6] == "𠮷塚　花子".encode().ljust(96, b"\0")
    assert (fields[7], fields[11], fields[12]) == (19850315, 20261120, 20270220)
    assert number == [3560000, 3560000, 241000]
    thumbprint = hashlib.sha256(
        json.dumps(
            {
                "crv": "P-256",
                "kty": "EC",
                **{
                    name: base64url_encode(
                        getattr(KEY.public_key().public_numbers(), name).to_bytes(32, "big")
                    )
                    for name in "xy"
                },
            },
            separators=(",", ":"),
        ).encode()
    ).digest()
    assert fields[13] == thumbprint[:8]


def test_every_code_of_one_deployment_has_the_same_length(certificate: dict) -> None:
    lengths = set()
    for name in ("林", "𠮷塚　花子", "A" * 300, "葛\U000e0102" * 40):
        certificate["subject"]["name"] = name
        for total in (0, 10**12):
            certificate["income"]["total"] = total
            statement = build_statement_from(certificate, bytes(16), bytes(8))
            lengths.add(len(signed_text(statement)))
    assert lengths == {page_qr_length(URL)} == {325}
    assert page_qr_length("https://" + "a" * 18) <= 331  # version 13, level M


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("あ" * 32, "あ" * 32),
        ("あ" * 33, "あ" * 32),
        ("A" + "あ" * 32, "A" + "あ" * 31),
        ("𠮷" * 25, "𠮷" * 24),
        # the selector does not fit: its base goes with it, or the camera would show another character
        ("A" * 91 + "葛\U000e0102", "A" * 91),
        ("A" * 89 + "葛\U000e0102", "A" * 89 + "葛\U000e0102"),
    ],
)
def test_a_long_name_is_cut_at_a_cluster(certificate: dict, name: str, kept: str) -> None:
    certificate["subject"]["name"] = name
    statement = build_statement_from(certificate, bytes(16), page_key_id(KEY.public_key()))
    assert statement.name == kept
    assert statement.name_truncated is (kept != name)
    assert parse_page_qr(signed_text(statement)).statement == statement


def test_a_compatibility_ideograph_is_not_normalised(certificate: dict) -> None:
    certificate["subject"]["name"] = "\ufa10"
    statement = build_statement_from(certificate, bytes(16), page_key_id(KEY.public_key()))
    assert parse_page_qr(signed_text(statement)).statement.name == "\ufa10" != "\u585a"


def test_a_changed_statement_does_not_verify(statement: PageStatement) -> None:
    text = signed_text(statement)
    last_digit_of_total = 129
    signed = parse_page_qr(with_byte(text, last_digit_of_total, 0x01))
    assert signed.statement.income_total != statement.income_total
    with pytest.raises(FormatError) as caught:
        verify_page_signature(signed, KEY.public_key())
    assert caught.value.code == "bad-signature"


def test_another_key_does_not_verify(statement: PageStatement) -> None:
    signed = parse_page_qr(signed_text(statement))
    with pytest.raises(FormatError) as caught:
        verify_page_signature(signed, ec.generate_private_key(ec.SECP256R1()).public_key())
    assert caught.value.code == "other-key"
    with pytest.raises(FormatError):
        verify_page_signature(signed, ec.generate_private_key(ec.SECP384R1()).public_key())


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, 0),  # version
        (0, 2),
        (1, 0xFF),  # city code of more than six digits
        (20, 0),  # kind
        (20, 2),
        (21, 0x04),  # unknown flag
        (21, 0x02),  # "truncated", but the name is short
        (22, 0x00),  # the year 234
        (24, 0xFF),  # name is not UTF-8
        (24, 0x00),  # name begins with NUL
        (119, 0x41),  # letters after the padding
        (120, 0xFF),  # birth date
        (142, 0xFF),  # issue date
        (143, 0x38),  # issued after the end of validity
        (136, 0xFF),  # a negative tax
    ],
)
def test_a_statement_that_no_encoder_writes_is_refused(
    statement: PageStatement, index: int, value: int
) -> None:
    with pytest.raises(FormatError):
        parse_page_qr(with_byte(signed_text(statement), index, value))


@pytest.mark.parametrize("r_and_s", [(0, 1), (1, 0), (P256_ORDER, 1), (1, P256_ORDER), (2**256 - 1, 1)])
def test_a_signature_out_of_range_is_refused(statement: PageStatement, r_and_s: tuple[int, int]) -> None:
    signature = b"".join(number.to_bytes(32, "big") for number in r_and_s)
    with pytest.raises(FormatError):
        format_page_qr(URL, statement, signature)
    good = signed_text(statement)
    payload = base64url_decode(good.partition("#")[2])[:STATEMENT_BYTES] + signature
    with pytest.raises(FormatError):
        parse_page_qr(f"{URL}/v#{base64url_encode(payload)}")


def test_texts_around_a_code_are_refused(statement: PageStatement) -> None:
    good = signed_text(statement)
    fragment = good.partition("#")[2]
    for text in (
        "",
        good + "A",
        good[:-1],
        " " + good,
        good + "\n",
        good.replace("https", "http"),
        good.replace("door", "DOOR"),
        good.replace("/v#", "/v?"),
        good.replace("/v#", "//v#"),
        good.replace("/v#", "/v#/v#"),
        f"/v#{fragment}",
        f"https:///v#{fragment}",
        f"https://user@door.mihon.example/v#{fragment}",
        f"{URL}/v#{fragment[:-2]}==",
        good.replace(fragment[100], "é", 1),
    ):
        with pytest.raises(FormatError):
            parse_page_qr(text)


def test_a_code_that_no_reader_could_hold_is_a_limit() -> None:
    with pytest.raises(LimitError):
        parse_page_qr("A" * (MAX_PAGE_QR_BYTES + 1))
    with pytest.raises(LimitError):
        page_qr_length("https://" + ".".join(["a" * 40] * 3))
    assert page_qr_length("https://door.mihon.example:8443") == 3 + 31 + PAGE_QR_BYTES // 3 * 4


@pytest.mark.parametrize(
    "change",
    [
        {"city_code": "99201"},
        {"city_code": "99201１"},
        {"certificate_id": bytes(15)},
        {"key_id": bytes(9)},
        {"document_kind": "resident_record"},
        {"name": ""},
        {"name": "あ" * (NAME_BYTES // 3 + 1)},
        {"name": "佐藤\u0000花子"},
        {"name": "佐藤\u0085花子"},
        {"name": "\ud800"},
        {"income_total": 1 << 47},
        {"income_total": True},
        {"annual_tax_total": -1},
        {"fiscal_year": 70000},
        {"valid_until": date(2026, 11, 19)},
    ],
)
def test_a_value_outside_its_range_has_no_encoding(statement: PageStatement, change: dict) -> None:
    with pytest.raises(FormatError):
        statement_to_be_signed(dataclasses.replace(statement, **change))


def test_a_loss_has_an_encoding(statement: PageStatement) -> None:
    loss = dataclasses.replace(statement, income_total=-120_000)
    assert parse_page_qr(signed_text(loss)).statement.income_total == -120_000


@pytest.mark.parametrize("path", ["subject", "income", "tax", "issued_on", "issuing_authority"])
def test_a_certificate_that_lacks_a_value_is_refused(certificate: dict, path: str) -> None:
    del certificate[path]
    with pytest.raises(FormatError):
        build_statement_from(certificate, bytes(16), bytes(8))
    certificate[path] = None
    with pytest.raises(FormatError):
        build_statement_from(certificate, bytes(16), bytes(8))


@pytest.mark.parametrize("path", sorted((VECTORS / "page-qr").glob("*.json")), ids=lambda path: path.stem)
def test_published_vectors(path: Path) -> None:
    vector = json.loads(path.read_bytes())
    key = parse_jwk(vector["public_key"])
    signed = parse_page_qr(vector["text"])
    verify_page_signature(signed, key)
    built = build_statement_from(
        vector["certificate"], bytes.fromhex(vector["certificate_id"]), page_key_id(key)
    )
    assert signed.statement == built
    assert statement_to_be_signed(built).hex() == vector["to_be_signed"]
    assert format_page_qr(vector["public_url"], built, signed.signature) == vector["text"]


def test_there_are_vectors() -> None:
    assert len(list((VECTORS / "page-qr").glob("*.json"))) >= 3

"""The desk's result file: sealed to the desk's key, and one answer a request, whichever process comes first."""

import dataclasses
import json
import multiprocessing
import stat

import pytest
from cryptography import x509

from tests.support.presentation_desk import Desk
from tests.support.verifier_bundles import NOW, new_key
from verifier.desk_certificate import (
    LIFETIME,
    certificate_path,
    desk_certificate,
    format_certificates,
    make_certificate,
    parse_certificates,
)
from verifier.errors import FormatError, LimitError, UsageError
from verifier.presentation_door import Answered
from verifier.presentation_file import (
    PendingPresentation,
    read_answer,
    read_pending,
    seal_key,
    take_answer,
    write_pending,
)

DESK = Desk()
OWNER = new_key()
PENDING = PendingPresentation(
    DESK.request, seal_key(DESK.key, OWNER.public_key()), "http://127.0.0.1:8440", "/home/desk/desk.key"
)


def answered(text):
    return Answered(text, NOW)


def test_what_was_written_is_read_and_opens_with_the_desks_key_only(tmp_path):
    path = tmp_path / "desk-wallet" / "a.json"
    write_pending(path, PENDING)
    assert read_pending(path) == PENDING and read_pending(path).asked == DESK.asked
    assert PENDING.open_key(OWNER).private_numbers() == DESK.key.private_numbers()
    with pytest.raises(FormatError, match="decryption-failed"):
        PENDING.open_key(new_key())
    scalar = DESK.key.private_numbers().private_value.to_bytes(32, "big")
    assert scalar not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="file-exists"):
        write_pending(path, PENDING)


@pytest.mark.parametrize("scalar", [b"", bytes(32), b"\xff" * 32, b"\1" * 33])
def test_a_key_that_is_none(scalar):
    from verifier.formats.compact_jwe import encrypt_compact

    broken = dataclasses.replace(PENDING, key=encrypt_compact(scalar, OWNER.public_key()))
    with pytest.raises(FormatError, match="bad-key"):
        broken.open_key(OWNER)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "a.json"
    write_pending(path, PENDING)
    good = json.loads(path.read_bytes())
    for name in good:
        path.write_text(json.dumps({key: value for key, value in good.items() if key != name}))
        with pytest.raises(FormatError):
            read_pending(path)
    for change in ({"v": 2}, {"v": True}, {"x": "1"}, {"door": 1}, {"request": "x"}):
        path.write_text(json.dumps(good | change))
        with pytest.raises(FormatError):
            read_pending(path)
    path.write_bytes(b"[" * (1 << 20))
    with pytest.raises(LimitError):
        read_pending(path)
    with pytest.raises(UsageError, match="cannot-read"):
        read_pending(tmp_path / "none.json")


def test_one_answer_is_taken_and_stays(tmp_path):
    path = tmp_path / "a.json"
    assert read_answer(path) is None
    assert take_answer(path, answered(b"one")) is True
    assert take_answer(path, answered(b"one")) is True
    assert take_answer(path, answered(b"two")) is False
    assert read_answer(path) == answered(b"one")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json.answer"]
    with pytest.raises(FormatError):
        take_answer(path, answered(b"\xff"))
    with pytest.raises(UsageError, match="cannot-write"):
        take_answer(tmp_path / "none" / "a.json", answered(b"one"))


def _take(path, text, start, results):
    start.wait()
    results.put((text, take_answer(path, answered(text))))


def _look_then_write(path, text, start, results):
    free = read_answer(path) is None
    start.wait()  # everybody has looked
    if free:
        path.with_name(path.name + ".answer").write_text(
            json.dumps({"v": 1, "response": text.decode(), "received": "2026-11-20T03:00:00Z"})
        )
    results.put((text, free))


def _race(worker, path):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=worker, args=(path, f"answer{n}".encode(), start, results)) for n in range(4)
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=10) for _ in processes]
    for process in processes:
        process.join(10)
    return [text for text, taken in said if taken]


def test_of_four_processes_with_four_answers_one_wins(tmp_path):
    for place in range(10):
        path = tmp_path / f"{place}.json"
        (won,) = _race(_take, path)
        assert read_answer(path).response == won


def test_the_race_finds_a_desk_that_looks_first_and_writes_then(tmp_path):
    assert len(_race(_look_then_write, tmp_path / "a.json")) > 1


def test_the_certificate_has_two_levels_and_says_nothing_about_who_asks(tmp_path):
    leaf, authority = (
        x509.load_der_x509_certificate(der) for der in make_certificate(OWNER.public_key(), NOW)
    )
    leaf.verify_directly_issued_by(authority)
    assert leaf.issuer == authority.subject != leaf.subject
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    other = x509.load_der_x509_certificate(make_certificate(new_key().public_key(), NOW)[0])
    assert (other.subject, other.issuer) == (leaf.subject, leaf.issuer)
    assert parse_certificates(format_certificates((b"1", b"22" * 99))) == (b"1", b"22" * 99)
    for data in (b"", b"x", format_certificates((b"1", b"2", b"3")), b"A" * (17 << 10)):
        with pytest.raises(FormatError):
            parse_certificates(data)


def test_a_desk_has_one_certificate_until_it_ends(tmp_path):
    path = certificate_path(tmp_path / "desk.key")
    assert path.name == "desk.key.crt"
    first = desk_certificate(path, OWNER.public_key(), NOW)
    assert desk_certificate(path, OWNER.public_key(), NOW) == first
    with pytest.raises(UsageError, match="other-key"):
        desk_certificate(path, new_key().public_key(), NOW)
    second = desk_certificate(path, OWNER.public_key(), NOW + LIFETIME)
    assert second != first and desk_certificate(path, OWNER.public_key(), NOW + LIFETIME) == second
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="cannot-write"):
        desk_certificate(tmp_path / "none" / "x.crt", OWNER.public_key(), NOW)

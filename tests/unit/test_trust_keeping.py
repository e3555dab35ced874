"""`akashi trust …`: from the list in force over draft, signatures and check to a version that verifiers take."""

import dataclasses
import datetime as dt
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app import cli
from app.sealing.key_files import write_private_key
from app.trust_list.changes import describe_changes
from app.trust_list.draft import DraftError, name_stolen_keys, read_key_digest, replace_members
from tests.support.verifier_bundles import DAY, NOW, ORIGIN, head_of, mini_city, raw_public
from verifier.errors import FormatError, TrustError
from verifier.formats.compromise import CompromisedKey, FormerLog, key_digest
from verifier.formats.signed_note import build_vkey, format_vkey
from verifier.formats.trust_list import parse_trust_list
from verifier.trust import load_trust_list, verify_trust_list

CITY = mini_city()
THEFT = ("--from-index", "40", "--since", "2026-11-19T00:00:00Z", "--reason", "印鍵の盗難（模擬）")


class Desk:
    """A folder with the current list and three signers' key files."""

    def __init__(self, folder):
        self.folder = folder
        self.current = folder / "root.json"
        self.current.write_bytes(CITY.trust_data(expires=dt.datetime(2030, 1, 1, tzinfo=dt.UTC)))
        self.draft = folder / "next.json"
        for number, key in enumerate(CITY.signers):
            write_private_key(folder / f"signer-{number}", key)
        seal = CITY.pki.certificates["page-seal-1"]
        (folder / "seal.pem").write_bytes(seal.public_bytes(Encoding.PEM))
        (folder / "seal.der").write_bytes(seal.public_bytes(Encoding.DER))
        pem = seal.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "seal.pub").write_bytes(pem)

    def run(self, action, *arguments):
        return cli.main(["trust", action, *(str(item) for item in arguments), "--current", str(self.current)])

    def make(self, *changes):
        return self.run("draft", "--out", self.draft, *changes)

    def sign(self, number):
        return self.run("sign", self.draft, "--key", self.folder / f"signer-{number}", "--yes")

    def check(self):
        return self.run("check", self.draft)

    @property
    def content(self):
        return parse_trust_list(self.draft.read_bytes()).content


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_from_draft_to_a_version_that_verifiers_take(desk, capsys):
    assert desk.make("--compromised", desk.folder / "seal.pem", *THEFT) == 0
    out = capsys.readouterr().out
    assert "記録 40 番から後は無効" in out
    assert "not valid from entry 40" in out
    assert desk.check() == 1
    assert "あと2人" in capsys.readouterr().out
    assert desk.sign(0) == 0
    assert desk.check() == 1
    assert "あと1人" in capsys.readouterr().out
    assert desk.sign(2) == 0
    assert desk.check() == 0
    trust = verify_trust_list(desk.draft.read_bytes(), load_trust_list(desk.current.read_bytes()))
    (entry,) = trust.content.compromised
    assert entry.key == key_digest(CITY.pki.certificates["page-seal-1"].public_key())
    assert (entry.log, entry.from_index, entry.reason) == (ORIGIN, 40, "印鍵の盗難（模擬）")
    assert trust.version == 2


def test_one_signer_twice_is_one(desk):
    desk.make("--compromised", desk.folder / "seal.pem", *THEFT)
    assert [desk.sign(0), desk.sign(0), desk.check()] == [0, 0, 1]


def test_a_stranger_signs_nothing(desk, capsys):
    desk.make("--compromised", desk.folder / "seal.pem", *THEFT)
    before = desk.draft.read_bytes()
    write_private_key(desk.folder / "stranger", Ed25519PrivateKey.generate())
    assert desk.run("sign", desk.draft, "--key", desk.folder / "stranger", "--yes") == 2
    assert desk.draft.read_bytes() == before
    assert "unknown-key" in capsys.readouterr().err


def test_a_signers_key_has_a_passphrase(desk, capsys):
    for name, words in (("right", "ひみつの言葉\n"), ("wrong", "other\n"), ("empty", "\n")):
        (desk.folder / name).write_text(words, encoding="utf-8")
    key = desk.folder / "guarded"

    def make(passphrase):
        return cli.main(["trust", "key", str(key), "--passphrase-file", str(desk.folder / passphrase)])

    assert make("empty") == 2
    assert not key.exists()
    assert make("right") == 0
    assert b"ENCRYPTED" in key.read_bytes()
    assert make("right") == 2  # never over an existing key
    assert desk.make("--signer", desk.folder / "guarded.pub", "--threshold", "1") == 0
    sign = ("sign", desk.draft, "--key", key, "--yes", "--passphrase-file")
    assert desk.run(*sign, desk.folder / "wrong") == 2
    assert desk.run(*sign, desk.folder / "right") == 0
    assert "ひみつ" not in "".join(capsys.readouterr())


def test_signing_asks_first(desk, monkeypatch, capsys):
    desk.make("--compromised", desk.folder / "seal.pem", *THEFT)
    before = desk.draft.read_bytes()
    for typed, code in (("n", 1), ("", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda _prompt, typed=typed: typed)
        assert desk.run("sign", desk.draft, "--key", desk.folder / "signer-0") == code
        assert (desk.draft.read_bytes() == before) is (code == 1)
    assert "盗まれた鍵" in capsys.readouterr().out


def test_a_key_may_be_named_by_certificate_key_or_digits(desk):
    digest = key_digest(CITY.pki.certificates["page-seal-1"].public_key())
    for name in ("seal.pem", "seal.der", "seal.pub"):
        assert read_key_digest(str(desk.folder / name)) == digest
    assert read_key_digest(digest.hex()) == digest
    (desk.folder / "letter").write_text("hello")
    with pytest.raises(DraftError):
        read_key_digest(str(desk.folder / "letter"))


def test_several_keys_at_once(desk):
    digits = "ab" * 32
    assert desk.make("--compromised", desk.folder / "seal.pem", "--compromised", digits, *THEFT) == 0
    assert {entry.from_index for entry in desk.content.compromised} == {40}
    assert len(desk.content.compromised) == 2


@pytest.mark.parametrize("left_out", [0, 2, 4])
def test_a_theft_is_told_whole(desk, left_out, capsys):
    words = [*THEFT[:left_out], *THEFT[left_out + 2 :]]
    assert desk.make("--compromised", desk.folder / "seal.pem", *words) == 2
    assert "incomplete" in capsys.readouterr().err
    assert not desk.draft.exists()


def test_a_theft_only_moves_to_an_earlier_entry(desk):
    key = {"since": NOW, "reason": "盗難"}
    content = name_stolen_keys(CITY.content(), [bytes(32)], from_index=40, **key)
    earlier = name_stolen_keys(content, [bytes(32)], from_index=30, **key)
    assert [entry.from_index for entry in earlier.compromised] == [30]
    with pytest.raises(DraftError, match="later-theft"):
        name_stolen_keys(content, [bytes(32)], from_index=41, **key)


def test_what_makes_a_stolen_key_good_again_is_told_as_such(desk):
    key = {"since": NOW, "reason": "盗難"}
    content = name_stolen_keys(CITY.content(), [bytes(32), bytes(31) + b"\x01"], from_index=40, **key)
    later = tuple(dataclasses.replace(entry, from_index=50) for entry in content.compromised[:1])
    known = load_trust_list(CITY.trust_data(compromised=content.compromised))
    draft = parse_trust_list(CITY.trust_data(version=2, compromised=later))
    told = [en for _ja, en in describe_changes(known, draft)]
    assert sum("CAUTION" in line for line in told) == 2
    assert any("becomes good again" in line for line in told)
    assert any("entries 40 to before 50" in line for line in told)


@pytest.mark.parametrize(
    ("change", "caution"),
    [
        ({"compromised": False}, "believed again"),
        ({"size": 99}, "another state"),
        ({"root": bytes(32)}, "another state"),
        ({"reason": "理由の訂正"}, None),
    ],
)
def test_a_former_log_that_counts_for_more_is_a_caution(change, caution):
    former = FormerLog(CITY.log_vkey, 40, bytes(31) + b"\x01", True, NOW, "台帳の鍵の盗難")
    log = build_vkey(ORIGIN.replace("log/1", "log/2"), raw_public(Ed25519PrivateKey.generate()))
    known = load_trust_list(CITY.trust_data(log=log, former_logs=(former,)))
    later = dataclasses.replace(former, **change)
    draft = parse_trust_list(CITY.trust_data(version=2, log=log, former_logs=(later,)))
    cautions = [en for _ja, en in describe_changes(known, draft) if "CAUTION" in en]
    assert len(cautions) == (caution is not None)
    assert all(caution in line for line in cautions)


@pytest.mark.parametrize("from_index", [10, 40])
def test_a_theft_that_is_counted_in_another_log_is_a_caution(from_index):
    """A lower number is not earlier where the log is a later one."""
    log = build_vkey(ORIGIN.replace("log/1", "log/2"), raw_public(Ed25519PrivateKey.generate()))
    former = FormerLog(CITY.log_vkey, 90, bytes(32), False, NOW, "終了")
    theft = CompromisedKey(bytes(32), ORIGIN, 40, NOW, "盗難")
    moved = dataclasses.replace(theft, log=log.name, from_index=from_index)
    logs = {"log": log, "former_logs": (former,)}
    known = load_trust_list(CITY.trust_data(compromised=(theft,), **logs))
    for entry, cautions in ((moved, 1), (dataclasses.replace(theft, from_index=10), 0)):
        draft = parse_trust_list(CITY.trust_data(version=2, compromised=(entry,), **logs))
        told = [en for _ja, en in describe_changes(known, draft)]
        assert sum("CAUTION" in line and log.name in line for line in told) == cautions


def test_the_log_changes(desk, capsys):
    bundle = CITY.bundle
    note = CITY.checkpoint_note(head_of(bundle))
    (desk.folder / "checkpoint").write_bytes(note)
    log = build_vkey(ORIGIN.replace("log/1", "log/2"), raw_public(Ed25519PrivateKey.generate()))
    words = (
        "--log",
        format_vkey(log),
        "--since",
        "2026-11-19T00:00:00Z",
        "--reason",
        "鍵の盗難",
        "--log-compromised",
    )
    assert desk.make(*words) == 2
    assert desk.make(*words, "--last-checkpoint", desk.folder / "checkpoint") == 0
    content = desk.content
    assert content.log == log
    (former,) = content.former_logs
    assert (former.log, former.last, former.compromised) == (CITY.log_vkey, head_of(bundle), True)
    assert "台帳の鍵が変わります" in capsys.readouterr().out
    # a checkpoint that the present log has not signed names no state of it
    (desk.folder / "checkpoint").write_bytes(
        note.replace(ORIGIN.encode(), b"door.mihon.example/992011/log/9")
    )
    assert desk.make(*words, "--last-checkpoint", desk.folder / "checkpoint") == 2


def test_a_log_that_is_forgotten_is_a_caution():
    log = build_vkey(ORIGIN.replace("log/1", "log/2"), raw_public(Ed25519PrivateKey.generate()))
    told = describe_changes(CITY.trust(), parse_trust_list(CITY.trust_data(version=2, log=log)))
    assert any("CAUTION" in en and ORIGIN in en for _ja, en in told)


def test_signers_change(desk, capsys):
    fresh = []
    for number in range(3, 6):
        assert cli.main(["trust", "key", str(desk.folder / f"signer-{number}"), "--no-passphrase"]) == 0
        fresh += ["--signer", desk.folder / f"signer-{number}.pub"]
    assert (desk.folder / "signer-3").stat().st_mode & 0o777 == 0o600
    assert desk.make(*fresh, "--threshold", "2") == 0
    assert "指紋が変わります" in capsys.readouterr().out
    for numbers, code in (((0, 1), 1), ((3,), 1), ((4,), 0)):
        for number in numbers:
            assert desk.sign(number) == 0
        assert desk.check() == code
    known = load_trust_list(desk.current.read_bytes())
    assert verify_trust_list(desk.draft.read_bytes(), known).fingerprint != known.fingerprint


def test_the_new_signers_alone_are_not_enough(desk):
    fresh = []
    for number in range(3, 5):
        cli.main(["trust", "key", str(desk.folder / f"signer-{number}"), "--no-passphrase"])
        fresh += ["--signer", desk.folder / f"signer-{number}.pub"]
    desk.make(*fresh)
    assert [desk.sign(3), desk.sign(4), desk.check()] == [0, 0, 1]
    with pytest.raises(TrustError, match="threshold"):
        verify_trust_list(desk.draft.read_bytes(), load_trust_list(desk.current.read_bytes()))


def test_whole_members_are_replaced(desk, capsys):
    (desk.folder / "url").write_text(json.dumps("https://door2.mihon.example"))
    (desk.folder / "gone").write_text("null")
    (desk.folder / "bad").write_text("[]")
    assert (
        desk.make("--replace", "public_url", desk.folder / "url", "--replace", "chain", desk.folder / "gone")
        == 0
    )
    assert (desk.content.public_url, desk.content.chain) == ("https://door2.mihon.example", None)
    assert "https://door.mihon.example → https://door2.mihon.example" in capsys.readouterr().out
    assert desk.make("--replace", "seal_cas", desk.folder / "bad") == 2
    for name in ("mock", "city", "compromised", "log"):
        with pytest.raises(DraftError, match="kept-member"):
            replace_members(CITY.content(), {name: None})
    with pytest.raises(FormatError):
        replace_members(CITY.content(), {"unknown": 1})


def test_new_authorities_and_keys_are_named(desk):
    twin = mini_city().public_key("status-list-1")
    content = CITY.content(
        seal_cas=(CITY.pki.der("root"), CITY.pki.der("issuing")), credential_keys=(twin,), name="新見本市"
    )
    data = CITY.trust_data(
        version=2, **{name: getattr(content, name) for name in ("seal_cas", "credential_keys")}
    )
    told = "\n".join(f"{ja} {en}" for ja, en in describe_changes(CITY.trust(), parse_trust_list(data)))
    assert "authority for seals added" in told
    assert "key of printed codes removed" in told
    assert "key of printed codes added" in told


@pytest.mark.parametrize(("days", "code"), [("3650", 0), ("9999999", 2), ("-9999999", 2), ("9" * 30, 2)])
def test_a_list_ends_within_the_calendar(desk, capsys, days, code):
    assert desk.make(f"--days={days}") == code
    assert desk.draft.exists() == (code == 0)
    assert ("bad-days" in capsys.readouterr().err) == (code != 0)


def test_nothing_to_change_is_no_version(desk):
    desk.current.write_bytes(CITY.trust_data(expires=dt.datetime(2099, 1, 1, tzinfo=dt.UTC)))
    assert desk.make() == 2
    desk.current.write_bytes(CITY.trust_data(expires=NOW + DAY))
    assert desk.make() == 0


def test_a_version_goes_out_only_when_it_may_follow(desk, monkeypatch):
    put = []

    class Door:
        @classmethod
        def from_key_file(cls, *_arguments, **_options):
            return cls()

        def put_public(self, path, data):
            put.append((path, data))

    monkeypatch.setattr("app.mailbox.CityMailbox", Door)
    where = ("--door", "http://127.0.0.1:1", "--key", desk.folder / "door-key")
    desk.make("--compromised", desk.folder / "seal.pem", *THEFT)
    desk.sign(0)
    assert desk.run("publish", desk.draft, *where) == 2
    assert put == []
    # whole in itself, but one that must not follow: its number leaves one out
    (desk.folder / "3.json").write_bytes(CITY.trust_data(version=3))
    assert desk.run("publish", desk.folder / "3.json", *where) == 2
    (desk.folder / "ended.json").write_bytes(CITY.trust_data(version=2, expires=NOW - DAY))
    assert desk.run("publish", desk.folder / "ended.json", *where) == 2
    assert put == []
    desk.sign(1)
    assert desk.run("publish", desk.draft, *where) == 0
    data = desk.draft.read_bytes()
    assert put == [("992011/trust/2.root.json", data), ("992011/trust/root.json", data)]

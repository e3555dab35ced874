"""The compromise drill: a real log, bundles before and after a theft, the people who sign, verifiers and a phone.

Everything goes the way it would on that day: the log's files and the trust list's versions lie at a street door of files,
the signers use `akashi trust`, the employer `akashi-verify`, the phone `akashi phone check`.
"""

import argparse
import contextlib
import dataclasses
import datetime as dt
import io
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from werkzeug.serving import make_server

from app import cli as akashi
from app import phone_cli
from app.mailbox import format_door_keys
from app.sealing.key_files import read_private_key, write_private_key
from mobile_api.application import create_app
from tests.support.attacks.logs import own_tree, tlog_proof
from tests.support.door_house import make_settings
from tests.support.mini_city import CITY_NUMBER, NOW, city
from tests.support.verifier_bundles import ORIGIN, PUBLIC_URL
from verifier import cli as akashi_verify
from verifier import portal
from verifier.errors import SourceError
from verifier.formats.signed_note import build_vkey, format_vkey
from verifier.refresh import refresh_evidence
from verifier.trust import load_trust_list, sign_trust_list
from verifier.trust_store import TrustStore

AT = "2026-11-20T03:00:00Z"
LIFE = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
VALID, NOT_VALID, UNDETERMINED = 0, 1, 3


class Answer:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def run(main, *arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    assert "Traceback" not in err.getvalue()
    return Answer(code, out.getvalue(), err.getvalue())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        data = self.server.find(self.path)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_arguments):
        pass


class Door(ThreadingHTTPServer):
    """Public files: those put in, and those of the log."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def find(self, path):
        prefix = f"/{ORIGIN.partition('/')[2]}/"
        if path.startswith(prefix) and path not in self.files:
            return city().log.files.find(path.removeprefix(prefix))
        return self.files.get(path)


@pytest.fixture
def door():
    server = Door()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


class Town:
    """The day: what lies on whose desk."""

    def __init__(self, folder, door):
        self.folder, self.door = folder, door
        self.bundles = {}
        self.lists = [city().trust_data(expires=LIFE)]
        (folder / "root.json").write_bytes(self.lists[0])
        for number, key in enumerate(city().base.signers):
            write_private_key(folder / f"signer-{number}", key)
        self.trust = folder / "employer"
        added = run(
            akashi_verify.main, "trust", "add", folder / "root.json", "--trust", self.trust,
            "--fingerprint", load_trust_list(self.lists[0]).fingerprint,
        )  # fmt: skip
        assert added.code == VALID, added.err

    def issue(self, name, **options):
        bundle = city().issue(**options)
        (self.folder / name).write_bytes(bundle)
        self.bundles[name] = bundle
        return tlog_proof(bundle).index

    def next_list(self, *changes, signers=(0, 1)):
        """Draft, signatures and check, as the people do it; then the file lies at the door."""
        draft = self.folder / f"{len(self.lists) + 1}.json"
        current = ("--current", self.folder / "root.json")
        assert (
            run(akashi.main, "trust", "draft", *current, "--out", draft, "--days", 36500, *changes).code == 0
        )
        for number in signers:
            key = ("--key", self.folder / f"signer-{number}")
            assert run(akashi.main, "trust", "sign", draft, *current, *key, "--yes").code == 0
        checked = run(akashi.main, "trust", "check", draft, *current)
        assert checked.code == 0, checked.out
        self.lists.append(draft.read_bytes())
        (self.folder / "root.json").write_bytes(self.lists[-1])
        return checked

    def publish(self):
        for version, data in enumerate(self.lists, 1):
            self.door.files[f"/992011/trust/{version}.root.json"] = data

    def verify(self, name, *options):
        return run(
            akashi_verify.main, "verify", self.folder / name, "--trust", self.trust, "--at", AT, *options
        )

    def offline(self, name):
        return self.verify(name, "--offline")

    @property
    def bases(self):
        nowhere = "http://127.0.0.1:9"
        return (
            "--base-url",
            f"{PUBLIC_URL}={self.door.url}",
            "--base-url",
            f"http://node.mihon.example:8545={nowhere}",
        )

    def phone(self, name, *options):
        """`akashi phone check` on a phone that holds this bundle."""

        class Phone:
            def __init__(self, bundle):
                self.bundle = bundle

            def requests(self):
                return [{"id": "1"}]

            def open(self, _request):
                return self.bundle

            def refresh_evidence(self, _request, refresh):
                self.bundle = refresh(self.bundle)

        parser = argparse.ArgumentParser()
        phone_cli.add_commands(parser.add_subparsers())
        given = parser.parse_args(
            ["phone", "check", "--home", "x", "--door", self.door.url, "--trust", str(self.trust), *options]
        )
        with pytest.MonkeyPatch.context() as patch:
            fixed = SimpleNamespace(now=lambda _zone: NOW)
            patch.setattr(phone_cli, "datetime", fixed)
            phone_cli._city_trust(given)
            return run(lambda _: phone_cli._check(Phone(self.bundles[name]), given))


@pytest.fixture
def town(tmp_path, door):
    return Town(tmp_path, door)


def seal_certificate(town):
    path = town.folder / "seal.pem"
    path.write_bytes(city().pki.certificates["page-seal-1"].public_bytes(Encoding.PEM))
    return path


def test_the_drill(town):
    """Three bundles before the theft, two after, one by the new key; each verifier learns of it in its own way."""
    before = [town.issue(f"before-{number}", resident=city().taro) for number in range(3)]
    after = [town.issue(f"after-{number}") for number in range(2)]
    assert max(before) < min(after)
    fresh = city().certified(name="見本市 e-seal 2", number=CITY_NUMBER)
    town.issue("new-key", page=city().seal(city().hanako.certificate, by=fresh))
    names = [*town.bundles]

    # Nobody knows yet: the thief's work passes everywhere.
    assert [town.offline(name).code for name in names] == [VALID] * 6

    theft = ("--from-index", min(after), "--since", "2026-11-20T00:00:00Z", "--reason", "印鍵の盗難（模擬）")
    checked = town.next_list("--compromised", seal_certificate(town), *theft)
    assert f"not valid from entry {min(after)}" in checked.out
    assert [town.offline(name).code for name in names] == [VALID] * 6

    # A closed network: the file comes by hand.
    updated = run(akashi_verify.main, "trust", "update", town.folder / "2.json", "--trust", town.trust)
    assert updated.code == VALID
    assert "盗まれた鍵" in updated.out
    expected = [VALID] * 3 + [NOT_VALID] * 2 + [VALID]
    assert [town.offline(name).code for name in names] == expected
    told = town.offline("after-0")
    assert told.out.startswith("✕ 【模擬】盗まれた鍵")
    assert "Stolen key" in told.out
    assert "[key-compromised]" in told.out
    assert "合計所得" not in told.out
    assert "[logged-before]" in town.offline("before-0").out

    # The page without its bundle, before or after: neither genuine nor forged.
    (town.folder / "page.pdf").write_bytes(city().page(city().taro))
    assert town.offline("page.pdf").code == UNDETERMINED


def test_the_phone_learns_of_it_from_the_door(town):
    early, late = town.issue("early"), town.issue("late")
    assert [town.phone(name, "--offline").code for name in ("early", "late")] == [VALID, VALID]
    town.next_list(
        "--compromised",
        seal_certificate(town),
        "--from-index",
        late,
        "--since",
        AT,
        "--reason",
        "盗難（模擬）",
    )
    assert early < late
    assert town.phone("late", "--offline").code == VALID
    town.publish()
    # The chain is away in this drill, so the good one stays unfinished online; the theft is told all the same.
    assert town.phone("late", *town.bases).code == NOT_VALID
    assert TrustStore(town.trust).find("992011").version == 2
    assert town.phone("early", *town.bases).code == UNDETERMINED
    assert [town.phone(name, "--offline").code for name in ("early", "late")] == [VALID, NOT_VALID]


def test_an_online_verifier_learns_of_it_by_itself(town):
    late = town.issue("late")
    assert town.verify("late", *town.bases).code == UNDETERMINED
    town.next_list(
        "--compromised",
        seal_certificate(town),
        "--from-index",
        late,
        "--since",
        AT,
        "--reason",
        "盗難（模擬）",
    )
    town.publish()
    told = town.verify("late", *town.bases)
    assert told.code == NOT_VALID
    assert "第2版" in told.err
    assert town.offline("late").code == NOT_VALID


def test_an_open_check_page_learns_of_it_by_itself(town, monkeypatch):
    """`akashi-verify serve` runs for days: the page asks with each file, not only at its start."""
    late, pages = town.issue("late"), []

    class Server:
        server_port = 0

        def __init__(self, page, _port):
            pages.append(page)

        def serve_forever(self):
            pass

        def server_close(self):
            pass

    create = portal.create_portal
    monkeypatch.setattr(portal, "make_server", Server)
    monkeypatch.setattr(
        portal, "create_portal", lambda found: create(dataclasses.replace(found, clock=lambda: NOW))
    )

    def dropped():
        client = pages[-1].test_client()
        token = re.search(r'name="token" value="([^"]+)"', client.get("/").get_data(as_text=True))[1]
        file = (io.BytesIO(town.bundles["late"]), "late.akashi-bundle")
        return client.post("/", data={"token": token, "file": file}).get_data(as_text=True)

    for network in (town.bases, ("--offline",)):
        assert run(akashi_verify.main, "serve", "--trust", town.trust, *network).code == VALID
    assert "盗まれた鍵 ─" not in dropped()
    town.next_list(
        "--compromised",
        seal_certificate(town),
        "--from-index",
        late,
        "--since",
        AT,
        "--reason",
        "盗難（模擬）",
    )
    town.publish()
    assert "盗まれた鍵 ─" not in dropped()  # the page without a network asks nobody
    pages.reverse()
    assert "盗まれた鍵 ─" in dropped()
    assert "盗まれた鍵 ─" in dropped()
    pages.reverse()
    assert "盗まれた鍵 ─" in dropped()  # now the newer list lies in the directory


def test_versions_are_walked_one_by_one_and_never_back(town):
    """Thieves, signers and log change over four versions; somebody who held the first follows to the last."""
    index = town.issue("early")
    signers = []
    for number in range(3, 6):
        assert run(akashi.main, "trust", "key", town.folder / f"signer-{number}", "--no-passphrase").code == 0
        signers += ["--signer", town.folder / f"signer-{number}.pub"]
    theft = ("--since", AT, "--reason", "模擬の訓練")
    town.next_list(*signers, "--threshold", "2", signers=(0, 1, 3, 4))
    town.next_list("--compromised", seal_certificate(town), "--from-index", index + 1, *theft, signers=(4, 5))
    newest = city().log.published
    (town.folder / "checkpoint").write_bytes(newest.checkpoint)
    log = format_vkey(build_vkey(ORIGIN.replace("log/1", "log/2"), bytes(31) + b"\x07"))
    town.next_list(
        "--log",
        log,
        "--last-checkpoint",
        town.folder / "checkpoint",
        "--log-compromised",
        *theft,
        signers=(3, 5),
    )
    assert [load_trust_list(data).version for data in town.lists] == [1, 2, 3, 4]

    def update(*names):
        return run(
            akashi_verify.main,
            "trust",
            "update",
            *(town.folder / name for name in names),
            "--trust",
            town.trust,
        )

    assert update("3.json").code == 1  # left out: the second
    assert TrustStore(town.trust).find("992011").version == 1
    other = load_trust_list(town.lists[0])
    assert update("2.json", "3.json", "4.json").code == VALID
    trust = TrustStore(town.trust).find("992011")
    assert (trust.version, trust.fingerprint) != (other.version, other.fingerprint)
    for name in ("2.json", "3.json"):
        refused = update(name)
        assert (refused.code, "rollback" in refused.err) == (1, True)
    assert update("4.json").code == VALID  # the same again is nothing new
    # the same number with other words, properly signed by both of the present signers
    forged = town.lists[3].replace("模擬の訓練".encode(), "模擬の盗難".encode())
    for number in (3, 5):
        forged = sign_trust_list(forged, read_private_key(town.folder / f"signer-{number}"))
    (town.folder / "forged.json").write_bytes(forged)
    refused = update("forged.json")
    assert (refused.code, "equivocation" in refused.err) == (1, True)
    assert TrustStore(town.trust).find("992011") == trust


def test_the_old_signers_cannot_go_on_after_they_were_replaced(town):
    signers = []
    for number in range(3, 6):
        run(akashi.main, "trust", "key", town.folder / f"signer-{number}", "--no-passphrase")
        signers += ["--signer", town.folder / f"signer-{number}.pub"]
    town.next_list(*signers, signers=(0, 1, 3, 4))
    town.publish()
    stray = city().trust_data(version=3, expires=LIFE, signers=3)
    town.door.files["/992011/trust/3.root.json"] = stray
    updated = run(akashi_verify.main, "trust", "update", "--trust", town.trust, *town.bases)
    assert (updated.code, "threshold" in updated.err) == (1, True)
    assert TrustStore(town.trust).find("992011").version == 2
    # a verdict does not stop because the door offers a list that must not follow
    town.issue("early")
    told = town.verify("early", *town.bases)
    assert (told.code, "threshold" in told.err) == (UNDETERMINED, True)


def test_the_log_key_is_stolen_too(town):
    """The thief gives his certificate an early place in a tree of his own; the city names the last good state."""
    index = town.issue("early")
    newest = city().log.published
    (town.folder / "checkpoint").write_bytes(newest.checkpoint)
    forged = own_tree(city().base.log_key)
    town.bundles["forged"] = forged
    (town.folder / "forged").write_bytes(forged)
    assert tlog_proof(forged).index < index
    assert town.offline("forged").code == VALID  # nobody knows yet
    log = format_vkey(build_vkey(ORIGIN.replace("log/1", "log/2"), bytes(31) + b"\x07"))
    theft = ("--since", AT, "--reason", "署名装置の盗難（模擬）")
    town.next_list("--log", log, "--last-checkpoint", town.folder / "checkpoint", "--log-compromised", *theft)
    trust = load_trust_list(town.lists[-1])
    run(akashi_verify.main, "trust", "update", town.folder / "2.json", "--trust", town.trust)
    assert town.offline("forged").code == UNDETERMINED
    assert "[log-key-compromised]" in town.offline("forged").out
    # The genuine one stands in the named state itself, or gets there from the public files.
    assert town.offline("early").code == VALID
    city().issue(resident=city().taro)
    sources = SimpleNamespace(
        public_file=lambda _url, path: town.door.find(path) or _absent(), status_list=lambda _uri: _absent()
    )
    assert refresh_evidence(forged, trust, sources, now=NOW) == forged


def test_a_version_published_at_a_real_door_reaches_a_verifier(town, tmp_path):
    """The street door itself, over HTTP: the numbered version is create-only, the newest is replaced."""
    key = ec.generate_private_key(ec.SECP256R1())
    keys = format_door_keys([(key.public_key(), ("public",))])
    settings = make_settings(tmp_path / "street", keys)
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_private_key(tmp_path / "publisher", key)
    url = f"http://127.0.0.1:{server.port}"
    first = town.folder / "root.json"
    (town.folder / "1.json").write_bytes(first.read_bytes())
    town.next_list(
        "--compromised", seal_certificate(town), "--from-index", 7, "--since", AT, "--reason", "盗難（模擬）"
    )

    def publish(name):
        where = ("--door", url, "--key", tmp_path / "publisher", "--current", town.folder / "1.json")
        return run(akashi.main, "trust", "publish", town.folder / name, *where)

    try:
        published = publish("2.json")
        assert (published.code, "第2版" in published.out) == (0, True), published.err
        assert publish("2.json").code == 0  # the same bytes again
        other = city().trust_data(version=2, expires=LIFE, name="別の名")
        (town.folder / "other.json").write_bytes(other)
        assert publish("other.json").code == 2  # a properly signed second version 2
        base = ("--base-url", f"{PUBLIC_URL}={url}")
        assert run(akashi_verify.main, "trust", "update", "--trust", town.trust, *base).code == VALID
        assert TrustStore(town.trust).find("992011").data == town.lists[1]
    finally:
        server.shutdown()


def test_an_expired_list_says_that_nothing_can_be_said(town, tmp_path):
    town.issue("early")
    old = city().trust_data(expires=dt.datetime(2026, 11, 20, 3, tzinfo=dt.UTC))
    (tmp_path / "old.json").write_bytes(old)
    town.trust = tmp_path / "other"
    added = run(
        akashi_verify.main, "trust", "add", tmp_path / "old.json", "--trust", town.trust, "--at", AT,
        "--fingerprint", load_trust_list(old).fingerprint,
    )  # fmt: skip
    assert (added.code, "EXPIRED" in added.out) == (UNDETERMINED, True)
    told = town.offline("early")
    assert told.code == UNDETERMINED
    assert told.out.startswith("? 【模擬】確認が終わっていません")
    assert "[trust-expired]" in told.out
    assert town.phone("early", "--offline").code == UNDETERMINED
    # one second earlier it still speaks
    earlier = run(
        akashi_verify.main, "verify", town.folder / "early", "--trust", town.trust, "--offline",
        "--at", "2026-11-20T02:59:59Z",
    )  # fmt: skip
    assert earlier.code == VALID


def test_the_phone_sends_nothing_on_the_word_of_an_expired_list(town, tmp_path):
    old = city().trust_data(expires=dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
    store = TrustStore(tmp_path / "old")
    store.add(old, load_trust_list(old).fingerprint)
    parser = argparse.ArgumentParser()
    phone_cli.add_commands(parser.add_subparsers())

    def trust_for(*words):
        common = ["--home", "x", "--door", town.door.url, "--trust", str(store.directory)]
        return phone_cli._city_trust(parser.parse_args(["phone", *words, *common]))

    card = ("--card", "card.json")
    for words in (("sign-up", *card), ("request", "--year", "2026", *card), ("submit", "QR")):
        with pytest.raises(phone_cli.PhoneError, match="trust-expired"):
            trust_for(*words)
    assert trust_for("history").version == 1
    # a newer version at the door brings it back to life
    town.door.files["/992011/trust/2.root.json"] = city().trust_data(version=2, expires=LIFE)
    assert trust_for("submit", "QR").version == 2


def test_a_withheld_update_leaves_the_known_list_in_force(town):
    town.issue("early")
    assert town.offline("early").code == VALID
    gone = run(
        akashi_verify.main,
        "trust",
        "update",
        "--trust",
        town.trust,
        "--base-url",
        f"{PUBLIC_URL}=http://127.0.0.1:9",
    )
    assert gone.code == UNDETERMINED
    assert town.offline("early").code == VALID


def _absent():
    raise SourceError("http-404", "no such file")

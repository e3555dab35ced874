"""The command line as a person uses it: answers on stdout, the rest on stderr, one exit code a verdict."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from tests.support.verifier_bundles import DATA, PUBLIC_URL, STATUS_INDEX, STATUS_URI, changed, mini_city
from verifier.cli import main
from verifier.formats.encoding import base64_decode, base64url_encode, sha256
from verifier.formats.jose import parse_jwk, parse_jws
from verifier.formats.page_qr import (
    build_statement_from,
    format_page_qr,
    page_key_id,
    statement_to_be_signed,
)
from verifier.formats.submission_request import decrypt_descriptor, parse_request_qr, parse_submission_request
from verifier.key_file import DeskKeys, format_desk_keys, parse_desk_keys
from verifier.request_file import RequestFile, format_request_file, parse_request_file
from verifier.trust import load_trust_list

CITY = mini_city()
AT = "2026-11-20T03:00:00Z"
ROOT = Path(__file__).parents[2]


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    assert "Traceback" not in err.getvalue()
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A desk: trust directory, key file, request, files to check."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "root.json").write_bytes(CITY.trust_data())
    fingerprint = CITY.trust().fingerprint
    added = run(
        "trust", "add", folder / "root.json", "--fingerprint", fingerprint, "--trust", folder / "trust"
    )
    assert added.code == 0, added.err
    (folder / "desk.key").write_bytes(format_desk_keys(DeskKeys(CITY.desk, CITY.desk_signing)))
    request = CITY.request()
    (folder / "request.json").write_bytes(format_request_file(RequestFile(request, "ABCDE23456", PUBLIC_URL)))
    (folder / "good.akashi-bundle").write_bytes(CITY.bundle)
    (folder / "sent.akashi").write_bytes(CITY.packed(CITY.bind(CITY.bundle, request)))
    revoked = changed(CITY.bundle, status=CITY.status(revoked=[STATUS_INDEX]))
    (folder / "revoked.akashi-bundle").write_bytes(revoked)
    (folder / "page.pdf").write_bytes(CITY.page)
    (folder / "letter.txt").write_bytes(b"hello")
    return folder


def verify(home, name, *more, at=AT):
    return run("verify", home / name, "--trust", home / "trust", "--offline", "--at", at, *more)


class TestVerify:
    def test_valid(self, home):
        result = verify(home, "good.akashi-bundle")
        assert result.code == 0
        assert result.out.startswith("✓ 【模擬】有効")
        assert "2026-11-20T03:00:00Z" in result.out
        assert DATA["subject"]["name"] in result.out
        assert "紙面の見た目" in result.err

    @pytest.mark.parametrize(
        ("name", "code", "word"),
        [
            ("revoked.akashi-bundle", 1, "失効"),
            ("letter.txt", 1, "発行元不明"),
            ("page.pdf", 3, "確認が終わっていません"),
            ("sent.akashi", 3, "確認が終わっていません"),
        ],
    )
    def test_other_verdicts_show_no_data(self, home, name, code, word):
        result = verify(home, name)
        assert result.code == code
        assert word in result.out.splitlines()[0]
        assert DATA["subject"]["name"] not in result.out + result.err
        assert "3560000" not in result.out + result.err

    def test_expired(self, home):
        result = verify(home, "good.akashi-bundle", at="2027-03-01T00:00:00Z")
        assert (result.code, "期限切れ" in result.out) == (1, True)

    def test_stale_hints_at_trying_again(self, home):
        result = verify(home, "good.akashi-bundle", at="2026-12-01T00:00:00Z")
        assert result.code == 3
        assert "hint:" in result.err

    def test_a_submission(self, home):
        more = ("--key", home / "desk.key", "--request", home / "request.json")
        assert verify(home, "sent.akashi", *more).code == 0
        without = verify(home, "sent.akashi", "--key", home / "desk.key")
        assert without.code == 3

    def test_json(self, home):
        result = verify(home, "good.akashi-bundle", "--json")
        report = json.loads(result.out)
        assert (report["verdict"], report["policy"], report["mock"]) == ("valid", "offline", True)
        assert report["certificate"]["income"]["total"] == 3560000
        assert [finding["check"] for finding in report["findings"]][:2] == ["format", "trust"]

    def test_another_policy(self, home):
        assert verify(home, "good.akashi-bundle", "--policy", "issuance-gate").code == 0

    def test_standard_input(self, home, monkeypatch):
        class Stdin:
            buffer = io.BytesIO(CITY.bundle)

        monkeypatch.setattr(sys, "stdin", Stdin())
        assert run("verify", "-", "--trust", home / "trust", "--offline", "--at", AT).code == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ("missing.file",),
            ("good.akashi-bundle", "--at", "yesterday"),
            ("good.akashi-bundle", "--policy", "lenient"),
            ("good.akashi-bundle", "--key", "letter.txt"),
            ("good.akashi-bundle", "--request", "letter.txt"),
            ("good.akashi-bundle", "--base-url", "nonsense"),
        ],
    )
    def test_wrong_use(self, home, arguments, monkeypatch):
        monkeypatch.chdir(home)
        name, *more = arguments
        options = [] if "--base-url" in more else ["--offline"]
        result = run("verify", name, "--trust", "trust", *options, "--at", AT, *more)
        assert (result.code, result.out) == (2, "")
        assert result.err

    def test_there_is_no_default_trust(self, home, tmp_path):
        assert run("verify", home / "good.akashi-bundle").code == 2
        assert run("verify", home / "good.akashi-bundle", "--trust", tmp_path, "--offline").code == 2
        assert run("verify", home / "good.akashi-bundle", "--trust", tmp_path / "no", "--offline").code == 2

    def test_a_defect_shows_no_traceback_and_no_verdict(self, home, monkeypatch):
        import verifier.cli.verify_command as module

        def broken(*_args, **_options):
            raise RuntimeError("佐藤 花子")

        monkeypatch.setattr(module, "examine", broken)
        result = verify(home, "good.akashi-bundle")
        assert (result.code, result.out) == (3, "")
        assert "佐藤" not in result.err


VERIFY_GOOD = [
    *(sys.executable, "-m", "verifier", "verify", "good.akashi-bundle"),
    *("--trust", "trust", "--offline", "--at", AT),
]


class TestConsoles:
    """Windows consoles speak cp932: a real process with that encoding, and text files with CRLF."""

    @pytest.mark.parametrize("encoding", ["cp932", "ascii", "utf-8"])
    def test_what_a_console_cannot_write_is_replaced(self, home, encoding):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
        result = subprocess.run(
            [*VERIFY_GOOD],
            cwd=home,
            env=environment,
            capture_output=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert b"Traceback" not in result.stderr
        text = result.stdout.decode(encoding)
        assert "Valid: issued by the city" in text
        if encoding == "cp932":
            assert "有効" in text
            # 𠮷 and ✓ are not in cp932
            assert "𠮷" not in text

    def test_json_survives_any_console(self, home):
        environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
        result = subprocess.run(
            [*VERIFY_GOOD, "--json"],
            cwd=home,
            env=environment,
            capture_output=True,
            timeout=60,
        )
        report = json.loads(result.stdout)
        assert report["certificate"]["subject"]["name"] == DATA["subject"]["name"]

    def test_line_ends_of_windows(self, home, tmp_path):
        def windows(data):
            return data.replace(b"\n", b"\r\n")

        (tmp_path / "root.json").write_bytes(windows(CITY.trust_data()))
        (tmp_path / "desk.key").write_bytes(windows((home / "desk.key").read_bytes()))
        (tmp_path / "request.json").write_bytes(windows((home / "request.json").read_bytes()))
        fingerprint = CITY.trust().fingerprint
        trust = tmp_path / "trust"
        assert (
            run("trust", "add", tmp_path / "root.json", "--fingerprint", fingerprint, "--trust", trust).code
            == 0
        )
        result = run(
            "verify", home / "sent.akashi", "--trust", trust, "--offline", "--at", AT,
            "--key", tmp_path / "desk.key", "--request", tmp_path / "request.json",
        )  # fmt: skip
        assert result.code == 0, result.out

    def test_nothing_needs_a_posix_system(self):
        """The package imports with the modules missing that only POSIX has."""
        script = (
            "import sys\n"
            "for name in ('fcntl', 'pwd', 'grp', 'termios', 'resource', 'posix_ipc', 'tty', 'pty'):\n"
            "    sys.modules[name] = None\n"
            "import importlib, pkgutil, verifier\n"
            "for module in pkgutil.walk_packages(verifier.__path__, 'verifier.'):\n"
            "    if not module.name.endswith('__main__'):\n"
            "        importlib.import_module(module.name)\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr.decode()

    def test_control_characters_of_a_file_do_not_reach_the_terminal(self):
        from verifier.cli.terminal import printable

        assert printable("a\x1b[2Jb\r\nc　d") == "a�[2Jb��c　d"


class TestTrust:
    def test_show(self, home):
        result = run("trust", "show", "--trust", home / "trust", "--at", AT)
        assert result.code == 0
        assert CITY.trust().fingerprint in result.out
        assert "模擬 / MOCK" in result.out

    def test_an_expired_list_says_so(self, home):
        result = run("trust", "show", "--trust", home / "trust", "--at", "2030-01-01T00:00:00Z")
        assert "EXPIRED" in result.out
        assert verify(home, "good.akashi-bundle", at="2030-01-01T00:00:00Z").code == 3

    def test_a_wrong_fingerprint(self, home, tmp_path):
        wrong = "AAAA-" * 7 + "AAAA"
        result = run("trust", "add", home / "root.json", "--fingerprint", wrong, "--trust", tmp_path / "t")
        assert result.code == 1
        assert not (tmp_path / "t").exists()

    def test_update_from_files(self, tmp_path):
        trust = tmp_path / "trust"
        (tmp_path / "1.json").write_bytes(CITY.trust_data())
        (tmp_path / "2.json").write_bytes(CITY.trust_data(version=2))
        run("trust", "add", tmp_path / "1.json", "--fingerprint", CITY.trust().fingerprint, "--trust", trust)
        assert run("trust", "update", tmp_path / "2.json", "--trust", trust).code == 0
        assert load_trust_list((trust / "992011.root.json").read_bytes()).version == 2
        assert run("trust", "update", tmp_path / "1.json", "--trust", trust).code == 1

    def test_update_from_the_city(self, tmp_path, city_server):
        trust = tmp_path / "trust"
        (tmp_path / "1.json").write_bytes(CITY.trust_data())
        run("trust", "add", tmp_path / "1.json", "--fingerprint", CITY.trust().fingerprint, "--trust", trust)
        city_server.files["/992011/trust/2.root.json"] = CITY.trust_data(version=2)
        city_server.files["/992011/trust/3.root.json"] = CITY.trust_data(version=3)
        base = f"{PUBLIC_URL}={city_server.url}"
        assert run("trust", "update", "--trust", trust, "--base-url", base).code == 0
        assert load_trust_list((trust / "992011.root.json").read_bytes()).version == 3
        city_server.files["/992011/trust/4.root.json"] = CITY.trust_data(version=4, signers=1)
        assert run("trust", "update", "--trust", trust, "--base-url", base).code == 1
        assert load_trust_list((trust / "992011.root.json").read_bytes()).version == 3

    def test_nobody_answers(self, home):
        base = f"{PUBLIC_URL}=http://127.0.0.1:9"
        assert run("trust", "update", "--trust", home / "trust", "--base-url", base).code == 3


class TestKeys:
    def test_keygen(self, tmp_path):
        result = run("keygen", tmp_path / "desk.key")
        public = json.loads(result.out)
        keys = parse_desk_keys((tmp_path / "desk.key").read_bytes())
        assert (result.code, public["keys"]) == (0, [keys.kid])
        assert keys.encryption.public_key() != keys.for_signing().public_key()
        if os.name == "posix":
            assert (tmp_path / "desk.key").stat().st_mode & 0o777 == 0o600
        assert "PRIVATE" not in result.out + result.err

    def test_an_existing_key_is_never_overwritten(self, tmp_path):
        (tmp_path / "desk.key").write_bytes(b"precious")
        assert run("keygen", tmp_path / "desk.key").code == 2
        assert (tmp_path / "desk.key").read_bytes() == b"precious"

    def test_a_passphrase(self, home, tmp_path):
        (tmp_path / "pass").write_bytes("ひみつ\r\n".encode())
        data = format_desk_keys(DeskKeys(CITY.desk, CITY.desk_signing), "ひみつ".encode())
        (tmp_path / "desk.key").write_bytes(data)
        options = ("--key", tmp_path / "desk.key", "--request", home / "request.json")
        assert verify(home, "sent.akashi", *options, "--passphrase-file", tmp_path / "pass").code == 0
        (tmp_path / "wrong").write_bytes(b"wrong\n")
        result = verify(home, "sent.akashi", *options, "--passphrase-file", tmp_path / "wrong")
        assert result.code == 2
        assert "ひみつ" not in result.err

    def test_open_decrypts_only(self, home, tmp_path):
        target = tmp_path / "out.akashi-bundle"
        result = run("open", home / "sent.akashi", "--key", home / "desk.key", "--out", target)
        assert (result.code, result.out.strip()) == (0, str(target))
        assert "not checked yet" in result.err
        assert verify(home, target, "--request", home / "request.json").code == 0
        assert run("open", home / "sent.akashi", "--key", home / "desk.key", "--out", target).code == 2

    def test_open_with_another_key(self, home, tmp_path):
        run("keygen", tmp_path / "other.key")
        result = run("open", home / "sent.akashi", "--key", tmp_path / "other.key", "--out", tmp_path / "x")
        assert result.code == 1
        assert not (tmp_path / "x").exists()


class TestRequest:
    def ask(self, home, out, *more):
        return run(
            "request", "--key", home / "desk.key", "--name", "株式会社見本商事", "--purpose", "住居手当",
            "--keep-until", "2031-03-31", "--public-url", PUBLIC_URL, "--out", out, "--at", AT, *more,
        )  # fmt: skip

    def test_stored_at_the_door_and_drawn(self, home, tmp_path, city_server):
        result = self.ask(home, tmp_path / "r.json", "--door", city_server.url, "--item", "income.total")
        assert result.code == 0, result.err
        url, identifier, secret = parse_request_qr(result.out.strip())
        assert (url, identifier) == (PUBLIC_URL, "ABCDE23456")
        stored = parse_request_file((tmp_path / "r.json").read_bytes())
        assert sha256(stored.descriptor) == secret
        # what the door got is ciphertext that only the QR code opens
        form = json.loads(city_server.bodies[-1])
        assert decrypt_descriptor(base64_decode(form["ciphertext"]), secret) == stored.descriptor
        assert parse_submission_request(stored.descriptor).items == ("income.total",)
        for drawn in (tmp_path / "r.png",):
            assert zxingcpp.read_barcode(Image.open(drawn).convert("L")).text == result.out.strip()
        assert (tmp_path / "r.svg").read_text(encoding="utf-8").startswith("<svg")

    def test_the_proof_binds_the_call(self, home, tmp_path, city_server):
        self.ask(home, tmp_path / "r.json", "--door", city_server.url)
        form = json.loads(city_server.bodies[-1])
        proof = parse_jws(city_server.headers[-1]["Akashi-Proof"], typ="akashi-proof+jwt")
        proof.verify(parse_jwk(form["desk_jwk"]))
        claims = proof.payload_object()
        assert (claims["htm"], claims["htu"]) == ("POST", "/v1/requests")
        assert claims["body"] == base64url_encode(sha256(city_server.bodies[-1]))

    def test_without_a_door(self, home, tmp_path):
        result = self.ask(home, tmp_path / "r.json")
        assert result.code == 0
        assert "no QR code yet" in result.err
        assert self.ask(home, tmp_path / "r.json").code == 2

    def test_the_door_is_away(self, home, tmp_path):
        assert self.ask(home, tmp_path / "r.json", "--door", "http://127.0.0.1:9").code == 3
        assert not (tmp_path / "r.json").exists()

    @pytest.mark.parametrize(
        "more",
        [
            ("--days", "0"),
            ("--days", "91"),
            ("--corporate-number", "123"),
            ("--mail", "a b"),
            ("--item", "A"),
        ],
    )
    def test_wrong_use(self, home, tmp_path, more):
        assert self.ask(home, tmp_path / "r.json", *more).code == 2

    def test_inbox(self, home, tmp_path, city_server):
        city_server.files["/v1/requests/ABCDE23456/submissions"] = json.dumps(
            {"submissions": [{"receipt": "r1", "received": "2026-11-20T03:00Z", "size": 5, "fetched": False}]}
        ).encode()
        city_server.files["/v1/requests/ABCDE23456/submissions/r1"] = (home / "sent.akashi").read_bytes()
        options = ("--key", home / "desk.key", "--request", home / "request.json", "--door", city_server.url)
        assert run("inbox", *options).out.startswith("r1\t2026-11-20T03:00Z\t5\tnew")
        result = run("inbox", *options, "--out", tmp_path / "in")
        assert (result.code, result.out.strip()) == (0, str(tmp_path / "in" / "r1.akashi"))
        more = ("--key", home / "desk.key", "--request", home / "request.json")
        assert verify(home, tmp_path / "in" / "r1.akashi", *more).code == 0
        assert run("inbox", *options, "--out", tmp_path / "in").out == ""

    def test_a_door_cannot_choose_where_files_go(self, home, tmp_path, city_server):
        city_server.files["/v1/requests/ABCDE23456/submissions"] = json.dumps(
            {"submissions": [{"receipt": "../../evil", "received": "x", "size": 5, "fetched": False}]}
        ).encode()
        options = ("--key", home / "desk.key", "--request", home / "request.json", "--door", city_server.url)
        assert run("inbox", *options, "--out", tmp_path / "in").code == 3
        assert list(tmp_path.iterdir()) == []


class TestVerifyQr:
    def text(self, data=DATA, key="credential-1"):
        identity = page_key_id(CITY.public_key("credential-1"))
        statement = build_statement_from(data, bytes(16), identity)
        signature = CITY.signer(key)(sha256(statement_to_be_signed(statement)))
        return format_page_qr(PUBLIC_URL, statement, signature)

    def look(self, home, text, at=AT):
        return run("verify-qr", text, "--trust", home / "trust", "--at", at)

    def test_a_good_code_is_compared_with_the_paper_and_never_valid(self, home):
        result = self.look(home, self.text())
        assert result.code == 3
        assert "確認が終わっていません" in result.out
        assert "3,560,000円" in result.out
        assert "1985-03-15" in result.out

    def test_a_forged_code_shows_nothing(self, home):
        result = self.look(home, self.text(key="statement-1"))
        assert result.code == 1
        assert "3,560,000" not in result.out

    def test_an_expired_one(self, home):
        assert self.look(home, self.text(), at="2027-03-01T00:00:00Z").code == 1

    @pytest.mark.parametrize("text", ["", "https://door.mihon.example/v#AAAA", "https://evil.example/x"])
    def test_other_codes(self, home, text):
        assert self.look(home, text).code == 1


class TestOnline:
    def test_status_and_chain_are_asked(self, home, city_server):
        calls = CITY.online().chain_calls
        city_server.files["/992011/status/1"] = CITY.status()
        city_server.calls = calls
        bases = ("--base-url", f"{PUBLIC_URL}={city_server.url}")
        node = ("--base-url", f"http://node.mihon.example:8545={city_server.url}")
        result = run(
            "verify", home / "good.akashi-bundle", "--trust", home / "trust", "--at", AT, *bases, *node
        )
        assert result.code == 0, result.out
        city_server.files["/992011/status/1"] = CITY.status(revoked=[STATUS_INDEX])
        result = run(
            "verify", home / "good.akashi-bundle", "--trust", home / "trust", "--at", AT, *bases, *node
        )
        assert (result.code, "失効" in result.out) == (1, True)
        assert STATUS_URI.endswith("/992011/status/1")

    def test_nobody_answers(self, home):
        nowhere = "http://127.0.0.1:9"
        bases = (
            "--base-url",
            f"{PUBLIC_URL}={nowhere}",
            "--base-url",
            f"http://node.mihon.example:8545={nowhere}",
        )
        result = run("verify", home / "good.akashi-bundle", "--trust", home / "trust", "--at", AT, *bases)
        assert result.code == 3

    def test_redirects_are_not_followed(self, home, city_server):
        from verifier.http import call

        city_server.redirect = "http://169.254.169.254/"
        assert call("GET", city_server.url + "/x").status == 302
        assert len(city_server.headers) == 1

    def test_only_addresses_of_the_trust_list_are_asked(self):
        from verifier.errors import SourceError
        from verifier.http import HttpSources

        sources = HttpSources((CITY.trust(),))
        for ask in (
            lambda: sources.status_list("http://127.0.0.1/status"),
            lambda: sources.public_file("http://127.0.0.1", "/x"),
            lambda: sources.status_list("file:///etc/passwd"),
        ):
            with pytest.raises(SourceError) as error:
                ask()
            assert error.value.code == "not-in-trust-list"

    @pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://x/", "http://user@host/", "nonsense"])
    def test_only_http_is_spoken(self, address):
        from verifier.errors import SourceError
        from verifier.http import call

        with pytest.raises(SourceError, match="bad-address"):
            call("GET", address)

    def test_answers_are_bounded(self, city_server):
        from verifier.errors import SourceError
        from verifier.http import call

        city_server.files["/big"] = bytes(101)
        with pytest.raises(SourceError, match="answer-too-large"):
            call("GET", city_server.url + "/big", max_bytes=100)


class CityServer(ThreadingHTTPServer):
    """Public files, JSON-RPC and the door's requests, from memory."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.calls, self.headers, self.bodies, self.redirect = {}, {}, [], [], None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.headers.append(self.headers)
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.server.files.get(self.path)
        self.reply(404 if data is None else 200, data or b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.headers.append(self.headers)
        self.server.bodies.append(body)
        if self.path == "/v1/requests":
            self.reply(201, b'{"id":"ABCDE23456","expires":"2026-12-04T03:00Z"}')
            return
        question = json.loads(body)
        result = self.server.calls[question["method"]]
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}).encode())

    def reply(self, status, data):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def city_server():
    server = CityServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_help_and_no_command():
    assert run("--help").code == 0
    assert run().code == 2
    assert run("verify", "--help").code == 0

"""The mock デジタル認証アプリ as a process: a login over sockets, judged by a foreign library (joserfc)."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt as foreign_jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from app.counterparts.digital_auth.provider import DISCOVERY, SIGN_IN
from app.counterparts.jpki.server import JpkiServer
from app.errors import UnavailableError
from app.identity.login import Client, LoginRefused, PendingLogin, read_callback, start_login, verify_id_token
from app.identity.login_exchange import ASSERTION_TYPE, exchange_code, post_over_http
from app.identity.login_provider import LoginProvider, parse_login_provider
from app.sealing.key_files import create_private_file
from tests.support.digital_auth_world import client_entry, clients_file
from tests.support.door_house import make_card, make_jpki, register_body
from tests.support.watched_processes import watched
from verifier.formats.jose import es256_signer

ROOT = Path(__file__).resolve().parents[2]
CITY = Client("akashi-iizuka", "https://iizuka.example/login/callback", "city-1")
PIN = "1234"


@dataclass
class Running:
    """The process, where it is, and what the city has of it."""

    process: subprocess.Popen[str]
    origin: str
    provider: LoginProvider
    city_key: ec.EllipticCurvePrivateKey
    log: Path
    documents: dict[str, bytes]

    def get(self, address: str) -> http.client.HTTPResponse:
        return self._ask("GET", address)

    def post(self, address: str, form: dict[str, str]) -> http.client.HTTPResponse:
        return self._ask("POST", address, urlencode(form))

    def _ask(self, method: str, address: str, body: str | None = None) -> http.client.HTTPResponse:
        parts = urlsplit(address)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        headers = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers)
        return connection.getresponse()

    def sign_in(self, pin: str = PIN) -> tuple[str, PendingLogin]:
        """(query of the answer, what the city remembers)."""
        address, pending = start_login(self.provider, CITY, random=os.urandom, now=datetime.now(UTC))
        page = self.get(address).read().decode()
        ticket = re.search(r'name="ticket" value="([\w-]+)"', page)
        assert ticket is not None, page
        form = {"ticket": ticket[1], "card": "hanako", "pin": pin, "choice": "sign-in"}
        answer = self.post(self.origin + SIGN_IN, form)
        if answer.status == 303:
            return urlsplit(answer.headers["Location"]).query, pending
        back = re.search(r'<a href="([^"]+)">', answer.read().decode())
        assert back is not None, "a page that says why has a way back"
        return urlsplit(unescape(back[1])).query, pending

    def code(self) -> tuple[str, PendingLogin]:
        query, pending = self.sign_in()
        return read_callback(query, pending, self.provider, now=datetime.now(UTC)), pending

    def exchange(self, code: str, pending: PendingLogin) -> str:
        return exchange_code(
            code,
            pending,
            self.provider,
            CITY,
            sign=es256_signer(self.city_key),
            post=post_over_http,
            random=os.urandom,
            now=datetime.now(UTC),
        ).id_token


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("digital-auth")
    now = datetime.now(UTC)
    jpki = make_jpki(home / "jpki", now)
    make_card(jpki, home / "cards" / "hanako.card", now=now)
    status = JpkiServer(("127.0.0.1", 0), jpki, profile="demo")
    threading.Thread(target=status.serve_forever, args=(0.05,), daemon=True).start()
    create_private_file(home / "jpki.token", register_body(jpki, "digital-auth").encode())
    city_key = ec.generate_private_key(ec.SECP256R1())
    directory = home / "provider"
    directory.mkdir()
    (directory / "clients.json").write_bytes(clients_file(client_entry(CITY, city_key, "iizuka")))
    with watched(home), (home / "log").open("w") as log:
        process = subprocess.Popen(
            command(home, status.base_url),
            env=environment("demo"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "模擬/MOCK" in line, (home / "log").read_text()
            issuer = line.split()[-1]
            origin = issuer.removesuffix("/api/realms/main")
            with urllib.request.urlopen(origin + DISCOVERY, timeout=20) as answer:
                discovery = answer.read()
            with urllib.request.urlopen(json.loads(discovery)["jwks_uri"], timeout=20) as answer:
                jwks = answer.read()
            provider = parse_login_provider(discovery, jwks, issuer=issuer, profile="demo")
            documents = {"discovery": discovery, "jwks": jwks}
            yield Running(process, origin, provider, city_key, home / "log", documents)
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(20)
            status.shutdown()
            status.server_close()
        assert ended == 0, "it ends by itself when it is asked to"


def command(home: Path, status: str) -> list[str]:
    return [
        *(sys.executable, "-m", "app.counterparts.digital_auth", "serve", "--port", "0"),
        *("--directory", str(home / "provider"), "--cards", str(home / "cards")),
        *("--jpki-anchors", str(home / "jpki" / "anchors"), "--jpki-address", status),
        *("--jpki-token", str(home / "jpki.token")),
    ]


def environment(profile: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AKASHI_PROFILE": profile}


def test_a_login_over_sockets(running: Running) -> None:
    code, pending = running.code()
    token = running.exchange(code, pending)
    login = verify_id_token(token, pending, running.provider, CITY, now=datetime.now(UTC))
    assert login.issuer == running.provider.issuer
    assert login.acr == "aal3"
    with pytest.raises(LoginRefused, match="login-code-refused"):
        running.exchange(code, pending)


def test_a_foreign_library_reads_the_keys_and_accepts_the_token(running: Running) -> None:
    code, pending = running.code()
    token = running.exchange(code, pending)
    keys = KeySet.import_key_set(json.loads(running.documents["jwks"]))
    read = foreign_jwt.decode(token, keys, algorithms=["ES256"])
    rules = foreign_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": running.provider.issuer},
        aud={"essential": True, "value": CITY.client_id},
        exp={"essential": True},
        nonce={"essential": True, "value": pending.nonce},
        sub={"essential": True},
    )
    rules.validate(read.claims)
    assert read.header["alg"] == "ES256"
    login = verify_id_token(token, pending, running.provider, CITY, now=datetime.now(UTC))
    assert read.claims["sub"] == login.subject


def test_the_foreign_library_would_find_a_token_of_another_key(running: Running) -> None:
    code, pending = running.code()
    token = running.exchange(code, pending)
    stranger = ECKey.generate_key("P-256", {"kid": next(iter(running.provider.keys))})
    with pytest.raises(JoseError):
        foreign_jwt.decode(token, KeySet([stranger]), algorithms=["ES256"])


def test_an_assertion_by_a_foreign_library_is_taken(running: Running) -> None:
    code, pending = running.code()
    status, answer = token_request(running, foreign_form(running, code, pending, "f" * 16))
    assert status == 200, answer
    assert verify_id_token(answer["id_token"], pending, running.provider, CITY, now=datetime.now(UTC))
    code, pending = running.code()
    status, answer = token_request(running, foreign_form(running, code, pending, "f" * 16))
    assert (status, answer["error"]) == (401, "invalid_client"), "the same jti again"


def foreign_form(running: Running, code: str, pending: PendingLogin, jti: str) -> dict[str, str]:
    pem = running.city_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": CITY.client_id,
        "sub": CITY.client_id,
        "aud": running.provider.token_endpoint,
        "exp": now + 60,
        "iat": now,
        "jti": jti,
    }
    assertion = foreign_jwt.encode({"alg": "ES256", "kid": CITY.key_id}, claims, ECKey.import_key(pem))
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CITY.redirect_uri,
        "code_verifier": pending.verifier,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }


def token_request(running: Running, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    response = running.post(running.provider.token_endpoint, form)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/json"
    return response.status, json.loads(response.read())


def test_of_eight_that_come_at_once_exactly_one_is_served(running: Running) -> None:
    code, pending = running.code()
    start, found = threading.Barrier(8), []

    def go(number: int) -> None:
        form = foreign_form(running, code, pending, f"race-{number:016}")
        start.wait(20)
        found.append(token_request(running, form)[0])

    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [200] + [400] * 7


def test_an_oversized_request_is_refused_before_it_is_read(running: Running) -> None:
    form = {"code": "x" * (40 << 10)}
    parts = urlsplit(running.provider.token_endpoint)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    connection.putrequest("POST", parts.path)
    connection.putheader("Content-Type", "application/x-www-form-urlencoded")
    connection.putheader("Content-Length", str(len(urlencode(form))))
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert running.get(running.provider.authorization_endpoint + "?x=" + "y" * (30 << 10)).status == 414
    assert running.post(running.provider.token_endpoint, {"code": "x"}).status == 401


def test_pages_are_not_kept_and_not_framed(running: Running) -> None:
    address, _pending = start_login(running.provider, CITY, random=os.urandom, now=datetime.now(UTC))
    response = running.get(address)
    for name, value in (
        ("Cache-Control", "no-store"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
    ):
        assert response.headers[name] == value
    assert "MOCK" in response.headers["Akashi-Mock"]
    assert response.headers["Set-Cookie"] is None


def test_the_log_names_end_points_and_nothing_else(running: Running) -> None:
    query, pending = running.sign_in()
    code = read_callback(query, pending, running.provider, now=datetime.now(UTC))
    token = running.exchange(code, pending)
    login = verify_id_token(token, pending, running.provider, CITY, now=datetime.now(UTC))
    running.get(running.origin + "/hanako/1234?name=hanako").read()
    lines = running.log.read_text()
    assert "POST /api/realms/main/sign-in" in lines
    assert "GET other" in lines
    for secret in (
        code,
        pending.state,
        pending.nonce,
        pending.verifier,
        token,
        login.subject,
        "hanako",
        "ticket",
    ):
        assert secret not in lines


def test_a_redirect_of_the_token_endpoint_is_not_followed(running: Running) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(303 if self.path == "/token" else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/token"
        with urllib.request.urlopen(urllib.request.Request(address, data=b"x=1"), timeout=20):
            assert asked == ["/token", "/elsewhere"], "the library alone would follow"
        asked.clear()
        assert post_over_http(address, b"x=1", 100)[0] == 303
        assert asked == ["/token"]
    finally:
        server.shutdown()
        server.server_close()


def test_an_answer_without_end_is_cut(running: Running) -> None:
    address = running.origin + DISCOVERY
    assert post_over_http(address, b"x=1", 1 << 16)[0] == 404
    with pytest.raises(OSError, match="too large"):
        post_over_http(address, b"x=1", 10)


def test_no_status_no_login(running: Running, tmp_path: Path) -> None:
    """A provider whose status service is away starts and signs nobody in."""
    home = running.log.parent
    (tmp_path / "provider").mkdir()
    (tmp_path / "provider" / "clients.json").write_bytes((home / "provider" / "clients.json").read_bytes())
    words = command(home, "http://127.0.0.1:1")
    words[words.index("--directory") + 1] = str(tmp_path / "provider")
    process = subprocess.Popen(
        words,
        env=environment("demo"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().split()[-1]
        origin = issuer.removesuffix("/api/realms/main")
        documents = []
        for path in (DISCOVERY, "/api/realms/main/protocol/openid-connect/certs"):
            with urllib.request.urlopen(origin + path, timeout=20) as answer:
                documents.append(answer.read())
        provider = parse_login_provider(documents[0], documents[1], issuer=issuer, profile="demo")
        alone = Running(process, origin, provider, running.city_key, running.log, {})
        query, pending = alone.sign_in()
        assert "error=temporarily_unavailable" in query
        with pytest.raises(LoginRefused, match="login-denied"):
            read_callback(query, pending, provider, now=datetime.now(UTC))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_production_refuses_the_mock(running: Running) -> None:
    ended = subprocess.run(
        command(running.log.parent, running.origin),
        env=environment("production"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "mock-refused" in ended.stderr


def test_a_provider_that_is_gone_is_unavailable(running: Running) -> None:
    pending = start_login(running.provider, CITY, random=os.urandom, now=datetime.now(UTC))[1]
    gone = LoginProvider(
        running.provider.issuer,
        running.provider.authorization_endpoint,
        "http://127.0.0.1:1/token",
        running.provider.keys,
        running.provider.claims,
    )
    with pytest.raises(UnavailableError):
        exchange_code(
            "c",
            pending,
            gone,
            CITY,
            sign=es256_signer(running.city_key),
            post=post_over_http,
            random=os.urandom,
            now=datetime.now(UTC),
        )

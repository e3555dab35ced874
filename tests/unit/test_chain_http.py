"""The log's HTTP request over TLS: whom it believes."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chain.errors import LogUnavailable
from chain.http_client import send_request


def write_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A self-signed certificate for an address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MOCK")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, SHA256())
    )
    files = folder / f"{address}.pem", folder / f"{address}.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A peer for one connection; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    handle(peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}/state"
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("case", ["trusted", "untrusted", "of another address"])
def test_only_a_trusted_certificate_for_the_address_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    certificate, key = write_certificate(
        tmp_path, "127.0.0.2" if case == "of another address" else "127.0.0.1"
    )
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    if case != "untrusted":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heads: list[bytes] = []

    def handle(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secure:
            heads.append(secure.recv(4096))
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(handle) as url:
        if case == "trusted":
            assert send_request("GET", url) == (200, b"ok")
            assert heads[0].startswith(b"GET /state HTTP/1.1\r\nHost: 127.0.0.1")
        else:
            with pytest.raises(LogUnavailable, match="SSLCertVerificationError"):
                send_request("GET", url)
            assert heads == []

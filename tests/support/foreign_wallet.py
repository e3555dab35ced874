"""Wallets that others wrote, for tests of an issuer: oid4vc-ts (OpenID4VCI 1.0) and Sphereon's client (draft 15).

The drivers are tests/interop/foreign/wallet.mjs and sphereon.mjs; what they take and give stands at their heads. Addresses
in metadata are https and public; `base` says where they really listen.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey

from tests.support.node_packages import RUN_SECONDS, read_answer, run_node, start_node

Base = Mapping[str, str]
PRE_AUTHORIZED = "urn:ietf:params:oauth:grant-type:pre-authorized_code"


def collect(offer: str, base: Base, *, seconds: float = RUN_SECONDS, **wish: Any) -> dict[str, Any]:
    """The pre-authorized flow of oid4vc-ts. Raises: ForeignError."""
    return run_node("wallet.mjs", {"offer": offer, "base": dict(base), **wish}, seconds=seconds)


def collect_by_draft_15(offer: str, base: Base, **wish: Any) -> dict[str, Any]:
    """The pre-authorized flow of Sphereon's client, with one singular proof. Raises: ForeignError."""
    return run_node("sphereon.mjs", {"offer": offer, "base": dict(base), **wish})


def collect_after_login(
    offer: str, base: Base, browse: Callable[[str], str], *, seconds: float = RUN_SECONDS, **wish: Any
) -> dict[str, Any]:
    """The authorization code flow of oid4vc-ts.

    `browse` takes the authorization address (public), does what a person does in the browser, and returns the address
    that the browser was sent back to. Raises: ForeignError; what `browse` raises.
    """
    question = {"offer": offer, "base": dict(base), "flow": "authorization-code", **wish}
    process = start_node("wallet.mjs")
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        line = _tell(process, question)
        if "authorization_url" not in line:
            return read_answer("wallet.mjs", process.wait(), json.dumps(line), "")
        back = browse(line["authorization_url"])
        out, err = process.communicate(json.dumps({"redirect_url": back}) + "\n")
        return read_answer("wallet.mjs", process.returncode, out, err)
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[str], question: Mapping[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, "the wallet ended without a word"
    return json.loads(line)


@dataclass(frozen=True)
class WalletMaker:
    """Who made the wallet (模擬/MOCK): signs attestations for its instances and their keys.

    provider     for the drivers: {jwk, x5c, issuer}
    root         the certificate that an issuer pins; it is not in x5c
    """

    provider: dict[str, Any]
    root: x509.Certificate


def make_wallet_maker(issuer: str = "https://wallet-maker.example") -> WalletMaker:
    """A maker with a root of its own and a signing certificate below it, both fresh."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"模擬ウォレット {what} (MOCK)")])
        for what in ("root", "attestation")
    ]
    root = _certificate(names[0], keys[0], names[0], keys[0], ca=True)
    leaf = _certificate(names[1], keys[1], names[0], keys[0], ca=False)
    provider = {
        "jwk": ECKey.import_key(keys[1]).as_dict(private=True),
        "x5c": [base64.b64encode(leaf.public_bytes(Encoding.DER)).decode("ascii")],
        "issuer": issuer,
    }
    return WalletMaker(provider, root)


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    usage = {
        "digital_signature": not ca,
        "key_cert_sign": ca,
        "crl_sign": ca,
        **dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        ),
    }
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )

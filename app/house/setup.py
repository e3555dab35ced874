"""Making a demo city once: keys, mock card CA, registers, channel tokens, trust-list signers. All 模擬/MOCK.

Made things are never made again: a home that was set up is opened as it is, and its keys stay what they are. The
trust list comes last, when the chain's contract is known (`publish_trust_list`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.counterparts.jpki.authority import MockJpki
from app.errors import CityError
from app.house.home import Home
from app.house.login_provider import LOGIN_KEY, make_login_provider, register_bodies
from app.house.wallet_provider import make_wallet_provider
from app.house.witnesses import make_witnesses
from app.mailbox import format_door_keys
from app.registers.city.generator import generate_city
from app.registers.migrations import upgrade as upgrade_registers
from app.registers.store import RegisterStore
from app.sealing.key_files import create_private_file, create_token, read_private_key, write_private_key
from app.sealing.pki import DemoPki, PkiSettings, create_demo_pki, load_demo_pki
from app.sealing.signer_settings import write_demo_settings
from app.storage.engine import open_store
from chain.log import create_log
from verifier.formats.signed_note import VerifierKey, build_vkey
from verifier.formats.trust_list import ChainTrust, TrustContent
from verifier.trust import TrustList, accept_trust_list, build_trust_list, load_trust_list, sign_trust_list
from verifier.trust_store import TrustStore

CITY: Final = "992011"
PUBLIC_URL: Final = "https://door.mihon.example"
ORIGIN: Final = "door.mihon.example/992011/log/1"
ISSUER: Final = f"{PUBLIC_URL}/{CITY}"
VCT: Final = f"{PUBLIC_URL}/vct/income-certificate/1"
TRUST_LIFE: Final = timedelta(days=365)
MAX_STATUS_AGE: Final = 7 * 86400
TRUST_SIGNERS: Final = 3
TRUST_THRESHOLD: Final = 2
TOKENS: Final = ("gate", "log", "staff", "counter")
LAYOUT: Final = 5
"""Of the home: a higher one has things in it that a lower one has not."""


def set_up(home: Home, *, residents: int, seed: int, now: datetime) -> bool:
    """Make everything that does not need a running process; False if it was made before."""
    done = home.root / "set-up.json"
    if done.exists():
        if orjson.loads(done.read_bytes()).get("layout") != LAYOUT:
            raise CityError(
                "other-layout", "this home was made by another version: remove it, it is all mock"
            )
        return False
    home.create()
    pki = create_demo_pki(home.keys, PkiSettings(iss=ISSUER), now)
    settings = write_demo_settings(pki, origin=ORIGIN, runtime=home.signer)
    _shorten_socket(settings, home.socket("signer"))
    for name in TOKENS:
        create_token(home.token(name))
    mailbox_key = ec.generate_private_key(ec.SECP256R1())
    publisher_key = ec.generate_private_key(ec.SECP256R1())
    write_private_key(home.mailbox_key, mailbox_key)
    write_private_key(home.publisher_key, publisher_key)
    home.door_keys.write_bytes(
        format_door_keys(
            [(mailbox_key.public_key(), ("mailbox", "public")), (publisher_key.public_key(), ("public",))]
        )
    )
    for number in range(1, TRUST_SIGNERS + 1):
        write_private_key(home.trust_signer(number), ed25519.Ed25519PrivateKey.generate())
    MockJpki(home.jpki, now=now)
    for body, credential in register_bodies(home, now=now).items():
        create_private_file(home.jpki_token(body), credential.encode("ascii"))
    make_login_provider(home, _public_p256(pki, LOGIN_KEY), redirect_uri=f"{ISSUER}/haip/login/callback")
    create_registers(home, residents=residents, seed=seed)
    provider_key = make_wallet_provider(home.wallet_provider, now=now)
    write_private_key(home.wallet_provider / "provider.key.pem", provider_key)
    create_log(home.log, ORIGIN)
    make_witnesses(home, log_verifier_key(home))
    # Written last: a home whose making was cut short is made anew by removing it, never half used.
    made = {"mock": True, "layout": LAYOUT, "residents": residents, "seed": seed, "city": CITY}
    done.write_bytes(orjson.dumps(made))
    return True


def create_registers(home: Home, *, residents: int, seed: int) -> None:
    """Fill the mock base systems."""
    engine = open_store(home.store("registers"))
    upgrade_registers(engine)
    RegisterStore(engine).add_city(
        generate_city(residents, seed), f"generated: {residents} residents, seed {seed}"
    )
    engine.dispose()


def publish_trust_list(
    home: Home, *, chain: ChainTrust | None, now: datetime, log_key: VerifierKey
) -> TrustList:
    """The trust list's first version, signed 2 of 3; the newest accepted one if there is any."""
    path = home.trust_list
    if path.exists():
        return TrustStore(home.trust).find(CITY) or load_trust_list(path.read_bytes())
    pki = load_demo_pki(home.keys)
    content = TrustContent(
        city=CITY,
        name="見本市",
        public_url=PUBLIC_URL,
        iss=ISSUER,
        vct=(VCT,),
        seal_cas=(pki.der("root"),),
        credential_cas=(pki.der("root"),),
        credential_keys=(_public_p256(pki, "credential-1"),),
        tsa_cas=(pki.der("tsa-ca"),),
        log=log_key,
        envelope_key=_public_p256(pki, "envelope-1"),
        statement_key=_public_p256(pki, "statement-1"),
        status_lists=(f"{ISSUER}/status/",),
        max_status_age=MAX_STATUS_AGE,
        mock=True,
        chain=chain,
        witnesses=home.witness_policy.read_text("utf-8"),
    )
    signers = [_signer(home.trust_signer(number)) for number in range(1, TRUST_SIGNERS + 1)]
    publics = [key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) for key in signers]
    data = build_trust_list(
        content, version=1, expires=now + TRUST_LIFE, keys=publics, threshold=TRUST_THRESHOLD
    )
    for key in signers[:TRUST_THRESHOLD]:
        data = sign_trust_list(data, key)
    trust = load_trust_list(data)
    accept_trust_list(data, trust.fingerprint)
    TrustStore(home.trust).add(data, trust.fingerprint)
    path.write_bytes(data)
    home.letter.write_text(_letter(trust), encoding="utf-8")
    return trust


def log_verifier_key(home: Home) -> VerifierKey:
    """The log's public key under its origin."""
    key = read_private_key(home.keys / "signer" / "checkpoint-1.key.pem").public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise TypeError("the checkpoint key is not Ed25519")
    return build_vkey(ORIGIN, key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _public_p256(pki: DemoPki, key_id: str) -> ec.EllipticCurvePublicKey:
    key = read_private_key(pki.directory / "signer" / f"{key_id}.key.pem").public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("not a P-256 key")
    return key


def _signer(path: Path) -> ed25519.Ed25519PrivateKey:
    key = read_private_key(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TypeError("a trust-list signer's key is Ed25519")
    return key


def _shorten_socket(settings: Path, socket: Path) -> None:
    content: dict[str, Any] = orjson.loads(settings.read_bytes())
    content["socket"] = str(socket)
    settings.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _letter(trust: TrustList) -> str:
    return (
        "見本市（模擬）からのお知らせ / A letter from Mihon City (MOCK)\n\n"
        "証明書を確かめるための信頼リストの指紋です。画面の文字と見くらべてください。\n"
        "This is the fingerprint of our trust list. Please compare it with what your screen shows.\n\n"
        f"    {trust.fingerprint}\n\n"
        "これは見本です。市・人・証明書は実在しません。 / This is a mock-up.\n"
    )


def utc_now() -> datetime:
    """The wall clock, UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)

"""What every end point for wallets shares: addresses, trusted wallet providers, keys of challenges, the desk.

Addresses come from `public_url`, never from a Host header. One path issuer a profile: `/<city>` is p1, `/<city>/haip`
is p2. A profile that this door does not serve is 404.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509
from flask import Blueprint, Response, current_app, request

from mobile_api.door import Door
from mobile_api.errors import SettingsError
from mobile_api.limits import remote_address
from mobile_api.settings import Profile, served_profiles
from mobile_api.store import wallet_exchanges
from mobile_api.wallet_nonce import NonceKey, check_nonce, make_nonce, newest_key
from mobile_api.wallets.exchange_desk import ExchangeDesk
from mobile_api.wallets.issuer_files import IssuerFiles, IssuerMetadata
from mobile_api.wallets.oauth_errors import OAuthError, away, error_reply
from verifier.errors import FormatError

EXTENSION: Final = "akashi-wallets"
PREFIXES: Final = {"p1": "/<int(fixed_digits=6):city>", "p2": "/<int(fixed_digits=6):city>/haip"}
SUFFIXES: Final = {"p1": "", "p2": "/haip"}
KEYS_LIFE: Final = 30
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "DPoP-Nonce, WWW-Authenticate, Retry-After",
}
PREFLIGHT: Final = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, DPoP, OAuth-Client-Attestation, "
    "OAuth-Client-Attestation-PoP",
    "Access-Control-Max-Age": "600",
}
_POSTS: Final = re.compile(
    r"/[0-9]{6}(?:/haip)?/(?:token|nonce|credential|deferred_credential|notification|par)"
)


class NonceKeys:
    """The city's keys of challenges as the store has them, read again after a while and when one is not known."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lock = threading.Lock()
        self._keys: tuple[NonceKey, ...] = ()
        self._read_at = float("-inf")

    def make(self, life: int, *, dpop: bool = False) -> str:
        """A fresh challenge. Raises OAuthError 503 while the city has sent no key."""
        now = int(self._door.clock().timestamp())
        key = newest_key(self._current(), now) or newest_key(self._current(again=True), now)
        if key is None:
            raise away("there are no challenges yet, try again later")
        return make_nonce(key.for_dpop() if dpop else key, now, life, self._door.random)

    def check(self, text: str, *, dpop: bool = False) -> int:
        """Until when this challenge counts. Raises: FormatError."""
        now = int(self._door.clock().timestamp())
        try:
            return check_nonce(text, self._chosen(dpop), now)
        except FormatError as error:
            if error.code != "unknown-nonce-key":
                raise
        # Another process may have taken a new key from the city since.
        return check_nonce(text, self._chosen(dpop, again=True), now)

    def forget(self) -> None:
        """A new key has come: read again."""
        self._read_at = float("-inf")

    def _chosen(self, dpop: bool, *, again: bool = False) -> list[NonceKey]:
        return [key.for_dpop() if dpop else key for key in self._current(again=again)]

    def _current(self, *, again: bool = False) -> tuple[NonceKey, ...]:
        with self._lock:
            if again or time.monotonic() - self._read_at > KEYS_LIFE:
                with self._door.store.read() as connection:
                    self._keys = wallet_exchanges.list_nonce_keys(connection)
                self._read_at = time.monotonic()
            return self._keys


@dataclass(frozen=True, slots=True)
class WalletDoor:
    """One street door's part for wallets of others."""

    door: Door
    profiles: tuple[str, ...]
    attesters: tuple[x509.Certificate, ...]
    desk: ExchangeDesk
    files: IssuerFiles
    nonce_keys: NonceKeys = field(repr=False)

    def issuer(self, profile: str) -> str:
        """The credential issuer identifier and authorization server of a profile."""
        settings = self.door.settings
        return f"{settings.public_url}/{settings.city}{SUFFIXES[profile]}"

    def url(self, profile: str, name: str) -> str:
        """The address of an end point."""
        return f"{self.issuer(profile)}/{name}"

    def metadata(self, profile: str) -> IssuerMetadata:
        """The city's metadata. Raises OAuthError 503 while there is none that can be used."""
        found = self.files.metadata(profile, self.issuer(profile))
        if found is None or (self.must_encrypt(profile) and not found.encrypts_responses):
            raise away("the city has not published its metadata yet")
        if self.door.settings.profile is Profile.PRODUCTION and not found.encrypts_requests:
            raise away("the city has not published its metadata yet")
        return found

    def must_encrypt(self, profile: str) -> bool:
        """Whether every credential goes out encrypted to the wallet, whatever the metadata says."""
        return profile == "p2" or self.door.settings.profile is Profile.PRODUCTION

    def seconds(self) -> int:
        """Now, in Unix seconds."""
        return int(self.door.clock().timestamp())

    def count_address(self, rule: str) -> None:
        """One call of this network address. Raises Problem 429."""
        self.door.limits.count(f"wallet-{rule}", remote_address(), self.door.settings.rate_wallet, 60)


View = Callable[[WalletDoor, str], Response]


def make_wallet_door(door: Door) -> WalletDoor:
    """From the settings. Raises: SettingsError."""
    settings = door.settings
    return WalletDoor(
        door,
        served_profiles(settings),
        load_attesters(settings.wallet_attesters, production=settings.profile is Profile.PRODUCTION),
        ExchangeDesk(door, settings.wallet_waiters),
        IssuerFiles(settings.public_dir / settings.city / "wallets"),
        NonceKeys(door),
    )


def the_wallet_door() -> WalletDoor:
    """That of the application which handles this request."""
    return current_app.extensions[EXTENSION]


def load_attesters(path: Path | None, *, production: bool) -> tuple[x509.Certificate, ...]:
    """Certificates (PEM) of the authorities whose word about wallets counts. Raises: SettingsError."""
    if path is None:
        return ()
    try:
        found = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise SettingsError("bad-attesters", f"{path.name} holds no certificates in PEM") from error
    names = " ".join(certificate.subject.rfc4514_string() for certificate in found)
    if production and ("MOCK" in names or "模擬" in names):
        raise SettingsError("mock-in-production", f"{path.name} names a mock wallet provider (模擬)")
    return found


def serve(blueprint: Blueprint, name: str, method: str, view: View, profiles: tuple[str, ...]) -> None:
    """One end point in each of `profiles`. Any other method: `refuse_methods`."""
    for profile in profiles:
        blueprint.add_url_rule(
            f"{PREFIXES[profile]}/{name}",
            f"{profile}_{name.replace('/', '_')}",
            partial(_enter, profile, method, view),
            methods=[method, "OPTIONS"],
            provide_automatic_options=False,
        )


def _enter(profile: str, method: str, view: View, city: int) -> Response:
    wallets = the_wallet_door()
    if profile not in wallets.profiles or city != int(wallets.door.settings.city):
        raise OAuthError("invalid_request", "nothing is served at this address", status=404)
    if request.method == "OPTIONS":
        headers = {**PREFLIGHT, "Access-Control-Allow-Methods": f"{method}, OPTIONS"}
        return Response(status=204, headers=headers)
    return view(wallets, profile)


def refuse_methods() -> Response | None:
    """Before every request: another method than POST at an end point for wallets is refused in the protocol's form.

    Without this a GET would be taken for one of a public file, and be answered with a problem document.
    """
    if request.method in ("POST", "OPTIONS") or _POSTS.fullmatch(request.path) is None:
        return None
    refused = OAuthError(
        "invalid_request", "this method is not served here", status=405, headers={"Allow": "POST"}
    )
    return open_to_all(harden(error_reply(refused)))


def harden(response: Response) -> Response:
    """Headers of every answer to a wallet, errors too."""
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def open_to_all(response: Response) -> Response:
    """Wallets in a browser come from any origin; nothing here goes by cookies."""
    for name, value in CORS.items():
        response.headers[name] = value
    return response

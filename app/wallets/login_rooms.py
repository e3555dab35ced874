"""The rooms of a login put together for the worker, from its settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Engine

from app.city_keys import CityKeys
from app.identity.login import Client
from app.identity.login_exchange import get_over_http, post_over_http
from app.identity.login_provider import read_login_provider
from app.registers.gate_client import GateClient
from app.sealing.signer_client import DEFAULT_KEYS
from app.settings import WorkerSettings
from app.wallets.exchanges import Handler
from app.wallets.login_handlers import LoginHandlers
from app.wallets.logins import (
    LOGIN_PURPOSE,
    LOGIN_REQUEST,
    LoginDesk,
    LoginDeskSettings,
    issuable_fiscal_year,
)
from app.wallets.settings import CONFIGURATION, DEFAULT_COPIES, DOCUMENT_KIND
from app.zones import Guard, Zone


def login_handlers(
    settings: WorkerSettings,
    store: Engine,
    gate: GateClient,
    keys: CityKeys,
    *,
    guard: Guard,
    clock: Callable[[], datetime],
) -> Mapping[type, Handler]:
    """Who answers login questions: nobody where no login provider is set. Raises SettingsError."""
    login = settings.login
    if login is None:
        return {}
    provider = read_login_provider(login.discovery, login.keys, issuer=login.issuer, profile=settings.profile)

    def post(url: str, body: bytes, limit: int) -> tuple[int, bytes]:
        guard.check(Zone.CITY, Zone.COUNTERPART, "login.provider", len(body), now=clock())
        return post_over_http(url, body, limit)

    def get(url: str, access_token: str, limit: int) -> tuple[int, str, bytes]:
        guard.check(Zone.CITY, Zone.COUNTERPART, "login.provider", len(access_token), now=clock())
        return get_over_http(url, access_token, limit)

    desk = LoginDesk(
        store,
        LoginDeskSettings(
            provider,
            Client(login.client_id, f"{settings.issuer}/haip/login/callback", DEFAULT_KEYS[LOGIN_PURPOSE]),
            document_kinds={CONFIGURATION: DOCUMENT_KIND},
            copies=DEFAULT_COPIES,
            fiscal_year=issuable_fiscal_year,
        ),
        gate=gate,
        sign=lambda request_id: keys.signing(LOGIN_PURPOSE, request_id=LOGIN_REQUEST, serial=request_id),
        post=post,
        get=get,
        random=os.urandom,
        clock=clock,
    )
    return LoginHandlers(desk).as_mapping()

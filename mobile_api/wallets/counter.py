"""The end points for wallets, put together: which address is served how, with which headers."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, request

from mobile_api.door import Door
from mobile_api.errors import Problem
from mobile_api.wallets import city_calls
from mobile_api.wallets.authorize import authorize, callback
from mobile_api.wallets.credential import credential
from mobile_api.wallets.deferred import deferred
from mobile_api.wallets.metadata import register_metadata
from mobile_api.wallets.nonce import nonce
from mobile_api.wallets.notification import notification
from mobile_api.wallets.oauth_errors import OAuthError, error_reply, register_oauth_errors
from mobile_api.wallets.offers import offer_by_reference
from mobile_api.wallets.pages import error_page, harden_page
from mobile_api.wallets.par import par
from mobile_api.wallets.token import token
from mobile_api.wallets.wallet_door import (
    EXTENSION,
    PREFIXES,
    View,
    WalletDoor,
    harden,
    make_wallet_door,
    open_to_all,
    refuse_methods,
    serve,
    the_wallet_door,
)

BOTH = ("p1", "p2")


def register_wallets(app: Flask, door: Door) -> None:
    """Add everything of this package to the application. Raises: SettingsError."""
    app.extensions[EXTENSION] = make_wallet_door(door)
    app.before_request(refuse_methods)
    app.register_blueprint(_protocol())
    app.register_blueprint(_browser())
    app.register_blueprint(city_calls.blueprint)


def _protocol() -> Blueprint:
    blueprint = Blueprint("wallets", __name__)
    register_oauth_errors(blueprint)
    register_metadata(blueprint)
    serve(blueprint, "token", "POST", token, BOTH)
    serve(blueprint, "nonce", "POST", nonce, BOTH)
    serve(blueprint, "credential", "POST", credential, BOTH)
    serve(blueprint, "deferred_credential", "POST", deferred, BOTH)
    serve(blueprint, "notification", "POST", notification, BOTH)
    serve(blueprint, "par", "POST", par, ("p2",))
    for profile in BOTH:
        _serve_offers(blueprint, profile)
    blueprint.after_request(harden)
    blueprint.after_request(open_to_all)
    return blueprint


def _browser() -> Blueprint:
    # A browser with a person in front of it: pages instead of JSON, cookies, no other origin.
    blueprint = Blueprint("wallet_logins", __name__)
    register_oauth_errors(blueprint)
    serve(blueprint, "authorize", "GET", _page(authorize), ("p2",))
    serve(blueprint, "login/callback", "GET", _page(callback), ("p2",))
    blueprint.after_request(harden)
    blueprint.after_request(harden_page)
    return blueprint


def _page(view: View) -> View:
    def shown(wallets: WalletDoor, profile: str) -> Response:
        try:
            return view(wallets, profile)
        except (OAuthError, Problem) as error:
            return error_page(error.status)

    return shown


def _serve_offers(blueprint: Blueprint, profile: str) -> None:
    def enter(city: int, code: str) -> Response:
        wallets = the_wallet_door()
        if profile not in wallets.profiles or city != int(wallets.door.settings.city):
            return error_reply(OAuthError("invalid_request", "no such offer", status=404))
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Access-Control-Allow-Methods": "GET, OPTIONS"})
        return offer_by_reference(wallets, profile, code)

    blueprint.add_url_rule(
        f"{PREFIXES[profile]}/offers/<code>",
        f"{profile}_offers",
        enter,
        methods=["GET", "OPTIONS"],
        provide_automatic_options=False,
    )

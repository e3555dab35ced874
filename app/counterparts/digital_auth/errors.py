"""What the mock provider says no with.

ProviderError (a CityError)
├── OAuthError        an answer of RFC 6749 or OpenID Connect: to the client as JSON, or to its redirect URI
├── NoRedirectError   client or redirect URI is not known: the person reads a page, nobody is sent anywhere
└── SignInError       the card did not sign in: the person reads why on the page
"""

from __future__ import annotations

from app.errors import CityError


class ProviderError(CityError):
    """Base. Neither code nor detail holds a token, a secret or a person's data."""


class OAuthError(ProviderError):
    """`code` is the protocol's word, `detail` its error_description (ASCII), `status` for a JSON answer."""

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(code, detail)
        self.status = status


class NoRedirectError(ProviderError):
    """RFC 6749 section 4.1.2.1: never redirect to an address that is not registered."""


class SignInError(ProviderError):
    """`ja` is for the person. `oauth` is the error that ends the sign-in; None: the person may try again."""

    def __init__(self, code: str, ja: str, oauth: str | None = None) -> None:
        super().__init__(code)
        self.ja = ja
        self.oauth = oauth

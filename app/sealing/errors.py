"""What can go wrong in the sealing room, as one small tree.

SealingError (a CityError)
├── PkiError            the demo PKI cannot be made, read or used
├── PageError           the drawn page cannot become a sealed page (its own fault, not an outage)
├── CredentialError     the data cannot become a credential or status list
├── KeyUnusableError    a key does not exist, or cannot do what is asked of it
├── SignerError         the signer answered with no: code and detail as it gave them
├── TimestampError      the time-stamping authority's answer is no answer
└── SettingsInvalidError  the signer or a counterpart must not start like this

An outage (socket, HTTP) is `app.errors.UnavailableError`, as everywhere in the city.
"""

from __future__ import annotations

from app.errors import CityError


class SealingError(CityError):
    """Base of this room's errors; neither code nor detail holds personal data or secrets."""


class PkiError(SealingError):
    """The demo PKI cannot be made, read or used."""


class PageError(SealingError):
    """The drawn page cannot become a sealed page."""


class CredentialError(SealingError):
    """The data cannot become a credential or a status list."""


class KeyUnusableError(SealingError):
    """A key does not exist, or cannot do what is asked of it."""


class SignerError(SealingError):
    """The signer said no."""


class TimestampError(SealingError):
    """The time-stamping authority's answer is no answer to our question."""


class SettingsInvalidError(SealingError):
    """The process must not start like this."""

"""The employer's check page: drop a file, read one verdict. For one person on one computer.

It listens on the loopback address only, answers to loopback Host headers only (DNS rebinding), keeps
nothing, logs no file and no name, and sends nothing anywhere but to the addresses of the trust list. Needs
the extra [portal] (Flask).
"""

from __future__ import annotations

from verifier.portal.application import PortalSettings, create_portal
from verifier.portal.server import make_server

__all__ = ["PortalSettings", "create_portal", "make_server"]

"""Issuance to wallets of others (OpenID4VCI 1.0): what the city decides and makes; the street door runs the protocol.

An offer begins with a card's signature (`offers`) or a login (`grants.open_grant`); a grant gives exactly one set of copies
(`credentials`, `copies_walk`). Nothing here listens: the worker reaches out for the door's questions (`exchanges`).
"""

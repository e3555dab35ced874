"""Wallets of others at the street door: OpenID4VCI 1.0 in profiles p1 and p2. The credential is made in the city.

The door runs the protocol and asks the city by exchanges (docs/formats/wallet-exchange.md); it holds no key of the city,
sees no credential where the wallet can encrypt, and stores none ever.
"""

"""Keeping the city's trust list: drafting the next version, signing it apart from the network, publishing it.

The rules are the verifier's (`verifier.trust`); this room only helps the people who sign. No key of theirs is held by
any process of the city.
"""

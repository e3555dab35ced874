"""The outside trust services that a developer's machine lacks (模擬/MOCK): time-stamps, OCSP, revocation
lists.

One real HTTP server on loopback behind the same protocols as the real thing (RFC 3161, RFC 6960, RFC 5280),
with the demo PKI's authority keys. Every answer carries the header `Akashi-Mock`; the production profile
refuses to start it.
"""

"""模擬/MOCK JPKI: two certification authorities, OCSP and CRL over HTTP, and software cards with counted
passwords.

Stands in for J-LIS and a My Number Card on a developer's machine. Names, policies and addresses are clearly
not the real ones; the production profile refuses to start it.
"""

"""模擬/MOCK JPKI: two certification authorities, OCSP and CRL over HTTP, software cards with counted passwords,
the phone-borne certificates, a hotline, the register's life events, and the register of bodies that may ask.

Stands in for J-LIS and a My Number Card on a developer's machine. Names, policies and addresses are clearly
not the real ones; the production profile refuses to start it. PIN reset at a kiosk is not here.
"""

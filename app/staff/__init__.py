"""The staff console: one page behind a login that answers "is anything stuck, slow or wrong?", and revocation
by two people.

It keeps staff logins and de-identified events (request number, step, state, time, reason code) in a store of
its own. It holds no resident data, no seal key and no way into the other processes: the issuance worker
reaches out to it (`machine`, `feed`). It does not decide whether a certificate may be revoked: it hands the
worker a command that two people agreed on.
"""

"""akashi's street door: the only process on the Internet. It holds ciphertext, random ids, hashes and whole
minutes.

It never sees a resident's data, holds no key of the city and never calls into the city. It imports neither
`app` nor `chain`. `create_app` builds it; `messages` says what the mailbox carries; `client` is the
reference phone.
"""

"""模擬/MOCK デジタル認証アプリ: an OpenID Provider where a resident signs in with a mock card.

Authorization code with PKCE S256, client authentication by private_key_jwt, ID tokens with ES256, pairwise `sub`;
paths and parameter names are those of the real service. Demo profile only: production refuses to start it.

From the facts (domain.md 3.5, public third-party material): paths below /api/realms/main, `response_type=code`, scope
`openid name address birthdate gender`, state, nonce of 1 to 255 printable ASCII characters,
`code_challenge_method=S256`, `acr_values` such as `aal3 crl`, private_key_jwt, ES256, a `sub` for each service, and
userinfo with name, address (a text), birthdate YYYYMMDD and gender ("1", "2" …).
Not confirmed, and decided here: ES256 for the client's assertion and its greatest life, which of issuer and token
endpoint is its `aud` (both are taken), how long codes and tokens live, that the ID token has `acr` and `auth_time`,
the `iss` parameter of the answer (RFC 9207), whether `sub` outlives a renewed card certificate (here it does not),
that userinfo can be had signed (`application/jwt`, as a client registers it: OpenID Connect Core section 5.3.2), that a
person may go on without giving the four attributes, and from where they come: here from the 署名用 certificate of the
mock card, by its password; the real app is said to read 券面事項入力補助 by a four-digit number.
Left out: the scope sign and the signing interface (`sign_transaction_id`).
"""

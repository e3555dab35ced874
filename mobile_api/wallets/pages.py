"""The one page for people here: a login that cannot go on and has no wallet to go back to."""

from __future__ import annotations

from flask import Response

_PAGE = """<!doctype html><html lang="ja"><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width"><title>手続きを続けられません</title>
<h1>手続きを続けられません</h1>
<p>このページの有効期限が切れたか、別のブラウザーで開かれました。ウォレットアプリに戻り、もう一度はじめからやり直してください。</p>
<p lang="en">This page has expired or was opened in another browser. Please go back to your wallet app and start again.</p>
</html>
"""
_AWAY = """<!doctype html><html lang="ja"><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width"><title>ただいま利用できません</title>
<h1>ただいま利用できません</h1><p>しばらくしてから、ウォレットアプリからもう一度お試しください。</p>
<p lang="en">This is not available right now. Please try again later from your wallet app.</p></html>
"""


def error_page(status: int) -> Response:
    """The page in Japanese and English; it runs and loads nothing."""
    text = _AWAY if status >= 500 or status == 429 else _PAGE
    return Response(text, status=status, content_type="text/html; charset=utf-8")


def harden_page(response: Response) -> Response:
    """Headers of everything a browser is shown or sent on from here."""
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response

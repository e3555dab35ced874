"""The pages a person sees at the mock provider (模擬/MOCK): choose a card, enter four digits; or why it ends here.

No script, no cookie, nothing from elsewhere; every page says 模擬.
"""

from __future__ import annotations

from html import escape
from typing import Final

TITLE: Final = "デジタル認証アプリ（模擬）"
_PAGE: Final = """<!doctype html>
<html lang="ja"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><header><p>模擬/MOCK</p></header><main><h1>{title}</h1>
{body}
</main></body></html>
"""
_FORM: Final = """<p>ご利用のサービス: {client}</p>
{message}<form method="post" action="{action}">
<input type="hidden" name="ticket" value="{ticket}">
<p><label for="card">カード</label> <select id="card" name="card">{cards}</select></p>
<p><label for="pin">利用者証明用の暗証番号（数字4けた）</label>
<input id="pin" name="pin" type="password" inputmode="numeric" autocomplete="off" maxlength="4"></p>
<p><button name="choice" value="sign-in">認証する</button>
<button name="choice" value="cancel" formnovalidate>やめる</button></p>
</form>"""


def format_sign_in_page(ticket: str, client: str, cards: list[str], action: str, message: str = "") -> str:
    """The form. `message`: why the last try did not work."""
    options = "".join(f"<option>{escape(name)}</option>" for name in cards)
    told = f'<p role="alert">{escape(message)}</p>\n' if message else ""
    body = _FORM.format(
        client=escape(client), message=told, action=escape(action), ticket=escape(ticket), cards=options
    )
    return _PAGE.format(title=TITLE, body=body)


def format_stop_page(message: str) -> str:
    """The end of the way: nobody is sent on from here."""
    return _PAGE.format(title=TITLE, body=f'<p role="alert">{escape(message)}</p>')

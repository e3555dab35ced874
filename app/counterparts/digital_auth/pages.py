"""The pages a person sees at the mock provider (模擬/MOCK): choose a card, enter four digits; agree to what is given to
the service; or why it ends here.

No script, no cookie, nothing from elsewhere; every page says 模擬.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
{password}<p><button name="choice" value="sign-in">認証する</button>
<button name="choice" value="cancel" formnovalidate>やめる</button></p>
</form>"""
_ATTRIBUTES_FORM: Final = """<p>このサービスは、{attributes}の提供を求めています。
提供する場合は、署名用の暗証番号も入力してください。
入力しなければ、提供せずに進みます。</p>
<p><label for="password">署名用の暗証番号（英数字6〜16けた）</label>
<input id="password" name="password" type="password" autocomplete="off" maxlength="16"></p>
"""
_CONSENT: Final = """<p>次の情報を「{client}」に提供します。よろしいですか。</p>
<dl>{claims}</dl>
<form method="post" action="{action}">
<input type="hidden" name="ticket" value="{ticket}">
<p><button name="choice" value="agree">同意して進む</button>
<button name="choice" value="decline">提供せずに進む</button>
<button name="choice" value="cancel">やめる</button></p>
</form>"""
_REFUSED: Final = """<p role="alert">{message}</p>
<p><a href="{address}">ご利用のサービスに戻る</a></p>"""
_WORDS: Final = {"name": "氏名", "address": "住所", "birthdate": "生年月日", "gender": "性別"}


def format_sign_in_page(
    ticket: str, client: str, cards: list[str], action: str, message: str = "", attributes: Sequence[str] = ()
) -> str:
    """The form. `message`: why the last try did not work; `attributes`: the scopes of them that the service asks for."""
    asked = "・".join(_WORDS[name] for name in attributes)
    options = "".join(f"<option>{escape(name)}</option>" for name in cards)
    told = f'<p role="alert">{escape(message)}</p>\n' if message else ""
    body = _FORM.format(
        client=escape(client), message=told, action=escape(action), ticket=escape(ticket), cards=options,
        password=_ATTRIBUTES_FORM.format(attributes=asked) if asked else "",
    )  # fmt: skip
    return _PAGE.format(title=TITLE, body=body)


def format_consent_page(ticket: str, client: str, claims: Mapping[str, str], action: str) -> str:
    """What is about to be given to whom, and three ways on."""
    listed = "".join(f"<dt>{_WORDS[name]}</dt><dd>{escape(value)}</dd>" for name, value in claims.items())
    body = _CONSENT.format(client=escape(client), claims=listed, action=escape(action), ticket=escape(ticket))
    return _PAGE.format(title=TITLE, body=body)


def format_refused_page(message: str, address: str) -> str:
    """Why the card signs nobody in and what to do, before the person goes back to the service with its error."""
    return _PAGE.format(title=TITLE, body=_REFUSED.format(message=escape(message), address=escape(address)))


def format_stop_page(message: str) -> str:
    """The end of the way: nobody is sent on from here."""
    return _PAGE.format(title=TITLE, body=f'<p role="alert">{escape(message)}</p>')

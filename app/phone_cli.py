"""`akashi phone …`: the reference phone on the command line. Answers on standard output, everything else on
standard error.

Passwords come from a file or are asked for without echo, never from the command line. The city's keys come
from the trust list in --trust, never from the street door; the door may only hand over its next versions, and each is
held against the one before it. The card is a card file of the 模擬/MOCK JPKI.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app import phone_device_cli, phone_mandate_cli
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.reader import CardReader
from app.wallets.cli import add_wish_options, print_offer
from mobile_api.client import (
    CardPasswords,
    CityRefused,
    NoAnswerYet,
    OfferWish,
    PackageLost,
    Phone,
    PhoneError,
    ScannedRequest,
)
from mobile_api.messages import format_instant
from verifier.cli.inputs import add_network_options, make_sources
from verifier.cli.verify_command import EXIT_CODES, print_report
from verifier.errors import AkashiVerifierError
from verifier.http import HttpSources
from verifier.policy import find_policy
from verifier.refresh import refresh_evidence
from verifier.trust import TrustList
from verifier.trust_store import TrustStore
from verifier.trust_update import follow_city
from verifier.verify import examine

STAGE_WORDS = {
    "accepted": "受け付けました / accepted",
    "figures": "税額を確認しました / figures computed",
    "page": "証明書を作成しました / page drawn",
    "sealed": "電子シールを付けました / sealed",
    "logged": "発行台帳に記録しました / logged",
    "ready": "受け取れます / ready",
}
EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_LATER = 0, 1, 3, 4


def add_commands(subparsers: Any) -> None:
    """Add `phone` with its commands to an argparse sub-parser object; each sets `run(options) -> int`."""
    phone = subparsers.add_parser("phone", help="スマートフォンの見本 / the reference phone")
    commands = phone.add_subparsers(dest="phone_command", required=True)

    sign_up = _command(commands, "sign-up", _sign_up, "カードで登録 / register with a card")
    _card_options(sign_up)
    sign_up.add_argument("--mail", help="optional; a code is sent to it")

    confirm = _command(
        commands, "confirm-mail", _confirm_mail, "確認番号を送る / send the code from the mail"
    )
    confirm.add_argument("code")

    request = _command(commands, "request", _request, "証明書を申請 / ask for a certificate")
    _card_options(request)
    request.add_argument("--year", type=int, required=True, help="fiscal year, Common Era (令和8年度 = 2026)")
    request.add_argument("--purpose", default="")
    request.add_argument(
        "--mandate", help="委任の番号 / ask for the person who gave this mandate, with your own card"
    )
    request.add_argument("--timeout", type=float, default=120)

    offer = _command(commands, "offer", _offer, "ウォレットへの申込み / ask for an offer to a wallet")
    _card_options(offer)
    offer.add_argument("--year", type=int, required=True, help="fiscal year, Common Era (令和8年度 = 2026)")
    offer.add_argument("--timeout", type=float, default=120)
    add_wish_options(offer)

    fetch = _command(commands, "fetch", _fetch, "証明書を受け取る / fetch the certificate")
    fetch.add_argument("request", nargs="?", help="default: the newest")
    fetch.add_argument("--out", type=Path, help="write the bundle there")
    fetch.add_argument("--timeout", type=float, default=120)

    check = _command(commands, "check", _check, "受け取った証明書を確かめる / check a fetched certificate")
    check.add_argument("request", nargs="?", help="default: the newest")
    add_network_options(check)

    submit = _command(commands, "submit", _submit, "提出する / submit to an employer")
    submit.add_argument("qr", help="text of the employer's QR code")
    submit.add_argument("request", nargs="?", help="default: the newest")
    submit.add_argument("--by", choices=("upload", "mail"), default="upload")
    submit.add_argument("--yes", action="store_true", help="do not ask")

    withdraw = _command(commands, "withdraw", _withdraw, "提出を取り消す / withdraw a submission")
    withdraw.add_argument("receipt")

    stop = _command(commands, "stop-device", _stop, "端末を止める / stop a device")
    stop.add_argument(
        "thumbprint", nargs="?", help="or its first characters, as `devices` shows; default: this phone"
    )
    phone_device_cli.add_commands(commands, _command)
    phone_mandate_cli.add_commands(commands, _command, _card_options, _passwords)

    _command(commands, "history", _history, "履歴 / history").add_argument(
        "--ask-city", action="store_true", help="ask the city instead of this phone"
    )


def run(options: argparse.Namespace) -> int:
    """Run the chosen command. 0 done, 1 failed, 3 the city refused, 4 no answer yet (call again)."""
    try:
        with _phone(options) as phone:
            return options.phone_run(phone, options)
    except CityRefused as no:
        print(f"市からの回答 / answer of the city: {no.ja} / {no.en} [{no.code}]", file=sys.stderr)
        if no.retry:
            print("hint: もう一度お試しください / please try again", file=sys.stderr)
        return EXIT_REFUSED
    except NoAnswerYet:
        print("市からの回答を待っています / the city has not answered yet", file=sys.stderr)
        print("hint: 同じ命令をもう一度実行してください / run the same command again", file=sys.stderr)
        return EXIT_LATER
    except PackageLost:
        print("証明書が受け渡し口で失われました / the street door lost the certificate", file=sys.stderr)
        print(
            "hint: もう一度申請してください / please ask for it again: akashi phone request", file=sys.stderr
        )
        return EXIT_FAILED
    except (PhoneError, JpkiError, AkashiVerifierError, OSError) as error:
        print(f"akashi phone: {error}", file=sys.stderr)
        return EXIT_FAILED


def _command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
    parser.add_argument("--home", type=Path, required=True, help="the phone's directory")
    parser.add_argument("--door", required=True, help="where the street door is reached")
    parser.add_argument("--trust", type=Path, required=True, help="directory of pinned trust lists")
    parser.add_argument("--city", dest="city_code", default="992011", help="six-digit city code")
    parser.set_defaults(run=run, phone_run=function)
    return parser


def _card_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--card", type=Path, required=True, help="card file (模擬/MOCK)")
    parser.add_argument(
        "--passwords",
        type=Path,
        help="file: signature password, then four digits; otherwise they are asked for",
    )


def _phone(options: argparse.Namespace) -> Phone:
    return Phone(options.home, options.door, _city_trust(options).content)


def _city_trust(options: argparse.Namespace) -> TrustList:
    """The city's newest trust list. Nothing new is sent on the word of one that has expired.

    Raises: PhoneError("no-trust", "trust-expired"), errors of the verifier.
    """
    store = TrustStore(options.trust)
    trust = store.find(options.city_code)
    if trust is None:
        raise PhoneError("no-trust", "no trust list of this city is pinned; compare the fingerprint first")
    if not getattr(options, "offline", False):
        sources = HttpSources([trust], base_urls={trust.content.public_url: options.door})
        update = follow_city(store, trust, sources)
        trust = update.trust
        if update.gained:
            print(
                f"信頼リストを第{trust.version}版にしました / trust list updated to version {trust.version}",
                file=sys.stderr,
            )
        if update.failure is not None:
            # The door can only keep newer versions back: the known list speaks until its end.
            print(
                f"信頼リストは第{trust.version}版のままです / the trust list stays at version {trust.version}: "
                f"{update.failure.code}",
                file=sys.stderr,
            )
    if options.phone_run in _NEEDS_LIVING_TRUST and trust.is_expired(datetime.now(UTC)):
        raise PhoneError(
            "trust-expired",
            "信頼リストの期限が切れています。何も送っていません / the trust list has expired; nothing was sent",
        )
    return trust


def _sign_up(phone: Phone, options: argparse.Namespace) -> int:
    if phone.is_registered:
        print("登録済みです / already registered")
        return EXIT_DONE
    phone.sign_up(CardReader(options.card), _passwords(options), options.mail)
    print(f"登録しました / registered: {phone.account}")
    return EXIT_DONE


def _confirm_mail(phone: Phone, options: argparse.Namespace) -> int:
    phone.confirm_mail(options.code)
    print("メールアドレスを確認しました / address confirmed")
    return EXIT_DONE


def _request(phone: Phone, options: argparse.Namespace) -> int:
    words = _passwords(options, only_pin=True)
    request = phone.request_certificate(
        options.year, options.purpose, CardReader(options.card), words.authentication, mandate=options.mandate
    )
    print(request)
    for stage in phone.wait(request, timeout=options.timeout):
        print(STAGE_WORDS[stage], file=sys.stderr)
    return EXIT_DONE


def _offer(phone: Phone, options: argparse.Namespace) -> int:
    words = _passwords(options, only_pin=True)
    wish = OfferWish(options.year, options.purpose, options.profile, options.copies, options.reference)
    ready = phone.request_offer(wish, CardReader(options.card), words.authentication, timeout=options.timeout)
    print_offer(options, ready.offer, ready.tx_code, format_instant(ready.expires), options.door)
    return EXIT_DONE


def _fetch(phone: Phone, options: argparse.Namespace) -> int:
    request = _newest(phone, options)
    path = phone.receive(request, timeout=options.timeout)
    if options.out is not None:
        options.out.write_bytes(phone.open(request))
        path = options.out
    print(path)
    return EXIT_DONE


def _check(phone: Phone, options: argparse.Namespace) -> int:
    trust = TrustStore(options.trust).lists()
    sources, now = make_sources(options, trust), datetime.now(UTC)
    request = _newest(phone, options)
    own = next((found for found in trust if found.content.city == options.city_code), None)
    if own is not None and not options.offline:
        phone.refresh_evidence(request, lambda bundle: refresh_evidence(bundle, own, sources, now=now))
    report = examine(
        phone.open(request),
        trust=trust,
        policy=find_policy("offline" if options.offline else "online"),
        now=now,
        sources=sources,
    )
    print_report(report)
    return EXIT_CODES[report.verdict]


def _submit(phone: Phone, options: argparse.Namespace) -> int:
    bundle = phone.open(_newest(phone, options))
    scanned = phone.scan(options.qr)
    _show(scanned)
    for item in scanned.unanswered(bundle):
        words = "証明書にこの記載はありません。出しません / the credential does not say so; left out"
        print(f"{words}: {item}", file=sys.stderr)
    if not options.yes and input("提出しますか / submit? [y/N] ").strip().lower() != "y":
        print("取りやめました / nothing was sent", file=sys.stderr)
        return EXIT_FAILED
    if options.by == "mail":
        phone.submit_mail(bundle, scanned)
        print("メールで送りました。取り消しはできません / sent by mail; it cannot be withdrawn")
    else:
        print(phone.submit_upload(bundle, scanned).receipt)
    return EXIT_DONE


def _withdraw(phone: Phone, options: argparse.Namespace) -> int:
    phone.withdraw(options.receipt)
    print("取り消しました / withdrawn")
    return EXIT_DONE


def _stop(phone: Phone, options: argparse.Namespace) -> int:
    phone.stop_device(options.thumbprint or phone.signing_thumbprint)
    print("止めました / stopped")
    return EXIT_DONE


def _history(phone: Phone, options: argparse.Namespace) -> int:
    if options.ask_city:
        for line in phone.ask_history():
            print(f"{line['at']}  {line['message_ja']} / {line['message_en']}")
        return EXIT_DONE
    for line in phone.history():
        print(f"{line['at']}  {line['event']}  {line['reference']}")
    return EXIT_DONE


def _show(scanned: ScannedRequest) -> None:
    request = scanned.request
    name = scanned.confirmed_name
    if name is None:
        print(
            f"未登録の提出先 / unregistered recipient: 「{request.name}」 と名乗っています", file=sys.stderr
        )
    else:
        print(f"提出先 / recipient: {name}", file=sys.stderr)
    print(f"目的 / purpose: {request.purpose}", file=sys.stderr)
    print(f"内容 / items: {', '.join(request.items)}", file=sys.stderr)
    print(f"保管期限 / kept until: {request.keep_until.isoformat()}", file=sys.stderr)


def _passwords(options: argparse.Namespace, *, only_pin: bool = False) -> CardPasswords:
    if options.passwords is not None:
        lines = options.passwords.read_text("ascii").split()
        if len(lines) != 2:
            raise PhoneError("bad-passwords", "the file has two lines: signature password, four digits")
        return CardPasswords(lines[0], lines[1])
    signature = "" if only_pin else getpass.getpass("署名用パスワード / signature password: ")
    return CardPasswords(signature, getpass.getpass("暗証番号(4桁) / four digits: "))


def _newest(phone: Phone, options: argparse.Namespace) -> str:
    if options.request is not None:
        return options.request
    requests = phone.requests()
    if not requests:
        raise PhoneError("no-request", "this phone has asked for nothing yet")
    return requests[-1]["id"]


# What tells the city or an employer something new. The rest shows, fetches, takes back or stops.
_NEEDS_LIVING_TRUST = frozenset(
    {
        *(_sign_up, _confirm_mail, _request, _offer, _submit),
        *phone_device_cli.NEEDS_LIVING_TRUST,
        *phone_mandate_cli.NEEDS_LIVING_TRUST,
    }
)

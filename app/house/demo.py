"""The pilot's story in one run, told in plain words, with real processes and real refusals. 模擬/MOCK.

Three residents register, get a certificate on a (command-line) phone and hand it to an employer, by upload and by mail;
the employer's own computer gives every verdict. Then a changed byte, a seal by other keys, a revoked certificate; then the
chain is stopped, and an outage is told apart from a forgery. The run ends with 0 only if every line ended as it must.
"""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.reader import CardReader
from app.house.employer import Answer, EmployerComputer, save_attachment
from app.house.foreign_wallet_story import ForeignWalletStory
from app.house.forgery import flip_byte, make_other_city, reseal_bundle
from app.house.home import Home
from app.house.house import House, HouseSettings
from app.house.log_story import LogStory
from app.house.narrator import Narrator
from app.house.people import (
    FISCAL_YEAR,
    PASSWORDS,
    find_people,
    is_exempt,
    is_per_capita_only,
    is_protected,
    is_refused,
    is_taxed,
    make_card,
)
from app.house.setup import ISSUER, PUBLIC_URL
from app.house.staff_browser import StaffBrowser
from app.house.staff_logins import find_or_make_logins
from app.recipients.cli import add_recipient
from app.registers.resident import Resident
from app.registers.store import RegisterStore
from app.rendering.font_set import FontSet
from app.rendering.renderer import CertificateRenderer
from app.storage.engine import open_store
from mobile_api.client import CityRefused, Phone
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import parse_canonical_json
from verifier.http import HttpSources
from verifier.policy import find_policy
from verifier.refresh import refresh_evidence
from verifier.report import Verdict
from verifier.sources import OfflineSources
from verifier.trust import TrustList
from verifier.verify import examine

COMPANY: Final = "株式会社見本商事"
COMPANY_NUMBER: Final = "5990001000011"
COMPANY_MAIL: Final = "jinji@mihon-shoji.example"
PURPOSE: Final = "住居手当の確認のため"
ANCHOR_SECONDS: Final = 60.0


@dataclass
class Holder:
    """One resident of the story with card and phone."""

    title: str
    resident: Resident
    card: CardReader
    phone: Phone
    request: str = ""


class Demo:
    """Tells the story once. `run` returns the exit code."""

    def __init__(self, directory: Path, *, residents: int, seed: int) -> None:
        self._directory = directory.resolve()
        self._say = Narrator()
        self.house = House(
            Home(self._directory / "house"), HouseSettings(residents, seed), say=self._say.tell
        )
        self._log = LogStory(self.house, self._say)
        self._employer = EmployerComputer(self._directory / "employer-computer")

    def run(self) -> int:
        """The whole story."""
        print(
            "これは見本です。市・人・証明書は実在しません。 / This is a mock-up: no city, person or certificate is real.\n"
        )
        self._clear()
        with ExitStack() as stack:
            stack.callback(self.house.stop)
            self._say.chapter("準備 / Setting up")
            self._say.step("市のすべてのプロセスを動かす / start every process of the city", self.house.start)
            self._log.introduce()
            self._say.step(
                "会社のパソコンに検証プログラムだけを入れる / the verifier alone, installed",
                self._employer.install,
            )
            people = self._people(stack)
            self._employer_prepares()
            self._say.chapter("取る / Getting a certificate")
            for holder in people:
                self._fetch(holder)
            self._say.chapter("出す / Handing it over")
            packages = self._hand_over(people)
            self._say.chapter("確かめる / The employer verifies")
            self._verify_all(packages)
            self._leave_files(people[0], packages[0])
            self._say.chapter("ほかのウォレット / A wallet of somebody else")
            ForeignWalletStory(self.house, self._say, self._employer, self._directory).tell()
            self._say.chapter("偽物 / Forgeries")
            self._forgeries(people[0])
            self._say.chapter("断られる人 / Who is refused, and how")
            self._refusals(stack)
            self._say.chapter("失効 / Revocation by two members of staff")
            self._revocation(people[2], packages[2])
            self._say.chapter("だれでも調べられる / Anybody can audit the log")
            self._log.audit(self._employer, self._directory / "trust")
            self._say.chapter("外部の記録が止まる / The chain stops")
            self._outage(packages[0])
            self._say.chapter("証人も止まる / The witnesses stop too")
            self._log.away(people[0].phone, people[0].card)
        return self._end()

    # ---- chapters ---------------------------------------------------------------------------------------------------

    def _people(self, stack: ExitStack) -> list[Holder]:
        home = self.house.home
        registers = RegisterStore(open_store(home.store("registers")))
        wanted = {
            "課税 / taxed": is_taxed,
            "均等割のみ / per capita only": is_per_capita_only,
            "非課税 / not taxed": is_exempt,
            "undeclared": is_refused("undeclared"),
            "moved-in": is_refused("not-resident-on-january-1"),
            "protected": is_protected,
        }
        found = find_people(registers, wanted)
        authority = MockJpki(home.jpki, now=datetime.now(UTC))
        self._cards = {
            title: make_card(
                authority, resident, self._directory / f"card-{number}.json", now=datetime.now(UTC)
            )
            for number, (title, resident) in enumerate(found.items(), 1)
        }
        self._found = found
        return [
            Holder(title, found[title], self._cards[title], self._open_phone(stack, number))
            for number, title in enumerate(list(wanted)[:3], 1)
        ]

    def _employer_prepares(self) -> None:
        home = self.house.home
        key = self._directory / "employer.key"
        keys = self._directory / "employer-public.json"
        made = self._employer.run("keygen", key)
        keys.write_text(made.out, encoding="utf-8")
        fingerprint = self._trust.fingerprint
        added = self._employer.run(
            "trust",
            "add",
            home.trust_list,
            "--fingerprint",
            fingerprint,
            "--trust",
            self._directory / "trust",
        )
        self._say.expect(
            "市の手紙の指紋で信頼リストを受け入れる / trust list accepted by the letter's fingerprint",
            added,
            0,
        )
        wrong = self._employer.run(
            "trust",
            "add",
            home.trust_list,
            "--fingerprint",
            fingerprint[::-1],
            "--trust",
            self._directory / "no-trust",
        )
        self._say.expect("指紋が違えば受け入れない / another fingerprint is refused", wrong, 1)
        statement = self._directory / "recipient-statement.jws"
        self._say.step(
            "市の提出先台帳に会社を登録する / the city registers the company",
            lambda: statement.write_bytes(add_recipient(home.root, COMPANY, COMPANY_NUMBER, keys)),
        )
        asked = self._employer.run(
            "request", "--key", key, "--name", COMPANY, "--corporate-number", COMPANY_NUMBER, "--statement", statement,
            "--purpose", PURPOSE, "--keep-until", (datetime.now(UTC) + timedelta(days=365)).date().isoformat(),
            "--public-url", PUBLIC_URL, "--door", self.house.address("door"), "--mail", COMPANY_MAIL,
            "--out", self._directory / "request.json",
        )  # fmt: skip
        self._say.expect("提出を依頼するQRコードを作る / the request's QR code", asked, 0)
        self._qr = asked.out.strip()

    def _fetch(self, holder: Holder) -> None:
        print(f"  ● {holder.resident.name} ({holder.title})")
        self._say.step(
            "カードで登録 / register with the card",
            lambda: holder.phone.sign_up(holder.card, PASSWORDS, timeout=60),
        )

        def request() -> None:
            holder.request = holder.phone.request_certificate(
                FISCAL_YEAR, PURPOSE, holder.card, PASSWORDS.authentication
            )
            for _stage in holder.phone.wait(holder.request, timeout=60):
                pass
            holder.phone.fetch_package(holder.request)

        self._say.step("4桁の暗証番号で申請し、届くまで / four digits, until it has arrived", request)
        self._log.tell_stage(holder.phone.open(holder.request))
        self._say.step(
            "スマートフォンが自分で確かめる / the phone checks it, anchor included",
            lambda: self._anchor(holder),
        )
        self._log.tell_stage(holder.phone.open(holder.request))
        data = self._data(holder)
        print(
            f"      {data['title']} 令和{data['fiscal_year'] - 2018}年度  合計所得金額 {data['income']['total']:,}円  "
            f"年税額 {data['tax']['annual_total']:,}円  番号 {data['certificate_number']}"
        )

    def _anchor(self, holder: Holder) -> None:
        end = time.monotonic() + ANCHOR_SECONDS
        while True:
            bundle = holder.phone.refresh_evidence(
                holder.request,
                lambda old: refresh_evidence(old, self._trust, self._sources(), now=datetime.now(UTC)),
            )
            report = examine(
                bundle,
                trust=self._trust,
                policy=find_policy("offline"),
                now=datetime.now(UTC),
                sources=OfflineSources(),
            )
            if report.verdict is Verdict.VALID and parse_bundle(bundle).anchor is not None:
                return
            if report.verdict is Verdict.NOT_VALID or time.monotonic() > end:
                raise RuntimeError(report.sentence_en)
            time.sleep(0.3)

    def _hand_over(self, people: list[Holder]) -> list[Path]:
        packages: list[Path] = []
        for holder in people[:1] + people[2:]:
            scanned = holder.phone.scan(self._qr)
            bundle = holder.phone.open(holder.request)
            self._say.step(
                f"{holder.resident.name}: 「{scanned.confirmed_name}」へアップロード / upload",
                lambda h=holder, b=bundle, s=scanned: h.phone.submit_upload(b, s),
            )
            inbox = self._directory / "inbox" / holder.title.split(" ")[0]
            fetched = self._employer.run(
                "inbox", "--key", self._directory / "employer.key", "--request", self._directory / "request.json",
                "--door", self.house.address("door"), "--out", inbox,
            )  # fmt: skip
            self._say.expect("会社が受け取る / the employer fetches it", _short(fetched), 0)
            packages.append(Path(fetched.out.strip().splitlines()[-1]))
        mailed = people[1]
        scanned = mailed.phone.scan(self._qr)
        self._say.step(
            f"{mailed.resident.name}: 暗号化した添付ファイルをメールで / by mail, encrypted attachment",
            lambda: mailed.phone.submit_mail(mailed.phone.open(mailed.request), scanned),
        )
        packages.insert(1, save_attachment(self.house.home.mail, self._directory / "from-mail.akashi"))
        return packages

    def _verify_all(self, packages: list[Path]) -> None:
        for package in packages:
            self._say.expect(
                "依頼への提出として、オンラインで / as an answer, online",
                self._verify(package),
                0,
            )
        self._say.expect(
            "同じものを、市にもだれにも聞かずに / the same, asking nobody",
            self._verify(packages[0], offline=True),
            0,
        )

    def _leave_files(self, holder: Holder, package: Path) -> None:
        bundle = holder.phone.open(holder.request)
        page = parse_bundle(bundle).page
        (self._directory / "bundle.zip").write_bytes(bundle)
        (self._directory / "certificate.pdf").write_bytes(page or b"")
        shutil.copyfile(package, self._directory / "package.akashi")
        offline = self._employer.run(
            "verify", self._directory / "certificate.pdf", "--trust", self._directory / "trust", "--offline"
        )
        self._say.expect(
            "PDFだけでは失効の有無はわからない / a bare PDF cannot show its status",
            offline,
            3,
        )

    def _forgeries(self, holder: Holder) -> None:
        bundle = (self._directory / "bundle.zip").read_bytes()
        forged = self._directory / "forged"
        forged.mkdir(exist_ok=True)
        changed = forged / "one-byte.zip"
        changed.write_bytes(flip_byte(bundle, len(bundle) // 3))
        self._say.expect("1バイト変える / one byte changed", self._check(changed), 1)
        pki = make_other_city(forged / "other-city", ISSUER, now=datetime.now(UTC) - timedelta(hours=1))
        data_bytes = parse_bundle(bundle).certificate or b""
        drawn = CertificateRenderer(FontSet.load()).draw_page(
            parse_canonical_json(data_bytes), data_bytes=data_bytes, qr_text=self._qr
        )
        other = forged / "other-seal.zip"
        other.write_bytes(reseal_bundle(bundle, drawn, pki, at=datetime.now(UTC).replace(microsecond=0)))
        self._say.expect(
            "同じ名前の、別の鍵の電子印 / a seal with the same name by other keys", self._check(other), 1
        )

    def _refusals(self, stack: ExitStack) -> None:
        wrong = self._cards["undeclared"]
        try:
            wrong.authenticate("0000", b"x")
            self._say.note("暗証番号まちがい / wrong PIN", "accepted", right=False)
        except JpkiError as error:
            self._say.note("暗証番号まちがい / wrong PIN", str(error), right=True)
        for number, title in enumerate(("undeclared", "moved-in", "protected"), 11):
            phone = self._open_phone(stack, number)
            try:
                phone.sign_up(self._cards[title], PASSWORDS, timeout=60)
                request = phone.request_certificate(
                    FISCAL_YEAR, PURPOSE, self._cards[title], PASSWORDS.authentication
                )
                list(phone.wait(request, timeout=60))
                self._say.note(title, "発行された / issued", right=False)
            except CityRefused as refused:
                self._say.note(_PUBLIC_TITLES[title], refused.ja, right=True)

    def _revocation(self, holder: Holder, package: Path) -> None:
        passwords = find_or_make_logins(self.house.home)
        first, second = (StaffBrowser(self.house.address("staff")) for _ in passwords)
        for browser, (name, password) in zip((first, second), passwords.items(), strict=True):
            browser.log_in(name, password)
        number = next(r["city_request"] for r in holder.phone.requests() if r["id"] == holder.request)
        self._say.step(
            "職員が申し出る / one asks", lambda: first.ask_revocation(number, "wrong-figures", "2026-1")
        )
        self._say.step("別の職員が確認する / another confirms", lambda: second.confirm_revocation(number))
        started = time.perf_counter()
        end = time.monotonic() + 60
        answer = self._verify(package)
        while answer.code != 1 and time.monotonic() < end:
            time.sleep(0.5)
            answer = self._verify(package)
        self._say.expect(
            "失効した証明書 / the revoked certificate, online",
            answer,
            1,
            seconds=time.perf_counter() - started,
        )

    def _outage(self, package: Path) -> None:
        self.house.processes.stop("chain")
        answer = self._verify(package)
        self._say.expect("ブロックチェーンが止まっていると / with the chain stopped, online", answer, 3)
        for line in answer.out.splitlines():
            if line.strip().startswith("?"):
                print(f"      {line.strip()}")
        self._say.expect(
            "オフラインの決まりなら / under the offline policy", self._verify(package, offline=True), 0
        )
        self._say.expect(
            "8日後、オフライン / eight days later, offline",
            self._verify(package, offline=True, at=datetime.now(UTC) + timedelta(days=8)),
            3,
        )

    # ---- small things -------------------------------------------------------------------------------------------------

    @property
    def _trust(self) -> TrustList:
        if self.house.trust is None:
            raise RuntimeError("the house is not started")
        return self.house.trust

    def _sources(self) -> HttpSources:
        return HttpSources([self._trust], base_urls={PUBLIC_URL: self.house.address("door")})

    def _open_phone(self, stack: ExitStack, number: int) -> Phone:
        phone = Phone(self._directory / f"phone-{number}", self.house.address("door"), self._trust.content)
        return stack.enter_context(phone)

    def _data(self, holder: Holder) -> dict:  # type: ignore[type-arg]
        return dict(
            parse_canonical_json(parse_bundle(holder.phone.open(holder.request)).certificate or b"{}")
        )

    def _check(self, file: Path) -> Answer:
        return self._employer.run("verify", file, "--trust", self._directory / "trust", *self._online())

    def _verify(self, package: Path, *, offline: bool = False, at: datetime | None = None) -> Answer:
        more = ["--offline"] if offline else self._online()
        if at is not None:
            more += ["--at", at.strftime("%Y-%m-%dT%H:%M:%SZ")]
        return self._employer.run(
            "verify", package, "--key", self._directory / "employer.key", "--request", self._directory / "request.json",
            "--trust", self._directory / "trust", *more,
        )  # fmt: skip

    def _online(self) -> list[str]:
        return ["--base-url", f"{PUBLIC_URL}={self.house.address('door')}"]

    def _clear(self) -> None:
        """Start from nothing but the employer's program, which takes longest to make."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            if path.name == "employer-computer":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _end(self) -> int:
        self._say.chapter(f"ここにあります / What is left here ({self._say.seconds:.0f} s)")
        for name in (
            "certificate.pdf",
            "bundle.zip",
            "package.akashi",
            "request.json",
            "trust/",
            "employer.key",
        ):
            print(f"  {self._directory / name}")
        if self._say.wrong:
            print("\n想定と違いました / ended otherwise:", *self._say.wrong, sep="\n  ")
            return 1
        print("\nすべて想定どおりでした / every line ended as it must")
        return 0


def _short(answer: Answer) -> Answer:
    """A path's last part is enough for the reader."""
    return Answer(
        answer.code, Path(answer.out.strip().splitlines()[-1]).name if answer.out else "", answer.told
    )


_PUBLIC_TITLES: Final = {
    "undeclared": "未申告の人 / nothing declared",
    "moved-in": "1月2日以後に引っ越してきた人 / moved in after 1 January",
    "protected": "理由を言わずに窓口へ案内される人 / sent to the counter without a reason",
}

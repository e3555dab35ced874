"""Planted words through a whole run: registration, certificate, submission by upload and by mail, a refusal.

Nothing that stands outside the city, and nothing that has no business with persons, may hold one of them afterwards: in
no encoding, in no compressed region, in no free page of a store. The same search finds every leak planted on purpose.

The set-up takes 15 s, up to half a minute on a busy machine: the whole run, and every file of the house searched.
"""

from __future__ import annotations

import base64
import gzip
import io
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from app.registers.events import NameChange, TaxRecordChanged
from app.registers.resident import TaxRecord
from mobile_api.store.columns import ALLOWED_COLUMNS
from tests.support.hostile_door import Call, Said
from tests.support.leak_search import (
    Leak,
    Needles,
    columns_of,
    search,
    search_file,
    search_sqlite,
    search_tree,
)
from tests.support.running_house import (
    FISCAL_YEAR,
    Holder,
    RunningHouse,
    certificate_of,
    now,
    wait_for,
)

FAMILY_NAME = "鸚鵡沢"
MAIL = "canary.yellow@kotori.example"
COMPANY = "株式会社金糸雀鳥籠製作所"
COMPANY_MAIL = "jinji.torikago@kanariya.example"
PURPOSE = "鳥籠手当の額の確認のため"
REMARKS = "止まり木補助の申請"
REVENUE = 198_765_433


@dataclass(frozen=True)
class Run:
    """The run that was made, its words, and what passed the door meanwhile."""

    house: RunningHouse
    needles: Needles
    passed: list[tuple[Call, Said]]


@pytest.fixture(scope="session")
def run(house: RunningHouse) -> Run:
    """One resident with unusual everything, from registration to the employer's verdict."""
    registers = house.registers()
    resident = house.take_resident()
    registers.record_event(NameChange(resident.resident_id, FAMILY_NAME, "オウムサワ"), now())
    record = registers.find_tax_record(resident.resident_id, FISCAL_YEAR)
    assert record is not None
    data = {**record.data, "income": {**record.data.get("income", {}), "salary_revenue": REVENUE}}
    changed = TaxRecord(resident.resident_id, FISCAL_YEAR, declared=True, data=data)
    registers.record_event(TaxRecordChanged(changed), now())
    renamed = registers.find_resident(resident.resident_id)
    assert renamed is not None
    card = house.card(renamed)
    holder = Holder(house, renamed, card, house.phone("canary"))
    desk = house.desk(COMPANY, PURPOSE, COMPANY_MAIL)
    with house.door.recording() as passed:
        holder.register(MAIL)
        bundle = holder.certify(REMARKS)
        request = holder.phone.requests()[0]["id"]
        holder.anchored(request)
        qr = desk.ask()
        scanned = holder.phone.scan(qr)
        holder.phone.submit_upload(holder.phone.open(request), scanned)
        holder.phone.submit_mail(holder.phone.open(request), scanned)
        (submission,) = desk.inbox()
        assert desk.judge(desk.fetch(submission.receipt), "online").verdict.value == "valid"
        holder.phone.ask_history(timeout=30)
        # A refusal too: its sentences are the city's, its cause nobody's.
        holder.request("😀" + REMARKS)
    holder.phone.close()
    shown = certificate_of(bundle)
    assert shown["subject"]["name"] == renamed.name
    assert shown["income"]["salary_revenue"] == REVENUE
    serials = {
        kind: x509.load_der_x509_certificate(signed[0][1].certificate).serial_number
        for kind, signed in (("signature", card.documents), ("authentication", card.authentications))
    }
    words: dict[str, str | bytes] = {
        "name": renamed.name,
        "family name": FAMILY_NAME,
        "address": renamed.addresses[-1].text,
        "revenue": str(REVENUE),
        "revenue with commas": f"{REVENUE:,}",
        "total": str(shown["income"]["total"]),
        "total with commas": f"{shown['income']['total']:,}",
        "mail": MAIL,
        "company": COMPANY,
        "company's mail": COMPANY_MAIL,
        "purpose": PURPOSE,
        "remarks": REMARKS,
        "certificate number": shown["certificate_number"],
        **{f"serial of {kind} in hex": f"{serial:x}" for kind, serial in serials.items()},
        **{f"serial of {kind} in decimal": str(serial) for kind, serial in serials.items()},
        **{
            f"serial of {kind}": serial.to_bytes((serial.bit_length() + 7) // 8)
            for kind, serial in serials.items()
        },
    }
    # The staff console hears of the events with the worker's next beats.
    wait_for(
        lambda: house.rows("worker", "SELECT count(*) FROM events WHERE pushed = 0")[0][0] == 0, 30, "feed"
    )
    return Run(house, Needles(words), passed)


def names_in(found: dict[str, list[Leak]]) -> set[str]:
    """Which words were found."""
    return {leak.needle for leaks in found.values() for leak in leaks}


# ---- nothing there ------------------------------------------------------------


def test_the_street_doors_store(run: Run) -> None:
    assert search_sqlite(run.house.home.store_path("door"), run.needles) == {}
    assert run.house.rows("door", "SELECT count(*) FROM packages WHERE fetched_minute IS NULL") is not None
    assert run.house.rows("door", "SELECT count(*) FROM submissions")[0][0] >= 1


def test_the_street_doors_columns_are_the_allow_list(run: Run) -> None:
    """Random id, salted hash, ciphertext, coarse time: column by column, in the database as it really is."""
    found = columns_of(run.house.home.store_path("door"))
    bookkeeping = {
        ("alembic_version", "version_num"),
        ("sqlite_sequence", "name"),
        ("sqlite_sequence", "seq"),
    }
    assert found - bookkeeping == set(ALLOWED_COLUMNS)
    for table, column in found:
        if column.endswith("_minute"):
            values = run.house.rows("door", f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
            assert all(value % 60 == 0 for (value,) in values), f"{table}.{column}"


@pytest.mark.parametrize("tree", ["public", "chain", "log", "logs", "signer"])
def test_everything_else_that_knows_no_person(run: Run, tree: str) -> None:
    """Public files, the chain's and the log's stores, every process's text log and traffic lines, the signer's audit."""
    root = run.house.home.root / tree
    names = {path.name for path in root.rglob("*") if path.is_file()}
    expected = {
        "public": "checkpoint",
        "chain": "accounts.json",
        "log": "log.sqlite",
        "logs": "traffic.log",
        "signer": "signer.sqlite",
    }
    assert expected[tree] in names
    assert search_tree(root, run.needles) == {}


def test_every_process_wrote_a_log_that_was_searched(run: Run) -> None:
    logs = {path.name for path in run.house.home.logs.iterdir() if path.stat().st_size}
    for name in (
        "door",
        "worker",
        "gate",
        "signer",
        "log",
        "chain",
        "staff",
        "trust-services",
        "jpki",
        "mail",
    ):
        assert f"{name}.log" in logs
    assert {"traffic.log", "traffic-gate.log"} <= logs


def test_the_staff_console(run: Run) -> None:
    assert search_sqlite(run.house.home.store_path("staff"), run.needles) == {}
    assert run.house.rows("staff", "SELECT count(*) FROM event")[0][0] > 0


def test_what_passed_the_door(run: Run) -> None:
    """Paths, headers and bodies in both directions: only the address of a mail to be relayed is read by the door."""
    leaks = {}
    for call, said in run.passed:
        line = f"{call.method} {call.path}?{call.query}\n{dict(call.headers)}\n{dict(said.headers)}".encode()
        found = search(line, run.needles) + search(call.body, run.needles) + search(said.body, run.needles)
        if call.path == "/v1/mail":
            assert {leak.needle for leak in found} == {"company's mail"}
            continue
        if found:
            leaks[f"{call.method} {call.path}"] = found
    assert leaks == {}
    paths = {
        call.path.split("/")[1] + "/" + call.path.split("/")[2]
        for call, _ in run.passed
        if "/" in call.path[1:]
    }
    assert {"v1/accounts", "v1/requests", "v1/mail", "city/inbox", "city/packages"} <= paths


# ---- the same search finds what is there ------------------------------------------------------------


def test_the_words_are_where_they_belong(run: Run) -> None:
    """The search works on the real thing: registers, the worker's accounts, the employer's mailbox."""
    home = run.house.home
    assert {"name", "family name", "address", "revenue"} <= names_in(
        search_sqlite(home.store_path("registers"), run.needles)
    )
    worker = search_sqlite(home.store_path("worker"), run.needles)
    assert {leak.needle for leak in worker["accounts.mail"]} == {"mail"}
    assert "company's mail" in names_in(search_tree(home.mail, run.needles))
    assert "remarks" in names_in(search_tree(run.house.root / "phones" / "canary", run.needles))


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", data)
    return out.getvalue()


HIDING: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "in hex": lambda data: data.hex().encode(),
    "in HEX": lambda data: data.hex().upper().encode(),
    "in base64 at 0": lambda data: base64.b64encode(b"abc" + data + b"xyz"),
    "in base64 at 1": lambda data: base64.b64encode(b"a" + data + b"yz"),
    "in base64 at 2": lambda data: base64.b64encode(b"ab" + data + b"z"),
    "in base64url at 1": lambda data: base64.urlsafe_b64encode(b"\xfe" + data + b"\xff"),
    "deflated": lambda data: b"head" + zlib.compress(b"before " + data + b" after", 9),
    "gzipped": lambda data: b"head" + gzip.compress(data),
    "zipped": lambda data: b"head" + zipped(b"before " + data),
    "gzipped in base64": lambda data: b'{"x":"' + base64.b64encode(gzip.compress(b"1" * 60 + data)) + b'"}',
    "gzipped in hex": lambda data: gzip.compress(b"2" * 60 + data).hex().encode(),
    "deflated in a zip": lambda data: zipped(zlib.compress(data)),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "shift_jis", "euc_jp"])
@pytest.mark.parametrize("hiding", sorted(HIDING))
def test_a_leak_planted_on_purpose_is_found(run: Run, tmp_path: Path, hiding: str, encoding: str) -> None:
    """Each form of each kind of leak, in a table as the door's and in its log."""
    store = sqlite3.connect(tmp_path / "door.sqlite", isolation_level=None)
    store.execute("CREATE TABLE packages (account TEXT, body BLOB)")
    log = tmp_path / "door.log"
    shutil.copyfile(run.house.home.logs / "door.log", log)
    before = log.stat().st_size
    planted = 0
    for name in ("name", "mail", "revenue", "company", "remarks"):
        word = run.needles.words[name]
        assert isinstance(word, str)
        try:
            hidden = HIDING[hiding](word.encode(encoding))
        except UnicodeEncodeError:
            continue
        planted += 1
        store.execute("INSERT INTO packages VALUES ('a', ?)", (hidden,))
        assert name in names_in(search_sqlite(tmp_path / "door.sqlite", run.needles)), name
        store.execute("DELETE FROM packages")
        with log.open("r+b") as file:
            file.truncate(before)
            file.seek(before)
            file.write(b"2026-11-20 INFO akashi.door " + hidden + b"\n")
        assert name in {leak.needle for leak in search_file(log, run.needles)}, name
    assert planted >= 4
    store.close()


def test_a_leak_in_a_copy_of_the_doors_store_is_found_in_its_column(run: Run, tmp_path: Path) -> None:
    """A door that writes into a free place of its store what a phone told it in clear."""
    source = sqlite3.connect(f"file:{run.house.home.store_path('door')}?mode=ro", uri=True)
    copy = sqlite3.connect(tmp_path / "door.sqlite", isolation_level=None)
    source.backup(copy)
    source.close()
    copy.execute("UPDATE requests SET mail_hash = ?", (COMPANY_MAIL,))
    copy.execute("INSERT INTO nonces (nonce, added_minute) VALUES (?, 0)", (base64.b64encode(MAIL.encode()),))
    found = search_sqlite(tmp_path / "door.sqlite", run.needles)
    assert {"requests.mail_hash", "nonces.nonce"} <= set(found)
    copy.close()


def test_an_additional_column_is_noticed(run: Run, tmp_path: Path) -> None:
    source = sqlite3.connect(f"file:{run.house.home.store_path('door')}?mode=ro", uri=True)
    copy = sqlite3.connect(tmp_path / "door.sqlite", isolation_level=None)
    source.backup(copy)
    source.close()
    copy.execute("ALTER TABLE submissions ADD COLUMN account TEXT")
    assert ("submissions", "account") in columns_of(tmp_path / "door.sqlite") - set(ALLOWED_COLUMNS)
    copy.close()


def test_a_leak_in_free_pages_and_in_the_wal_is_found(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("PRAGMA secure_delete=off")
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("CREATE TABLE t (x BLOB)")
    store.execute("INSERT INTO t VALUES (?)", ((FAMILY_NAME + "　花子").encode() * 400,))
    assert "store.sqlite-wal" in search_sqlite(path, run.needles)
    store.execute("DELETE FROM t")
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert set(search_sqlite(path, run.needles)) == {"store.sqlite"}
    store.close()


def test_a_file_name_is_searched_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / f"{FAMILY_NAME}花子.txt").write_bytes(b"nothing")
    assert len(search_tree(tmp_path, run.needles)) == 1

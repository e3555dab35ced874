"""An employer asks any wallet, by the command line and over sockets: a door of two workers, a wallet of another make.

Everything is dated by the wall clock, because the door's is. 模擬/MOCK.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from tests.support.door_process import ROOT
from tests.support.employers_office import open_office
from tests.support.verifier_bundles import (
    DATA,
    PUBLIC_URL,
    STATUS_INDEX,
)
from tests.support.wallet_of_others import read_request
from verifier.formats.encoding import parse_json
from verifier.http import call


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    with open_office(tmp_path_factory.mktemp("office")) as found:
        yield found


def test_ask_wait_answer_and_read(office):
    asked = office.ask()
    waiting = office.result(asked["result"], "--json")
    assert waiting.returncode == 3
    assert json.loads(waiting.stdout)["findings"][0]["code"] == "no-answer-yet"
    patient = office.start(*office.result_arguments(asked["result"], "--wait", "30", "--json"))
    assert office.wallet().go(asked["request"], office.to) == (200, {})
    out, err = patient.communicate(timeout=40)
    report = json.loads(out)
    assert (patient.returncode, report["verdict"]) == (0, "valid"), err
    assert report["certificate"]["income"] == {"total": DATA["income"]["total"]}
    assert set(report["certificate"]["subject"]) == {"name"} and "tax" not in report["certificate"]
    assert (report["policy"], report["kind"], report["mock"]) == ("wallet", "presentation", True)
    # the door has forgotten both, and the same file says the same again
    query = asked["link"].partition("request_uri=")[2].rpartition("%2F")[2]
    assert call("GET", f"{office.base}/vp/{query}").status == 404
    again = office.result(asked["result"])
    assert again.returncode == 0 and again.stdout.startswith("✓ 【模擬】有効")
    assert "市の発行台帳" in again.stderr
    assert (
        office.result(asked["result"], "--offline", "--json").returncode == 3
    )  # no status list: nothing is certain


def test_the_link_works_as_well_and_a_person_reads_codes(office):
    done = office.run(
        *("request", "--preset", "housing", "--key", office.folder / "desk.key", "--wallet"),
        *("--public-url", PUBLIC_URL, "--door", office.base, "--result", office.folder / "own.json"),
    )
    address, link, result = done.stdout.split()
    assert (
        done.returncode == 0 and address.startswith("openid4vp://?") and link.startswith(f"{PUBLIC_URL}/vp?")
    )
    (code,) = zxingcpp.read_barcodes(Image.open(office.folder / "own.png"))
    assert code.text == address
    page = call("GET", office.to(link))
    assert page.status == 200 and address.replace("&", "&amp;") in page.body.decode()
    assert office.wallet().go(link, office.to)[0] == 200
    assert office.result(result).returncode == 0


def test_two_wallets_at_once_and_two_desks_at_once(office):
    asked = office.ask()
    wallets, codes = [office.wallet() for _ in range(2)], []
    threads = [
        threading.Thread(target=lambda wallet=wallet: codes.append(wallet.go(asked["request"], office.to)[0]))
        for wallet in wallets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 400]
    desks = [office.start(*office.result_arguments(asked["result"], "--json")) for _ in range(2)]
    said = [(desk.communicate(timeout=40)[0], desk.returncode) for desk in desks]
    valid = [json.loads(out)["certificate"] for out, code in said if code == 0]
    # the slower one may come after the door was cleared up and then reads the file at its next run
    assert valid and all(certificate == valid[0] for certificate in valid)
    assert office.result(asked["result"]).returncode == 0


def test_a_desk_that_is_killed_after_it_took_the_answer_reads_it_again(office):
    asked = office.ask()
    office.wallet().go(asked["request"], office.to)
    words = [str(word) for word in office.result_arguments(asked["result"])]
    dying = (
        "import os, sys, verifier.cli.result_command as command; from verifier.cli import main; "
        "command.print_report = lambda report: os.kill(os.getpid(), 9); main(sys.argv[1:])"
    )
    killed = subprocess.run([sys.executable, "-c", dying, *words], cwd=ROOT, capture_output=True, timeout=60)
    assert (killed.returncode, killed.stdout) == (-9, b"")
    assert office.wallet().go(asked["request"], office.to)[0] == 400  # nobody slips in
    again = office.result(asked["result"])
    assert again.returncode == 0 and "3560000" in again.stdout


def test_somebody_elses_answer_is_not_valid_and_shows_nothing(office):
    asked = office.ask()
    code, _said = office.wallet().go(asked["request"], office.to, aud="x509_hash:" + "A" * 43)
    assert code == 200  # the door cannot read it
    done = office.result(asked["result"], "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"], report["reading"]) == (1, "not-valid", "not-for-you")
    assert report["certificate"] is None and "3560000" not in done.stdout + done.stderr


def test_revoked_after_it_was_valid(office):
    asked = office.ask()
    office.wallet().go(asked["request"], office.to)
    try:
        office.publish_status(revoked=[STATUS_INDEX])
        done = office.result(asked["result"])
        assert done.returncode == 1 and "失効" in done.stdout.splitlines()[0]
    finally:
        office.publish_status()
    assert office.result(asked["result"]).returncode == 0


def test_the_same_device_flow(office):
    asked = office.ask("--return-uri", "https://shoji.example/done")
    status, said = office.wallet().go(asked["request"], office.to)
    assert status == 200
    code = said["redirect_uri"].partition("?response_code=")[2]
    refused = office.result(asked["result"], "--json")
    assert refused.returncode == 3
    assert json.loads(refused.stdout)["findings"][0]["code"] == "wrong-response-code"
    assert office.result(asked["result"], "--response-code", "x").returncode == 3
    assert office.result(asked["result"], "--response-code", code).returncode == 0


def test_one_command_for_the_citys_app_and_for_wallets(office):
    out = office.folder / "app.json"
    asked = office.ask(
        *(
            "--out",
            out,
            "--name",
            "株式会社見本商事",
            "--keep-until",
            "2031-03-31",
            "--purpose",
            "住居手当の確認",
        )
    )
    assert asked["qr"].startswith(f"{PUBLIC_URL}/r/") and out.exists()
    (code,) = zxingcpp.read_barcodes(Image.open(out.with_suffix(".png")))
    assert code.text == asked["qr"]
    assert office.wallet().go(asked["request"], office.to)[0] == 200
    pending = parse_json(Path(asked["result"]).read_bytes())
    assert read_request(pending["request"].encode())["client_metadata"]["client_name"] == "株式会社見本商事"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json"],
        ["--wallet", "--item", "page", "--door", "http://127.0.0.1:1"],
        ["--wallet", "--item", "income.total", "--door", "http://127.0.0.1:1"],
        ["--preset", "housing", "--door", "http://127.0.0.1:1"],
        [
            "--wallet",
            "--preset",
            "housing",
            "--door",
            "http://127.0.0.1:1",
            "--return-uri",
            "http://a.example",
        ],
        ["--wallet", "--preset", "housing", "--door", "http://127.0.0.1:1", "--days", "0"],
    ],
)
def test_wrong_use(office, arguments):
    done = office.run("request", "--key", office.folder / "desk.key", "--public-url", PUBLIC_URL, *arguments)
    assert done.returncode == 2 and not done.stdout


def test_a_door_that_is_away(office, tmp_path):
    done = office.run(
        *("request", "--preset", "housing", "--key", office.folder / "desk.key", "--json"),
        *("--public-url", PUBLIC_URL, "--door", "http://127.0.0.1:1"),
    )
    assert done.returncode == 3 and not done.stdout
    asked = office.ask()
    away = office.result(asked["result"], "--door", "http://127.0.0.1:1", "--json")
    assert away.returncode == 3
    assert json.loads(away.stdout)["findings"][0]["code"] == "door-unreachable"
    other = office.run("keygen", tmp_path / "other.key")
    assert other.returncode == 0
    assert office.result(asked["result"], "--key", tmp_path / "other.key").returncode == 2
    assert office.result(tmp_path / "none.json").returncode == 2


def test_a_preset_asks_for_a_threshold_and_gets_no_figure(office):
    done = office.run(
        *("request", "--preset", "housing", "--key", office.folder / "desk.key", "--json"),
        *("--public-url", PUBLIC_URL, "--door", office.base),
    )
    asked = json.loads(done.stdout)
    assert office.wallet().go(asked["request"], office.to)[0] == 200
    report = json.loads(office.result(asked["result"], "--json").stdout)
    assert report["verdict"] == "valid" and report["certificate"]["income_at_least"] == {"3000000": True}
    assert "income" not in report["certificate"] and "3560000" not in json.dumps(report)

"""The check page: loopback only, nothing foreign, verdict first, claims only when valid."""

import dataclasses
import io
import re
import threading

import pytest

from tests.support.verifier_bundles import DATA, NOW, STATUS_INDEX, changed, mini_city
from verifier import OFFLINE, OfflineSources, Verdict, examine
from verifier.http import call
from verifier.portal import PortalSettings, create_portal, make_server
from verifier.portal.view import certificate_rows

CITY = mini_city()
REQUEST = CITY.request()
SETTINGS = PortalSettings((CITY.trust(),), OFFLINE, OfflineSources(), key=CITY.desk, clock=lambda: NOW)


@pytest.fixture
def client():
    return create_portal(SETTINGS).test_client()


def token_of(client):
    return re.search(r'name="token" value="([^"]+)"', client.get("/").get_data(as_text=True))[1]


def drop(client, file, *, path="/", **form):
    data = {"token": form.get("token", token_of(client)), "file": (io.BytesIO(file), "certificate.akashi")}
    return client.post(path, data=data)


def test_the_start_page_says_what_it_is(client):
    text = client.get("/").get_data(as_text=True)
    assert "これは見本です" in text
    assert "ここにドロップ" in text
    assert "見本市 (992011)" in text
    assert '<html lang="ja">' in text


def test_english(client):
    text = client.get("/?lang=en").get_data(as_text=True)
    assert '<html lang="en">' in text
    assert "Drop the certificate here" in text
    assert '<html lang="en">' in drop(client, CITY.bundle, path="/?lang=en").get_data(as_text=True)


def test_valid_shows_the_verdict_first_and_then_the_data(client):
    text = drop(client, CITY.bundle).get_data(as_text=True)
    verdict, name = text.index("有効"), text.rindex(DATA["subject"]["name"])
    assert verdict < name
    assert "2026年11月20日 12時00分 の時点" in text
    assert "3,560,000円" in text
    assert "令和8年度" in text
    assert "確認したこと" in text


@pytest.mark.parametrize(
    ("file", "word", "css"),
    [
        (changed(CITY.bundle, status=CITY.status(revoked=[STATUS_INDEX])), "失効", "not-valid"),
        (CITY.page, "確認が終わっていません", "undetermined"),
        (b"hello", "発行元不明", "not-valid"),
    ],
)
def test_other_verdicts_show_no_data(client, file, word, css):
    text = drop(client, file).get_data(as_text=True)
    assert word in text
    assert f'class="verdict {css}"' in text
    for secret in (DATA["subject"]["name"], DATA["subject"]["birthdate"], "3,560,000", "3560000"):
        assert secret not in text


def test_a_submission_needs_its_request():
    file = CITY.packed(CITY.bind(CITY.bundle, REQUEST))
    without = create_portal(SETTINGS).test_client()
    assert "確認が終わっていません" in drop(without, file).get_data(as_text=True)
    with_request = create_portal(dataclasses.replace(SETTINGS, request=REQUEST)).test_client()
    assert "✓" in drop(with_request, file).get_data(as_text=True)


def test_nothing_foreign_can_be_loaded_and_nothing_is_kept(client):
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"(src|href)=\"(https?:)?//", response.get_data(as_text=True))
    assert "Set-Cookie" not in response.headers
    assert "style=" not in drop(client, CITY.bundle).get_data(as_text=True)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8480", "127.0.0.1.evil.example", "0.0.0.0:80", ""]
)
def test_foreign_host_names_are_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1:8480", "localhost:1", "localhost", "[::1]:8480"])
def test_loopback_host_names_are_served(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_a_foreign_page_cannot_send_a_file(client):
    assert drop(client, CITY.bundle, token="guess").status_code == 403
    assert client.post("/", data={"file": (io.BytesIO(b"x"), "x")}).status_code == 403


def test_no_file(client):
    response = client.post("/", data={"token": token_of(client)})
    assert response.status_code == 400
    assert "ファイルが選ばれていません" in response.get_data(as_text=True)


def test_too_large():
    client = create_portal(dataclasses.replace(SETTINGS, max_upload=10_000)).test_client()
    response = drop(client, bytes(20_000))
    assert response.status_code == 413
    assert "ファイルが大きすぎます" in response.get_data(as_text=True)


def test_markup_in_data_stays_text():
    data = {**DATA, "remarks": "<script>alert(1)</script>"}
    client = create_portal(SETTINGS).test_client()
    text = drop(client, CITY.issue(data, with_page=False)).get_data(as_text=True)
    assert "✓" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_a_real_server_on_loopback_without_a_log(capfd):
    server = make_server(create_portal(SETTINGS), 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        answer = call("GET", f"http://127.0.0.1:{server.server_port}/")
        assert answer.status == 200
        assert "text/html" in answer.headers["content-type"]
        script = call("GET", f"http://127.0.0.1:{server.server_port}/static/portal.js")
        assert script.status == 200
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
    assert "GET" not in capfd.readouterr().err


def test_every_label_stands_with_its_field(client):
    """Accessibility that can be counted: labels, one h1, language, landmarks."""
    for text in (client.get("/").get_data(as_text=True), drop(client, CITY.bundle).get_data(as_text=True)):
        assert text.count("<h1") == 1
        assert 'for="file"' in text
        assert 'id="file"' in text
        for landmark in ("<main", "<header", "<footer", "<nav"):
            assert landmark in text


def test_a_threshold_is_said_in_words_with_its_amount():
    city = mini_city()
    paths = [("subject", "name"), ("income_at_least", "3000000"), ("levy_at_most", "169000")]
    shown = city.present(city.issue(with_page=False), paths)
    report = examine(shown, trust=city.trust(), policy=OFFLINE, now=NOW, sources=OfflineSources())
    assert report.verdict is Verdict.VALID
    rows = certificate_rows(report)
    assert ("合計所得金額 3,000,000円以上", "Total income at least 3,000,000 yen", "はい / yes") in rows
    assert ("市民税 所得割 169,000円以下", "City levy on income at most 169,000 yen", "はい / yes") in rows
    assert "income.total" not in str(rows)

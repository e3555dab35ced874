"""Public static files: create-only, allow-listed, whole, cached, for every origin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.errors import ConflictError
from app.mailbox import MailboxError
from mobile_api.public_files import IMMUTABLE, store_file
from tests.support.door_house import CITY, House, make_house

CREATE_ONLY = [
    "log/1/tile/0/000",
    "log/1/tile/0/x001/x234/067",
    "log/1/tile/0/x001/067.p/255",
    "log/1/tile/entries/000.p/1",
    "log/1/tile/63/000",
    "log/12/checkpoints/42",
    "log/1/timestamps/0",
    "trust/1.root.json",
]
# seconds that a cache may keep them
REPLACED = {
    "log/1/checkpoint": 5,
    "log/1/anchored": 5,
    "log/12/receipts/42": 60,
    "status/0": 30,
    "status/17": 30,
    "trust/root.json": 60,
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


@pytest.mark.parametrize("path", CREATE_ONLY)
def test_create_only_files(house: House, path: str) -> None:
    mailbox = house.city.mailbox
    mailbox.put_public(f"{CITY}/{path}", b"first")
    mailbox.put_public(f"{CITY}/{path}", b"first")
    with pytest.raises(ConflictError):
        mailbox.put_public(f"{CITY}/{path}", b"second")
    answer = house.app.test_client().get(f"/{CITY}/{path}")
    assert (answer.status_code, answer.data) == (200, b"first")
    assert answer.headers["Cache-Control"] == IMMUTABLE == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", REPLACED)
def test_newest_files_are_replaced(house: House, path: str) -> None:
    house.city.mailbox.put_public(f"{CITY}/{path}", b"first")
    house.city.mailbox.put_public(f"{CITY}/{path}", b"second")
    answer = house.app.test_client().get(f"/{CITY}/{path}")
    assert answer.data == b"second"
    assert answer.headers["Cache-Control"] == f"public, max-age={REPLACED[path]}"


@pytest.mark.parametrize(
    "path",
    [
        "log/1/tile/0/0000",
        "log/1/tile/0/x001",
        "log/1/tile/64/000",
        "log/1/tile/0/000.p/256",
        "log/1/tile/0/000.p/0",
        "log/0/checkpoint",
        "log/1/checkpoint/x",
        "log/1/../checkpoint",
        "log/1/receipts/-1",
        "status/01",
        "status/x",
        "trust/0.root.json",
        "trust/1.root.json.new",
        "trust/root.json\n",
        "index.html",
        ".new-abc",
    ],
)
def test_nothing_else_gets_in_or_out(house: House, path: str) -> None:
    from urllib.parse import quote

    with pytest.raises(MailboxError):
        house.city.mailbox.put_public(f"{CITY}/{quote(path)}", b"x")
    assert house.app.test_client().get(f"/{CITY}/{quote(path)}").status_code == 404


def test_another_city_is_404(house: House) -> None:
    house.city.mailbox.put_public(f"{CITY}/status/0", b"x")
    client = house.app.test_client()
    assert client.get("/992012/status/0").status_code == 404
    assert client.get("/0992011/status/0").status_code == 404


def test_a_file_is_not_empty_and_not_huge(tmp_path: Path) -> None:
    house = make_house(tmp_path, max_public=1024)
    with pytest.raises(MailboxError, match="400"):
        house.city.mailbox.put_public(f"{CITY}/status/0", b"")
    with pytest.raises(MailboxError, match="413"):
        house.city.mailbox.put_public(f"{CITY}/status/0", b"x" * 1025)


def test_etag_and_origin(house: House) -> None:
    house.city.mailbox.put_public(f"{CITY}/status/0", b"token")
    client = house.app.test_client()
    first = client.get(f"/{CITY}/status/0")
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert first.content_type == "application/statuslist+jwt"
    again = client.get(f"/{CITY}/status/0", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.head(f"/{CITY}/status/0").headers["Content-Length"] == "5"
    assert client.get(f"/{CITY}/status/1").headers["Access-Control-Allow-Origin"] == "*"


def test_a_browser_may_ask_first_and_may_only_read(house: House) -> None:
    house.city.mailbox.put_public(f"{CITY}/status/0", b"token")
    client = house.app.test_client()
    asked = {"Origin": "https://wallet.example", "Access-Control-Request-Method": "GET"}
    for path in ("status/0", "status/7", "trust/root.json", "log/1/checkpoint"):
        answer = client.options(f"/{CITY}/{path}", headers=asked)
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
        assert "Accept" in answer.headers["Access-Control-Allow-Headers"]
        assert "Authorization" not in answer.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for path in (f"/{CITY}/status/x", "/992012/status/0", f"/{CITY}/"):
        assert client.options(path, headers=asked).status_code == 404
    # What the city writes is no page's business: its address allows no other origin's request.
    written = client.options(f"/city/public/{CITY}/status/0", headers=asked)
    assert "Access-Control-Allow-Methods" not in written.headers
    # Anybody may read what was asked for, whatever was asked before.
    assert client.get(f"/{CITY}/status/0", headers=asked).headers["Access-Control-Allow-Origin"] == "*"
    assert client.post(f"/{CITY}/status/0").status_code == 405


def test_nothing_half_written_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    client, directory = house.app.test_client(), house.settings.public_dir
    authorisation = house.city.mailbox.city_authorisation("PUT", f"/city/public/{CITY}/status/0", b"x")
    answer = client.put(f"/city/public/{CITY}/status/0", data=b"x", headers={"Authorization": authorisation})
    assert answer.status_code == 500
    assert [path for path in directory.rglob("*") if path.is_file()] == []


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    # The second one appears between the look and the link.
    path = tmp_path / "tile"
    real_link = os.link

    def slow(source: str, target: Path) -> None:
        Path(target).write_bytes(b"faster")
        real_link(source, target)

    os.link = slow
    try:
        assert store_file(path, b"slower", replace=False) is None
    finally:
        os.link = real_link
    assert path.read_bytes() == b"faster"
    assert sorted(tmp_path.iterdir()) == [path]

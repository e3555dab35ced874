"""The desk's client against the real street door: store a request, submit as a phone would, fetch, verify."""

import threading
import urllib.request

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.serving import make_server

from mobile_api.application import create_app
from mobile_api.city_authentication import CityKey, format_city_keys
from mobile_api.settings import Profile, Settings
from tests.support.verifier_bundles import NOW, PUBLIC_URL, mini_city, new_key
from verifier import OFFLINE, OfflineSources, Verdict, examine
from verifier.door import fetch_submission, list_submissions, post_request
from verifier.errors import SourceError
from verifier.formats.names import PACKAGE_TYPE
from verifier.formats.submission_request import decrypt_descriptor, request_secret, upload_token
from verifier.http import call

CITY = mini_city()


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    folder = tmp_path_factory.mktemp("door")
    key = CityKey(new_key().public_key(), frozenset({"mailbox", "public"}))
    (folder / "city-keys.json").write_bytes(format_city_keys({"city": key}))
    settings = Settings(
        profile=Profile.DEMO,
        database_url=f"sqlite:///{folder}/door.sqlite",
        public_url=PUBLIC_URL,
        city="992011",
        city_keys=folder / "city-keys.json",
        public_dir=folder / "public",
    )
    server = make_server("127.0.0.1", 0, create_app(settings, clock=lambda: NOW), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5)
    server.server_close()


def upload(door, identifier, descriptor, package):
    request = urllib.request.Request(
        f"{door}/v1/requests/{identifier}/submissions",
        data=package,
        method="POST",
        headers={"Akashi-Upload": upload_token(request_secret(descriptor)), "Content-Type": PACKAGE_TYPE},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status


def test_a_request_and_its_submission(door):
    descriptor = CITY.request(mail="jinji@example.co.jp")
    identifier = post_request(door, descriptor, CITY.desk_signing, NOW)
    # what a phone reads back after scanning
    stored = call("GET", f"{door}/v1/requests/{identifier}").body
    assert decrypt_descriptor(stored, request_secret(descriptor)) == descriptor
    assert list_submissions(door, identifier, CITY.desk_signing, NOW) == ()
    package = CITY.packed(CITY.bind(CITY.bundle, descriptor))
    assert upload(door, identifier, descriptor, package) == 201
    (entry,) = list_submissions(door, identifier, CITY.desk_signing, NOW)
    assert (entry.size, entry.fetched) == (len(package), False)
    fetched = fetch_submission(door, identifier, entry.receipt, CITY.desk_signing, NOW)
    assert fetched == package
    assert list_submissions(door, identifier, CITY.desk_signing, NOW)[0].fetched
    report = examine(
        fetched,
        trust=CITY.trust(),
        policy=OFFLINE,
        now=NOW,
        sources=OfflineSources(),
        request=descriptor,
        key=CITY.desk,
    )
    assert report.verdict is Verdict.VALID


def test_another_desk_gets_nothing(door):
    descriptor = CITY.request(salt=b"b" * 16)
    identifier = post_request(door, descriptor, CITY.desk_signing, NOW)
    with pytest.raises(SourceError) as error:
        list_submissions(door, identifier, ec.generate_private_key(ec.SECP256R1()), NOW)
    assert error.value.code == "http-401"


def test_an_unknown_request(door):
    with pytest.raises(SourceError) as error:
        list_submissions(door, "ABCDE23456", CITY.desk_signing, NOW)
    assert error.value.code == "http-404"

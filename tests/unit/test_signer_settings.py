"""What the signer starts with, and what it refuses to start with; its audit file."""

from __future__ import annotations

import json

import pytest

from app.sealing.errors import KeyUnusableError, SettingsInvalidError
from app.sealing.signer_audit import AuditLog, verify_audit
from app.sealing.signer_settings import load_signer_settings
from tests.support.signer_desk import open_desk


@pytest.fixture
def desk(tmp_path):
    return open_desk(tmp_path)


def change(desk, **members):
    content = json.loads(desk.settings_file.read_bytes())
    desk.settings_file.write_text(json.dumps(content | members))


@pytest.mark.parametrize("profile", [None, "", "Demo", "staging"])
def test_without_a_known_profile_nothing_starts(desk, profile):
    with pytest.raises(SettingsInvalidError, match="no-profile"):
        load_signer_settings(desk.settings_file, profile=profile)


def test_production_refuses_software_keys(desk):
    with pytest.raises(SettingsInvalidError, match="mock-in-production"):
        load_signer_settings(desk.settings_file, profile="production")


def test_production_refuses_mock_certificates(desk, monkeypatch):
    monkeypatch.setattr("app.sealing.city_key.SoftwareKey.is_software", False)
    with pytest.raises(SettingsInvalidError, match="mock certificate"):
        load_signer_settings(desk.settings_file, profile="production")


def test_one_key_has_one_purpose(desk):
    keys = json.loads(desk.settings_file.read_bytes())["keys"]
    twin = {**keys[0], "key_id": "credential-2", "purpose": "credential"}
    change(desk, keys=[*keys, twin])
    with pytest.raises(SettingsInvalidError, match="share a key"):
        load_signer_settings(desk.settings_file, profile="demo")


def test_a_certificate_must_belong_to_its_key(desk):
    keys = json.loads(desk.settings_file.read_bytes())["keys"]
    keys[0]["certificates"], keys[1]["certificates"] = keys[1]["certificates"], keys[0]["certificates"]
    change(desk, keys=keys)
    with pytest.raises(KeyUnusableError, match="wrong-certificate"):
        load_signer_settings(desk.settings_file, profile="demo")


@pytest.mark.parametrize(
    "members",
    [
        {"v": 2},
        {"keys": [{"key_id": "x"}]},
        {"gate_public_key": "AAAA"},
        {"tokens": {"worker": "worker.token"}},
        {"tokens": {"worker": "worker.token", "log": "worker.token"}},
    ],
)
def test_damaged_settings_are_refused(desk, members):
    change(desk, **members)
    with pytest.raises(SettingsInvalidError):
        load_signer_settings(desk.settings_file, profile="demo")


def test_a_token_open_to_others_is_refused(desk):
    (desk.pki.directory / "signer" / "log.token").chmod(0o644)
    with pytest.raises(KeyUnusableError, match="file-open-to-others"):
        load_signer_settings(desk.settings_file, profile="demo")


def test_settings_show_no_secret(desk):
    shown = repr(desk.settings)
    assert desk.settings.tokens["worker"] not in shown


def test_audit_lines_are_chained_over_restarts(tmp_path):
    path = tmp_path / "audit.jsonl"
    for events in ([{"a": 1}], [{"b": 2}, {"c": 3}], []):
        log = AuditLog(path)
        log.append(events)
        log.close()
    assert verify_audit(path) == 3
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [lambda t: t.replace("2", "4", 1), lambda t: t.split("\n", 1)[1]])
def test_a_changed_or_dropped_audit_line_is_seen(tmp_path, damage):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.append([{"a": 2}, {"b": 2}, {"c": 2}])
    log.close()
    path.write_text(damage(path.read_text()))
    with pytest.raises(SettingsInvalidError, match="audit-broken"):
        verify_audit(path)


def test_a_cut_off_audit_line_stops_the_signer(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"n":1,"previous"')
    with pytest.raises(SettingsInvalidError, match="audit-broken"):
        AuditLog(path)

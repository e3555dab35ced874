"""nginx serves the public files as the street door does: same media type, same cache time; /city/ is not
forwarded.

The configuration is read as text; no nginx is started.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mobile_api.public_files import PATHS

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = (ROOT / "docker" / "nginx" / "public.conf").read_text(encoding="utf-8")
SAMPLES = (
    "log/1/checkpoint",
    "log/1/anchored",
    "log/1/tile/0/000",
    "log/1/tile/entries/x001/067.p/255",
    "log/1/receipts/12",
    "log/1/checkpoints/12",
    "log/1/timestamps/12",
    "status/1",
    "trust/3.root.json",
    "trust/root.json",
    "wallets/p1.json",
    "wallets/jwt-vc-issuer.json",
    "wallets/p2.jwt",
)


def locations() -> list[tuple[str, str, str]]:
    """(kind, pattern, body) of every location, in order."""
    found = re.findall(
        r'^ +location (=|~)? ?"?([^"{\s]+(?:\{\d\}[^"{\s]*)*)"? \{\n(.*?)^ {8}\}', CONFIGURATION, re.M | re.S
    )
    return [(kind or "prefix", pattern, body) for kind, pattern, body in found]


def body_for(path: str) -> str | None:
    """The location nginx would choose: exact, then the first matching pattern, then the longest prefix."""
    for kind, pattern, body in locations():
        if kind == "=" and pattern == path:
            return body
    for kind, pattern, body in locations():
        if kind == "~" and re.search(pattern, path):
            return body
    prefixes = [
        (pattern, body)
        for kind, pattern, body in locations()
        if kind == "prefix" and path.startswith(pattern)
    ]
    return max(prefixes, key=lambda item: len(item[0]))[1] if prefixes else None


@pytest.mark.parametrize("sample", SAMPLES)
def test_media_type_and_cache_time_are_the_street_doors(sample: str) -> None:
    rule = next(rule for rule in PATHS if rule[0].fullmatch(sample))
    body = body_for(f"/992011/{sample}")
    assert body is not None
    media = re.search(r'default_type "?([^";]+(?:; charset=utf-8)?)"?;', body)
    assert media is not None
    assert media[1] == rule[3]
    age = f"max-age={rule[2]}" if rule[2] is not None else "max-age=31536000, immutable"
    assert f'"public, {age}"' in body
    assert 'Access-Control-Allow-Origin "*"' in body
    assert "nosniff" in body


def test_every_kind_of_public_file_is_sampled() -> None:
    for rule in PATHS:
        assert any(rule[0].fullmatch(sample) for sample in SAMPLES), rule[0].pattern


@pytest.mark.parametrize(
    "path",
    ["/city/inbox", "/city/public/992011/status/1", "/", "/992011/secret", "/9920110/status/1", "/etc"],
)
def test_what_is_not_public_is_not_found(path: str) -> None:
    body = body_for(path)
    assert body is not None
    assert "return 404;" in body
    assert "proxy_pass" not in body


def test_every_address_for_wallets_reaches_the_street_door(tmp_path: Path) -> None:
    """Each rule of the street door's own blueprints for wallets, filled in, is forwarded by nginx."""
    from tests.support.door_house import make_house

    app = make_house(tmp_path).app
    seen = 0
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith(("wallets.", "wallet_logins.")):
            continue
        path = re.sub(r"<int[^>]*>", "992011", rule.rule).replace("<code>", "A" * 43)
        body = body_for(path)
        assert body is not None and "proxy_pass http://street_door" in body, path
        seen += 1
    assert seen >= 20


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/requests/ABC", "/r/ABCDEFGHJK", "/healthz"])
def test_phones_and_employers_reach_the_street_door(path: str) -> None:
    body = body_for(path)
    assert body is not None
    assert "proxy_pass http://street_door" in body


def test_nothing_is_logged_about_who_looks_at_what() -> None:
    assert re.findall(r"^\s*access_log (.*);", CONFIGURATION, re.MULTILINE) == ["off"]

"""The street door's description against its routing table and its limits (answers: test_openapi_schemathesis)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from mobile_api import forms, public_files
from mobile_api.openapi import document, pieces
from mobile_api.openapi.document import build_document, described_routes, served_routes
from mobile_api.openapi.public_files import KINDS
from tests.support.door_house import CITY, PUBLIC_URL, make_house


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_house(tmp_path_factory.mktemp("door")).app


def missing(app: Flask) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    served, described = served_routes(app), described_routes(build_document(PUBLIC_URL))
    return served - described, described - served


def test_every_route_is_described_and_every_description_has_a_route(app: Flask) -> None:
    undescribed, unserved = missing(app)
    assert not undescribed, (
        f"{_text(undescribed)}: not in the description. Write PATHS in a module of mobile_api/openapi (one a room), "
        "with every status it answers, and put the module into PARTS of mobile_api/openapi/document.py"
    )
    assert not unserved, (
        f"{_text(unserved)}: described in mobile_api/openapi, and no route of the door serves it"
    )


def test_a_forgotten_route_is_found(tmp_path: Path) -> None:
    app = make_house(tmp_path).app
    app.url_map.add(Rule("/v1/accounts/<account>/forgotten", endpoint="forgotten", methods=["POST"]))
    assert missing(app) == ({("POST", "/v1/accounts/{account}/forgotten")}, set())


def test_the_document_is_served_to_anybody(app: Flask) -> None:
    answer = app.test_client().get("/openapi.json")
    assert answer.json == build_document(PUBLIC_URL)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json["servers"] == [{"url": PUBLIC_URL}]


def test_names_are_unique_and_references_lead_somewhere() -> None:
    whole = build_document(PUBLIC_URL)
    names = [
        operation["operationId"]
        for operations in whole["paths"].values()
        for operation in operations.values()
        if isinstance(operation, dict)
    ]
    assert len(names) == len(set(names)) > 30
    assert _references(whole) <= {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}


def test_each_part_describes_its_own_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "PARTS", (*document.PARTS, document.PARTS[0]))
    with pytest.raises(ValueError, match="described twice: /v1/accounts"):
        build_document(PUBLIC_URL)


@pytest.mark.parametrize(
    ("said", "checked"),
    [
        (pieces.ACCOUNT, forms._ACCOUNT),
        (pieces.ITEM, forms._ID),
        (pieces.REQUEST, forms._REQUEST),
        (pieces.HASH, forms._HASH),
    ],
)
def test_the_forms_of_ids_are_those_that_are_checked(said: str, checked: re.Pattern[str]) -> None:
    assert said == f"^{checked.pattern}$"


def test_every_kind_of_public_file_is_described() -> None:
    """Each row of the allow-list has an example that only it takes; a row more would be found here."""
    examples = [kind[1] for kind in KINDS]
    for pattern, *_ in public_files.PATHS:
        assert any(pattern.fullmatch(example) for example in examples), pattern.pattern
    for template, example, _, parameters in KINDS:
        names = [parameter["name"] for parameter in parameters]
        forms_ = {p["name"]: p["schema"]["pattern"].strip("^$") for p in parameters}
        assert re.findall(r"\{(\w+)\}", template) == names
        made = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
        assert re.fullmatch(made.format(**{name: f"(?:{form})" for name, form in forms_.items()}), example)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/city/public//x"),
        ("GET", f"/{CITY}//log/1/checkpoint"),
        ("GET", "/v1//accounts"),
        ("GET", "//healthz"),
    ],
)
def test_a_doubled_slash_is_no_redirect_to_whatever_host_was_named(
    app: Flask, method: str, path: str
) -> None:
    answer = app.test_client().open(path, method=method, headers={"Host": "elsewhere.example"})
    assert answer.status_code in (401, 404, 405), answer.status
    assert answer.content_type == "application/problem+json"
    assert "elsewhere" not in str(answer.headers) + answer.text


def test_the_problem_schema_is_what_problems_say(app: Flask) -> None:
    said = app.test_client().get("/v1/nowhere").json
    schema = pieces.SCHEMAS["Problem"]
    assert set(said) == set(schema["properties"]) == set(schema["required"])


def test_protocol_end_points_are_described_with_the_same_pieces() -> None:
    """OAuth's errors are ASCII without quotation mark and backslash (RFC 6749 section 5.2)."""
    refused = pieces.oauth_error("invalid_grant", challenge=True)
    described = pieces.operation("A token", name="token", answers={400: refused}, problems={429: ""})
    assert set(described["responses"]) == {"400", "429", "503"}
    assert "WWW-Authenticate" in refused["headers"]
    form = re.compile(pieces.SCHEMAS["OAuthError"]["properties"]["error_description"]["pattern"])
    assert form.search("no such code (it was used)") and not any(map(form.search, ('a "b"', "a\\b", "市")))


def _references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(item) for item in value))
    return set()


def _text(routes: set[tuple[str, str]]) -> str:
    return ", ".join(f"{method} {path}" for method, path in sorted(routes))

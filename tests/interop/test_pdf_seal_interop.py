"""The sealed page under other people's eyes: PDF/A and PDF/UA checkers, qpdf, poppler, pyHanko (program and
library)."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
from pathlib import Path

import page as page_validation
import pikepdf
import pytest
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.validation import DocumentSecurityStore, validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from app.sealing.archive_copy import build_archive_copy
from app.sealing.page_seal import SealField
from tests.support.sealing_world import DATA, drawn_page, sealed_page, world

needs = pytest.mark.skipif
CERTIFICATES = "certificates"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """sealed.pdf, archive.pdf and two damaged ones, on disk for the programs."""
    directory = tmp_path_factory.mktemp("pages")
    sealed = sealed_page()
    (directory / "sealed.pdf").write_bytes(sealed)
    archive = build_archive_copy(sealed, crls=world().material.crls[1:2], timestamp=world().timestamp)
    (directory / "archive.pdf").write_bytes(archive)
    at = sealed.index(b"stream\n") + 40
    (directory / "changed.pdf").write_bytes(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    return directory


def run(*command, expect=0):
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout


def roots():
    folder = world().pki.directory / CERTIFICATES
    return [folder / "root.pem", folder / "tsa-ca.pem"]


@pytest.mark.parametrize("profile", ["3a", "ua1"])
def test_the_sealed_page_is_still_pdf_a_and_pdf_ua(profile):
    for pdf in (drawn_page(), sealed_page(), world().seal(field=SealField()).data):
        report = page_validation.validate_pdf_bytes(pdf, profile=profile)
        assert report.is_compliant, [(f.rule_id, f.message) for f in report.failures]


def test_the_archive_copy_is_pdf_ua_and_fails_pdf_a_only_in_the_checkers_known_mistake(files):
    """The checker wants each /ByteRange to reach the end of the file, which no first signature can after an
    increment."""
    archive = (files / "archive.pdf").read_bytes()
    assert page_validation.validate_pdf_bytes(archive, profile="ua1").is_compliant
    failures = page_validation.validate_pdf_bytes(archive, profile="3a").failures
    assert [failure.rule_id for failure in failures] == ["PDFA3A-SIGNATURE-BYTERANGE-001"]


@needs(shutil.which("qpdf") is None, reason="qpdf is not installed")
@pytest.mark.parametrize("name", ["sealed", "archive"])
def test_qpdf_finds_no_error(files, name):
    assert "No syntax or stream encoding errors found" in run("qpdf", "--check", files / f"{name}.pdf")


@needs(shutil.which("pdfsig") is None, reason="poppler is not installed")
def test_poppler_finds_the_signature_valid_and_the_change_not(files):
    told = run("pdfsig", files / "sealed.pdf")
    assert "Signature Validation: Signature is Valid." in told
    assert "Total document signed" in told
    assert "ETSI.CAdES.detached" in told
    assert "見本市 e-seal (MOCK/模擬)" in told
    damaged = subprocess.run(["pdfsig", files / "changed.pdf"], capture_output=True, text=True, check=False)
    assert "Signature is Valid." not in damaged.stdout


@pytest.mark.parametrize("name", ["sealed", "archive"])
def test_the_pyhanko_program_judges_it_valid(files, name):
    """`--soft-revocation-check`, because the program does not read the lists in the document; the library
    below does."""
    trust = [argument for root in roots() for argument in ("--trust", str(root))]
    program = [str(Path(sys.executable).parent / "pyhanko"), "sign", "validate", "--pretty-print"]
    told = run(*program, *trust, "--trust-replace", "--soft-revocation-check", str(files / f"{name}.pdf"))
    assert "The signature is judged VALID." in told
    assert "This timestamp is backed by a time stamping authority." in told


def test_the_pyhanko_program_in_ades_mode_takes_the_lists_of_the_document(files):
    """ETSI EN 319 102-1 validation by the program, revocation checked, no network: the security store suffices."""
    trust = [argument for root in roots() for argument in ("--trust", str(root))]
    program = [str(Path(sys.executable).parent / "pyhanko"), "sign", "adesverify"]
    told = run(*program, *trust, "--trust-replace", str(files / "sealed.pdf"))
    assert "INTACT:TRUSTED,TIMESTAMP_TOKEN<INTACT:TRUSTED>,UNTOUCHED" in told
    run(*program, *trust, "--trust-replace", str(files / "changed.pdf"), expect=1)


def test_the_pyhanko_program_judges_the_change_and_the_stranger_invalid(files):
    program = [str(Path(sys.executable).parent / "pyhanko"), "sign", "validate", "--pretty-print"]
    common = ["--trust-replace", "--soft-revocation-check"]
    trust = [argument for root in roots() for argument in ("--trust", str(root))]
    run(*program, *trust, *common, str(files / "changed.pdf"), expect=1)
    only_tsa = ["--trust", str(roots()[1])]
    run(*program, *only_tsa, *common, str(files / "sealed.pdf"), expect=1)


@pytest.mark.parametrize(
    ("name", "level"), [("sealed", ModificationLevel.NONE), ("archive", ModificationLevel.LTA_UPDATES)]
)
def test_pyhanko_validates_with_the_documents_own_lists_and_no_network(files, name, level):
    """B-LT: chain and revocation lists from the security store alone, revocation required."""
    reader = PdfFileReader(io.BytesIO((files / f"{name}.pdf").read_bytes()))
    signature = reader.embedded_signatures[0]
    anchors = {"trust_roots": [load_cert_from_pemder(str(root)) for root in roots()]}
    context = DocumentSecurityStore.read_dss(reader).as_validation_context(
        anchors | {"allow_fetching": False, "revocation_mode": "require"}
    )
    status = validate_pdf_signature(
        signature, signer_validation_context=context, ts_validation_context=context
    )
    assert status.bottom_line
    assert status.docmdp_ok
    assert status.modification_level is level
    whole = SignatureCoverageLevel.ENTIRE_FILE if name == "sealed" else None
    assert whole in (None, status.coverage)
    assert signature.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert signature.docmdp_level is MDPPerm.NO_CHANGES


def test_content_metadata_and_attachment_are_what_was_drawn():
    with pikepdf.open(io.BytesIO(drawn_page())) as before, pikepdf.open(io.BytesIO(sealed_page())) as after:
        assert after.attachments["certificate.json"].get_file().read_bytes() == DATA
        assert before.Root.Metadata.read_raw_bytes() == after.Root.Metadata.read_raw_bytes()
        assert before.pages[0].Contents.read_bytes() == after.pages[0].Contents.read_bytes()
        assert "ObjStm" not in str(
            [obj.get("/Type") for obj in after.objects if isinstance(obj, pikepdf.Stream)]
        )
        field = after.Root.AcroForm.Fields[0]
        element = after.Root.StructTreeRoot.ParentTree.Nums[-1]
        assert (element.S, element.K[0].Obj.objgen) == ("/Form", field.objgen)
        assert field.StructParent == after.Root.StructTreeRoot.ParentTree.Nums[-2]


@needs(shutil.which("pdftotext") is None, reason="poppler is not installed")
def test_the_text_is_what_was_drawn(files, tmp_path):
    (tmp_path / "drawn.pdf").write_bytes(drawn_page())
    assert run("pdftotext", files / "sealed.pdf", "-") == run("pdftotext", tmp_path / "drawn.pdf", "-")


@needs(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_signature_and_time_stamp_of_the_page(files, tmp_path):
    from verifier.formats.pdf_seal import parse_sealed_page

    data = sealed_page()
    page = parse_sealed_page(data)
    start = data.index(b"/Contents <3") + len("/Contents ")
    end = data.index(b">", start) + 1
    (tmp_path / "signed.bin").write_bytes(data[:start] + data[end:])
    contents = bytes.fromhex(data[start + 1 : end - 1].decode())
    size = 4 + int.from_bytes(contents[2:4], "big")
    (tmp_path / "seal.cms").write_bytes(contents[:size])
    folder = world().pki.directory / CERTIFICATES
    command = [
        "openssl",
        "cms",
        "-verify",
        "-cades",
        "-inform",
        "DER",
        "-in",
        tmp_path / "seal.cms",
        "-binary",
    ]
    command += ["-content", tmp_path / "signed.bin", "-CAfile", folder / "root.pem", "-purpose", "any"]
    run(*command, "-out", tmp_path / "out.bin")
    (tmp_path / "value.bin").write_bytes(page.cms.signature)
    (tmp_path / "token.der").write_bytes(page.timestamp.encoded)
    command = ["openssl", "ts", "-verify", "-token_in", "-in", tmp_path / "token.der"]
    run(*command, "-data", tmp_path / "value.bin", "-CAfile", folder / "tsa-ca.pem")
    assert page.timestamp.digest == hashlib.sha256(page.cms.signature).digest()

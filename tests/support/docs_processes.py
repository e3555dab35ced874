"""The processes of the house: which module starts each, which rooms its image holds. One table for three
tests.

test_architecture starts each entry with only these rooms present; test_docker_rooms compares the Dockerfile
with it; test_docs compares docs/architecture.md with it. A room is a path from the top of the tree: a file, a
folder, or a pattern of files.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """`target` is the Dockerfile's stage, `module` what `python -m` starts with `arguments`."""

    target: str
    module: str
    rooms: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    needs_profile: bool = True
    is_demo_only: bool = False


# Of the street door, what the mailbox carries: the city's side reads and writes these messages.
MESSAGES = tuple(
    f"mobile_api/{name}.py"
    for name in (
        "__init__",
        "messages",
        "message_bodies",
        "message_codecs",
        "device_bodies",
        "mandate_bodies",
        "counter_bodies",
        "wallet_bodies",
        "body_fields",
        "card_statement",
        "exchanges",
    )
)


def _app(*names: str) -> tuple[str, ...]:
    return ("app/__init__.py", *(f"app/{name}" for name in names))


PROCESSES: tuple[Process, ...] = (
    Process("street-door", "mobile_api.__main__", ("mobile_api", "verifier")),
    Process(
        "register-gate",
        "app.registers.gate_process",
        (
            "verifier",
            *MESSAGES,
            *_app("errors.py", "frames.py", "settings.py", "zones.py"),
            *_app("claims", "identity", "issuance", "registers", "sealing", "storage")[1:],
        ),
    ),
    Process(
        "worker",
        "app.worker_process",
        (
            "verifier",
            *("chain/__init__.py", "chain/client.py", "chain/errors.py"),
            *MESSAGES,
            # What the door checks of a wallet as a filter, the city checks again.
            *("mobile_api/key_proof.py", "mobile_api/wallet_nonce.py"),
            *_app("city_keys.py", "errors.py", "frames.py", "mailbox.py", "settings.py"),
            *_app("worker.py", "worker_process.py", "zones.py")[1:],
            *_app("claims", "delivery", "identity", "issuance", "mandates", "registers", "rendering")[1:],
            *_app("revocation", "sealing", "staff", "storage", "wallets")[1:],
        ),
    ),
    Process(
        "signer",
        "app.sealing.signer",
        ("verifier", *_app("errors.py", "frames.py", "sealing", "storage")),
        ("--settings", "signer.json"),
    ),
    Process("staff", "app.staff.__main__", ("verifier", *_app("staff"))),
    Process("log", "chain.service", ("verifier", "chain/*.py", "chain/abi")),
    Process("witness", "chain.witness", ("verifier", "chain/*.py")),
    Process(
        "chain-devnode",
        "chain.devnode.__main__",
        ("verifier", "chain/__init__.py", "chain/errors.py", "chain/devnode"),
        ("--data", "chain"),
        is_demo_only=True,
    ),
    *(
        Process(
            "counterparts",
            f"app.counterparts.{server}.__main__",
            # A mock card's reader answers in the phone client's form; the login provider checks cards as the
            # city does.
            (
                "verifier",
                "mobile_api",
                *_app("errors.py", "frames.py", "counterparts", "identity", "registers", "sealing"),
            ),
            arguments,
            is_demo_only=True,
        )
        # One image, five servers.
        for server, arguments in (
            ("trust_services", ("serve", "--directory", "none")),
            ("jpki", ("serve", "--directory", "none")),
            ("mail", ("--directory", "none")),
            ("pin_reset", ("serve", "--directory", "none", "--jpki", "none")),
            (
                "digital_auth",
                (
                    *("serve", "--directory", "none", "--cards", "none"),
                    *("--jpki-anchors", "none", "--jpki-address", "none"),
                ),
            ),
        )
    ),
    Process("verifier", "verifier.__main__", ("verifier",), needs_profile=False),
)

"""Open the check page on this computer only: drop a file, read the verdict. Nothing leaves the computer."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from verifier.cli.inputs import (
    add_key_options,
    add_network_options,
    add_trust_option,
    make_sources,
    read_keys,
    read_request,
    read_trust,
)
from verifier.cli.newer_trust import has_newer_list
from verifier.cli.terminal import VALID, answer
from verifier.errors import UsageError
from verifier.policy import find_policy

DEFAULT_PORT = 8480


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `serve`."""
    add_trust_option(parser)
    add_key_options(parser, required=False)
    add_network_options(parser)
    parser.add_argument("--request", type=Path, metavar="FILE", help="the request that files answer")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"default {DEFAULT_PORT}; 0 = any free one"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    try:
        from verifier.portal import PortalSettings, create_portal, make_server
    except ImportError as error:
        raise UsageError("no-flask", "the check page needs `pip install akashi-verifier[portal]`") from error
    trust = read_trust(options.trust)
    keys = None if options.key is None else read_keys(options.key, options.passphrase_file)
    request = read_request(options.request)

    def renew(settings: PortalSettings, city: str | None) -> PortalSettings:
        if not options.offline:
            has_newer_list(options, tuple(settings.trust), city)
        # Without a network too: `trust update` may have brought a newer list into the directory meanwhile.
        newer = read_trust(options.trust)
        if newer == tuple(settings.trust):
            return settings
        return dataclasses.replace(settings, trust=newer, sources=make_sources(options, newer))

    settings = PortalSettings(
        trust=trust,
        policy=find_policy("offline" if options.offline else "online"),
        sources=make_sources(options, trust),
        key=None if keys is None else keys.encryption,
        request=None if request is None else request.descriptor,
        renew=renew,
    )
    server = make_server(create_portal(settings), options.port)
    answer(f"http://127.0.0.1:{server.server_port}/")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return VALID

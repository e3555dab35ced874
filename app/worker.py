"""The issuance worker: takes what is in the mailbox, walks requests, sends what is ready, keeps lists fresh.

It has no inbound port. Twelve loops, one process, one writing store; each loop survives outages of everybody else and
goes on where it was. `python -m app.worker` reads its settings from the environment (`app.settings`).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from app.delivery.notice_mail import NoticeMailer
from app.delivery.sender import Sender
from app.errors import CityError, UnavailableError
from app.issuance.intake import NONCE_MAX_AGE, Intake
from app.issuance.monitor import Monitor
from app.issuance.walk import Walk
from app.mailbox import CityMailbox
from app.mandates.following import follow_events
from app.registers.gate_client import GateClient
from app.revocation.protection import follow_changes
from app.revocation.status_publisher import StatusPublisher
from app.staff.errors import StaffError
from app.storage import inbox as inbox_store
from app.storage import nonces as nonce_store
from app.storage import requests as request_store
from app.storage.engine import empty_wal, scrub
from app.storage.inbox import Envelope
from app.wallets.rooms import WalletRooms
from verifier.fault import describe_fault
from verifier.formats.encoding import base64url_encode

log = logging.getLogger("akashi.worker")

PAUSE_AFTER_OUTAGE: Final = 1.0
IDLE_WAIT: Final = 1.0
INBOX_WAIT: Final = 20
INBOX_BATCH: Final = 64
MONITOR_BEAT: Final = 2.0
NONCE_BEAT: Final = 1.0
MAIL_BEAT: Final = 2.0
WAL_BEAT: Final = 60.0
SCRUB_BEAT: Final = 3600.0
CHANGES_BEAT: Final = 2.0
LISTS_BEAT: Final = 600.0
WALLET_BEAT: Final = 20.0
WALLET_LOOK: Final = 0.1
"""Seconds between two looks whether the walk has made what a wallet waits for."""
MAX_DEFECTS: Final = 3
NONCE_STOCKS_AN_HOUR: Final = 100
WRITING: Final = frozenset({"walk", "send", "changes", "status"})


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms one worker serves; `monitor` None without a console, `wallets` None without wallets of others.

    work: set by whoever puts something before the walk.
    """

    store: Engine
    mailbox: CityMailbox
    intake: Intake
    walk: Walk
    sender: Sender
    notices: NoticeMailer
    status: StatusPublisher
    gate: GateClient
    monitor: Monitor | None
    clock: Callable[[], datetime]
    status_beat: float
    nonce_stock: int
    wallets: WalletRooms | None = None
    work: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Runs the loops until `stop`."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._stop = threading.Event()
        self._work = rooms.work
        self._send = threading.Event()
        self._made = threading.Event()
        self._threads: list[threading.Thread] = []
        self._defects: Counter[str] = Counter()

    def start(self) -> None:
        """Start every loop in its own thread."""
        with self._rooms.store.begin() as connection:
            left = request_store.release_leases(connection)
        if left:
            log.info("went on with %d requests that a predecessor had in hand", left)
        loops: list[tuple[str, Callable[[], object], float]] = [
            ("inbox", self._read_inbox, 0.0),
            ("walk", self._walk, 0.0),
            ("send", self._send_outbox, 0.0),
            ("nonces", self._stock_nonces, NONCE_BEAT),
            ("mail", self._rooms.notices.send_due, MAIL_BEAT),
            ("changes", self._follow_changes, CHANGES_BEAT),
            # Only this timer publishes what was revoked; the moment of a revocation is nobody's business.
            ("status", self._publish_status, self._rooms.status_beat),
            ("lists", self._tend_lists, LISTS_BEAT),
            ("wal", self._empty_wal, WAL_BEAT),
            ("scrub", self._scrub, SCRUB_BEAT),
        ]
        if self._rooms.monitor is not None:
            loops.append(("monitor", self._rooms.monitor.push, MONITOR_BEAT))
            loops.append(("commands", self._obey, 0.0))
        if self._rooms.wallets is not None:
            loops.append(("wallets", self._answer_wallets, 0.0))
            loops.append(("wallet-tending", self._rooms.wallets.tend, WALLET_BEAT))
        for name, work, beat in loops:
            thread = threading.Thread(target=self._loop, args=(name, work, beat), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout: float = 5.0) -> None:
        """Let the loops that write finish what they are doing; those that only wait for others are left to die."""
        self._stop.set()
        self._work.set()
        self._send.set()
        self._made.set()
        for thread in self._threads:
            if thread.name in WRITING:
                thread.join(timeout)

    def _loop(self, name: str, work: Callable[[], object], beat: float) -> None:
        outage = ""
        while not self._stop.is_set():
            try:
                work()
                if outage:
                    log.info("%s: goes on", name)
                    outage = ""
                self._stop.wait(beat)
            except (CityError, StaffError) as error:
                if error.code != outage:
                    outage = error.code
                    log.warning("%s: waits, %s", name, error)
                self._stop.wait(PAUSE_AFTER_OUTAGE)
            except Exception as error:
                # A defect of ours must not end the loop; its text may quote a resident's data.
                log.error("%s: unexpected %s", name, describe_fault(error))
                self._stop.wait(PAUSE_AFTER_OUTAGE)

    def _read_inbox(self) -> None:
        rooms = self._rooms
        messages = rooms.mailbox.take(wait=INBOX_WAIT, limit=INBOX_BATCH)
        if messages:
            at = int(rooms.clock().timestamp())
            with rooms.store.begin() as connection:
                for message in messages:
                    envelope = Envelope(message.message_id, message.account, message.body)
                    inbox_store.store_envelope(connection, envelope, at=at)
            # Stored first, acknowledged then: a crash between only delivers the same envelope twice.
            rooms.mailbox.acknowledge([message.message_id for message in messages])
            self._work.set()

    def _walk(self) -> None:
        rooms = self._rooms
        with rooms.store.begin() as connection:
            envelopes = inbox_store.find_unhandled(connection, INBOX_BATCH)
        outage: UnavailableError | None = None
        for envelope in envelopes:
            try:
                self._take_in(envelope)
                self._send.set()
            except UnavailableError as error:
                # This one waits; the others may not need who is away, and none may stop those behind it.
                outage = error
        moved = rooms.walk.run_once()
        if rooms.wallets is not None and (copies := rooms.wallets.walk.run_once()):
            moved += copies
            self._made.set()
        if moved:
            self._send.set()
        if outage is not None:
            raise outage
        if not moved and not envelopes:
            self._work.wait(IDLE_WAIT)
            self._work.clear()

    def _take_in(self, envelope: Envelope) -> None:
        try:
            self._rooms.intake.handle(envelope)
        except CityError:
            raise
        except Exception as error:
            # A defect of ours, met by one message, must not hold up everybody else's for ever.
            self._defects[envelope.message_id] += 1
            log.error("intake: unexpected %s", describe_fault(error))
            if self._defects[envelope.message_id] >= MAX_DEFECTS:
                self._rooms.intake.give_up(envelope)

    def _answer_wallets(self) -> None:
        wallets = self._rooms.wallets
        if wallets is None:
            return
        if wallets.exchanges.run_once():
            self._send.set()
        else:
            # Somebody waits for the walk, or the door said nothing of worth: neither may make this loop spin.
            self._made.wait(WALLET_LOOK)
            self._made.clear()

    def _send_outbox(self) -> None:
        if self._rooms.sender.send_due() == 0:
            self._send.wait(IDLE_WAIT)
            self._send.clear()

    def _stock_nonces(self) -> None:
        rooms = self._rooms
        missing = rooms.nonce_stock - rooms.mailbox.nonces_left()
        if missing > rooms.nonce_stock // 4:
            values = [base64url_encode(secrets.token_bytes(24)) for _ in range(missing)]
            at = int(rooms.clock().timestamp())
            with rooms.store.begin() as connection:
                nonce_store.drop_old_nonces(connection, before=at - 2 * NONCE_MAX_AGE)
                # How many are left is the door's word: one that always says "none" must not fill this store.
                made = nonce_store.count_made(connection, since=at - 3600)
                if made >= rooms.nonce_stock * NONCE_STOCKS_AN_HOUR:
                    raise UnavailableError("nonces", "the street door uses up more than its share")
                nonce_store.store_nonces(connection, values, at=at)
            rooms.mailbox.put_nonces(values)

    def _follow_changes(self) -> None:
        rooms = self._rooms
        at = int(rooms.clock().timestamp())
        done = follow_changes(rooms.store, rooms.gate, at=at) + follow_events(rooms.store, rooms.gate, at=at)
        if done:
            self._send.set()

    def _publish_status(self) -> None:
        self._rooms.status.publish_due()

    def _tend_lists(self) -> None:
        self._rooms.status.tend()
        self._rooms.status.publish_new()

    def _empty_wal(self) -> None:
        # What was deleted is a minute later not in the write-ahead log either; a busy store is tried at the next beat.
        empty_wal(self._rooms.store)

    def _scrub(self) -> None:
        # What SQLite copied while it rearranged pages goes too, at the start and every hour.
        scrub(self._rooms.store)

    def _obey(self) -> None:
        if self._rooms.monitor is not None and self._rooms.monitor.obey(INBOX_WAIT):
            self._send.set()

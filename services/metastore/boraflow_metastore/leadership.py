"""Who leads: the lease, the leader's stream, and commands relayed over it.

The epoch is in the database and fences every commit, so that two schedulers never decide together, whatever
this module believes. The lease itself (who may have the next epoch, and when) is in memory: it is bound to a
stream of this process, and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from grpc import StatusCode

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.rpc.errors import ApiError, invalid, unavailable
from boraflow_metastore.store.writer import OUTAGE_PATIENCE, Transaction, Writer, now_us

log = logging.getLogger("boraflow.metastore.leadership")

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LEADER_PATIENCE = 2.0


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


def mint_id_prefix(epoch: int) -> str:
    """Return a prefix that no other term has, of this database or of one restored from a backup."""
    return _base36(epoch) + "".join(secrets.choice(_DIGITS) for _ in range(3))


class Term:
    """One scheduler's time as the leader."""

    def __init__(self, epoch: int, candidate: pb.Candidate) -> None:
        self.epoch = epoch
        self.since_us = now_us()
        self.candidate = candidate
        self.ended = asyncio.Event()
        self._outbox: deque[pb.LeadResponse] = deque()
        self._wake = asyncio.Event()
        self.commands: dict[str, asyncio.Future[pb.CommandReply]] = {}
        """Relayed and not answered yet."""

    def send(self, message: pb.LeadResponse) -> None:
        """Queue a message on the leader's stream."""
        outbox = self._outbox
        if (
            outbox
            and message.HasField("attempt_news")
            and outbox[-1].HasField("attempt_news")
            and len(outbox[-1].attempt_news.closed) < 1_000
        ):
            outbox[-1].attempt_news.MergeFrom(message.attempt_news)
        else:
            outbox.append(message)
        self._wake.set()

    async def messages(self) -> AsyncIterator[pb.LeadResponse]:
        """Yield what is queued, until the term ends."""
        while not self.ended.is_set():
            while self._outbox:
                yield self._outbox.popleft()
            self._wake.clear()
            if not self._outbox and not self.ended.is_set():
                await self._wake.wait()

    def end(self) -> None:
        """End it; whoever waits for an answer is told."""
        self.ended.set()
        self._wake.set()
        for future in self.commands.values():
            if not future.done():
                future.set_exception(_lost())
        self.commands.clear()


def _lost() -> ApiError:
    return unavailable(
        "LEADER_LOST",
        "the leading scheduler was lost before it answered; repeat with the same request_id",
        retry_delay=1.0,
    )


def no_leader() -> ApiError:
    """Return the error for a command that nobody can decide now."""
    return unavailable(
        "NO_LEADER",
        "no scheduler is running: start one (bora scheduler), then repeat",
        retry_delay=1.0,
    )


class Leadership:
    """The lease. One scheduler holds it, others wait in order."""

    def __init__(self, writer: Writer, incarnation: str, lease_seconds: float) -> None:
        self._writer = writer
        self._incarnation = incarnation
        self._lease = lease_seconds
        self._free = asyncio.Condition()
        self._queue: deque[object] = deque()
        self._holding = False
        self._arrived = asyncio.Event()
        self._closed = False
        self.term: Term | None = None
        """The present one."""
        self.on_term_end: Callable[[], None] = lambda: None

    def tell(self, message: pb.LeadResponse) -> None:
        """Send a message to the leader, if there is one. A hint: it finds all of it in the database."""
        if self.term is not None:
            self.term.send(message)

    async def lead(self, requests: AsyncIterator[pb.LeadRequest]) -> AsyncIterator[pb.LeadResponse]:
        """Serve one scheduler's stream, from waiting for the lease to losing it."""
        first = await anext(requests, None)
        if first is None:
            return
        if not first.HasField("candidate") or not first.candidate.scheduler_id:
            raise invalid(
                "CANDIDATE_MISSING", "the first message must be a candidate with a scheduler_id"
            )
        reading: asyncio.Task[None] | None = None
        ticket = object()
        self._queue.append(ticket)
        held = False
        try:
            async with self._free:
                await self._free.wait_for(
                    lambda: self._closed or (not self._holding and self._queue[0] is ticket)
                )
                if self._closed:
                    raise unavailable("STOPPING", "the metastore is stopping")
                self._queue.popleft()
                self._holding = held = True
            term = await self._begin(first.candidate)
            reading = asyncio.create_task(self._read(term, requests))
            yield pb.LeadResponse(
                grant=pb.Grant(
                    epoch=term.epoch,
                    id_prefix=mint_id_prefix(term.epoch),
                    lease_us=round(self._lease * 1_000_000),
                    incarnation=self._incarnation,
                )
            )
            async for message in term.messages():
                yield message
            if self._closed:
                raise unavailable("STOPPING", "the metastore is stopping")
            raise ApiError(
                StatusCode.FAILED_PRECONDITION,
                "LEASE_ENDED",
                f"the lease of term {term.epoch} was not renewed in time",
            )
        finally:
            if reading is not None:
                reading.cancel()
            if held:
                self._end()
            elif ticket in self._queue:
                self._queue.remove(ticket)
            await self._wake_waiting()

    async def _begin(self, candidate: pb.Candidate) -> Term:
        def grant(transaction: Transaction) -> int:
            transaction.set_meta(
                epoch=transaction.epoch + 1,
                sequence=0,
                answer=None,
                leader=candidate.holder,
                leader_us=transaction.now,
                dispatch_address=candidate.dispatch_address,
            )
            return transaction.epoch

        epoch = await self._writer.submit(grant)
        self.term = Term(epoch, candidate)
        self._arrived.set()
        log.info("scheduler %s leads, term %d", candidate.holder, epoch)
        return self.term

    def _end(self) -> None:
        self._holding = False
        if self.term is not None:
            log.info("term %d of scheduler %s ended", self.term.epoch, self.term.candidate.holder)
            self.term.end()
            self.term = None
            self._arrived.clear()
            self.on_term_end()

    async def _wake_waiting(self) -> None:
        async with self._free:
            self._free.notify_all()

    async def _read(self, term: Term, requests: AsyncIterator[pb.LeadRequest]) -> None:
        """Take renewals; end the term when they stop or the stream does."""
        try:
            while True:
                message = await asyncio.wait_for(anext(requests, None), self._lease)
                if message is None:
                    break
                if message.HasField("renewal"):
                    if message.renewal.epoch != term.epoch:
                        break
                    term.send(pb.LeadResponse(renewed=pb.Renewed(epoch=term.epoch)))
        except TimeoutError:
            log.warning("scheduler %s did not renew its lease", term.candidate.holder)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.debug("the leader's stream broke", exc_info=True)
        term.ended.set()
        term._wake.set()

    async def wait_for_leader(self, timeout: float = _LEADER_PATIENCE) -> Term:
        """Return the present term, waiting a little for one.

        Raises:
            ApiError: nobody leads.
        """
        if self.term is None:
            try:
                await asyncio.wait_for(self._arrived.wait(), timeout)
            except TimeoutError:
                raise no_leader() from None
        if self.term is None:
            raise no_leader()
        return self.term

    async def relay(
        self, command_id: str, actor: str, field: str, request: Any, timeout: float
    ) -> pb.CommandReply:
        """Hand a call to the leader and return its answer, once the commit that carries it is durable.

        Raises:
            ApiError: UNAVAILABLE when nobody leads, the leader was lost or did not answer in time, or the
                database is out.
        """
        if self._writer.outage is not None and not self.awaits(command_id):
            # Handed on, it would be carried out after the outage, long after its caller was told that it was not.
            raise self._writer.outage
        term = await self.wait_for_leader(min(timeout, _LEADER_PATIENCE))
        future = term.commands.get(command_id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            future.add_done_callback(_retrieve)
            term.commands[command_id] = future
            command = pb.RelayedCommand(command_id=command_id, actor=actor)
            getattr(command, field).CopyFrom(request)
            term.send(pb.LeadResponse(command=command))
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while (left := end - loop.time()) > 0:
            try:
                return await asyncio.wait_for(asyncio.shield(future), min(left, OUTAGE_PATIENCE))
            except TimeoutError:
                if (outage := self._writer.outage) is not None:
                    raise unavailable(
                        outage.reason,
                        f"{outage.message}. It was too late to take this back: it is carried out when the"
                        " database can be written again",
                    ) from None
        raise unavailable(
            "LEADER_SLOW",
            f"the leading scheduler did not answer within {timeout:g} s; repeat with the same request_id",
        )

    def awaits(self, command_id: str) -> bool:
        """Return whether the leader still owes an answer."""
        return self.term is not None and command_id in self.term.commands

    def answer(self, reply: pb.CommandReply) -> None:
        """Pass an answer on to who waits for it."""
        if self.term is None:
            return
        future = self.term.commands.pop(reply.command_id, None)
        if future is not None and not future.done():
            future.set_result(reply)

    async def close(self) -> None:
        """End the term and refuse new ones."""
        self._closed = True
        if self.term is not None:
            self.term.ended.set()
            self.term._wake.set()
        await self._wake_waiting()


def _retrieve(future: asyncio.Future[Any]) -> None:
    # Nobody may be waiting any more; that is no error to warn of.
    if not future.cancelled():
        future.exception()

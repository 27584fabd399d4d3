"""Fixtures: one quiet venue for most tests, members with money, unmodified clients, a contract for every answer."""

import os
import signal
import threading
import uuid
from decimal import Decimal

import ccxt
import pytest

from contract import Contract
from market import products, text
from rest import Rest
from venue_process import Venue, binary
from waiting import until


@pytest.fixture(scope="session")
def program():
    """The path of the program under test."""
    return binary()


# Seconds between two kills of whichever replica leads, if the tests run under them.
KILL_EVERY = float(os.environ.get("EVEROPEN_KILL_LEADER_EVERY", 0))


class LeaderKills:
    """Kills the leader of a venue again and again, for as long as the tests run."""

    def __init__(self, venue: Venue):
        self.venue = venue
        self.count = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        if KILL_EVERY:
            self.thread.start()

    def run(self):
        while not self.stopped.wait(KILL_EVERY):
            pid = self.venue.leader()
            # Only who is missed by nobody: all others must be there to go on.
            if pid is not None and len(self.venue.processes()) == 6:
                os.kill(pid, signal.SIGKILL)
                self.count += 1

    def stop(self):
        self.stopped.set()
        if KILL_EVERY:
            self.thread.join(60)
            print(f"\nthe leader was killed {self.count} times meanwhile")
            assert self.count > 0, "no leader was killed"


@pytest.fixture(scope="session")
def venue(program, tmp_path_factory):
    """A quiet venue: only the tests trade there."""
    running = Venue(program, tmp_path_factory.mktemp("venue") / "data").start()
    kills = LeaderKills(running)
    try:
        yield running
        kills.stop()
        status = running.stop()
        assert status == 0, f"ended with {status} on SIGTERM:\n{running.tail()}"
    finally:
        running.discard()


@pytest.fixture
def own_venue(program, tmp_path):
    """A venue that one test may stop and kill."""
    running = Venue(program, tmp_path / "data").start()
    try:
        yield running
    finally:
        running.discard()


@pytest.fixture(scope="session")
def contract(venue):
    """The OpenAPI document that the venue serves."""
    return Contract(Rest(venue.rest).get("/openapi.json"))


@pytest.fixture(autouse=True)
def answers_agree_with_the_document(request):
    """Every answer seen during a test must be one that the document describes."""
    if "venue" not in request.fixturenames and "contract" not in request.fixturenames:
        yield
        return
    contract = request.getfixturevalue("contract")
    contract.violations.clear()
    yield
    assert not contract.violations, "\n".join(contract.violations[:10])


@pytest.fixture(autouse=True)
def still_up(request):
    """Whatever a test sent, the processes are the same ones afterwards."""
    if "venue" not in request.fixturenames:
        yield
        return
    running = request.getfixturevalue("venue")
    before = running.processes()
    yield
    assert running.alive, running.tail()
    if KILL_EVERY:
        until(running.ready, "ready again", seconds=30)
    else:
        assert running.processes() == before, running.tail()
        assert running.ready(), running.tail()


def client(venue, member, contract=None, kind=ccxt.coinbaseexchange):
    """An unmodified ccxt client whose base URLs are overridden, and nothing else."""
    made = kind({"apiKey": member.key, "secret": member.secret, "password": member.passphrase})
    made.urls["api"] = {"public": venue.rest, "private": venue.rest}
    if contract is not None:
        # A hook of the HTTP library sees the answers; the client does not know.
        made.session.hooks["response"].append(contract.check)
    return made


@pytest.fixture(scope="session")
def rest(venue, contract):
    """Requests of nobody."""
    return Rest(venue.rest, checks=[contract.check])


@pytest.fixture(scope="session")
def alice(venue, contract):
    """The demo member, by plain HTTP."""
    return Rest(venue.rest, venue.demo, checks=[contract.check])


@pytest.fixture(scope="session")
def bob_member(venue):
    """Another member, made by the administrator's command."""
    return venue.add_member("bob")


@pytest.fixture(scope="session")
def bob(venue, bob_member, contract, market_pair):
    """Another member with money, by plain HTTP."""
    made = Rest(venue.rest, bob_member, checks=[contract.check])
    fund(made, {asset: Decimal(amount) for asset, amount in venue.endpoints["funded"].items()})
    return made


def fund(rest: Rest, amounts: dict) -> None:
    """Deposits as the demo allows them: money by payment method, coins from a coinbase account."""
    kinds = {c["id"]: c["details"]["type"] for c in rest.get("/currencies")}
    for currency, amount in amounts.items():
        path = "/deposits/payment-method" if kinds[currency] == "fiat" else "/deposits/coinbase-account"
        rest.post(path, {"amount": text(amount), "currency": currency})


@pytest.fixture(scope="session")
def market_pair(venue, rest):
    """Two products whose assets the demo member holds."""
    funded = venue.endpoints["funded"]
    usable = [p for p in products(rest) if p.base in funded and p.quote in funded]
    assert len(usable) >= 2, f"fewer than two products can be traded with {funded}"
    usable.sort(key=lambda p: (p.id != "BTC-USD", p.id))
    return usable[0], usable[1]


@pytest.fixture(scope="session")
def product(market_pair):
    """The product that most tests trade."""
    return market_pair[0]


@pytest.fixture(scope="session")
def other_product(market_pair):
    """A second product."""
    return market_pair[1]


@pytest.fixture(scope="session")
def a(venue, contract):
    """The demo member's ccxt client."""
    made = client(venue, venue.demo, contract)
    made.load_markets()
    return made


@pytest.fixture(scope="session")
def b(venue, bob, contract, a):
    """The other member's ccxt client."""
    made = client(venue, bob.member, contract)
    made.load_markets()
    return made


@pytest.fixture
def quiet(alice, bob):
    """Empty books before and after: nobody else trades here."""
    alice.cancel_everything()
    bob.cancel_everything()
    yield
    alice.cancel_everything()
    bob.cancel_everything()


@pytest.fixture
def oid():
    """Fresh client order ids."""
    return lambda: str(uuid.uuid4())

"""Refusals reach the unmodified client as the exceptions that its users catch."""

import time

import ccxt
import pytest

import signing
from conftest import client
from market import text
from rest import Rest
from venue_process import Member, Venue


def buy(a, product, price, size, **params):
    return a.create_order(product.symbol, "limit", "buy", text(size), text(price), params)


def test_too_little_money(quiet, a, alice, product):
    before = alice.balances()
    # Within the band, and more than any member was given.
    size = before[product.base][1] + product.size()
    with pytest.raises(ccxt.InsufficientFunds):
        a.create_order(product.symbol, "limit", "sell", text(size), text(product.at(1)))
    assert alice.balances() == before


def test_an_order_that_never_was(a, product):
    ghost = "00000000-0000-4000-8000-000000000000"
    with pytest.raises((ccxt.OrderNotFound, ccxt.InvalidOrder)):
        a.fetch_order(ghost)
    with pytest.raises((ccxt.OrderNotFound, ccxt.InvalidOrder)):
        a.cancel_order(ghost, product.symbol)
    with pytest.raises(ccxt.OrderNotFound):
        a.fetch_order(None, None, {"clientOrderId": "never-used"})


def test_an_order_that_is_over(quiet, a, product):
    order = buy(a, product, product.at(-2), product.size())
    a.cancel_order(order["id"], product.symbol)
    with pytest.raises(ccxt.OrderNotFound):
        a.cancel_order(order["id"], product.symbol)


def test_an_id_that_is_none(a, product):
    with pytest.raises(ccxt.InvalidOrder):
        a.fetch_order("not-an-id!")


def test_a_client_id_used_twice(quiet, a, product, oid):
    client_id = oid()
    buy(a, product, product.at(-2), product.size(), clientOrderId=client_id)
    with pytest.raises(ccxt.ExchangeError) as caught:
        buy(a, product, product.at(-3), product.size(), clientOrderId=client_id)
    assert "client" in str(caught.value).lower()
    assert len(a.fetch_open_orders(product.symbol)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "no-such-key"),
        ("secret", "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="),
        ("passphrase", "wrong"),
    ],
)
def test_wrong_credentials(venue, contract, a, field, value):
    demo = venue.demo
    parts = {"name": "x", "key": demo.key, "secret": demo.secret, "passphrase": demo.passphrase}
    wrong = client(venue, Member(**(parts | {field: value})), contract)
    wrong.set_markets_from_exchange(a)
    with pytest.raises(ccxt.AuthenticationError):
        wrong.fetch_balance()


def test_prices_and_sizes_off_the_grid(quiet, alice, product):
    """The client rounds to the grid itself, so these are sent as they are."""
    whole = {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(-2)), "size": text(product.size()),
    }
    off_tick = alice.refused(400, "POST", "/orders", whole | {"price": text(product.at(-2) + product.tick / 10)})
    assert "price too precise" in off_tick.lower()
    off_lot = alice.refused(400, "POST", "/orders", whole | {"size": text(product.size() + product.lot / 10)})
    assert "size" in off_lot.lower() and "precise" in off_lot.lower()
    tiny = alice.refused(400, "POST", "/orders", whole | {"size": text(product.lot / 10)})
    assert "size" in tiny.lower()
    assert alice.get("/orders") == []


@pytest.fixture(scope="module")
def strict_venue(program, tmp_path_factory):
    """A venue with limits that a test can reach."""
    folder = tmp_path_factory.mktemp("strict") / "data"
    running = Venue(program, folder, "--private-rate", "20", "--public-rate", "20").start()
    try:
        yield running
        assert running.stop() == 0
    finally:
        running.discard()


def test_a_rate_limit_is_told_and_passes(strict_venue):
    """One key is refused, another is not; the headers say when to come again."""
    hasty, patient = (Rest(strict_venue.rest, strict_venue.add_member(name)) for name in ("hasty", "patient"))

    def once(rest):
        headers = signing.headers(rest.member, int(time.time()), "GET", "/accounts")
        return rest.session.get(rest.base + "/accounts", headers=headers, timeout=10)

    answers = [once(hasty) for _ in range(200)]
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 429}
    # A burst of twice the rate, and what came back while it was sent.
    assert 40 <= codes.count(200) <= 120
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "rate limit" in refused.json()["message"].lower()
    assert float(refused.headers["Retry-After"]) > 0
    assert int(refused.headers["RateLimit-Limit"]) == 40
    assert int(refused.headers["RateLimit-Remaining"]) == 0
    assert once(patient).status_code == 200, "another key"
    assert hasty.send("GET", "/accounts").status_code == 200, "a patient client gets through"


def test_a_rate_limit_is_the_clients_own_exception(strict_venue, a):
    eager = client(strict_venue, strict_venue.add_member("eager"))
    eager.set_markets_from_exchange(a)
    eager.enableRateLimit = False
    with pytest.raises(ccxt.RateLimitExceeded):
        for _ in range(200):
            eager.fetch_balance()


def test_public_calls_are_limited_by_address(strict_venue):
    one, other = (Rest(strict_venue.rest, address=address) for address in ("127.0.0.11", "127.0.0.12"))
    codes = [one.session.get(one.base + "/time", timeout=10).status_code for _ in range(200)]
    assert set(codes) == {200, 429}
    assert other.session.get(other.base + "/time", timeout=10).status_code == 200


def test_health_is_never_limited(strict_venue):
    probe = Rest(strict_venue.rest, address="127.0.0.13")
    codes = {probe.session.get(probe.base + "/health/ready", timeout=10).status_code for _ in range(200)}
    assert codes == {200}

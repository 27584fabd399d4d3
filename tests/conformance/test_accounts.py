"""Balances, fees, the ledger, deposits, withdrawals: through the unmodified client, exact to the last digit."""

from decimal import Decimal

import ccxt
import pytest

from conftest import fund
from market import text
from rest import Rest
from venue_process import Venue
from waiting import until


def dec(value) -> Decimal:
    return Decimal(str(value))


def test_the_demo_member_is_funded_as_announced(program, tmp_path):
    running = Venue(program, tmp_path / "data").start()
    try:
        balances = Rest(running.rest, running.demo).balances()
        funded = running.endpoints["funded"]
        assert funded, "no funds announced"
        for asset, amount in funded.items():
            balance, available, hold = balances[asset]
            assert (balance, available, hold) == (Decimal(amount), Decimal(amount), 0)
        roles = {p["role"] for p in running.endpoints["processes"]}
        pids = {p["pid"] for p in running.endpoints["processes"]}
        assert roles and running.process.pid in pids
        assert running.stop() == 0
    finally:
        running.discard()


def test_the_client_reads_balances(a, alice, venue):
    told = a.fetch_balance()
    for currency, (balance, available, hold) in alice.balances().items():
        code = told[currency]
        assert (dec(code["total"]), dec(code["free"]), dec(code["used"])) == (balance, available, hold)
    assert {x["code"] for x in a.fetch_accounts()} >= set(venue.endpoints["funded"])


def test_a_resting_order_holds_money_and_a_cancel_gives_all_of_it_back(quiet, a, alice, product):
    before = alice.balances()
    price, size = product.at(-5), product.size()
    order = a.create_order(product.symbol, "limit", "buy", text(size), text(price))
    balance, available, hold = alice.balances()[product.quote]
    assert balance == before[product.quote][0], "a hold moves no money"
    assert balance == available + hold
    held = hold - before[product.quote][2]
    assert held >= price * size
    assert held <= price * size * Decimal("1.05"), "no more than the cost and its fee"
    a.cancel_order(order["id"], product.symbol)
    assert alice.balances() == before


def test_a_selling_order_holds_exactly_its_size(quiet, b, bob, product):
    before = bob.balances()
    order = b.create_order(product.symbol, "limit", "sell", text(product.size()), text(product.at(5)))
    assert bob.balances()[product.base][2] - before[product.base][2] == product.size()
    b.cancel_order(order["id"], product.symbol)
    assert bob.balances() == before


def test_fees_are_rates(a):
    fees = a.fetch_trading_fees()
    assert fees
    for fee in fees.values():
        assert -0.01 <= fee["maker"] <= fee["taker"] <= 0.02


def test_a_deposit_arrives_and_is_listed(a, alice, product):
    before = alice.balance(product.quote)
    fund(alice, {product.quote: Decimal("123.45")})
    assert alice.balance(product.quote) == before + Decimal("123.45")
    newest = max(a.fetch_deposits(product.quote), key=lambda d: d["timestamp"])
    assert dec(newest["amount"]) == Decimal("123.45")
    assert newest["status"] == "ok"


def test_a_withdrawal_leaves_and_is_listed(a, alice, product):
    amount = product.size(2)
    before = alice.balances()[product.base]
    done = a.withdraw(product.base, float(amount), "demo-address-0001")
    assert done["id"]
    after = until(
        lambda: (now := alice.balances()[product.base]) and (now[1] == before[1] - amount) and now,
        "the money no longer available",
    )
    assert after[0] in (before[0], before[0] - amount)
    listed = a.fetch_withdrawals(product.base)
    assert any(w["id"] == done["id"] and dec(w["amount"]) == amount for w in listed)


def test_more_than_there_is_can_not_be_withdrawn(a, alice, product):
    before = alice.balances()
    too_much = before[product.base][1] + 1
    with pytest.raises(ccxt.InsufficientFunds):
        a.withdraw(product.base, float(too_much), "demo-address-0001")
    assert alice.balances() == before


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e400", "0.0000000000000000000001", ""])
def test_a_nonsense_deposit_is_refused(alice, product, amount):
    before = alice.balances()
    alice.refused(400, "POST", "/deposits/coinbase-account", {"amount": amount, "currency": product.base})
    assert alice.balances() == before


def test_the_ledger_explains_the_balance(quiet, a, alice, bob, product):
    account = next(x for x in alice.get("/accounts") if x["currency"] == product.quote)
    price, size = product.at(0), product.size()
    alice.post("/orders", {
        "type": "limit", "side": "buy", "product_id": product.id, "price": text(price), "size": text(size),
    })
    taker = bob.post("/orders", {
        "type": "limit", "side": "sell", "product_id": product.id, "price": text(price), "size": text(size),
        "time_in_force": "IOC",
    })
    until(lambda: bob.fills(order_id=taker["id"]), "the fill listed")
    rows = alice.get(f"/accounts/{account['id']}/ledger")
    assert Decimal(rows[0]["balance"]) == alice.balance(product.quote), "newest first"
    for newer, older in zip(rows, rows[1:]):
        assert Decimal(newer["balance"]) - Decimal(newer["amount"]) == Decimal(older["balance"])
    assert any(r["type"] == "match" and Decimal(r["amount"]) == -(price * size) for r in rows[:3])
    match = next(r for r in rows if r["type"] == "match")
    assert match["details"]["product_id"] == product.id
    entries = a.fetch_ledger(product.quote)
    assert "trade" in {e["type"] for e in entries}


def test_a_deposit_address_can_be_made(a, product):
    address = a.create_deposit_address(product.base)
    assert address["address"]


def test_permissions_hold(venue, contract, product, bob):
    viewer = Rest(venue.rest, venue.add_member("viewer", "view"), checks=[contract.check])
    viewer.get("/accounts")
    body = {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(-5)), "size": text(product.size()),
    }
    viewer.refused((401, 403), "POST", "/orders", body)
    viewer.refused((401, 403), "DELETE", "/orders")
    viewer.refused(
        (401, 403), "POST", "/withdrawals/crypto",
        {"currency": product.base, "amount": 1, "crypto_address": "x"},
    )
    trader = Rest(venue.rest, venue.add_member("trader", "view,trade"), checks=[contract.check])
    assert "funds" in trader.refused(400, "POST", "/orders", body).lower()
    trader.refused(
        (401, 403), "POST", "/withdrawals/crypto",
        {"currency": product.base, "amount": 1, "crypto_address": "x"},
    )


def test_members_see_only_their_own(alice, bob, product):
    order = alice.post("/orders", {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(-5)), "size": text(product.size()),
    })
    bob.refused(404, "GET", f"/orders/{order['id']}")
    bob.refused((400, 404), "DELETE", f"/orders/{order['id']}")
    assert all(o["id"] != order["id"] for o in bob.get("/orders"))
    account = alice.get("/accounts")[0]["id"]
    bob.refused((400, 404), "GET", f"/accounts/{account}/ledger")
    assert alice.get(f"/orders/{order['id']}")["status"] in ("open", "active", "pending")
    alice.delete(f"/orders/{order['id']}")

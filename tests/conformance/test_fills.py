"""Fills between two members: every fee and balance exact, in decimals."""

from decimal import Decimal

import pytest

from market import text
from waiting import until


def rate(rest, kind: str) -> Decimal:
    return Decimal(rest.get("/fees")[f"{kind}_fee_rate"])


def precision(rest, currency: str) -> Decimal:
    return next(Decimal(str(c["max_precision"])) for c in rest.get("/currencies") if c["id"] == currency)


def agrees(fee: Decimal, notional: Decimal, fee_rate: Decimal, step: Decimal) -> bool:
    """The fee is the product of notional and rate, rounded to the asset's step at most once."""
    exact = notional * fee_rate
    return fee == exact if exact % step == 0 else abs(fee - exact) < step


@pytest.mark.parametrize("taker_side", ["buy", "sell"])
def test_money_and_goods_change_hands_exactly(quiet, alice, bob, product, rest, taker_side):
    size = product.size(3)
    maker_side = "sell" if taker_side == "buy" else "buy"
    before = {"alice": alice.balances(), "bob": bob.balances()}
    maker_rate, taker_rate = rate(alice, "maker"), rate(bob, "taker")

    # Two makers at two prices, so that the taker's order has two fills.
    prices = [product.at(0), product.at(1 if taker_side == "buy" else -1)]
    makers = [
        alice.post("/orders", {
            "type": "limit", "side": maker_side, "product_id": product.id,
            "price": text(price), "size": text(size),
        })
        for price in prices
    ]
    taker = bob.post("/orders", {
        "type": "limit", "side": taker_side, "product_id": product.id, "time_in_force": "IOC",
        "price": text(prices[1]), "size": text(size * 2),
    })
    fills = until(
        lambda: len(found := bob.fills(order_id=taker["id"])) == 2 and found, "two fills listed"
    )
    assert {Decimal(f["price"]) for f in fills} == set(prices)
    notional = sum(prices) * size
    step = precision(rest, product.quote)

    taker_fee = Decimal(0)
    for fill in fills:
        assert (fill["side"], fill["liquidity"], fill["product_id"]) == (taker_side, "T", product.id)
        assert Decimal(fill["size"]) == size
        fee = Decimal(fill["fee"])
        assert agrees(fee, Decimal(fill["price"]) * size, taker_rate, step), fill
        taker_fee += fee
    maker_fee = Decimal(0)
    for order, price in zip(makers, prices):
        (fill,) = alice.fills(order_id=order["id"])
        assert (fill["side"], fill["liquidity"]) == (maker_side, "M")
        assert fill["trade_id"] in {f["trade_id"] for f in fills}
        assert agrees(Decimal(fill["fee"]), price * size, maker_rate, step), fill
        maker_fee += Decimal(fill["fee"])

    sign = 1 if taker_side == "buy" else -1
    after = {"alice": alice.balances(), "bob": bob.balances()}

    def change(who, currency):
        return after[who][currency][0] - before[who][currency][0]

    assert change("bob", product.base) == sign * size * 2
    assert change("alice", product.base) == -sign * size * 2
    assert change("bob", product.quote) == -sign * notional - taker_fee
    assert change("alice", product.quote) == sign * notional - maker_fee
    for who in after:
        for currency in (product.base, product.quote):
            assert after[who][currency][2] == before[who][currency][2], "nothing stays on hold"
            assert after[who][currency][0] == after[who][currency][1] + after[who][currency][2]

    done = bob.get(f"/orders/{taker['id']}")
    assert (done["status"], done.get("done_reason"), done["settled"]) == ("done", "filled", True)
    assert Decimal(done["filled_size"]) == size * 2
    assert Decimal(done["executed_value"]) == notional
    assert Decimal(done["fill_fees"]) == taker_fee


def test_a_partial_fill_shows_on_the_order_that_rests(quiet, a, b, alice, product):
    price, size = product.at(0), product.size(4)
    order = a.create_order(product.symbol, "limit", "buy", text(size), text(price))
    b.create_order(product.symbol, "market", "sell", text(size / 4))
    found = a.fetch_order(order["id"])
    assert found["status"] == "open"
    assert Decimal(str(found["filled"])) == size / 4
    assert Decimal(str(found["remaining"])) == size * 3 / 4


def test_the_client_lists_its_trades(quiet, a, b, product):
    price, size = product.at(0), product.size()
    maker = a.create_order(product.symbol, "limit", "buy", text(size), text(price))
    taker = b.create_order(product.symbol, "limit", "sell", text(size), text(price), {"timeInForce": "IOC"})
    (mine,) = until(lambda: a.fetch_order_trades(maker["id"], product.symbol), "the maker's trade")
    (theirs,) = b.fetch_order_trades(taker["id"], product.symbol)
    assert mine["id"] == theirs["id"]
    assert (mine["side"], mine["takerOrMaker"]) == ("buy", "maker")
    assert (theirs["side"], theirs["takerOrMaker"]) == ("sell", "taker")
    assert Decimal(str(mine["cost"])) == price * size
    assert mine["fee"]["currency"] == product.quote
    assert mine["id"] in {t["id"] for t in a.fetch_my_trades(product.symbol)}
    since = mine["timestamp"] + 1000
    assert mine["id"] not in {t["id"] for t in a.fetch_my_trades(product.symbol, since=since)}
    assert len(a.fetch_my_trades(product.symbol, limit=1)) == 1


def test_a_better_price_than_asked_is_the_takers(quiet, alice, bob, product):
    size = product.size()
    alice.post("/orders", {
        "type": "limit", "side": "sell", "product_id": product.id,
        "price": text(product.at(0)), "size": text(size),
    })
    taker = bob.post("/orders", {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(5)), "size": text(size),
    })
    (fill,) = until(lambda: bob.fills(order_id=taker["id"]), "the fill listed")
    assert Decimal(fill["price"]) == product.at(0)
    assert bob.get(f"/orders/{taker['id']}")["executed_value"] != text(product.at(5) * size)


def test_many_small_trades_lose_no_money(quiet, alice, bob, product):
    """What one side pays and the other gets differ by the fees, to the last digit, over many odd sizes."""
    before = alice.balances()[product.quote][0] + bob.balances()[product.quote][0]
    base = alice.balances()[product.base][0] + bob.balances()[product.base][0]
    fees, orders = Decimal(0), []
    for n in range(1, 13):
        size = product.size() + product.lot * (n * 7)
        price = product.at(0) + product.tick * n
        maker = alice.post("/orders", {
            "type": "limit", "side": "buy", "product_id": product.id, "price": text(price), "size": text(size),
        })
        taker = bob.post("/orders", {
            "type": "limit", "side": "sell", "product_id": product.id, "price": text(price),
            "size": text(size), "time_in_force": "IOC",
        })
        orders.append((maker["id"], taker["id"]))
    for maker, taker in orders:
        for who, order in ((alice, maker), (bob, taker)):
            fills = until(lambda: who.fills(order_id=order), "the fill listed")
            fees += sum(Decimal(f["fee"]) for f in fills)
    after = alice.balances()[product.quote][0] + bob.balances()[product.quote][0]
    assert before - after == fees
    assert alice.balances()[product.base][0] + bob.balances()[product.base][0] == base

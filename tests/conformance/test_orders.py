"""Every order type, placed and canceled through the unmodified client."""

from decimal import Decimal

import ccxt
import pytest

from market import text
from stream import levels
from waiting import until


def dec(value) -> Decimal:
    return Decimal(str(value))


def book(rest, product):
    return levels(rest.get(f"/products/{product.id}/book", level=2))


def status(client, order_id):
    return client.fetch_order(order_id)["status"]


def place(client, product, side, price, size, **params):
    return client.create_order(product.symbol, "limit", side, text(size), text(price), params)


def trade_at(a, b, product, price, size=None):
    """Makes the last trade's price ``price``."""
    size = size or product.size()
    place(a, product, "buy", price, size)
    place(b, product, "sell", price, size, timeInForce="IOC")


def ended_without_a_fill(client, attempt):
    """The attempt is refused, or the order it made ended with nothing filled."""
    try:
        order = attempt()
    except ccxt.OperationFailed as error:
        pytest.fail(f"an outage, not a refusal: {error!r}")
    except ccxt.ExchangeError:
        return True
    order = client.fetch_order(order["id"])
    return order["status"] in ("canceled", "rejected") and dec(order["filled"]) == 0


def test_a_limit_order_rests_and_is_found_by_both_ids(quiet, a, rest, product, oid):
    client_id = oid()
    price, size = product.at(-2), product.size()
    order = place(a, product, "buy", price, size, clientOrderId=client_id)
    assert order["clientOrderId"] == client_id
    assert order["info"]["time_in_force"] == "GTC" and order["info"]["stp"] == "dc"
    assert book(rest, product)[0] == [(price, size)]
    for found in (a.fetch_order(order["id"]), a.fetch_order(None, None, {"clientOrderId": client_id})):
        assert found["id"] == order["id"]
        assert (found["status"], dec(found["price"]), dec(found["amount"])) == ("open", price, size)
        assert dec(found["filled"]) == 0 and dec(found["remaining"]) == size
    a.cancel_order(order["id"], product.symbol)
    assert status(a, order["id"]) == "canceled"
    assert book(rest, product)[0] == []


def test_a_cancel_by_client_id_takes_a_symbol_with_a_slash(quiet, a, product, oid):
    client_id = oid()
    order = place(a, product, "buy", product.at(-2), product.size(), clientOrderId=client_id)
    a.cancel_order(None, product.symbol, {"clientOrderId": client_id})
    assert status(a, order["id"]) == "canceled"


def test_a_cancel_answers_with_the_id(quiet, alice, product):
    order = alice.post("/orders", {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(-2)), "size": text(product.size()),
    })
    assert alice.delete(f"/orders/{order['id']}", {"product_id": product.symbol}) == order["id"]


def test_cancel_all_keeps_to_its_product(quiet, a, alice, product, other_product):
    here = [place(a, product, "buy", product.at(-n), product.size())["id"] for n in (2, 3)]
    there = place(a, other_product, "buy", other_product.at(-2), other_product.size())["id"]
    a.cancel_all_orders(product.symbol)
    assert {status(a, i) for i in here} == {"canceled"}
    assert status(a, there) == "open"
    assert alice.delete("/orders") == [there]
    assert a.fetch_open_orders() == []


def test_lists_of_orders_are_by_state(quiet, a, product, other_product):
    rests = place(a, product, "buy", product.at(-2), product.size())["id"]
    ended = place(a, product, "buy", product.at(-3), product.size())["id"]
    elsewhere = place(a, other_product, "buy", other_product.at(-2), other_product.size())["id"]
    a.cancel_order(ended, product.symbol)

    def ids(orders):
        return {o["id"] for o in orders}

    assert ids(a.fetch_open_orders(product.symbol)) == {rests}
    assert ids(a.fetch_open_orders()) == {rests, elsewhere}
    closed = ids(a.fetch_closed_orders(product.symbol))
    assert ended in closed and rests not in closed
    assert {rests, ended} <= ids(a.fetch_orders(product.symbol))
    assert elsewhere not in ids(a.fetch_orders(product.symbol))
    since = a.fetch_order(rests)["timestamp"] - 1
    assert {rests, ended} <= ids(a.fetch_orders(product.symbol, since=since))
    assert ids(a.fetch_orders(product.symbol, params={"until": since - 3_600_000})).isdisjoint({rests, ended})


def test_good_till_time_carries_its_end(quiet, a, product):
    order = place(a, product, "buy", product.at(-2), product.size(), timeInForce="GTT", cancel_after="min")
    raw = a.fetch_order(order["id"])["info"]
    assert raw["time_in_force"] == "GTT"
    lives = a.parse8601(raw["expire_time"]) - a.parse8601(raw["created_at"])
    # The gateway counts from when it read the request, the venue stamps the acceptance a moment later.
    assert 59_000 < lives <= 60_000
    for period in ("hour", "day"):
        place(a, product, "buy", product.at(-3), product.size(), timeInForce="GTT", cancel_after=period)
    with pytest.raises(ccxt.ExchangeError):
        place(a, product, "buy", product.at(-2), product.size(), timeInForce="GTT", cancel_after="week")


def test_immediate_or_cancel_takes_what_is_there(quiet, a, b, rest, product):
    price, size = product.at(0), product.size()
    place(b, product, "sell", price, size)
    order = place(a, product, "buy", price, size * 3, timeInForce="IOC")
    found = a.fetch_order(order["id"])
    assert (found["status"], dec(found["filled"])) == ("canceled", size)
    assert book(rest, product) == ([], [])


def test_fill_or_kill_takes_all_or_nothing(quiet, a, b, rest, product):
    price, size = product.at(0), product.size(2)
    place(b, product, "sell", price, size)
    assert ended_without_a_fill(
        a, lambda: place(a, product, "buy", price, size + product.lot, timeInForce="FOK")
    )
    assert book(rest, product)[1] == [(price, size)], "untouched"
    order = place(a, product, "buy", price, size, timeInForce="FOK")
    found = a.fetch_order(order["id"])
    assert (found["status"], dec(found["filled"])) == ("closed", size)


@pytest.mark.parametrize("params", [{"postOnly": True}, {"timeInForce": "PO"}])
def test_post_only_rests_and_never_takes(quiet, a, b, rest, product, params):
    price, size = product.at(0), product.size()
    order = place(a, product, "buy", price, size, **params)
    assert order["info"]["post_only"] is True
    assert book(rest, product)[0] == [(price, size)]
    assert ended_without_a_fill(b, lambda: place(b, product, "sell", price, size, **params))
    assert book(rest, product) == ([(price, size)], [])


def test_a_market_order_by_size(quiet, a, b, product):
    size = product.size()
    place(a, product, "buy", product.at(0), size)
    place(a, product, "buy", product.at(-1), size)
    order = b.create_order(product.symbol, "market", "sell", text(size * 2))
    found = b.fetch_order(order["id"])
    assert (found["status"], dec(found["filled"])) == ("closed", size * 2)
    assert Decimal(found["info"]["executed_value"]) == size * (product.at(0) + product.at(-1))


@pytest.mark.parametrize("way", ["cost", "price"])
def test_a_market_order_by_funds_never_spends_more(quiet, a, alice, b, product, way):
    price = product.at(0)
    place(b, product, "sell", price, product.size(10))
    # The client cuts what it sends to the price's step.
    funds = price * product.size(2) // product.tick * product.tick
    before = alice.balances()
    if way == "cost":
        order = a.create_order(product.symbol, "market", "buy", 0, None, {"cost": text(funds)})
    else:
        order = a.create_order(product.symbol, "market", "buy", float(funds), 1.0)
    raw = a.fetch_order(order["id"])["info"]
    filled = Decimal(raw["filled_size"])
    after = alice.balances()
    spent = before[product.quote][0] - after[product.quote][0]
    assert spent == Decimal(raw["executed_value"]) + Decimal(raw["fill_fees"])
    assert 0 < spent <= funds
    assert spent + price * product.lot * Decimal("1.02") >= funds, "less than one more lot was left"
    assert after[product.base][0] - before[product.base][0] == filled
    assert after[product.quote][2] == before[product.quote][2], "nothing stays on hold"


def test_a_market_order_in_an_empty_book_ends(quiet, a, alice, product):
    before = alice.balances()
    assert ended_without_a_fill(a, lambda: a.create_order(product.symbol, "market", "buy", text(product.size())))
    assert alice.balances() == before


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("given", [True, False])
def test_an_entry_stop_limit_waits_for_its_price(quiet, a, b, rest, product, side, given):
    """A buy above the market or a sell below it; the client sends no direction unless told."""
    trade_at(a, b, product, product.at(0))
    steps = 4 if side == "buy" else -4
    params = {"stopPrice": text(product.at(steps))}
    if given:
        params["stop"] = "entry" if side == "buy" else "loss"
    limit = product.at(steps + (-6 if side == "buy" else 6))
    order = a.create_order(product.symbol, "limit", side, text(product.size()), text(limit), params)
    assert a.fetch_order(order["id"])["status"] == "open"
    assert dec(a.fetch_order(order["id"])["stopPrice"]) == product.at(steps)
    assert book(rest, product) == ([], []), "a waiting stop is in no book"
    trade_at(a, b, product, product.at(steps // 2))
    assert book(rest, product) == ([], []), "not reached yet"
    trade_at(a, b, product, product.at(steps))
    index = 0 if side == "buy" else 1
    until(lambda: book(rest, product)[index] == [(limit, product.size())], "the stop's limit order rests")


def test_a_stop_can_be_canceled_before_its_trigger(quiet, a, b, alice, rest, product):
    trade_at(a, b, product, product.at(0))
    before = alice.balances()
    order = a.create_order(
        product.symbol, "limit", "sell", text(product.size()), text(product.at(-9)),
        {"stopPrice": text(product.at(-4)), "stop": "loss"},
    )
    assert alice.balances()[product.base][2] > before[product.base][2], "a waiting stop holds its money"
    a.cancel_order(order["id"], product.symbol)
    assert alice.balances() == before
    trade_at(a, b, product, product.at(-4))
    assert status(a, order["id"]) == "canceled"
    assert book(rest, product) == ([], [])


def test_a_stop_market_order_sells_when_the_price_falls(quiet, a, b, product):
    trade_at(a, b, product, product.at(0))
    order = a.create_order(
        product.symbol, "market", "sell", text(product.size()), None,
        {"stopPrice": text(product.at(-3)), "stop": "loss"},
    )
    assert status(a, order["id"]) == "open"
    place(b, product, "buy", product.at(-5), product.size(3))
    # The trade that triggers it: at the stop's price, between the two of them.
    place(b, product, "buy", product.at(-3), product.size())
    place(a, product, "sell", product.at(-3), product.size(), timeInForce="IOC")
    found = until(
        lambda: (o := a.fetch_order(order["id"]))["status"] == "closed" and o, "the stop sold"
    )
    assert dec(found["filled"]) == product.size()
    assert Decimal(found["info"]["executed_value"]) == product.at(-5) * product.size()


def test_a_stop_market_order_buys_when_the_price_rises(quiet, a, b, product):
    trade_at(a, b, product, product.at(0))
    funds = product.at(6) * product.size(2)
    order = a.create_order(
        product.symbol, "market", "buy", 0, None,
        {"cost": text(funds), "stopPrice": text(product.at(3)), "stop": "entry"},
    )
    assert status(a, order["id"]) == "open"
    place(b, product, "sell", product.at(5), product.size(5))
    trade_at(b, a, product, product.at(3))
    found = until(
        lambda: (o := a.fetch_order(order["id"]))["status"] != "open" and o, "the stop bought"
    )
    assert Decimal(found["info"]["executed_value"]) > 0
    assert Decimal(found["info"]["executed_value"]) + Decimal(found["info"]["fill_fees"]) <= funds


def test_an_iceberg_shows_its_peak_and_fills_whole(quiet, a, b, rest, product):
    price, peak = product.at(0), product.size()
    order = place(a, product, "buy", price, peak * 4, max_floor=text(peak))
    assert book(rest, product)[0] == [(price, peak)]
    place(b, product, "sell", price, peak, timeInForce="IOC")
    assert book(rest, product)[0] == [(price, peak)], "the next peak is shown"
    taker = place(b, product, "sell", price, peak * 3, timeInForce="IOC")
    assert dec(b.fetch_order(taker["id"])["filled"]) == peak * 3
    found = a.fetch_order(order["id"])
    assert (found["status"], dec(found["filled"])) == ("closed", peak * 4)
    assert book(rest, product) == ([], [])


def test_an_icebergs_next_peak_goes_behind_others(quiet, a, b, product):
    price, peak = product.at(0), product.size()
    iceberg = place(a, product, "buy", price, peak * 2, max_floor=text(peak))
    behind = place(a, product, "buy", price, peak)
    place(b, product, "sell", price, peak * 2, timeInForce="IOC")
    assert dec(a.fetch_order(iceberg["id"])["filled"]) == peak
    assert dec(a.fetch_order(behind["id"])["filled"]) == peak


@pytest.mark.parametrize(
    ("stp", "old_remains", "new_rests"),
    [("dc", 1, 0), ("co", 0, 1), ("cn", 2, 0), ("cb", 0, 0)],
)
def test_own_orders_do_not_trade_with_each_other(
    quiet, a, alice, rest, product, stp, old_remains, new_rests
):
    price, unit = product.at(0), product.size()
    before = alice.balances()
    old = place(a, product, "buy", price, unit * 2)
    fills = len(alice.fills(product_id=product.id))
    new = place(a, product, "sell", price, unit, stp=stp)
    bids, asks = book(rest, product)
    assert bids == ([(price, unit * old_remains)] if old_remains else [])
    assert asks == ([(price, unit * new_rests)] if new_rests else [])
    assert len(alice.fills(product_id=product.id)) == fills, "no trade"
    assert (status(a, old["id"]) == "open") is (old_remains > 0)
    assert (status(a, new["id"]) == "open") is (new_rests > 0)
    a.cancel_all_orders(product.symbol)
    assert alice.balances() == before


def test_the_first_in_price_and_time_trades_first(quiet, a, b, product):
    size = product.size()
    first = place(a, product, "buy", product.at(0), size)
    second = place(a, product, "buy", product.at(0), size)
    better = place(a, product, "buy", product.at(1), size)
    order = b.create_order(product.symbol, "market", "sell", text(size * 2))
    assert dec(b.fetch_order(order["id"])["filled"]) == size * 2
    assert [status(a, o["id"]) for o in (better, first, second)] == ["closed", "closed", "open"]

"""Public market data through the unmodified client, against the plain answers."""

import time
from decimal import Decimal

import ccxt
import pytest

from market import text
from waiting import until


@pytest.fixture
def one_trade(quiet, product, alice, bob):
    """Bob sells to Alice's resting bid; the trade that came of it."""
    price, size = product.at(0), product.size()
    alice.post("/orders", {
        "type": "limit", "side": "buy", "product_id": product.id, "price": text(price), "size": text(size),
    })
    taker = bob.post("/orders", {
        "type": "limit", "side": "sell", "product_id": product.id, "price": text(price), "size": text(size),
        "time_in_force": "IOC",
    })
    fill = until(lambda: bob.fills(order_id=taker["id"]), "the fill listed")[0]
    return {"price": price, "size": size, "trade_id": fill["trade_id"]}


def test_time_is_this_machines(a):
    before = time.time() * 1000
    told = a.fetch_time()
    assert before - 2000 <= told <= time.time() * 1000 + 2000


def test_markets_and_currencies_carry_their_steps(a, rest):
    plain = {p["id"]: p for p in rest.get("/products")}
    assert len(plain) >= 3, "three or more instruments"
    assert set(m["id"] for m in a.markets.values()) == set(plain)
    for market in a.markets.values():
        raw = plain[market["id"]]
        assert Decimal(str(market["precision"]["amount"])) == Decimal(raw["base_increment"])
        assert Decimal(str(market["precision"]["price"])) == Decimal(raw["quote_increment"])
        assert (market["base"], market["quote"]) == (raw["base_currency"], raw["quote_currency"])
        assert market["active"] is (raw["status"] == "online")
        for flag in ("post_only", "limit_only", "cancel_only", "trading_disabled", "auction_mode"):
            assert isinstance(raw[flag], bool), flag
    codes = {c["id"] for c in rest.get("/currencies")}
    assert codes == {c["id"] for c in a.currencies.values()}
    for raw in plain.values():
        assert {raw["base_currency"], raw["quote_currency"]} <= codes
        assert raw["id"] == f"{raw['base_currency']}-{raw['quote_currency']}"


def test_one_product_reads_like_the_list(rest, product):
    one = rest.get(f"/products/{product.id}")
    assert one == next(p for p in rest.get("/products") if p["id"] == product.id)


def test_an_order_book_shows_what_rests(quiet, a, b, rest, product):
    low, high, size = product.at(-3), product.at(3), product.size()
    a.create_order(product.symbol, "limit", "buy", text(size), text(low))
    b.create_order(product.symbol, "limit", "buy", text(size * 2), text(low))
    b.create_order(product.symbol, "limit", "sell", text(size), text(high))
    book = a.fetch_order_book(product.symbol)
    assert [[Decimal(str(x)) for x in row[:2]] for row in book["bids"]] == [[low, size * 3]]
    assert [[Decimal(str(x)) for x in row[:2]] for row in book["asks"]] == [[high, size]]
    assert isinstance(book["nonce"], int)

    level1 = rest.get(f"/products/{product.id}/book", level=1)
    assert [row[2] for row in level1["bids"]] == [2]
    level3 = rest.get(f"/products/{product.id}/book", level=3)
    assert len(level3["bids"]) == 2 and len(level3["asks"]) == 1
    assert all(isinstance(row[2], str) for row in level3["bids"])
    assert [Decimal(row[1]) for row in level3["bids"]] == [size, size * 2], "oldest first"


def test_the_sequence_of_the_book_rises_with_every_change(quiet, a, rest, product):
    def sequence():
        return rest.get(f"/products/{product.id}/book", level=2)["sequence"]

    start = sequence()
    order = a.create_order(product.symbol, "limit", "buy", text(product.size()), text(product.at(-3)))
    placed = sequence()
    a.cancel_order(order["id"], product.symbol)
    assert start < placed < sequence()


def test_trades_have_the_makers_side(one_trade, a, rest, product):
    raw = rest.get(f"/products/{product.id}/trades", limit=10)
    assert raw[0]["trade_id"] == one_trade["trade_id"]
    assert raw[0]["side"] == "buy", "the maker's side"
    ids = [t["trade_id"] for t in raw]
    assert ids == sorted(ids, reverse=True), "newest first"
    last = a.fetch_trades(product.symbol, limit=10)[-1]
    assert last["id"] == str(one_trade["trade_id"])
    assert last["side"] == "sell", "the taker's side, as the client turns it"
    assert Decimal(str(last["price"])) == one_trade["price"]
    assert Decimal(str(last["amount"])) == one_trade["size"]


def test_pages_of_trades_meet_without_a_gap(one_trade, rest, alice, bob, product):
    for _ in range(3):
        for member, side, tif in ((alice, "buy", "GTC"), (bob, "sell", "IOC")):
            member.post("/orders", {
                "type": "limit", "side": side, "product_id": product.id, "price": text(product.at(0)),
                "size": text(product.size()), "time_in_force": tif,
            })
    everything = rest.get(f"/products/{product.id}/trades", limit=4)
    first = rest.get(f"/products/{product.id}/trades", limit=2)
    second = rest.get(
        f"/products/{product.id}/trades", limit=2, after=first[-1]["trade_id"]
    )
    assert first + second == everything


def test_a_ticker_follows_the_last_trade(one_trade, a, b, rest, product):
    b.create_order(product.symbol, "limit", "sell", text(product.size()), text(product.at(2)))
    ticker = a.fetch_ticker(product.symbol)
    assert Decimal(str(ticker["last"])) == one_trade["price"]
    assert Decimal(str(ticker["ask"])) == product.at(2)
    assert ticker["info"]["trade_id"] == one_trade["trade_id"]
    stats = rest.get(f"/products/{product.id}/stats")
    low, high, last = (Decimal(stats[k]) for k in ("low", "high", "last"))
    assert low <= last <= high and last == one_trade["price"]
    assert Decimal(stats["volume"]) >= one_trade["size"]


def test_tickers_come_from_spark_lines(one_trade, a, product):
    tickers = a.fetch_tickers()
    assert product.symbol in tickers
    assert Decimal(str(tickers[product.symbol]["last"])) == one_trade["price"]


@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m", "1h", "6h", "1d"])
def test_candles_hold_the_trade(one_trade, a, product, timeframe):
    candles = a.fetch_ohlcv(product.symbol, timeframe)
    assert candles, "no candle"
    opened = [c[0] for c in candles]
    assert opened == sorted(opened)
    seconds = a.parse_timeframe(timeframe)
    assert all(at % (seconds * 1000) == 0 for at in opened)
    for _, open_, high, low, close, volume in candles:
        assert low <= min(open_, close) <= max(open_, close) <= high and volume > 0
    assert Decimal(str(candles[-1][4])) == one_trade["price"]


def test_candles_can_be_asked_for_by_time(one_trade, a, product):
    hour_ago = int(time.time() * 1000) - 3_600_000
    assert a.fetch_ohlcv(product.symbol, "1m", since=hour_ago, limit=100)
    long_ago = hour_ago - 10 * 86_400_000
    assert a.fetch_ohlcv(product.symbol, "1m", since=long_ago, limit=10) == []


def test_wrong_questions_about_markets_get_answers(rest, product):
    assert rest.refused((400, 404), "GET", "/products/NO-SUCH/book").lower() in ("product not found", "notfound")
    rest.refused(400, "GET", f"/products/{product.id}/candles", query={"granularity": 61})
    rest.refused(400, "GET", f"/products/{product.id}/book", query={"level": 9})
    rest.refused(404, "GET", "/no/such/route")


def test_an_unknown_product_is_the_clients_invalid_order(a):
    with pytest.raises(ccxt.InvalidOrder):
        a.public_get_products_id_book({"id": "NO-SUCH", "level": 2})

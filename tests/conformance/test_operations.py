"""What operators look at: health, metrics, logs, and the lively market."""

from decimal import Decimal

from market import text
from rest import Rest
from stream import Stream
from venue_process import Venue
from waiting import until


def test_live_and_ready_are_two_questions(rest):
    assert rest.send("GET", "/health/live").status_code == 200
    assert rest.send("GET", "/health/ready").status_code == 200


def metrics(rest) -> dict:
    response = rest.send("GET", "/metrics")
    assert response.status_code == 200
    found = {}
    for line in response.text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def test_metrics_count_requests_and_name_nobody(quiet, rest, alice, product, venue):
    before = metrics(rest)
    order = alice.post("/orders", {
        "type": "limit", "side": "buy", "product_id": product.id,
        "price": text(product.at(-2)), "size": text(product.size()),
    })
    after = metrics(rest)
    assert any(after[name] > before.get(name, 0) for name in after if name.endswith("_total") or "_total{" in name)
    everything = "\n".join(after)
    assert order["id"] not in everything and venue.demo.key not in everything
    assert any("bucket" in name for name in after), "latency as histograms"


def test_a_lively_market_trades_by_itself(program, tmp_path):
    running = Venue(program, tmp_path / "data", market=True).start()
    try:
        rest = Rest(running.rest)
        ids = [p["id"] for p in rest.get("/products")]
        assert len(ids) >= 3
        for product in ids:
            book = until(
                lambda p=product: (b := rest.get(f"/products/{p}/book", level=2))["bids"] and b["asks"] and b,
                f"both sides of {product} quoted", seconds=30,
            )
            assert Decimal(book["bids"][0][0]) < Decimal(book["asks"][0][0]), "not crossed"
        with Stream(running.websocket) as stream:
            stream.subscribe(["matches"], ids)
            stream.wait(lambda m: m["type"] == "match", "a trade", seconds=30)
        assert running.stop() == 0
    finally:
        running.discard()

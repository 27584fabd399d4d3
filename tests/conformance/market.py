"""Products, prices and exact amounts: everything in Decimal, nothing in floats."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

# Where a quiet market with no trade yet is expected to stand, should it not say so itself.
FALLBACK_PRICES = {"BTC-USD": Decimal(60000), "ETH-USD": Decimal(3000), "ETH-BTC": Decimal("0.05")}


def text(value: Decimal) -> str:
    """A decimal without exponent and trailing zeros, as clients send it."""
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


@dataclass(frozen=True)
class Product:
    """One product, and a price around which a quiet market can trade."""

    id: str
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    min_size: Decimal
    min_funds: Decimal
    price: Decimal

    @property
    def symbol(self) -> str:
        """The name that ccxt uses."""
        return f"{self.base}/{self.quote}"

    def at(self, ticks: int) -> Decimal:
        """The price so many steps from the middle; one step is wide enough to see and well inside any band."""
        step = max(self.tick, (self.price / 1000 // self.tick) * self.tick)
        return self.price + ticks * step

    def size(self, multiple: int = 1) -> Decimal:
        """A size whose notional is at least four times the minimum, times ``multiple``."""
        wanted = max(self.min_funds, self.tick * self.lot) * 4 / self.price
        lots = (wanted / self.lot).to_integral_value(ROUND_CEILING)
        lots = max(lots, Decimal(10), (self.min_size / self.lot).to_integral_value(ROUND_CEILING) * 4)
        return lots * self.lot * multiple


def products(rest) -> list[Product]:
    """Every product that is online, with the price where it trades."""
    found = []
    for raw in rest.get("/products"):
        if raw["status"] != "online" or raw.get("trading_disabled"):
            continue
        tick = Decimal(raw["quote_increment"])
        price = reference_price(rest, raw)
        if price is None:
            continue
        found.append(
            Product(
                id=raw["id"],
                base=raw["base_currency"],
                quote=raw["quote_currency"],
                tick=tick,
                lot=Decimal(raw["base_increment"]),
                min_size=Decimal(raw.get("base_min_size") or 0),
                min_funds=Decimal(raw["min_market_funds"]),
                price=(price // tick) * tick,
            )
        )
    return found


def reference_price(rest, raw: dict) -> Decimal | None:
    """The last price, or what stands in for it while nothing has traded."""
    candidates = [raw.get("reference_price")]
    response = rest.send("GET", f"/products/{raw['id']}/ticker")
    if response.status_code == 200:
        candidates.append(response.json().get("price"))
    for candidate in candidates:
        if candidate not in (None, "") and Decimal(candidate) > 0:
            return Decimal(candidate)
    return FALLBACK_PRICES.get(raw["id"])

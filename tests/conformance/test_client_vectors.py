"""The signature's test vectors, for this suite's own client and for the unmodified one."""

import ccxt
import pytest

import signing

SECRET = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="

VECTORS = [
    (1795451063, "GET", "/accounts", b"", "DGNMrDFGL9ghdz7XZJS1/4H1MOS5GmMvDO5Cl2x4+s8="),
    (
        1795451064, "GET", "/orders?product_id=BTC-USD&limit=10", b"",
        "mSEebuDNfQbAXLtzSj7nyjkdheYPYCBYTHpAo30NMsw=",
    ),
    (
        1795451064, "DELETE", "/orders/d0c5340b", b'{"product_id":"BTC/USD"}',
        "3iHWN7iP+HSOTcD7z57HpFDz8dXdzp0/nb9ueWWDWCI=",
    ),
    (
        1795451067, "GET", signing.WEBSOCKET_PATH, b"",
        "Qh8jkyNzr5ABCfwwxPcV40yaPz8msGnKP7u2toZnj0M=",
    ),
]


@pytest.mark.parametrize(("timestamp", "method", "path", "body", "expected"), VECTORS)
def test_this_suites_client_signs_like_the_vectors(timestamp, method, path, body, expected):
    assert signing.signature(SECRET, timestamp, method, path, body) == expected


def frozen_client(timestamp):
    class Frozen(ccxt.coinbaseexchange):
        def nonce(self):
            return timestamp

    return Frozen({"apiKey": "k", "secret": SECRET, "password": "p"})


def test_the_unmodified_client_signs_like_the_vectors():
    signed = [
        frozen_client(1795451063).sign("accounts", ["private"], "GET", {}),
        frozen_client(1795451064).sign(
            "orders", ["private"], "GET", {"product_id": "BTC-USD", "limit": 10}
        ),
        frozen_client(1795451064).sign(
            "orders/{id}", ["private"], "DELETE", {"id": "d0c5340b", "product_id": "BTC/USD"}
        ),
    ]
    for got, (timestamp, _, _, _, expected) in zip(signed, VECTORS):
        assert got["headers"]["CB-ACCESS-SIGN"] == expected
        assert got["headers"]["CB-ACCESS-TIMESTAMP"] == str(timestamp)
    assert signed[2]["body"] == '{"product_id":"BTC/USD"}'

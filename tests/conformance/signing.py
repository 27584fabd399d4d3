"""Signatures of the exchange API, written from its description and independent of any client."""

import base64
import hashlib
import hmac

WEBSOCKET_PATH = "/users/self/verify"


def signature(secret: str, timestamp: int, method: str, path: str, body: bytes = b"") -> str:
    """The base64 HMAC-SHA256 over timestamp, method, request target and body."""
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.b64encode(hmac.new(base64.b64decode(secret), message, hashlib.sha256).digest()).decode()


def headers(member, timestamp: int, method: str, path: str, body: bytes = b"") -> dict:
    """The headers of a signed request."""
    return {
        "CB-ACCESS-KEY": member.key,
        "CB-ACCESS-SIGN": signature(member.secret, timestamp, method, path, body),
        "CB-ACCESS-TIMESTAMP": str(timestamp),
        "CB-ACCESS-PASSPHRASE": member.passphrase,
        "Content-Type": "application/json",
    }


def subscription(member, timestamp: int) -> dict:
    """The fields that sign a subscribe message."""
    return {
        "timestamp": timestamp,
        "key": member.key,
        "signature": signature(member.secret, timestamp, "GET", WEBSOCKET_PATH),
        "passphrase": member.passphrase,
    }

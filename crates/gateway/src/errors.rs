//! Refusals as clients see them: one table from the venue's reasons to status and message.
//!
//! Clients of this API read `message` only at statuses 400 and 404 and everything else by number,
//! so business refusals are always one of these two.

use std::borrow::Cow;

use axum::http::StatusCode;
use everopen_domain::RejectReason;

use crate::port::PortError;

/// A refusal: status, message and, where the venue has one, its stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The text of `message`.
    pub message: Cow<'static, str>,
    /// The venue's reason, sent as `code` and `reason`.
    pub reason: Option<RejectReason>,
    /// Sent as `Retry-After`.
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    /// An error with this status and message.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
            reason: None,
            retry_after_s: None,
        }
    }

    /// 400: what was sent is wrong.
    pub fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 or 404 with the gateway's own words for a reason of the venue.
    pub fn because(reason: RejectReason, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::from(reason);
        error.message = message.into();
        error
    }

    /// 401: not proven who asks.
    pub fn unauthorized(message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: known who asks, but not allowed.
    pub fn forbidden(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404 in the form that clients know for anything but orders and products.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound")
    }

    /// 503: nothing was submitted, try again.
    pub fn busy(retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s.max(1)),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the venue is busy, nothing was submitted",
            )
        }
    }

    /// 500, without a word about why.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal server error")
    }
}

impl From<PortError> for ApiError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Busy { retry_after_ms } => Self::busy(retry_after_ms.div_ceil(1_000)),
            PortError::JournalFull | PortError::Unavailable => Self {
                retry_after_s: Some(1),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            },
            PortError::OutcomeUnknown => Self::new(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
        }
    }
}

impl From<RejectReason> for ApiError {
    fn from(reason: RejectReason) -> Self {
        let (status, message) = said(reason);
        Self {
            status,
            message: message.into(),
            reason: Some(reason),
            retry_after_s: None,
        }
    }
}

/// The table. Where a text must be what existing clients compare with, it stands here; all other
/// reasons speak for themselves.
const fn said(reason: RejectReason) -> (StatusCode, &'static str) {
    use RejectReason as R;
    let message = match reason {
        R::InsufficientFunds => "Insufficient funds",
        R::UnknownInstrument => "Product not found",
        R::OrderNotFound => "order not found",
        R::CancelOnly => "Cancel only mode",
        R::Halted => "trading is halted: product is under maintenance",
        R::RateLimited => "Private rate limit exceeded",
        R::UnknownAsset => "currency not found",
        R::UnknownTransfer => "transfer not found",
        other => other.text(),
    };
    let status = match reason {
        R::UnknownInstrument | R::OrderNotFound | R::UnknownAsset | R::UnknownTransfer => {
            StatusCode::NOT_FOUND
        }
        R::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_recognize_the_texts() {
        // The texts are those that ccxt 4.5.90 compares with, exactly or as a part.
        for (reason, part) in [
            (RejectReason::InsufficientFunds, "Insufficient funds"),
            (RejectReason::OrderNotFound, "order not found"),
            (RejectReason::UnknownInstrument, "Product not found"),
            (RejectReason::PriceOffTick, "price too precise"),
            (RejectReason::SizeTooSmall, "size is too small"),
            (RejectReason::CancelOnly, "Cancel only mode"),
            (RejectReason::Halted, "under maintenance"),
        ] {
            assert!(said(reason).1.contains(part), "{reason:?}");
        }
    }

    #[test]
    fn every_reason_is_one_that_clients_read_by_message_or_by_number() {
        for reason in RejectReason::ALL {
            let error = ApiError::from(*reason);
            assert!(
                matches!(error.status.as_u16(), 400 | 404 | 429),
                "{reason:?}"
            );
            assert!(!error.message.is_empty());
        }
    }
}

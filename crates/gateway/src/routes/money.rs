//! Money coming and going: deposits, withdrawals and their record.

use axum::http::Method;
use everopen_domain::{
    Amount, AssetCode, Command, Destination, Event, Reference, RejectReason, TransferId,
};
use everopen_views::uuid::{Uuid, account_id, user_id};
use everopen_views::{AssetView, Decimal, TransferKind, TransferStatus, TransferView, Views};

use super::page::{self, AFTER, BEFORE, LIMIT};
use super::{Route, accounts, handler};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::keys::Permission;
use crate::port::Outcome;
use crate::schema::{Exact, Text, Time, object};

object! {
    /// A deposit, a withdrawal or a transfer between members.
    struct Transfer {
        /// Its number.
        id: Text<u64>,
        /// `deposit`, `withdraw`, `internal_deposit` or `internal_withdraw`.
        r#type: &'static str,
        /// When it began.
        created_at: Time,
        /// When it was done.
        completed_at: Option<Time>,
        /// When it was given up.
        canceled_at: Option<Time>,
        /// When it was done or given up.
        processed_at: Option<Time>,
        /// The account.
        account_id: Text<Uuid>,
        /// The member.
        user_id: Text<Uuid>,
        /// Of what.
        currency: Text<AssetCode>,
        /// How much.
        amount: Exact,
        /// `pending`, `completed` or `canceled`.
        status: &'static str,
        /// More of it.
        details: TransferDetails,
    }
}

object! {
    /// More of a transfer.
    struct TransferDetails {
        /// Where a withdrawal goes.
        crypto_address: Option<Text<Destination>>,
        /// The same.
        sent_to_address: Option<Text<Destination>>,
        /// The requester's reference.
        reference: Option<Text<Reference>>,
        /// What it cost; the venue charges nothing for it.
        fee: Exact,
    }
}

object! {
    /// What became of a deposit or withdrawal request.
    struct Receipt {
        /// Its number.
        id: Text<u64>,
        /// How much.
        amount: Exact,
        /// Of what.
        currency: Text<AssetCode>,
        /// What it cost.
        fee: Exact,
        /// `pending` or `completed`.
        status: &'static str,
        /// When it was booked.
        payout_at: Time,
    }
}

object! {
    /// What a withdrawal would cost.
    struct FeeEstimate {
        /// Nothing: the venue charges trades only.
        fee: Exact,
    }
}

/// Fields of requests that move money, for the document.
const MOVE: &[(&str, &str, &str)] = &[
    ("currency!", "string", "the asset's code"),
    ("amount!", "decimal", "how much"),
    (
        "reference",
        "string",
        "refused when used before; at most 36 printable characters",
    ),
];
const MOVE_OUT: &[(&str, &str, &str)] = &[
    ("currency!", "string", "the asset's code"),
    ("amount!", "decimal", "how much"),
    ("crypto_address!", "string", "where to"),
    (
        "reference",
        "string",
        "refused when used before; at most 36 printable characters",
    ),
];

const KINDS: (&str, &str) = (
    "type",
    "`deposit`, `withdraw`, `internal_deposit` or `internal_withdraw`",
);

pub(super) fn routes() -> Vec<Route> {
    let view = |path, summary, handler| {
        Route::new(Method::GET, path, summary, handler).signed(Permission::View)
    };
    let transfer = |method, path, summary, handler| {
        Route::new(method, path, summary, handler).signed(Permission::Transfer)
    };
    let (post, delete) = (Method::POST, Method::DELETE);
    let deposit = "Credit an account; in a demonstration only";
    vec![
        view("/transfers", "Transfers, newest first", handler!(list))
            .query(&[KINDS, LIMIT, BEFORE, AFTER])
            .gives::<Vec<Transfer>>(),
        view("/transfers/{transfer_id}", "A transfer", handler!(find)).gives::<Transfer>(),
        view(
            "/accounts/{account_id}/transfers",
            "An account's transfers",
            handler!(list_of_account),
        )
        .query(&[KINDS, LIMIT, BEFORE, AFTER])
        .gives::<Vec<Transfer>>(),
        transfer(
            post.clone(),
            "/deposits/payment-method",
            deposit,
            handler!(self::deposit),
        )
        .body(MOVE)
        .gives::<Receipt>(),
        transfer(
            post.clone(),
            "/deposits/coinbase-account",
            deposit,
            handler!(self::deposit),
        )
        .body(MOVE)
        .gives::<Receipt>(),
        transfer(post, "/withdrawals/crypto", "Withdraw", handler!(withdraw))
            .body(MOVE_OUT)
            .gives::<Receipt>(),
        transfer(
            delete,
            "/withdrawals/{transfer_id}",
            "Cancel a pending withdrawal",
            handler!(cancel),
        )
        .gives::<Transfer>(),
        view(
            "/withdrawals/fee-estimate",
            "What a withdrawal would cost",
            handler!(fee_estimate),
        )
        .query(&[("currency", "the asset's code")])
        .gives::<FeeEstimate>(),
    ]
}

fn kind(kind: TransferKind) -> &'static str {
    match kind {
        TransferKind::Deposit => "deposit",
        TransferKind::Withdrawal => "withdraw",
        TransferKind::TransferIn { .. } => "internal_deposit",
        TransferKind::TransferOut { .. } => "internal_withdraw",
    }
}

fn body(views: &Views, call: &Call, view: &TransferView) -> Option<Transfer> {
    let asset = views.asset(view.asset)?;
    let amount = |amount| Exact(Decimal::amount(amount, asset.decimals));
    let (status, completed_at, canceled_at) = match view.status {
        TransferStatus::Pending => ("pending", None, None),
        TransferStatus::Completed(at) => ("completed", Some(Time(at)), None),
        TransferStatus::Canceled(at) => ("canceled", None, Some(Time(at))),
    };
    let address = (!view.destination.is_empty()).then_some(Text(view.destination));
    Some(Transfer {
        id: Text(view.transfer.0),
        r#type: kind(view.kind),
        created_at: Time(view.created_at),
        completed_at,
        canceled_at,
        processed_at: completed_at.or(canceled_at),
        account_id: Text(account_id(call.member(), view.asset)),
        user_id: Text(user_id(call.member())),
        currency: Text(asset.code),
        amount: amount(view.amount),
        status,
        details: TransferDetails {
            crypto_address: address,
            sent_to_address: address,
            reference: (!view.reference.is_empty()).then_some(Text(view.reference)),
            fee: amount(Amount::ZERO),
        },
    })
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    transfers(&call, |_| true)
}

async fn list_of_account(call: Call) -> Result<Reply, ApiError> {
    let asset = accounts::named(&call)?;
    transfers(&call, move |transfer| transfer.asset == asset)
}

fn transfers(call: &Call, takes: impl Fn(&TransferView) -> bool) -> Result<Reply, ApiError> {
    let page = page::page(&call.query, |_| None)?;
    let wanted = call.query.text("type")?;
    let known = [
        "deposit",
        "withdraw",
        "internal_deposit",
        "internal_withdraw",
    ];
    if wanted.is_some_and(|wanted| !known.contains(&wanted)) {
        return Err(ApiError::bad(
            "type must be deposit, withdraw, internal_deposit or internal_withdraw",
        ));
    }
    let takes =
        |view: &TransferView| takes(view) && wanted.is_none_or(|wanted| wanted == kind(view.kind));
    let views = call.gateway.views();
    let rows: Vec<_> = views
        .transfers(call.member(), page, takes)
        .filter_map(|view| Some((view.transfer.0, body(&views, call, view)?)))
        .collect();
    Ok(page::reply(&rows))
}

fn named(call: &Call) -> Result<TransferId, ApiError> {
    call.param("transfer_id")
        .parse()
        .map(TransferId)
        .map_err(|_| ApiError::not_found())
}

async fn find(call: Call) -> Result<Reply, ApiError> {
    show(&call, named(&call)?)
}

fn show(call: &Call, transfer: TransferId) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let view = views
        .transfer(call.member(), transfer)
        .ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(
        &body(&views, call, view).ok_or_else(ApiError::internal)?,
    ))
}

/// What a request wants to move.
struct Movement {
    asset: AssetView,
    amount: Amount,
    reference: Reference,
}

fn movement(call: &Call) -> Result<Movement, ApiError> {
    let code = call.body.required("currency")?;
    let views = call.gateway.views();
    let asset = *views
        .asset_by_code(code)
        .ok_or(RejectReason::UnknownAsset)?;
    let amount = call.body.units("amount", asset.decimals)?;
    let amount = amount.ok_or_else(|| ApiError::bad("amount is required"))?;
    if amount == 0 {
        return Err(RejectReason::AmountInvalid.into());
    }
    let reference = call.body.text("reference")?.unwrap_or("");
    let reference = Reference::new(reference.as_bytes())
        .map_err(|_| ApiError::bad("reference must be at most 36 printable characters"))?;
    Ok(Movement {
        asset,
        amount: Amount(amount),
        reference,
    })
}

fn receipt(outcome: &Outcome, id: TransferId, moved: &Movement, status: &'static str) -> Reply {
    let amount = |amount| Exact(Decimal::amount(amount, moved.asset.decimals));
    Reply::json(&Receipt {
        id: Text(id.0),
        amount: amount(moved.amount),
        currency: Text(moved.asset.code),
        fee: amount(Amount::ZERO),
        status,
        payout_at: Time(outcome.time),
    })
}

fn refusal(outcome: &Outcome) -> ApiError {
    let reason = outcome.events.iter().find_map(|event| match event {
        Event::CommandRejected { reason } => Some(*reason),
        _ => None,
    });
    reason.map_or_else(ApiError::internal, ApiError::from)
}

async fn deposit(call: Call) -> Result<Reply, ApiError> {
    if !call.gateway.config().demo_deposits {
        return Err(ApiError::forbidden(
            "Forbidden: deposits are booked by the venue's operator",
        ));
    }
    let moved = movement(&call)?;
    let command = Command::Deposit {
        member: call.member(),
        asset: moved.asset.id,
        amount: moved.amount,
        reference: moved.reference,
    };
    let outcome = call.submit(command).await?;
    let booked = outcome.events.iter().find_map(|event| match event {
        Event::Deposited { transfer, .. } => Some(*transfer),
        _ => None,
    });
    match booked {
        Some(transfer) => Ok(receipt(&outcome, transfer, &moved, "completed")),
        None => Err(refusal(&outcome)),
    }
}

async fn withdraw(call: Call) -> Result<Reply, ApiError> {
    let moved = movement(&call)?;
    let address = call.body.required("crypto_address")?;
    let destination = Destination::new(address.as_bytes())
        .map_err(|_| ApiError::bad("crypto_address must be at most 104 printable characters"))?;
    let command = Command::RequestWithdrawal {
        member: call.member(),
        asset: moved.asset.id,
        amount: moved.amount,
        reference: moved.reference,
        destination,
    };
    let outcome = call.submit(command).await?;
    let requested = outcome.events.iter().find_map(|event| match event {
        Event::WithdrawalRequested { transfer, .. } => Some(*transfer),
        _ => None,
    });
    let Some(transfer) = requested else {
        return Err(refusal(&outcome));
    };
    if !call.gateway.config().demo_withdrawals {
        return Ok(receipt(&outcome, transfer, &moved, "pending"));
    }
    // The request stands whatever becomes of its completion, so its receipt is given either way.
    let status = match call.submit(Command::CompleteWithdrawal { transfer }).await {
        Ok(_) => "completed",
        Err(_) => "pending",
    };
    Ok(receipt(&outcome, transfer, &moved, status))
}

async fn cancel(call: Call) -> Result<Reply, ApiError> {
    let transfer = named(&call)?;
    {
        let views = call.gateway.views();
        let view = views.transfer(call.member(), transfer);
        if view.is_none_or(|view| view.kind != TransferKind::Withdrawal) {
            return Err(ApiError::not_found());
        }
    }
    let outcome = call.submit(Command::CancelWithdrawal { transfer }).await?;
    let is_canceled = |event: &Event| matches!(event, Event::WithdrawalCanceled { .. });
    match outcome.events.iter().any(is_canceled) {
        true => show(&call, transfer),
        false => Err(refusal(&outcome)),
    }
}

async fn fee_estimate(call: Call) -> Result<Reply, ApiError> {
    let code = call.query.required("currency")?;
    let views = call.gateway.views();
    let asset = views
        .asset_by_code(code)
        .ok_or(RejectReason::UnknownAsset)?;
    Ok(Reply::json(&FeeEstimate {
        fee: Exact(Decimal::amount(Amount::ZERO, asset.decimals)),
    }))
}

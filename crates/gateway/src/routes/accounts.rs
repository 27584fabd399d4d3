//! A member's accounts: balances, ledger, holds.

use axum::http::Method;
use everopen_domain::{AssetId, Side};
use everopen_views::uuid::{Uuid, account_id, profile_id};
use everopen_views::{
    AccountView, Decimal, LedgerDetail, LedgerEntry, LedgerKind, OrderFilter, Page, TransferKind,
    TransferStatus, Views,
};

use super::page::{self, AFTER, BEFORE, LIMIT};
use super::{Route, handler};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::keys::Permission;
use crate::schema::{Exact, Text, Time, object};

object! {
    /// An account.
    struct Account {
        /// Its id.
        id: Text<Uuid>,
        /// Of what.
        currency: Text<everopen_domain::AssetCode>,
        /// Available and held together.
        balance: Exact,
        /// What can be used.
        available: Exact,
        /// What is held for orders and withdrawals.
        hold: Exact,
        /// Deposits on their way; the venue hears of deposits when they are there.
        pending_deposits: Exact,
        /// Its profile.
        profile_id: Text<Uuid>,
        /// Whether its member may trade.
        trading_enabled: bool,
        /// Its asset's code.
        display_name: Text<everopen_domain::AssetCode>,
    }
}

object! {
    /// One change of an account's balance.
    struct Entry {
        /// Its number.
        id: Text<u64>,
        /// What came; negative for what went.
        amount: Exact,
        /// The balance after it.
        balance: Exact,
        /// When.
        created_at: Time,
        /// `transfer`, `match`, `fee` or `rebate`.
        r#type: &'static str,
        /// What it came from.
        details: EntryDetails,
    }
}

object! {
    /// What a ledger entry came from.
    struct EntryDetails {
        /// The order.
        order_id: Option<Text<everopen_domain::OrderId>>,
        /// The product.
        product_id: Option<String>,
        /// The trade.
        trade_id: Option<Text<u64>>,
        /// The movement of money.
        transfer_id: Option<Text<u64>>,
        /// `deposit`, `withdraw`, or `internal` between members.
        transfer_type: Option<&'static str>,
        /// The account that it came from.
        from: Option<Text<Uuid>>,
        /// The account that it went to.
        to: Option<Text<Uuid>>,
    }
}

object! {
    /// A hold.
    struct Hold {
        /// What it is for: the order's or transfer's id.
        id: String,
        /// The same.
        r#ref: String,
        /// `order` or `transfer`.
        r#type: &'static str,
        /// How much.
        amount: Exact,
        /// When.
        created_at: Time,
    }
}

pub(super) fn routes() -> Vec<Route> {
    let get = |path, summary, handler| {
        Route::new(Method::GET, path, summary, handler).signed(Permission::View)
    };
    vec![
        get("/accounts", "All accounts", handler!(accounts)).gives::<Vec<Account>>(),
        get("/accounts/{account_id}", "An account", handler!(account)).gives::<Account>(),
        get(
            "/accounts/{account_id}/ledger",
            "Changes of balance, newest first",
            handler!(ledger),
        )
        .query(&[LIMIT, BEFORE, AFTER])
        .gives::<Vec<Entry>>(),
        get(
            "/accounts/{account_id}/holds",
            "What is held, newest first",
            handler!(holds),
        )
        .query(&[LIMIT])
        .gives::<Vec<Hold>>(),
    ]
}

/// The asset of the account in the path, if it is the caller's.
pub(super) fn named(call: &Call) -> Result<AssetId, ApiError> {
    let id: Uuid = call
        .param("account_id")
        .parse()
        .map_err(|_| ApiError::not_found())?;
    match id.to_account() {
        Some((member, asset)) if member == call.member() => Ok(asset),
        _ => Err(ApiError::not_found()),
    }
}

fn body(views: &Views, call: &Call, account: AccountView) -> Option<Account> {
    let asset = views.asset(account.asset)?;
    let amount = |amount| Exact(Decimal::amount(amount, asset.decimals));
    let member = views.member(call.member());
    Some(Account {
        id: Text(account_id(call.member(), asset.id)),
        currency: Text(asset.code),
        balance: amount(account.balance()),
        available: amount(account.available),
        hold: amount(account.held),
        pending_deposits: amount(everopen_domain::Amount::ZERO),
        profile_id: Text(profile_id(call.member())),
        trading_enabled: member.is_some_and(|member| !member.killed) && !views.is_killed(),
        display_name: Text(asset.code),
    })
}

async fn accounts(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let rows: Vec<_> = views
        .accounts(call.member())
        .filter_map(|account| body(&views, &call, account))
        .collect();
    Ok(Reply::json(&rows))
}

async fn account(call: Call) -> Result<Reply, ApiError> {
    let asset = named(&call)?;
    let views = call.gateway.views();
    let account = views
        .account(call.member(), asset)
        .and_then(|account| body(&views, &call, account));
    Ok(Reply::json(&account.ok_or_else(ApiError::not_found)?))
}

async fn ledger(call: Call) -> Result<Reply, ApiError> {
    let asset = named(&call)?;
    let page = page::page(&call.query, |_| None)?;
    let views = call.gateway.views();
    let decimals = views.asset(asset).ok_or_else(ApiError::not_found)?.decimals;
    let row = |entry: &LedgerEntry| {
        let body = Entry {
            id: Text(entry.id),
            amount: Exact(Decimal::amount(entry.amount, decimals)),
            balance: Exact(Decimal::amount(entry.balance, decimals)),
            created_at: Time(entry.created_at),
            r#type: match entry.kind {
                LedgerKind::Transfer => "transfer",
                LedgerKind::Match => "match",
                LedgerKind::Fee => "fee",
                LedgerKind::Rebate => "rebate",
            },
            details: details(&views, &call, asset, entry.detail),
        };
        (entry.id, body)
    };
    let rows: Vec<_> = views
        .ledger_entries(call.member(), asset, page)
        .map(row)
        .collect();
    Ok(page::reply(&rows))
}

fn details(views: &Views, call: &Call, asset: AssetId, detail: LedgerDetail) -> EntryDetails {
    let mut body = EntryDetails {
        order_id: None,
        product_id: None,
        trade_id: None,
        transfer_id: None,
        transfer_type: None,
        from: None,
        to: None,
    };
    match detail {
        LedgerDetail::Trade {
            order,
            trade,
            instrument,
        } => {
            body.order_id = Some(Text(order));
            body.product_id = views
                .product(instrument)
                .map(|product| product.symbol.clone());
            body.trade_id = Some(Text(trade.0));
        }
        LedgerDetail::Transfer { transfer, kind } => {
            let ours = Some(Text(account_id(call.member(), asset)));
            body.transfer_id = Some(Text(transfer.0));
            let (name, from, to) = match kind {
                TransferKind::Deposit => ("deposit", None, ours),
                TransferKind::Withdrawal => ("withdraw", ours, None),
                // The other member's account is theirs to tell.
                TransferKind::TransferIn { .. } => ("internal", None, ours),
                TransferKind::TransferOut { .. } => ("internal", ours, None),
            };
            (body.transfer_type, body.from, body.to) = (Some(name), from, to);
        }
    }
    body
}

async fn holds(call: Call) -> Result<Reply, ApiError> {
    let asset = named(&call)?;
    let page = page::page(&call.query, |_| None)?;
    let views = call.gateway.views();
    let decimals = views.asset(asset).ok_or_else(ApiError::not_found)?.decimals;
    let hold = |id: String, kind, amount, at| Hold {
        r#ref: id.clone(),
        id,
        r#type: kind,
        amount: Exact(Decimal::amount(amount, decimals)),
        created_at: Time(at),
    };
    let everything = Page {
        limit: u32::MAX,
        ..Page::default()
    };
    let filter = OrderFilter {
        page: everything,
        ..OrderFilter::default()
    };
    let orders = views.orders(call.member(), &filter).filter_map(|order| {
        let product = views.product(order.details.instrument)?;
        let held = match order.details.side {
            Side::Buy => product.quote.id,
            Side::Sell => product.base.id,
        };
        let row = hold(
            order.order.to_string(),
            "order",
            order.hold,
            order.created_at,
        );
        (held == asset && order.hold.is_positive()).then_some((order.created_at, row))
    });
    let pending = views.transfers(call.member(), everything, move |transfer| {
        transfer.asset == asset && transfer.status == TransferStatus::Pending
    });
    let transfers = pending.map(|transfer| {
        let id = transfer.transfer.to_string();
        (
            transfer.created_at,
            hold(id, "transfer", transfer.amount, transfer.created_at),
        )
    });
    let mut rows: Vec<_> = orders.chain(transfers).collect();
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    rows.truncate(page.limit as usize);
    Ok(Reply::json(
        &rows.iter().map(|(_, row)| row).collect::<Vec<_>>(),
    ))
}

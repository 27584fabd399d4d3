//! Who the member is, and where its money comes from.

use axum::http::Method;
use everopen_domain::{Amount, AssetCode, MemberCode};
use everopen_views::Decimal;
use everopen_views::uuid::{Uuid, account_id, profile_id, user_id};

use super::{Route, accounts, handler};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::keys::Permission;
use crate::schema::{Exact, Text, object};

object! {
    /// A member's profile; each member has one.
    struct Profile {
        /// Its id.
        id: Text<Uuid>,
        /// The member.
        user_id: Text<Uuid>,
        /// Always `default`.
        name: &'static str,
        /// Whether the member may trade.
        active: bool,
        /// Whether it is the one that is used if none is named; always.
        is_default: bool,
    }
}

object! {
    /// Whose key this is and what it may do.
    struct Verified {
        /// The member.
        id: Text<Uuid>,
        /// The member's code.
        code: Text<MemberCode>,
        /// The member's profile.
        profile_id: Text<Uuid>,
        /// Whether the key may read.
        can_view: bool,
        /// Whether the key may trade.
        can_trade: bool,
        /// Whether the key may move money.
        can_transfer: bool,
    }
}

object! {
    /// The member's limits across products; zero is none.
    struct Limits {
        /// Open orders at once per product.
        max_open_orders: u32,
        /// Order messages a second.
        message_rate: u32,
        /// Order messages at once.
        message_burst: u32,
    }
}

object! {
    /// A wallet outside the venue that deposits come from.
    struct Wallet {
        /// Its id.
        id: Text<Uuid>,
        /// Its name.
        name: String,
        /// Of what.
        currency: Text<AssetCode>,
        /// The venue does not know what is in it.
        balance: Exact,
        /// Always `wallet`.
        r#type: &'static str,
        /// Whether it is the first choice.
        primary: bool,
        /// Whether it can be used.
        active: bool,
    }
}

object! {
    /// An address to deposit to.
    struct Address {
        /// The address; a label without a chain behind it, in a demonstration only.
        address: String,
        /// Of what.
        currency: Text<AssetCode>,
        /// The account that it is for.
        account_id: Text<Uuid>,
    }
}

object! {
    /// A way to pay.
    struct PaymentMethod {
        /// Its id.
        id: &'static str,
        /// Always `demo`.
        r#type: &'static str,
        /// Its name.
        name: &'static str,
        /// Whether money can come by it.
        allow_deposit: bool,
        /// Whether money can leave by it.
        allow_withdraw: bool,
    }
}

pub(super) fn routes() -> Vec<Route> {
    let get = |path, summary, handler| {
        Route::new(Method::GET, path, summary, handler).signed(Permission::View)
    };
    vec![
        get("/profiles", "The member's profile", handler!(profiles)).gives::<Vec<Profile>>(),
        get("/users/self/verify", "Whose key this is", handler!(verify)).gives::<Verified>(),
        get(
            "/users/self/exchange-limits",
            "The member's limits",
            handler!(limits),
        )
        .gives::<Limits>(),
        get("/payment-methods", "Ways to pay", handler!(payment_methods))
            .gives::<Vec<PaymentMethod>>(),
        get(
            "/coinbase-accounts",
            "Wallets outside the venue",
            handler!(wallets),
        )
        .gives::<Vec<Wallet>>(),
        Route::new(
            Method::POST,
            "/coinbase-accounts/{account_id}/addresses",
            "An address to deposit to; in a demonstration only",
            handler!(address),
        )
        .signed(Permission::Transfer)
        .gives::<Address>(),
    ]
}

async fn profiles(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let member = views.member(call.member());
    Ok(Reply::json(&[Profile {
        id: Text(profile_id(call.member())),
        user_id: Text(user_id(call.member())),
        name: "default",
        active: member.is_some_and(|member| !member.killed),
        is_default: true,
    }]))
}

async fn verify(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let member = views
        .member(call.member())
        .ok_or_else(ApiError::not_found)?;
    let permissions = call.key.as_ref().map(|key| key.permissions);
    let can = |permission| permissions.is_some_and(|all| all.allows(permission));
    Ok(Reply::json(&Verified {
        id: Text(user_id(member.id)),
        code: Text(member.code),
        profile_id: Text(profile_id(member.id)),
        can_view: can(Permission::View),
        can_trade: can(Permission::Trade),
        can_transfer: can(Permission::Transfer),
    }))
}

async fn limits(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let limits = views
        .member(call.member())
        .ok_or_else(ApiError::not_found)?
        .limits;
    Ok(Reply::json(&Limits {
        max_open_orders: limits.max_open_orders,
        message_rate: limits.message_rate,
        message_burst: limits.message_burst,
    }))
}

async fn payment_methods(call: Call) -> Result<Reply, ApiError> {
    let demo = PaymentMethod {
        id: "demo",
        r#type: "demo",
        name: "Demonstration money",
        allow_deposit: true,
        allow_withdraw: false,
    };
    let methods = if call.gateway.config().demo_deposits {
        vec![demo]
    } else {
        Vec::new()
    };
    Ok(Reply::json(&methods))
}

async fn wallets(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let active = call.gateway.config().demo_deposits;
    let wallets = views.assets().iter().map(|asset| Wallet {
        id: Text(account_id(call.member(), asset.id)),
        name: format!("{} wallet", asset.code),
        currency: Text(asset.code),
        balance: Exact(Decimal::amount(Amount::ZERO, asset.decimals)),
        r#type: "wallet",
        primary: false,
        active,
    });
    Ok(Reply::json(&wallets.collect::<Vec<_>>()))
}

async fn address(call: Call) -> Result<Reply, ApiError> {
    if !call.gateway.config().demo_deposits {
        return Err(ApiError::forbidden(
            "Forbidden: deposits are booked by the venue's operator",
        ));
    }
    let asset = accounts::named(&call)?;
    let views = call.gateway.views();
    let asset = views.asset(asset).ok_or_else(ApiError::not_found)?;
    let account = account_id(call.member(), asset.id);
    Ok(Reply::json(&Address {
        address: format!("demo-{account}"),
        currency: Text(asset.code),
        account_id: Text(account),
    }))
}

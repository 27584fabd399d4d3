//! A member's fills and fees.

use axum::http::Method;
use everopen_domain::{MemberId, OrderId, OrderTarget};
use everopen_views::uuid::{Uuid, profile_id, user_id};
use everopen_views::{Decimal, FillFilter, FillView, Liquidity, Views};
use serde_json::{Value, json};

use super::market::side;
use super::page::{self, AFTER, BEFORE, END, LIMIT, START};
use super::{Rate, Route, handler, parse};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::keys::Permission;
use crate::schema::{Described, Exact, Short, Text, Time, object};

object! {
    /// The member's side of a trade.
    struct Fill {
        /// The trade's number in its product.
        trade_id: u64,
        /// The product.
        product_id: String,
        /// The member's order.
        order_id: Text<OrderId>,
        /// The member.
        user_id: Text<Uuid>,
        /// The member's profile.
        profile_id: Text<Uuid>,
        /// `M` when the order rested, `T` when it came.
        liquidity: &'static str,
        /// The member's side.
        side: &'static str,
        /// The price.
        price: Exact,
        /// The size.
        size: Exact,
        /// What was charged, in units of the quote asset; negative for a rebate.
        fee: Exact,
        /// Price × size, in units of the quote asset.
        notional: Exact,
        /// When it was.
        created_at: Time,
        /// Whether its money has moved; always.
        settled: bool,
    }
}

/// A fill with its cost under the quote asset's own name (`usd_value`), as clients look for it.
struct FillRow {
    fill: Fill,
    value_name: String,
}

impl serde::Serialize for FillRow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(&self.fill).map_err(serde::ser::Error::custom)?;
        value[&self.value_name] = value["notional"].clone();
        value.serialize(serializer)
    }
}

impl Described for FillRow {
    fn schema() -> Value {
        let mut schema = Fill::schema();
        schema["patternProperties"] = json!({
            "^[a-z0-9]+_value$": {
                "type": "string",
                "description": "The notional again, under the quote asset's name.",
            }
        });
        schema
    }
}

object! {
    /// What the member's orders are charged.
    struct Fees {
        /// The share charged to an order that rests.
        maker_fee_rate: Short,
        /// The share charged to an order that takes.
        taker_fee_rate: Short,
        /// The member's volume over 30 days.
        usd_volume: Option<Exact>,
        /// What the volume is counted in.
        volume_currency: Option<Text<everopen_domain::AssetCode>>,
    }
}

pub(super) fn routes() -> Vec<Route> {
    let get = |path, summary, handler| {
        Route::new(Method::GET, path, summary, handler).signed(Permission::View)
    };
    vec![
        get(
            "/fills",
            "The member's fills, newest first",
            handler!(fills),
        )
        .rate(Rate::Fills)
        .query(&[
            ("product_id", "only of this product"),
            ("order_id", "only of this order"),
            START,
            END,
            LIMIT,
            BEFORE,
            AFTER,
        ])
        .gives::<Vec<FillRow>>(),
        get(
            "/fees",
            "What the member's orders are charged",
            handler!(fees),
        )
        .query(&[("product_id", "in this product; in the first if not given")])
        .gives::<Fees>(),
    ]
}

async fn fills(call: Call) -> Result<Reply, ApiError> {
    let member = call.member();
    let product = call.product_filter()?.map(|product| product.id);
    let target = call
        .query
        .text("order_id")?
        .map(parse::target)
        .transpose()?;
    let views = call.gateway.views();
    let order = match target {
        None => None,
        Some(OrderTarget::Order(order)) => Some(order),
        Some(OrderTarget::Client(id)) => {
            let order = views
                .order_by_client_id(member, &id)
                .ok_or_else(ApiError::not_found)?;
            Some(order.order)
        }
    };
    let filter = FillFilter {
        product,
        order,
        start: page::time(&call.query, "start_date")?,
        end: page::time(&call.query, "end_date")?,
        page: page::page(&call.query, |_| None)?,
    };
    let rows: Vec<_> = views
        .fills(member, &filter)
        .filter_map(|fill| Some((fill.id, row(&views, member, fill)?)))
        .collect();
    Ok(page::reply(&rows))
}

fn row(views: &Views, member: MemberId, fill: &FillView) -> Option<FillRow> {
    let product = views.product(fill.instrument)?;
    let body = Fill {
        trade_id: fill.trade.0,
        product_id: product.symbol.clone(),
        order_id: Text(fill.order),
        user_id: Text(user_id(member)),
        profile_id: Text(profile_id(member)),
        liquidity: match fill.liquidity {
            Liquidity::Maker => "M",
            Liquidity::Taker => "T",
        },
        side: side(fill.side),
        price: Exact(product.price(fill.price)),
        size: Exact(product.size(fill.size)),
        fee: Exact(product.funds(fill.fee)),
        notional: Exact(product.funds(fill.notional)),
        created_at: Time(fill.created_at),
        settled: true,
    };
    let value_name = format!("{}_value", product.quote.code.as_str().to_ascii_lowercase());
    Some(FillRow {
        fill: body,
        value_name,
    })
}

async fn fees(call: Call) -> Result<Reply, ApiError> {
    let product = call.product_filter()?;
    let views = call.gateway.views();
    let fees = match product {
        Some(product) => views.fees_in(call.member(), product.id),
        None => views.fees(call.member()),
    };
    let rate = |rate: everopen_domain::Rate| Short(Decimal::new(rate.0.into(), 6));
    let zero = everopen_domain::Rate::ZERO;
    let asset = fees.and_then(|fees| views.asset(fees.volume_asset));
    Ok(Reply::json(&Fees {
        maker_fee_rate: rate(fees.map_or(zero, |fees| fees.maker)),
        taker_fee_rate: rate(fees.map_or(zero, |fees| fees.taker)),
        usd_volume: fees
            .zip(asset)
            .map(|(fees, asset)| Exact(Decimal::amount(fees.volume, asset.decimals))),
        volume_currency: asset.map(|asset| Text(asset.code)),
    }))
}

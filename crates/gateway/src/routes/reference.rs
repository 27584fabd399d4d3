//! What can be held and traded: `/currencies` and `/products`.

use axum::http::Method;
use everopen_domain::TradingPhase;
use everopen_views::{AssetView, Decimal, Product};

use super::{Route, handler};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::schema::{Short, Text, object};

object! {
    /// An asset.
    struct Currency {
        /// Its code.
        id: Text<everopen_domain::AssetCode>,
        /// Its name.
        name: String,
        /// Always `online`.
        status: &'static str,


        /// Its smallest unit.
        max_precision: Short,
        /// Its smallest amount.
        min_size: Short,
        /// What it can be exchanged into without a trade; nothing.
        convertible_to: Vec<String>,
        /// More of it.
        details: CurrencyDetails,
        /// Networks that it can be withdrawn to; none that the venue operates itself.
        supported_networks: Vec<String>,
    }
}

object! {
    /// More of an asset.
    struct CurrencyDetails {
        /// `fiat` or `crypto`.
        r#type: &'static str,
        /// A sign for it.
        symbol: &'static str,
        /// Its smallest amount.
        min_size: Short,
        /// The smallest withdrawal.
        min_withdrawal_amount: Short,
        /// The largest withdrawal; the balance is the only limit when absent.
        max_withdrawal_amount: Option<Short>,
    }
}

object! {
    /// A product.
    struct ProductBody {
        /// Base and quote code with a dash.
        id: String,
        /// Base and quote code with a slash.
        display_name: String,
        /// What is bought and sold.
        base_currency: Text<everopen_domain::AssetCode>,
        /// What it is paid with.
        quote_currency: Text<everopen_domain::AssetCode>,
        /// Sizes are multiples of this.
        base_increment: Short,
        /// Prices are multiples of this.
        quote_increment: Short,
        /// The smallest size of an order.
        base_min_size: Short,
        /// The largest size of an order.
        base_max_size: Short,
        /// The smallest worth of an order.
        min_market_funds: Short,
        /// The largest worth of an order; none when absent.
        max_market_funds: Option<Short>,
        /// `online`, or `offline` when halted.
        status: &'static str,
        /// The trading phase in words.
        status_message: &'static str,
        /// Whether only cancels are taken.
        cancel_only: bool,
        /// Whether only limit orders are taken.
        limit_only: bool,
        /// Whether only post-only orders are taken.
        post_only: bool,
        /// Whether nothing at all is taken.
        trading_disabled: bool,
        /// Whether orders gather for an auction.
        auction_mode: bool,
        /// Whether it can be traded with borrowed money; never.
        margin_enabled: bool,
        /// Whether both assets are stable coins; not known to the venue.
        fx_stablecoin: bool,
        /// How far from the reference price orders may trade, as a share of one.
        max_slippage_percentage: Short,
    }
}

pub(super) fn routes() -> Vec<Route> {
    let get = |path, summary, handler| Route::new(Method::GET, path, summary, handler);
    vec![
        get("/currencies", "All assets", handler!(currencies)).gives::<Vec<Currency>>(),
        get("/currencies/{currency_id}", "An asset", handler!(currency)).gives::<Currency>(),
        get("/products", "All products", handler!(products)).gives::<Vec<ProductBody>>(),
        get("/products/{product_id}", "A product", handler!(product)).gives::<ProductBody>(),
    ]
}

async fn currencies(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    Ok(Reply::json(
        &views.assets().iter().map(currency_body).collect::<Vec<_>>(),
    ))
}

async fn currency(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let asset = views
        .asset_by_code(call.param("currency_id"))
        .ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(&currency_body(asset)))
}

async fn products(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    Ok(Reply::json(
        &views.products().map(product_body).collect::<Vec<_>>(),
    ))
}

async fn product(call: Call) -> Result<Reply, ApiError> {
    // Coinbase answers `NotFound` here and `Product not found` where an order names it.
    let views = call.gateway.views();
    let symbol = call.param("product_id");
    let product = views
        .product_by_symbol(symbol)
        .ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(&product_body(product)))
}

fn currency_body(asset: &AssetView) -> Currency {
    let smallest = Short(Decimal::new(1, asset.decimals));
    let (name, kind, symbol) = described(asset.code.as_str());
    Currency {
        id: Text(asset.code),
        name: name.map_or_else(|| asset.code.to_string(), str::to_owned),
        status: "online",

        max_precision: smallest,
        min_size: smallest,
        convertible_to: Vec::new(),
        details: CurrencyDetails {
            r#type: kind,
            symbol,
            min_size: smallest,
            min_withdrawal_amount: smallest,
            max_withdrawal_amount: None,
        },
        supported_networks: Vec::new(),
    }
}

/// Name, kind and sign of well-known assets (ISO 4217 and usual tickers). The venue itself knows
/// only codes; what is not listed counts as crypto.
fn described(code: &str) -> (Option<&'static str>, &'static str, &'static str) {
    match code {
        "USD" => (Some("United States Dollar"), "fiat", "$"),
        "EUR" => (Some("Euro"), "fiat", "€"),
        "GBP" => (Some("British Pound"), "fiat", "£"),
        "JPY" => (Some("Japanese Yen"), "fiat", "¥"),
        "CHF" => (Some("Swiss Franc"), "fiat", "CHF"),
        "AUD" => (Some("Australian Dollar"), "fiat", "A$"),
        "CAD" => (Some("Canadian Dollar"), "fiat", "C$"),
        "SGD" => (Some("Singapore Dollar"), "fiat", "S$"),
        "BTC" => (Some("Bitcoin"), "crypto", "₿"),
        "ETH" => (Some("Ether"), "crypto", "Ξ"),
        "SOL" => (Some("Solana"), "crypto", "◎"),
        "USDC" => (Some("USDC"), "crypto", "$"),
        "USDT" => (Some("Tether"), "crypto", "₮"),
        _ => (None, "crypto", ""),
    }
}

fn product_body(product: &Product) -> ProductBody {
    let limits = &product.instrument.limits;
    let phase = product.phase;
    let max_notional = limits.max_notional;
    ProductBody {
        id: product.symbol.clone(),
        display_name: format!("{}/{}", product.base.code, product.quote.code),
        base_currency: Text(product.base.code),
        quote_currency: Text(product.quote.code),
        base_increment: Short(product.size(limits.lot)),
        quote_increment: Short(product.price(limits.tick)),
        base_min_size: Short(product.size(limits.min_size.max(limits.lot))),
        base_max_size: Short(product.size(limits.max_size)),
        min_market_funds: Short(product.funds(limits.min_notional)),
        max_market_funds: (!max_notional.is_zero()).then(|| Short(product.funds(max_notional))),
        status: if phase == TradingPhase::Halted {
            "offline"
        } else {
            "online"
        },
        status_message: match phase {
            TradingPhase::Online => "",
            TradingPhase::PostOnly => "post only mode",
            TradingPhase::LimitOnly => "limit only mode",
            TradingPhase::CancelOnly => "cancel only mode",
            TradingPhase::Auction => "auction mode",
            TradingPhase::Halted => "trading is halted",
        },
        cancel_only: phase == TradingPhase::CancelOnly,
        limit_only: phase == TradingPhase::LimitOnly,
        post_only: phase == TradingPhase::PostOnly,
        trading_disabled: phase == TradingPhase::Halted,
        auction_mode: phase == TradingPhase::Auction,
        margin_enabled: false,
        fx_stablecoin: false,
        max_slippage_percentage: Short(Decimal::new(limits.price_band.0.into(), 6)),
    }
}

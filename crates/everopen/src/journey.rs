//! `everopen journey`: what a member does, done once, by the demo member: signs in, places an order, sees
//! it, cancels it. A rollout of the gateway asks this of the new version before anybody else meets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use hmac::{Hmac, Mac};
use serde_json::Value;

use crate::admin::{self, Action};
use crate::cli::DataDir;
use crate::up::endpoints::Access;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer's body at most.
const BODY_MAX: usize = 16 << 20;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub data: DataDir,
    /// Where the gateway, or an edge before it, takes connections
    #[arg(long, value_name = "ADDRESS")]
    pub at: SocketAddr,
}

/// Goes through all steps.
///
/// # Errors
/// Names the step, and what was wrong about it.
pub fn run(args: &Arguments) -> Result<()> {
    let access = admin::perform(&args.data.dir, &Action::Endpoints)?;
    let access: Access = serde_json::from_value(access).context("read the demo member's key")?;
    let mut member = Member::connect(args.at, access)?;

    let accounts = member.step("sign in", "GET", "/accounts", "")?;
    let count = accounts.as_array().map_or(0, Vec::len);
    ensure!(count > 0, "sign in: the member has no account");

    let products = member.step("see the products", "GET", "/products", "")?;
    let takes = |product: &&Value| {
        let is = |field: &str| product[field] == true;
        product["status"] == "online" && !is("cancel_only") && !is("trading_disabled")
    };
    let Some(listed) = products.as_array().and_then(|all| all.iter().find(takes)) else {
        say!("a member signed in; no product takes orders now, so none was placed");
        return Ok(());
    };
    let product = listed["id"]
        .as_str()
        .context("see the products: one has no id")?;
    let book = member.step(
        "see the book",
        "GET",
        &format!("/products/{product}/book?level=2"),
        "",
    )?;
    // The lowest bid that is shown: it rests, and hardly anybody comes that far.
    let price = book["bids"].as_array().and_then(|bids| bids.last());
    let price = price.and_then(|bid| bid[0].as_str()).unwrap_or("100");
    let size = smallest_size(listed, price)
        .with_context(|| format!("place: no size can be told from {listed}"))?;
    let since = since_1970();
    let client = format!("journey-{}-{}", std::process::id(), since.as_nanos());
    let order = serde_json::json!({
        "type": "limit", "side": "buy", "product_id": product, "price": price, "size": size,
        "post_only": true, "client_oid": client,
    });
    let placed = member.step("place", "POST", "/orders", &order.to_string())?;
    let id = placed["id"]
        .as_str()
        .context("place: the answer has no id")?;
    let id = id.to_string();

    let seen = member.step("see", "GET", &format!("/orders/{id}"), "");
    // Whatever was seen, nothing is left behind.
    let canceled = member.step("cancel", "DELETE", &format!("/orders/{id}"), "");
    let seen = seen?;
    ensure!(seen["id"] == id.as_str(), "see: another order came: {seen}");
    canceled?;
    say!("a member signed in, placed order {id} at {price}, saw it and canceled it");
    Ok(())
}

fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Parts of one in which prices and sizes are calculated; more decimals than any product has.
const PARTS: i128 = 1_000_000_000_000;

/// A decimal in parts.
fn parts(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<12}");
    let fraction = fraction.get(..12).filter(|_| fraction.len() == 12)?;
    Some(whole.parse::<i128>().ok()? * PARTS + fraction.parse::<i128>().ok()?)
}

/// The smallest size that an order of this price may have in a product.
fn smallest_size(product: &Value, price: &str) -> Option<String> {
    let of = |field: &str| parts(product[field].as_str()?);
    let (lot, price) = (of("base_increment")?, parts(price)?);
    if lot <= 0 || price <= 0 {
        return None;
    }
    let worth = of("min_market_funds")?.checked_mul(PARTS)?;
    // What has the smallest worth, rounded up to whole lots.
    let lots = (worth / price + 1).div_euclid(lot) + 1;
    let size = (lots * lot).max(of("base_min_size")?);
    let text = format!("{}.{:012}", size / PARTS, size % PARTS);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_string())
}

/// One connection that signs what it sends.
struct Member {
    stream: BufReader<TcpStream>,
    at: SocketAddr,
    access: Access,
    secret: Vec<u8>,
}

impl Member {
    fn connect(at: SocketAddr, access: Access) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE)
            .with_context(|| format!("connect to {at}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let secret = BASE64_STANDARD.decode(&access.secret);
        Ok(Self {
            stream: BufReader::new(stream),
            at,
            secret: secret.context("read the demo member's secret")?,
            access,
        })
    }

    /// A signed request, which must be answered with 200.
    fn step(&mut self, name: &str, method: &str, path: &str, body: &str) -> Result<Value> {
        let begun = Instant::now();
        let (status, answer) = self
            .call(method, path, body)
            .with_context(|| format!("{name}: {method} {path}"))?;
        if status != 200 {
            let excerpt: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
            bail!("{name}: {method} {path} answers {status}: {excerpt}");
        }
        tracing::debug!(name, ms = begun.elapsed().as_millis(), "step");
        serde_json::from_slice(&answer).with_context(|| format!("{name}: the answer is no JSON"))
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let since = since_1970();
        let time = format!("{}.{:06}", since.as_secs(), since.subsec_micros());
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.secret)
            .context("sign with the demo member's secret")?;
        mac.update(format!("{time}{method}{path}{body}").as_bytes());
        let sign = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let (at, key, passphrase) = (self.at, &self.access.key, &self.access.passphrase);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {at}\r\ncb-access-key: {key}\r\n\
             cb-access-sign: {sign}\r\ncb-access-timestamp: {time}\r\n\
             cb-access-passphrase: {passphrase}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.with_context(|| format!("no status in {line:?}"))?;
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("the connection ended within the answer's head");
            }
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().context("read content-length")?;
            }
        }
        ensure!(length <= BODY_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_size_is_worth_enough_in_whole_lots() {
        let product = |lot: &str, least: &str, funds: &str| {
            serde_json::json!({
                "base_increment": lot, "base_min_size": least, "min_market_funds": funds,
            })
        };
        for (lot, least, funds, price, size) in [
            ("0.00000001", "0.0001", "1", "100", "0.01000001"),
            ("0.01", "0.01", "1", "3", "0.34"),
            ("1", "5", "1", "100", "5"),
            ("0.1", "0.1", "10", "0.5", "20.1"),
        ] {
            let product = product(lot, least, funds);
            assert_eq!(smallest_size(&product, price).as_deref(), Some(size));
        }
        assert_eq!(smallest_size(&product("0", "1", "1"), "1"), None);
        assert_eq!(smallest_size(&product("1", "1", "1"), "?"), None);
        assert_eq!(parts("1.0000000000001"), None);
    }
}

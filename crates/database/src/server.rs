//! One connection to a PostgreSQL server.

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, NoTls, SimpleQueryMessage, Socket};

use crate::dsn::{Dsn, Mode};
use crate::tls::{self, Tls};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The server that served at first.
    Blue,
    /// The one that came for it.
    Green,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    /// Publication, subscription and slot of the stream that leads to this side.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Self::Blue => "everopen_to_blue",
            Self::Green => "everopen_to_green",
        }
    }
}

/// A text as it stands in SQL.
pub(crate) fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    match escaped.contains('\\') {
        true => format!(" E'{}'", escaped.replace('\\', "\\\\")),
        false => format!("'{escaped}'"),
    }
}

/// A server.
pub(crate) struct Server {
    client: Client,
    pub side: Side,
    pub dsn: String,
    /// How the other side reaches it.
    pub from_other: String,
}

/// Every error says all that the server said.
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => {
            let mut text = format!("{} ({})", said.message(), said.code().code());
            for more in [said.detail(), said.hint()].into_iter().flatten() {
                text += &format!("; {more}");
            }
            text
        }
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(error) = source {
                text += &format!(": {error}");
                source = error.source();
            }
            text
        }
    }
}

/// Connects as the string says; with and without TLS, where it leaves that open.
pub(crate) async fn connect(dsn: &Dsn, what: &str) -> Result<Client, String> {
    let ways: &[SslMode] = match dsn.mode {
        Mode::Disable => &[SslMode::Disable],
        Mode::Allow => &[SslMode::Disable, SslMode::Require],
        Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
    };
    let mut wrong: Vec<String> = Vec::new();
    for way in ways {
        match one_way(dsn, *way, what).await {
            Ok(client) => return Ok(client),
            Err(Failure { told, is_final }) => {
                if !wrong.contains(&told) {
                    wrong.push(told);
                }
                if is_final {
                    break;
                }
            }
        }
    }
    let wrong = wrong.join("; and the other way: ");
    Err(format!("connect to {what} at {}: {wrong}", dsn.address()))
}

struct Failure {
    told: String,
    /// Whether it is the same with and without TLS.
    is_final: bool,
}

async fn one_way(dsn: &Dsn, way: SslMode, what: &str) -> Result<Client, Failure> {
    let mut config = dsn.config.clone();
    config.ssl_mode(way);
    let failed = |told: String, is_final| Failure { told, is_final };
    let explain = |error: tokio_postgres::Error| {
        // Who may connect at all may depend on TLS: of servers by `pg_hba.conf` (28000), of PgBouncer by its
        // `client_tls_sslmode` (08P01). A wrong password does not.
        let is_open = |code: &SqlState| matches!(code.code(), "28000" | "08P01");
        let is_final = error.code().is_some_and(|code| !is_open(code));
        failed(
            tls::explain(&error, dsn).unwrap_or_else(|| told(&error)),
            is_final,
        )
    };
    if way == SslMode::Disable {
        let connected = tokio::time::timeout(CONNECT, config.connect(NoTls)).await;
        let connected = connected.map_err(|_| failed("it takes too long".into(), true))?;
        let (client, connection) = connected.map_err(explain)?;
        carry(connection, what);
        return Ok(client);
    }
    let tls = Tls::new(dsn).map_err(|error| failed(error, false))?;
    let connected = tokio::time::timeout(CONNECT, config.connect(tls)).await;
    let connected = connected.map_err(|_| failed("it takes too long".into(), true))?;
    let (client, connection) = connected.map_err(explain)?;
    carry(connection, what);
    Ok(client)
}

/// Lets a connection live as long as its client.
fn carry<T>(connection: Connection<Socket, T>, what: &str)
where
    T: TlsStream + Send + Unpin + 'static,
{
    let what = what.to_string();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(what, error = told(&error), "a connection ended");
        }
    });
}

/// Rows of text; the text of the last error.
pub(crate) async fn query(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let said = client
        .simple_query(sql)
        .await
        .map_err(|error| told(&error))?;
    let rows = said.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_string());
            Some(values.collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

impl Server {
    /// Connects; what the database says about reading only is not meant for this connection.
    pub async fn connect(side: Side, dsn: &str) -> Result<Self, String> {
        let mut parsed = Dsn::parse(dsn).map_err(|error| format!("{}: {error}", side.name()))?;
        parsed
            .config
            .options("-c default_transaction_read_only=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1")
            .application_name("everopen");
        let client = connect(&parsed, side.name()).await?;
        Ok(Self {
            client,
            side,
            dsn: dsn.to_string(),
            from_other: dsn.to_string(),
        })
    }

    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        query(&self.client, sql)
            .await
            .map_err(|error| format!("{}: {error}", self.side.name()))
    }

    /// The first column of every row.
    pub async fn column(&self, sql: &str) -> Result<Vec<String>, String> {
        let rows = self.rows(sql).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| row.into_iter().next())
            .collect())
    }

    /// The first column of the first row; nothing if there is none.
    pub async fn value(&self, sql: &str) -> Result<String, String> {
        Ok(self
            .column(sql)
            .await?
            .into_iter()
            .next()
            .unwrap_or_default())
    }

    pub async fn run(&self, sql: &str) -> Result<(), String> {
        self.rows(sql).await.map(drop)
    }
}

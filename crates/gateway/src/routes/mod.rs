//! The table of routes: it drives the router, the permissions, the rates and the OpenAPI document.

mod accounts;
mod fills;
mod health;
mod market;
mod money;
mod order_body;
mod orders;
mod page;
mod parse;
mod profile;
mod reference;

use std::sync::{Arc, LazyLock};

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::Value;

use crate::dispatch::{Reply, dispatch};
use crate::errors::ApiError;
use crate::gateway::{Call, Gateway};
use crate::keys::Permission;
use crate::port::BoxFuture;
use crate::schema::Described;

/// Who may ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// A key with this permission.
    Signed(Permission),
}

/// What the request is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Nothing: health and metrics must answer when all else is refused.
    None,
    /// The address of an unsigned request, the key of a signed one.
    Usual,
    /// The key's separate allowance for fills.
    Fills,
}

pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, ApiError>>;

/// A route and what the document says of it.
pub(crate) struct Route {
    pub method: Method,
    /// The template, as axum and OpenAPI both write it.
    pub path: &'static str,
    pub access: Access,
    pub rate: Rate,
    pub handler: Handler,
    pub summary: &'static str,
    /// Names and meanings of query parameters.
    pub query: &'static [(&'static str, &'static str)],
    /// Names, JSON types and meanings of body fields; a `!` at the name's end means required.
    pub body: &'static [(&'static str, &'static str, &'static str)],
    pub response: fn() -> Value,
}

impl Route {
    fn new(method: Method, path: &'static str, summary: &'static str, handler: Handler) -> Self {
        Self {
            method,
            path,
            access: Access::Public,
            rate: Rate::Usual,
            handler,
            summary,
            query: &[],
            body: &[],
            response: || serde_json::json!({}),
        }
    }

    fn signed(mut self, permission: Permission) -> Self {
        self.access = Access::Signed(permission);
        self
    }

    fn rate(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    fn body(mut self, body: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        self.body = body;
        self
    }

    fn gives<T: Described>(mut self) -> Self {
        self.response = T::schema;
        self
    }

    /// This route for axum.
    pub fn method_router(&'static self, gateway: &Arc<Gateway>) -> MethodRouter {
        let filter = MethodFilter::try_from(self.method.clone());
        let filter = filter.expect("invariant: routes use common methods");
        let gateway = gateway.clone();
        on(filter, move |request| {
            dispatch(gateway.clone(), self, request)
        })
    }
}

/// A handler from an async function.
macro_rules! handler {
    ($function:path) => {
        |call| Box::pin($function(call))
    };
}
pub(crate) use handler;
pub(crate) use health::error_schema;

/// All routes.
pub(crate) fn all() -> &'static [Route] {
    static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
        [
            health::routes(),
            reference::routes(),
            market::routes(),
            accounts::routes(),
            orders::routes(),
            fills::routes(),
            money::routes(),
            profile::routes(),
        ]
        .into_iter()
        .flatten()
        .collect()
    });
    &ROUTES
}

//! A router and what is said of its routes, built from the same lines.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};

use super::Gateway;
use super::openapi::Operation;

pub(super) struct Routes {
    pub(super) router: Router<Gateway>,
    pub(super) described: Vec<Described>,
}

/// A route and method, and what it does.
pub(super) struct Described {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) operation: Operation,
}

/// A line of the table of routes: the path, what is said of it, and its handler.
macro_rules! method {
    ($name:ident, $filter:ident) => {
        pub(super) fn $name<H, T>(self, path: &'static str, about: Operation, handler: H) -> Self
        where
            H: Handler<T, Gateway>,
            T: 'static,
        {
            self.add(
                (stringify!($filter), MethodFilter::$filter),
                path,
                about,
                handler,
            )
        }
    };
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            described: Vec::new(),
        }
    }

    method!(get, GET);
    method!(post, POST);
    method!(put, PUT);
    method!(delete, DELETE);

    fn add<H, T>(
        mut self,
        (method, filter): (&'static str, MethodFilter),
        path: &'static str,
        operation: Operation,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Gateway>,
        T: 'static,
    {
        self.router = self.router.route(path, on(filter, handler));
        self.described.push(Described {
            method,
            path,
            operation,
        });
        self
    }
}

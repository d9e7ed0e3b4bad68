//! Faults, for tests: SQLite itself fails, in the way and at the place that the test sets.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicI64, Ordering},
};

use rusqlite::{
    Connection,
    hooks::{AuthAction, AuthContext, Authorization, TransactionOperation},
};

/// How a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The transaction cannot begin, as when another program has the database locked, or the disk is read-only.
    Begin,
    /// After so many of SQLite's own steps the running statement is broken off, and SQLite rolls everything back, as
    /// when the disk is full.
    After(i64),
    /// The transaction cannot be committed.
    Commit,
}

/// A connection that fails until this is dropped.
pub struct Failing<C: DerefMut<Target = Connection>>(C, bool);

impl<C: DerefMut<Target = Connection>> Failing<C> {
    /// Makes `connection` fail by `fault`, if there is one.
    pub fn of(mut connection: C, fault: Option<Fault>) -> Self {
        if fault.is_some() {
            set(&mut connection, fault);
        }
        Self(connection, fault.is_some())
    }
}

impl<C: DerefMut<Target = Connection>> Deref for Failing<C> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl<C: DerefMut<Target = Connection>> Drop for Failing<C> {
    fn drop(&mut self) {
        if self.1 {
            set(&mut self.0, None);
        }
    }
}

fn set(connection: &mut Connection, fault: Option<Fault>) {
    let begin = matches!(fault, Some(Fault::Begin)).then_some(|context: AuthContext<'_>| match context.action {
        AuthAction::Transaction { operation: TransactionOperation::Begin } => Authorization::Deny,
        _ => Authorization::Allow,
    });
    let after = match fault {
        Some(Fault::After(steps)) => Some(steps),
        _ => None,
    };
    let after = after.map(|steps| {
        let left = AtomicI64::new(steps);
        move || left.fetch_sub(1, Ordering::Relaxed) == 0
    });
    let commit = matches!(fault, Some(Fault::Commit)).then_some(|| true);
    let done = connection.authorizer(begin).and_then(|()| connection.progress_handler(1, after));
    done.and_then(|()| connection.commit_hook(commit)).expect("the connection is our own");
}

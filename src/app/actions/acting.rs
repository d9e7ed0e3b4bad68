//! Acting: one action from its intent to its end.

use std::sync::Arc;

use super::Actions;
use crate::{
    app::{Error, Result},
    domain::{ActedOn, Action, ActionState, ContainerId, Failure, Namespace, Sandbox},
    store::ActionEnd,
};

/// An action that is about to begin, or is under way. One that is under way and dropped has failed.
#[must_use = "an action that does not begin is not recorded"]
pub struct Acting {
    actions: Arc<Actions>,
    action: Action,
    has_begun: bool,
    has_ended: bool,
}

impl Acting {
    pub(super) fn new(actions: Arc<Actions>, action: Action) -> Self {
        Self { actions, action, has_begun: false, has_ended: false }
    }

    /// The names of what it sets or changes: never their values.
    pub fn changing(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.action.changed = names.into_iter().map(Into::into).collect();
        self
    }

    /// Says in which namespace it happens, where what is acted on is not there yet.
    pub fn within(&mut self, namespace: &Namespace) {
        self.action.on.namespace = Some(namespace.clone());
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.action.id
    }

    /// Records that it begins, no later on the disk than what is written from now on.
    pub fn begin(&mut self) {
        self.has_begun = true;
        self.actions.begin(self.action.clone());
    }

    /// As [`Acting::begin`], on what is only known now.
    pub fn begin_on(&mut self, on: impl Into<ActedOn>) {
        self.action.on = on.into();
        self.begin();
    }

    /// As [`Acting::begin`], in a namespace that is only known now; if it has begun already, nothing more is recorded.
    pub fn begin_within(&mut self, namespace: Option<&Namespace>) {
        if !self.has_begun {
            self.action.on.namespace = namespace.cloned();
            self.begin();
        }
    }

    /// Does `what`, and records its beginning and its end.
    ///
    /// # Errors
    /// Those of `what`.
    pub fn around<T>(mut self, what: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        // A verb's future is large: it would be in this one twice.
        let what = Box::pin(what);
        async move {
            self.begin();
            let done = what.await;
            self.end(done)
        }
    }

    /// Records how it ended. If it never began and the request was a mistake, nothing is recorded.
    ///
    /// # Errors
    /// Those of `done`.
    pub fn end<T>(mut self, done: Result<T>) -> Result<T> {
        match &done {
            Ok(_) => self.finish(ActionState::Success, None),
            Err(e) if self.has_begun || !e.is_mistake() => self.finish(ActionState::Failed, Some(e.into())),
            Err(_) => {}
        }
        done
    }

    /// As [`Acting::end`], of the making of a sandbox: records its container too.
    ///
    /// # Errors
    /// Those of `made`.
    pub fn end_made(mut self, made: Result<Sandbox>) -> Result<Sandbox> {
        self.action.on.container = made.as_ref().ok().and_then(|sandbox| sandbox.container.clone());
        self.end(made)
    }

    /// Records that `error` kept it from beginning, unless the request was a mistake. Returns the error.
    pub fn refused(self, error: Error) -> Error {
        if !error.is_mistake() {
            self.failed(&Failure::from(&error));
        }
        error
    }

    /// Records that it was done.
    pub fn done(mut self) {
        self.finish(ActionState::Success, None);
    }

    /// Records that it failed.
    pub fn failed(mut self, why: &Failure) {
        self.finish(ActionState::Failed, Some(why.clone()));
    }

    /// Records that it was cancelled, and why.
    pub fn cancelled(mut self, why: &str) {
        self.finish(ActionState::Cancelled, Some(Failure::new("cancelled", why)));
    }

    fn finish(&mut self, state: ActionState, failure: Option<Failure>) {
        self.has_ended = true;
        let at = self.actions.clock.now();
        if self.has_begun {
            let container: Option<ContainerId> = self.action.on.container.take();
            self.actions.end(self.action.id.clone(), ActionEnd { at, state, container, failure });
        } else {
            self.actions.begin(Action { state, ended_at: Some(at), failure, ..self.action.clone() });
        }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        if self.has_begun && !self.has_ended {
            self.finish(ActionState::Failed, Some(Failure::new("broken_off", "it was broken off")));
        }
    }
}

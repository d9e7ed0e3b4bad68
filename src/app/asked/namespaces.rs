//! Namespaces: one for each course, with its quota; and in which one a sandbox is, and whose.

use super::{
    Asked,
    rights::{forbidden, on_server},
};
use crate::{
    app::{Error, Result, actions::Acting},
    domain::{Act, ActedOn, Actor, Answer, Course, Invalid, Namespace, Object, ObjectKind, Quota, Usage, Verb, may},
};

/// What a caller wants to be different about a namespace; `None`: nothing.
#[derive(Default)]
pub struct CourseChange {
    /// Its name for people.
    pub title: Option<String>,
    /// The most that may be in it.
    pub quota: Option<Quota>,
    /// The most that each owner may have in it.
    pub owner_quota: Option<Quota>,
    /// Whether its assistants may run programs in its learners' sandboxes.
    pub assistant_exec: Option<bool>,
}

impl CourseChange {
    /// The names of what is changed.
    fn names(&self) -> Vec<&'static str> {
        let said = [
            ("title", self.title.is_some()),
            ("quota", self.quota.is_some()),
            ("owner_quota", self.owner_quota.is_some()),
            ("assistant_exec", self.assistant_exec.is_some()),
        ];
        said.into_iter().filter_map(|(name, is_said)| is_said.then_some(name)).collect()
    }

    fn apply(self, course: &mut Course) {
        course.title = self.title.unwrap_or(std::mem::take(&mut course.title));
        course.quota = self.quota.unwrap_or(course.quota);
        course.owner_quota = self.owner_quota.unwrap_or(course.owner_quota);
        course.assistant_exec = self.assistant_exec.unwrap_or(course.assistant_exec);
    }
}

impl Asked {
    /// The namespaces that `by` may see, each with what is used in it.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn namespaces(&self, by: &Actor) -> Result<Vec<(Course, Usage)>> {
        on_server(by, Verb::SeeNamespaces)?;
        let mut courses = self.records.store.courses().await?;
        courses.retain(|(course, _)| may(by, Verb::SeeNamespaces, Object::Namespace(&course.name)) == Answer::Yes);
        Ok(courses)
    }

    /// One namespace.
    ///
    /// # Errors
    /// [`Error::NoNamespace`], [`Error::Forbidden`].
    pub async fn namespace(&self, by: &Actor, name: &str) -> Result<(Course, Usage)> {
        self.namespace_for(by, Verb::SeeNamespaces, name).await
    }

    async fn namespace_for(&self, by: &Actor, verb: Verb, name: &str) -> Result<(Course, Usage)> {
        let none = || Error::NoNamespace(name.chars().take(80).collect());
        let namespace = Namespace::parse("namespace", name).map_err(|_| none())?;
        in_namespace(by, verb, &namespace)?;
        self.records.store.course(&namespace).await?.ok_or_else(none)
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Taken`].
    pub async fn make_namespace(&self, by: &Actor, name: Namespace, wish: CourseChange) -> Result<(Course, Usage)> {
        let mut acting = self.actions.of(by, Act::MakeNamespace, &name).changing(wish.names());
        let made = self.try_make_namespace(by, name, wish, &mut acting).await;
        acting.end(made)
    }

    async fn try_make_namespace(
        &self,
        by: &Actor,
        name: Namespace,
        wish: CourseChange,
        acting: &mut Acting,
    ) -> Result<(Course, Usage)> {
        on_server(by, Verb::ManageNamespace)?;
        let (quota, owner_quota) = (Quota::default(), Quota::default());
        let (title, created_at) = (String::new(), self.clock.now());
        let mut course = Course { name, title, quota, owner_quota, assistant_exec: false, created_at };
        wish.apply(&mut course);
        acting.begin();
        if !self.records.store.set_course(course.clone(), false).await? {
            return Err(Error::Taken(format!("the name {} is another namespace's", course.name)));
        }
        tracing::info!(namespace = %course.name, %by, "namespace made");
        self.namespace(by, course.name.as_str()).await
    }

    /// Changes a namespace.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NoNamespace`].
    pub async fn change_namespace(&self, by: &Actor, name: &str, change: CourseChange) -> Result<(Course, Usage)> {
        let on = ActedOn::named(ObjectKind::Namespace, name);
        let mut acting = self.actions.of(by, Act::ChangeNamespace, on).changing(change.names());
        let changed = self.try_change_namespace(by, name, change, &mut acting).await;
        acting.end(changed)
    }

    async fn try_change_namespace(
        &self,
        by: &Actor,
        name: &str,
        change: CourseChange,
        acting: &mut Acting,
    ) -> Result<(Course, Usage)> {
        let (mut course, _) = self.namespace_for(by, Verb::ManageNamespace, name).await?;
        change.apply(&mut course);
        acting.begin_on(&course.name);
        if !self.records.store.set_course(course.clone(), true).await? {
            return Err(Error::NoNamespace(name.to_owned()));
        }
        tracing::info!(namespace = %course.name, %by, "namespace changed");
        self.namespace(by, name).await
    }

    /// Removes an empty namespace.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NoNamespace`], [`Error::InUse`].
    pub async fn remove_namespace(&self, by: &Actor, name: &str) -> Result<()> {
        let mut acting = self.actions.of(by, Act::RemoveNamespace, ActedOn::named(ObjectKind::Namespace, name));
        let removed = self.try_remove_namespace(by, name, &mut acting).await;
        acting.end(removed)
    }

    async fn try_remove_namespace(&self, by: &Actor, name: &str, acting: &mut Acting) -> Result<()> {
        let (course, _) = self.namespace_for(by, Verb::ManageNamespace, name).await?;
        acting.begin_on(&course.name);
        if course.name.is_default() {
            return Err(Error::InUse("the namespace default is always there".into()));
        }
        match self.records.store.remove_course(&course.name).await? {
            None => Err(Error::NoNamespace(name.to_owned())),
            Some((0, 0)) => {
                tracing::info!(namespace = %course.name, %by, "namespace removed");
                Ok(())
            }
            Some((sandboxes, members)) => Err(Error::InUse(format!(
                "there are {sandboxes} containers and {members} users in it; delete or move them first"
            ))),
        }
    }

    /// In which namespace a new sandbox of `by`'s is, if `wish` does not say: in `default`, or, if that does not list
    /// `by`, in the only one that does.
    ///
    /// # Errors
    /// [`Error::Invalid`] if several do, and `default` does not.
    pub(super) fn namespace_of(by: &Actor, wish: Option<Namespace>) -> Result<Namespace> {
        let (listed, default) = (&by.rights.namespaces, Namespace::default());
        match wish {
            Some(namespace) => Ok(namespace),
            None if by.may_know(&default) || listed.is_empty() => Ok(default),
            None if listed.len() == 1 => Ok(listed.first().cloned().unwrap_or_default()),
            None => {
                let names: Vec<_> = listed.iter().map(Namespace::as_str).collect();
                Err(Invalid::new("namespace", "", format!("say which of yours: {}", names.join(", "))).into())
            }
        }
    }
}

/// # Errors
/// [`Error::NoNamespace`] if `by` may not know the namespace; [`Error::Forbidden`].
pub(super) fn in_namespace(by: &Actor, verb: Verb, namespace: &Namespace) -> Result<()> {
    match may(by, verb, Object::Namespace(namespace)) {
        Answer::Yes => Ok(()),
        Answer::No => Err(forbidden(by, verb)),
        Answer::Hidden => Err(Error::NoNamespace(namespace.to_string())),
    }
}

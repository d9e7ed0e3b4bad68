//! Create: from an image's name to a running sandbox with its ports mapped.

use std::sync::Arc;

use super::{Asked, CreateSpec, namespaces::in_namespace, policy::is_ahead, rights::on_server};
use crate::{
    app::{Error, Result, actions::Acting, chain},
    domain::{
        ActedOn, Actor, ContainerId, ImageLabels, ImageRef, Invalid, Memory, Ownership, PortSpec, Recipe, Sandbox,
        SandboxId, SandboxName, State, StopReason, Token, Verb, Zone, policy::least_idle_limit,
    },
    engine::{CheckIn, EngineError, SandboxSpec},
    relay,
    store::{Room, StoreError},
};

/// The most ports of a container: all share the ports of the server.
const MOST_PORTS: usize = 32;

/// The words with which the errors of a creation begin.
const DOING: &str = "the container could not be created";

/// How often a start is tried when another program takes its port at the last moment.
const PORT_ATTEMPTS: usize = 5;

impl Asked {
    /// Creates a sandbox and starts it (`CONTRACT.md` 16 to 20). In the end it runs, or nothing of it is left. A
    /// creation waits for the first complete pass: before that, a sandbox whose record was lost may not be adopted yet,
    /// and a new one could get its ports and name.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NoNamespace`], [`Error::Quota`], [`Error::NoImage`], [`Error::NameTaken`], [`Error::NoPort`], [`Error::Full`], [`Error::EngineAway`],
    /// [`Error::Engine`] with the engine's reason, [`Error::ShuttingDown`].
    pub async fn create(&self, by: &Actor, spec: CreateSpec) -> Result<Sandbox> {
        let mut acting = self.actions.of(by, Verb::Create, &spec.image).changing(spec.names());
        let made = self.try_create(by, spec, &mut acting).await;
        acting.end_made(made)
    }

    /// # Errors
    /// [`Error::Forbidden`] if `by` may create nothing, wherever it is.
    pub fn may_create(&self, by: &Actor) -> Result<()> {
        on_server(by, Verb::Create).map_err(|e| self.actions.of(by, Verb::Create, ActedOn::server()).refused(e))
    }

    async fn try_create(&self, by: &Actor, spec: CreateSpec, acting: &mut Acting) -> Result<Sandbox> {
        let namespace = Self::namespace_of(by, spec.namespace.clone())?;
        in_namespace(by, Verb::Create, &namespace)?;
        acting.within(&namespace);
        let owner = match &spec.owner {
            Some(owner) => Some(self.belongs(owner, &namespace).await?),
            None => None,
        };
        if let Some(until) = spec.keep_until {
            is_ahead(until, self.clock.now())?;
        }
        if let Some(memory) = spec.memory {
            self.host_has(memory).await?;
        }
        self.vitals.begun(DOING).await?;
        let image = match self.engine.image(&spec.image).await {
            Ok(image) => image,
            Err(EngineError::NoImage) => return Err(Error::NoImage(spec.image)),
            Err(e) => return Err(Error::engine(DOING, e)),
        };
        let check_in = self.where_to_check_in().await?;
        has_few_ports(&spec.image, image.exposed.len())?;
        let labels = ImageLabels::parse(&image.labels, least_idle_limit(self.settings.report_period))?;
        let no_new_privileges = labels.no_new_privileges;
        // An image that sets `TZ` itself overrides the configured zone.
        let own = image.tz.as_deref().and_then(Zone::read);
        let told = spec.zone.clone().or_else(|| labels.zone.clone());
        let told = told.or_else(|| self.settings.zone.clone().filter(|_| own.is_none()));
        let zone = told.clone().or(own).unwrap_or_default();
        let mut draft = self.draft(&spec, &image.exposed, labels)?;
        draft.recipe.zone = zone;
        let mut launch = spec.launch.clone();
        launch.env.extend(told.map(|zone| ("TZ".to_owned(), zone.name().to_owned())));
        launch.env.sort();
        draft.recipe.launch = Some(Arc::new(launch));
        let keys = spec.ssh_keys.as_deref().or(owner.as_ref().and_then(|owner| owner.ssh_key.as_deref()));
        draft.recipe.ssh_key = Some(self.keys(keys));
        draft.ownership = Ownership { namespace, owner: spec.owner };
        let _claim = self.work.claims.claim(&draft.id).await;
        acting.begin_on(&draft);
        let sandbox = self.reserve(by, draft, image.exposed, spec.starts).await?;
        if sandbox.recipe.ssh_key.as_ref().is_none_or(String::is_empty) && sandbox.endpoint(PortSpec::SSH).is_some() {
            tracing::warn!(sandbox = %sandbox.id, "neither ssh_key nor SPINDLE_DEFAULT_SSH_KEY is set: nobody can log in by key");
        }
        let mut spec = SandboxSpec { sandbox, check_in, no_new_privileges, starts: spec.starts };
        let made = async {
            // The engine may still hold a deleted container that has this name.
            self.work.make_way(|deleted| deleted.name == spec.sandbox.name).await?;
            self.make(by, &mut spec).await
        };
        let made = made.await;
        match &made {
            Ok(Sandbox { id, container, name, recipe, .. }) => {
                let container = container.as_ref().map(tracing::field::display);
                tracing::info!(sandbox = %id, container, %name, image = %recipe.image, %by, "created");
            }
            Err(_) => self.unmake(&spec.sandbox).await,
        }
        made
    }

    /// Records the intent to create `draft`, with ports of its own. If nothing is free, it waits until the engine has
    /// removed a deleted sandbox: only then are its ports and its place free.
    async fn reserve(&self, by: &Actor, draft: Sandbox, exposed: Vec<PortSpec>, starts: bool) -> Result<Sandbox> {
        // What does not run has room.
        let capacity = if starts { self.settings.max_running } else { u32::MAX };
        let room = Room { capacity, runs: starts, request: by.request.clone() };
        loop {
            let (draft, exposed, pool) = (draft.clone(), exposed.clone(), self.settings.pool.clone());
            let name = draft.name.clone();
            match self.records.store.insert(draft, exposed, pool, vec![], room.clone()).await {
                Err(StoreError::NoPort | StoreError::Full(_)) if self.work.make_way(|_| true).await? => {}
                Err(StoreError::NameTaken) => return Err(self.name_taken(by, name, None).await),
                other => return other.map_err(error_of),
            }
        }
    }

    /// # Errors
    /// [`Error::Invalid`] if the host never has so much memory.
    pub(super) async fn host_has(&self, memory: Memory) -> Result<()> {
        let host = self.engine.memory().await.map_err(|e| Error::engine(DOING, e))?;
        if host == 0 || memory.bytes() <= host {
            return Ok(());
        }
        let all = host >> 20;
        let allowed = format!("this host has {all}m in all; memory is a number with k, m or g, from 16m to {all}m");
        Err(Invalid::new("memory", &memory.to_string(), allowed).into())
    }

    /// A sandbox's `authorized_keys`: its creator's keys, the configured keys, or both; empty if there are none.
    pub fn keys(&self, own: Option<&str>) -> String {
        let configured = self.settings.default_ssh_key.as_deref();
        let configured = configured.filter(|_| own.is_none() || self.settings.default_ssh_key_always);
        let mut keys: Vec<&str> = Vec::new();
        // A key that is in both appears once, whatever its comment.
        let key = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        for line in own.into_iter().chain(configured).flat_map(str::lines) {
            if !keys.iter().any(|known| key(known) == key(line)) {
                keys.push(line);
            }
        }
        keys.join("\n")
    }

    /// The record of a sandbox that does not exist yet.
    fn draft(&self, spec: &CreateSpec, exposed: &[PortSpec], labels: ImageLabels) -> Result<Sandbox> {
        let random = || {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).map(|()| bytes).map_err(|e| {
                Error::engine(DOING, EngineError::Refused(format!("the machine gives no random numbers: {e}")))
            })
        };
        let cpus = spec.cpus.or(labels.cpus).unwrap_or(self.settings.cpus);
        let own = spec.own.or(labels.own);
        own.fits(cpus)?;
        let memory = spec.memory.or(labels.memory).unwrap_or(self.settings.memory);
        let recipe = Recipe {
            app_port: Recipe::app_port_of(exposed, labels.app_port.as_deref()),
            access: labels.access,
            traffic: labels.traffic,
            own,
            wake: spec.wake.or(labels.wake),
            labels: spec.labels.clone(),
            ..Recipe::of(spec.image.clone(), memory, cpus)
        };
        let id = SandboxId::from_bytes(random()?);
        let name = spec.name.clone().unwrap_or_else(|| SandboxName::generated(&id));
        let token = Token::from_bytes(random()?);
        let mut draft = Sandbox::new(id, name, token, self.clock.now(), recipe);
        draft.life.keep_until = spec.keep_until;
        Ok(draft)
    }

    /// Makes and starts the container, with other ports if another program holds the reserved ones.
    async fn make(&self, by: &Actor, spec: &mut SandboxSpec) -> Result<Sandbox> {
        let _turn = self.work.turn_to_start().await?;
        let mut avoid = Vec::new();
        let mut attempts = 0;
        loop {
            let held = relay::held_by_others(&spec.sandbox.ports);
            if held.is_empty() {
                // Listen before the container is made, so that nobody else gets the ports.
                let started = async {
                    self.records.listen(&spec.sandbox.id).await?;
                    self.try_start(by, spec).await
                };
                match started.await {
                    Ok(container) => return self.record_created(spec, container).await,
                    Err(Error::PortHeld(why)) if attempts < PORT_ATTEMPTS => {
                        tracing::warn!(sandbox = %spec.sandbox.id, why, "a host port is held; trying others");
                        attempts += 1;
                        avoid.extend(spec.sandbox.ports.iter().map(|p| p.outside.port));
                    }
                    Err(e) => return Err(e),
                }
            }
            avoid.extend(held);
            let pool = self.settings.pool.clone();
            let exchanged = self.records.store.exchange_ports(&spec.sandbox.id, pool, avoid.clone()).await;
            spec.sandbox.ports = exchanged.map_err(error_of)?;
        }
    }

    async fn try_start(&self, by: &Actor, spec: &mut SandboxSpec) -> Result<ContainerId> {
        let container = match self.engine.create(spec).await {
            Ok(container) => container,
            Err(EngineError::NoImage) => return Err(Error::NoImage(spec.sandbox.recipe.image.clone())),
            Err(EngineError::NameTaken(holder)) => {
                return Err(self.name_taken(by, spec.sandbox.name.clone(), Some(&holder)).await);
            }
            Err(EngineError::TooManyCpus(allowed)) => {
                return Err(Invalid::new("cpus", &spec.sandbox.recipe.cpus.to_string(), allowed).into());
            }
            Err(e) => return Err(Error::engine(DOING, e)),
        };
        spec.sandbox.container = Some(container.clone());
        self.records.store.set_container(&spec.sandbox.id, &container).await?;
        if !spec.starts {
            return Ok(container);
        }
        let started = self.engine.start(&container).await;
        if matches!(started, Err(EngineError::PortHeld(_))) {
            let removed = self.engine.remove(&spec.sandbox.id, Some(&container)).await;
            removed.map_err(|e| Error::engine(DOING, e))?;
        }
        started.map(|()| container).map_err(|e| Error::engine("the container could not be started", e))
    }

    /// Records that a fresh container runs, or waits for its first start.
    async fn record_created(&self, spec: &SandboxSpec, container: ContainerId) -> Result<Sandbox> {
        let sandbox = &spec.sandbox;
        let recorded = if spec.starts {
            self.records.mark_started(sandbox, self.work.running(&container).await?).await?
        } else {
            let to = State::Stopped { at: self.clock.now(), reason: StopReason::Requested };
            self.records.mark(sandbox, to).await?
        };
        let made = self.records.store.get(&sandbox.id).await?.filter(|_| recorded);
        let made = made.ok_or_else(|| Error::NoSandbox(container.to_string()))?;
        Ok(made)
    }

    /// Removes all that a failed creation made; the pass removes what cannot go now.
    async fn unmake(&self, sandbox: &Sandbox) {
        let cleared = match self.work.remove(&sandbox.id, sandbox.container.as_ref()).await {
            Ok(()) => self.work.forget(sandbox).await,
            Err(e) => {
                tracing::warn!(sandbox = %sandbox.id, error = %e, "a failed creation is removed later");
                self.records.mark(sandbox, State::Deleting).await
            }
        };
        if let Err(e) = cleared {
            tracing::error!(sandbox = %sandbox.id, error = chain(&e), "a failed creation stays recorded");
        }
        self.next.wake();
    }

    /// Where and how often a new sandbox checks in; makes the network if there is none yet.
    async fn where_to_check_in(&self) -> Result<CheckIn> {
        if let Some(check_in) = self.vitals.reporting() {
            return Ok(check_in);
        }
        let gateway = self.engine.prepare().await.map_err(|e| Error::engine(DOING, e))?;
        self.vitals.set_gateway(gateway);
        self.vitals.reporting().ok_or_else(|| Error::engine(DOING, EngineError::NoNetwork))
    }
}

fn error_of(error: StoreError) -> Error {
    match error {
        StoreError::NoPort => Error::NoPort,
        StoreError::Full(limit) => Error::Full(limit),
        other => other.into(),
    }
}

/// # Errors
/// [`Error::Invalid`] if an image exposes more ports than one container gets.
fn has_few_ports(image: &ImageRef, exposed: usize) -> Result<()> {
    if exposed <= MOST_PORTS {
        return Ok(());
    }
    let allowed = format!("it exposes {exposed} ports, and a container has at most {MOST_PORTS}");
    Err(Invalid::new("image", image.as_str(), allowed).into())
}

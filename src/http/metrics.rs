//! `/metrics`: figures in the form that Prometheus reads. No label has a learner's name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use rocket::{
    Request, Route, State, get,
    http::{ContentType, Status},
    request::{FromRequest, Outcome},
};

use super::{
    auth::{self, Caller},
    error::ApiError,
    strict,
};
use crate::{
    app::{App, CheckInDoor, Figures},
    domain::{Actor, Happened},
    host,
};

/// As which version of the format they are written.
const FORMAT: (&str, &str) = ("application", "openmetrics-text");

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    strict::open(rocket::routes![metrics])
}

/// Managed by the API's server: the requests so far, by method, route and status.
#[derive(Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, String, u16), Answered>>);

/// How many requests were answered so, and how long it took until their answers began.
#[derive(Debug, Clone, Copy, Default)]
struct Answered {
    count: u64,
    seconds: f64,
}

impl Requests {
    /// Counts a request.
    pub fn count(&self, request: &Request<'_>, status: u16, took: Duration) {
        let route = request.route().map_or_else(|| "none".to_owned(), |route| route.uri.path().to_owned());
        let mut requests = self.0.lock().expect("no holder panics");
        let answered = requests.entry((request.method().as_str(), route, status)).or_default();
        answered.count += 1;
        answered.seconds += took.as_secs_f64();
    }
}

/// Who may see the figures: whoever may by their credentials, and programs on this machine, as `None`.
struct Watcher(Option<Actor>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Watcher {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let is_here = auth::from(request).is_some_and(|from| from.is_loopback());
        if is_here && request.headers().get_one("Authorization").is_none() && request.cookies().iter().next().is_none()
        {
            return Outcome::Success(Self(None));
        }
        Caller::from_request(request).await.map(|caller| Self(Some(caller.0)))
    }
}

#[get("/metrics")]
async fn metrics(
    by: Watcher,
    app: &State<Arc<App>>,
    requests: &State<Requests>,
) -> Result<(ContentType, String), ApiError> {
    let figures = app.asked.figures(by.0.as_ref()).await?;
    let mut registry = Registry::default();
    let mut page = Page(&mut registry);
    of_the_server(&mut page, &figures);
    of_sandboxes(&mut page, &figures);
    of_requests(&mut page, &requests.0.lock().expect("no holder panics"));
    of_the_process(&mut page);
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|e| ApiError::new(Status::InternalServerError, "internal_error", e.to_string()))?;
    let format = ContentType::new(FORMAT.0, FORMAT.1).with_params([("version", "1.0.0"), ("charset", "utf-8")]);
    Ok((format, text))
}

/// What tells a figure from its likes.
type Set = Vec<(String, String)>;

/// The figures as they are written.
struct Page<'r>(&'r mut Registry);

impl Page<'_> {
    /// A figure that only grows, once for each set of labels. The format adds `_total` to its name.
    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'l str, &'l str)>, u64)>,
    ) {
        let family = Family::<Set, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&owned(&labels)).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// Seconds that only grow.
    fn seconds<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'l str, &'l str)>, f64)>,
    ) {
        let family = Family::<Set, Counter<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&owned(&labels)).inc_by(value);
        }
        self.0.register_with_unit(name, help, Unit::Seconds, family);
    }

    /// A figure that goes up and down.
    fn gauges<'l>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Vec<(&'l str, &'l str)>, f64)>) {
        let family = Family::<Set, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&owned(&labels)).set(value);
        }
        self.0.register(name, help, family);
    }

    /// A figure that there is once.
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(vec![], value)]);
    }
}

fn owned(labels: &[(&str, &str)]) -> Set {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn is(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn of_the_server(page: &mut Page<'_>, figures: &Figures) {
    let health = &figures.health;
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    page.gauges("spindle_build_info", "Which version runs", [(version, 1.0)]);
    let parts = [
        ("engine", health.engine.is_ok()),
        ("database", health.database.is_ok()),
        ("relay", health.relay.is_ok()),
        ("check_in", matches!(health.door, CheckInDoor::Open(_))),
    ];
    page.gauges(
        "spindle_part_up",
        "Whether a part that Spindle depends on works",
        parts.map(|(part, up)| (vec![("part", part)], is(up))),
    );
    let holds = health.last_pass.as_ref().is_some_and(|pass| pass.hold_until.is_some());
    page.gauge("spindle_idle_stops_held", "Whether nobody is stopped for being idle at present", is(holds));
    let failing = health.failing as f64;
    page.gauge(
        "spindle_sandboxes_failing",
        "Sandboxes that the engine repeatedly fails to stop, start or remove",
        failing,
    );
    let passes = figures.passes;
    page.counters("spindle_passes", "Passes that ended", [(vec![], passes.count)]);
    page.seconds("spindle_pass", "How long all passes took", [(vec![], passes.sum.as_secs_f64())]);
    page.gauge("spindle_last_pass_seconds", "How long the last pass took", passes.last.as_secs_f64());
    let calls = figures.calls.iter().map(|call| (vec![("call", call.call), ("outcome", call.outcome)], call.count));
    page.counters("spindle_engine_calls", "What the engine was asked, and what became of it", calls);
    let load = health.relay.as_ref().copied().unwrap_or_default();
    page.gauge("spindle_relay_connections", "Connections that the relay carries", load.connections as f64);
    page.gauge("spindle_relay_listeners", "Ports that the relay listens on", load.listeners as f64);
    page.gauge("spindle_relay_descriptors", "Descriptors that the relay has open", load.descriptors.0 as f64);
    page.gauge("spindle_relay_descriptors_limit", "Descriptors that the relay may have", load.descriptors.1 as f64);
    let (inwards, outwards) = figures.carried;
    let carried = [(vec![("direction", "in")], inwards), (vec![("direction", "out")], outwards)];
    page.counters("spindle_relay_bytes", "Bytes that connections carried, to sandboxes (in) and from them", carried);
}

fn of_sandboxes(page: &mut Page<'_>, figures: &Figures) {
    let sandboxes = figures.sandboxes.iter();
    let sandboxes =
        sandboxes.map(|((status, image), count)| (vec![("status", *status), ("image", image.as_str())], *count as f64));
    page.gauges("spindle_sandboxes", "Sandboxes by status and image", sandboxes);
    let (never, no_longer) = figures.silent;
    let silent =
        [("never", never), ("no_longer", no_longer)].map(|(how, count)| (vec![("reports", how)], count as f64));
    page.gauges("spindle_sandboxes_silent", "Running sandboxes that have never reported, or do so no longer", silent);
    let stops = figures.events.iter().filter(|(what, ..)| *what == Happened::Stopped);
    let stops = stops.map(|(_, reason, count)| (vec![("reason", reason.as_str())], *count));
    page.counters("spindle_stops", "Sandboxes that stopped, by reason", stops);
    let young = [(vec![], figures.young_stops)];
    page.counters(
        "spindle_young_stops",
        "Idle stops of what a person had used within ten minutes: there must be none",
        young,
    );
    let events = figures.events.iter().filter(|(what, ..)| *what != Happened::Stopped);
    let events = events.map(|(what, _, count)| (vec![("type", what.word())], *count));
    page.counters("spindle_events", "What else has happened, such as started, woken, wake_failed", events);
    let check_ins = figures.check_ins.map(|(result, count)| (vec![("result", result.word())], count));
    page.counters("spindle_check_ins", "Check-ins by what became of them", check_ins);
}

fn of_requests(page: &mut Page<'_>, requests: &BTreeMap<(&'static str, String, u16), Answered>) {
    let statuses: Vec<String> = requests.keys().map(|(.., status)| status.to_string()).collect();
    let each = || {
        let labels = |((method, route, _), status)| vec![("method", method), ("route", route), ("status", status)];
        requests.iter().zip(&statuses).map(move |((key, answered), status)| {
            (labels(((key.0, key.1.as_str(), key.2), status.as_str())), *answered)
        })
    };
    let counts = each().map(|(labels, answered)| (labels, answered.count));
    page.counters("spindle_http_requests", "Requests by method, route and status", counts);
    let seconds = each().map(|(labels, answered)| (labels, answered.seconds));
    page.seconds("spindle_http_requests_duration", "How long it took until their answers began", seconds);
}

fn of_the_process(page: &mut Page<'_>) {
    let process = host::process();
    page.gauge("process_resident_memory_bytes", "Memory of the server's process", process.resident as f64);
    page.gauge("process_open_fds", "Descriptors that the server has open", process.descriptors as f64);
    page.gauge("process_max_fds", "Descriptors that the server may have", process.descriptors_limit as f64);
}

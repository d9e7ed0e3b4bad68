//! Judges the server: whether it runs and is well, who may use it, which images report.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{Config, is_default},
    doctor::{
        facts::{Facts, Shown},
        finding::{Finding, fail, ok, unseen, warn},
        places,
    },
};

const OURS: &str = env!("CARGO_PKG_VERSION");

pub fn password(config: &Config, _: &Facts) -> Finding {
    if !is_default(&config.admin_password) {
        return ok("one of your own");
    }
    warn(
        "the default one",
        "every user of this machine can do with all sandboxes what you can",
        "admin_password = \"...\" in the configuration file, readable by root alone (openssl rand -hex 16 makes one), and restart",
    )
}

pub fn server(config: &Config, facts: &Facts) -> Finding {
    let at = places::address(config);
    match &facts.server {
        Err(why) => fail(
            format!("no Spindle answers at http://{at}: {why}"),
            "nothing is created, woken or stopped, nobody reaches a sandbox, and no report is heard",
            "systemctl start spindle (in a working copy: make run); why it ended: journalctl -u spindle -n 20",
        ),
        Ok(server) if !server.troubles.is_empty() => fail(
            format!("at http://{at}, and not well: {}", server.troubles.join("; ")),
            "until that is mended some of its work is left undone, and nobody is stopped for being idle",
            "journalctl -u spindle -n 50, and what the findings here say",
        ),
        Ok(server) if server.failing > 0 => warn(
            format!("{} sandboxes cannot be stopped, started or removed", server.failing),
            "Docker fails to do it, again and again",
            "journalctl -u spindle | grep ERROR",
        ),
        Ok(server) if server.version != OURS => warn(
            format!("version {} runs at http://{at}, and this program is {OURS}", server.version),
            "the program was replaced and the server was not restarted",
            "systemctl restart spindle",
        ),
        Ok(server) => ok(format!("version {} runs at http://{at}", server.version)),
    }
}

pub fn relay(_: &Config, facts: &Facts) -> Finding {
    let Ok(server) = &facts.server else { return unseen("the server does not answer") };
    let Some(first) = server.ports_not_open.first() else { return ok("all sandboxes' ports are open") };
    let port = first.rsplit(':').next().unwrap_or_default();
    warn(
        format!(
            "{} ports of sandboxes cannot be opened: {}",
            server.ports_not_open.len(),
            listed(&server.ports_not_open)
        ),
        "another program listens there: the learner cannot connect, and the sandbox is not stopped for being idle",
        format!("ss -ltnp 'sport = :{port}' says which program; end it"),
    )
}

/// The first few names, and how many more there are.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(3).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(3);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

pub fn reports(config: &Config, facts: &Facts) -> Finding {
    let sandboxes = match &facts.sandboxes {
        Ok(sandboxes) => sandboxes,
        // If the server does not answer at all, another finding says so.
        Err(_) if facts.server.is_err() => return unseen("the server does not answer"),
        Err(why) => {
            let why_not = format!("the sandboxes cannot be looked at: {why}");
            return Finding { fix: "give it what the server has: spindle doctor --config FILE, and the variables of its unit's EnvironmentFile".into(), ..unseen(why_not) };
        }
    };
    // A sandbox that was just started need not have reported.
    let had_time = |s: &&Shown| {
        let ran = s.started_at.and_then(|at| std::time::Duration::try_from(facts.now.duration_since(at)).ok());
        s.is_running && s.reports_count && ran.is_some_and(|ran| ran > config.report_period * 3)
    };
    let mut images: BTreeMap<&str, bool> = BTreeMap::new();
    for sandbox in sandboxes.iter().filter(|s| had_time(s) || (s.is_running && s.has_reported)) {
        *images.entry(&sandbox.image).or_default() |= sandbox.has_reported;
    }
    let silent: Vec<&str> = images.iter().filter(|(_, reports)| !**reports).map(|(image, _)| *image).collect();
    let rare: BTreeSet<String> =
        sandboxes.iter().filter(|s| s.is_running && s.reports_count).filter_map(rarity).collect();
    let rare: Vec<String> = rare.into_iter().collect();
    match silent.as_slice() {
        [] if !rare.is_empty() => warn(
            format!("rarer than the limit needs: {}", listed(&rare)),
            "until that is seen, and again while it is seen late, one that works is stopped as idle; then its limit is three of its periods",
            "an image that reads /run/spindle/report_period follows SPINDLE_REPORT_PERIOD, as the lab images do (make images \
             builds them anew); else set SPINDLE_REPORT_PERIOD to how often your images report, or idle_timeout to three times that",
        ),
        [] if images.is_empty() => ok("no sandbox runs for long enough to tell"),
        [] => ok(format!("every image that runs has reported ({})", images.len())),
        silent => warn(
            format!("never reported: {}", listed(silent)),
            "work in them without a connection, such as a job that computes, is not seen, and they are stopped as idle",
            "docker exec <one of them> sh -c 'curl -v -d active-connections=1 $SPINDLE_CHECK_IN_URL'; images/README.md \
             says how an image reports",
        ),
    }
}

/// How often a sandbox reports, if its limit needs it more often (`CONTRACT.md` 31).
fn rarity(sandbox: &Shown) -> Option<String> {
    let (period, limit) = sandbox.report_period.zip(sandbox.idle_limit)?;
    let image = &sandbox.image;
    (3 * period > limit)
        .then(|| format!("{image}, every {period} s, where a limit of {limit} s needs one every {} s", limit / 3))
}

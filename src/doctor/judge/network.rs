//! Judges networks and ports: whether the sandboxes' addresses are theirs alone, how many places are left, and whether
//! sandboxes reach the check-in door.

use ipnet::Ipv4Net;

use crate::{
    config::Config,
    doctor::{
        capacity,
        facts::Facts,
        finding::{Finding, Status, fail, finding, ok, unseen, warn},
        places::door,
        words::grouped,
    },
    domain::limits::BRIDGE,
    engine::{
        EngineError,
        docker::{diagnosis::Network, trial::Answer},
    },
    host::Firewall,
};

const UNREACHED: &str = "sandboxes cannot report: work without a connection is not seen, and is stopped as idle";

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Our network, if it exists, and all others.
fn split<'a>(config: &Config, networks: &'a [Network]) -> (Option<&'a Network>, Vec<&'a Network>) {
    let (ours, others): (Vec<_>, Vec<_>) = networks.iter().partition(|n| n.name == config.deployment);
    (ours.first().copied(), others)
}

/// A subnet of the same size that nobody else has.
fn free_subnet(config: &Config, facts: &Facts) -> String {
    let networks = facts.networks.iter().flatten().flat_map(|n| &n.subnets);
    let taken: Vec<Ipv4Net> = networks.copied().chain(facts.routes.iter().flatten().map(|r| r.to)).collect();
    // The last candidate comes before the subnets that Docker gives to other networks by itself.
    let candidates = (64..=254).map(|n| [10, n, 0, 0]).chain([[172, 16, 0, 0]]);
    let candidates = candidates.filter_map(|at| Ipv4Net::new(at.into(), config.subnet.prefix_len()).ok());
    let free = candidates.map(|c| c.trunc()).find(|c| !taken.iter().any(|t| overlap(*t, *c)));
    free.map_or("another subnet".to_owned(), |subnet| subnet.to_string())
}

pub fn subnet(config: &Config, facts: &Facts) -> Finding {
    let Ok(networks) = &facts.networks else { return unseen("the engine does not answer") };
    let (ours, others) = split(config, networks);
    let (name, wanted) = (&config.deployment, config.subnet);
    let why = "sandboxes can be given no address";
    if let Some(other) = others.iter().find(|n| n.subnets.iter().any(|s| overlap(*s, wanted))) {
        let fix = format!("SPINDLE_SUBNET={}, or: docker network rm {}", free_subnet(config, facts), other.name);
        return fail(format!("{wanted} overlaps with Docker's network {}", other.name), why, fix);
    }
    let addresses = format!("{} addresses for sandboxes", grouped(config.addresses()));
    match ours {
        None => ok(format!("{wanted}, {addresses}; the network {name} is made when the server starts")),
        Some(network) if network.deployment.as_deref() != Some(name) => fail(
            format!("the network {name} is there, and is not Spindle's"),
            why,
            format!("SPINDLE_DEPLOYMENT=<another name>, or: docker network rm {name}"),
        ),
        Some(network) if !network.subnets.contains(&wanted) => {
            let has = network.subnets.first().map(ToString::to_string).unwrap_or_default();
            let fix = format!("SPINDLE_SUBNET={has}; or delete all sandboxes, then: docker network rm {name}");
            fail(format!("the network {name} has {has}, and SPINDLE_SUBNET says {wanted}"), why, fix)
        }
        Some(network) => ok(format!("{wanted} on {}, {addresses}", network.bridge)),
    }
}

pub fn routes(config: &Config, facts: &Facts) -> Finding {
    let routes = match &facts.routes {
        Ok(routes) => routes,
        Err(why) => return unseen(why),
    };
    let (ours, others) = split(config, facts.networks.as_deref().unwrap_or_default());
    let bridge = ours.map(|n| n.bridge.as_str()).unwrap_or_default();
    // Docker's own networks have their own check. If Docker does not answer, nobody knows which network is ours.
    let is_dockers = |by: &str| {
        by == bridge || others.iter().any(|n| n.bridge == by) || (bridge.is_empty() && by.starts_with("br-"))
    };
    let wanted = config.subnet;
    let Some(route) = routes.iter().find(|r| overlap(r.to, wanted) && !is_dockers(&r.by)) else {
        return ok(format!("none of the host's leads into {wanted}"));
    };
    let found = format!("{} leads to {}, and overlaps with {wanted}", route.to, route.by);
    let fix = format!("SPINDLE_SUBNET={} (delete all sandboxes before)", free_subnet(config, facts));
    if route.to.prefix_len() >= wanted.prefix_len() {
        return fail(found, "what is meant for sandboxes goes another way", fix);
    }
    warn(found, "this machine does not reach whoever has those addresses there: they are the sandboxes'", fix)
}

pub fn bridge(_: &Config, facts: &Facts) -> Finding {
    let taken = match &facts.on_bridge {
        Ok(taken) => u64::from(taken.unwrap_or_default()),
        Err(why) => return unseen(why),
    };
    let found = format!("{} of {} places taken", grouped(taken), grouped(BRIDGE));
    let why = "the kernel connects no more than that to one bridge: further sandboxes cannot be started";
    let fix = "stop sandboxes, or run a second server with its own SPINDLE_DEPLOYMENT, SPINDLE_SUBNET and ports";
    match taken {
        taken if taken >= BRIDGE => fail(found, why, fix),
        taken if taken * 10 >= BRIDGE * 9 => warn(found, why, fix),
        _ => ok(found),
    }
}

pub fn port_range(config: &Config, facts: &Facts) -> Finding {
    let range = format!("{}-{}", config.port_range.start(), config.port_range.end());
    match facts.clients {
        None => ok(format!("{range}, out of the way of outgoing connections")),
        Some((low, high)) => warn(
            format!("{range} overlaps with the kernel's {low}-{high} for outgoing connections"),
            "now and then a port is taken by a program of this machine, and its sandbox cannot be reached",
            format!("sysctl -w net.ipv4.ip_local_reserved_ports={range} (and into /etc/sysctl.d/spindle.conf)"),
        ),
    }
}

pub fn ports_left(config: &Config, facts: &Facts) -> Finding {
    let Ok(sandboxes) = &facts.sandboxes else { return unseen("the sandboxes cannot be looked at") };
    let all = config.port_range.len() as u64;
    let taken = sandboxes.iter().flat_map(|s| &s.ports).filter(|p| config.port_range.contains(*p)).count() as u64;
    let left = all.saturating_sub(taken);
    let more = left / capacity::ports_each(facts);
    let found = format!("{} of {}, enough for {} more sandboxes", grouped(left), grouped(all), grouped(more));
    let why = "a sandbox keeps its ports while it is stopped; without free ones none can be created";
    let fix = "delete sandboxes that nobody needs, or widen SPINDLE_PORT_RANGE and restart the server";
    match more {
        0 => fail(found, why, fix),
        _ if left < all / 10 => warn(found, why, fix),
        _ => ok(found),
    }
}

/// The command that lets sandboxes through to the check-in door.
fn let_in(config: &Config, facts: &Facts) -> String {
    let (from, port) = (config.subnet, config.check_in_port);
    let to = door(config).map(|d| d.ip().to_string()).unwrap_or_default();
    match facts.firewall_manager {
        Some("ufw") => format!("ufw allow from {from} to {to} port {port} proto tcp"),
        Some(_) => format!("firewall-cmd --permanent --zone=trusted --add-source={from} && firewall-cmd --reload"),
        None => format!("iptables -I INPUT -s {from} -d {to} -p tcp --dport {port} -j ACCEPT"),
    }
}

fn answer(facts: &Facts) -> Option<&Answer> {
    facts.trial.as_ref().ok()?.as_ref()?.door.as_ref()
}

pub fn check_in(config: &Config, facts: &Facts) -> Finding {
    let at = door(config).map(|d| d.to_string()).unwrap_or_default();
    let trial = match &facts.trial {
        Ok(Some(trial)) => trial,
        Ok(None) => {
            let fix = "make images".to_owned();
            return Finding { fix, ..unseen("no image is there to try it with: spindle/base") };
        }
        Err(_) if facts.engine.is_err() => return unseen("the engine does not answer"),
        Err(why @ (EngineError::Unavailable(_) | EngineError::Timeout { .. })) => {
            return Finding {
                fix: "uptime; spindle doctor".into(),
                ..unseen(format!("no container could try it: {why}"))
            };
        }
        Err(why) => {
            let found = format!("no container can be made that tries it: {why}");
            return fail(found, "if this one cannot be made, sandboxes cannot either", "journalctl -u docker -n 20");
        }
    };
    let server_is_up = facts.server.as_ref().is_ok_and(|s| s.door_is_open);
    match &trial.door {
        None => unseen("the sandboxes' network is not there before the server starts"),
        Some(Answer::Spindle) => ok(format!("{at} answers inside a container of {}", trial.image)),
        Some(Answer::Stranger(said)) => fail(
            format!("somebody else answers at {at}: {said}"),
            UNREACHED,
            format!(
                "ss -ltnp 'sport = :{}' says who; SPINDLE_CHECK_IN_PORT chooses another port",
                config.check_in_port
            ),
        ),
        Some(Answer::Nobody(_)) if facts.server.is_err() => unseen("the server does not answer"),
        Some(Answer::Nobody(why)) if !server_is_up => {
            fail(format!("the door is not open: {at}: {why}"), UNREACHED, "see what is said of the server")
        }
        Some(Answer::Nobody(why)) => fail(
            format!(
                "{at} is not reached from inside a container: {why}; the server listens, so a firewall is in the way"
            ),
            UNREACHED,
            let_in(config, facts),
        ),
    }
}

pub fn firewall(config: &Config, facts: &Facts) -> Finding {
    let reached = answer(facts) == Some(&Answer::Spindle);
    let by = facts.firewall_manager.map(|m| format!(" ({m})")).unwrap_or_default();
    match &facts.firewall {
        Ok(Firewall { docker_user, .. }) if !docker_user.is_empty() => warn(
            format!("DOCKER-USER drops some of what containers send{by}: {}", docker_user[0]),
            "sandboxes may not reach the internet, nor clients the UDP ports; connections to TCP ports do not pass there",
            "iptables -S DOCKER-USER",
        ),
        _ if reached => ok(format!("not in the way of the check-in door{by}")),
        Err(why) => finding(Status::Unseen, format!("{why}{by}"), "", "run this as root"),
        Ok(Firewall { is_shut, rules, .. }) if *is_shut || !rules.is_empty() => {
            let what = if *is_shut { "drops what no rule lets in" } else { "has rules that drop what comes in" };
            warn(format!("INPUT {what}{by}"), UNREACHED, let_in(config, facts))
        }
        Ok(_) => ok(format!("INPUT lets everything in{by}")),
    }
}

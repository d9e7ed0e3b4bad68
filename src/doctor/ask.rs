//! Asks the server, and keeps what the doctor looks at.

use super::facts::{Seen, Server, Shown};
use crate::{
    api,
    client::{Client, Error},
};

/// What the server says about itself.
pub async fn server(client: &Client) -> Seen<Server> {
    client.health().await.map(Server::from).map_err(|e| e.to_string())
}

/// The sandboxes that exist.
pub async fn sandboxes(client: &Client) -> Seen<Vec<Shown>> {
    match client.containers().await {
        Ok(shown) => Ok(shown.into_iter().map(Shown::from).collect()),
        Err(Error::Refused { status: 401, .. }) => {
            Err("the server has another user or password than this configuration".into())
        }
        Err(e) => Err(e.to_string()),
    }
}

impl From<api::Health> for Server {
    fn from(health: api::Health) -> Self {
        let api::Health { version, engine, database, check_in, relay, last_pass, .. } = health;
        let door_is_open = is_well(&check_in.status);
        let parts = [
            ("engine", engine.status, engine.message),
            ("database", database.status, database.message),
            ("check-in door", check_in.status, check_in.message.map(Into::into)),
            ("relay", relay.status, relay.message),
        ];
        let sick = parts.into_iter().filter(|(_, status, _)| !is_well(status));
        let trouble = |(name, _, why): (&str, api::Word, Option<String>)| {
            format!("{name}: {}", why.as_deref().unwrap_or("no reason is given"))
        };
        Self {
            version: version.into(),
            troubles: sick.map(trouble).collect(),
            door_is_open,
            ports_not_open: relay.ports_not_open.into_iter().flatten().map(|port| port.at).collect(),
            failing: last_pass.map_or(0, |pass| pass.failing as u64),
            descriptors: relay.descriptors.zip(relay.descriptors_limit),
        }
    }
}

fn is_well(status: &str) -> bool {
    status != "unavailable"
}

impl From<api::Container> for Shown {
    fn from(shown: api::Container) -> Self {
        Self {
            is_running: shown.status == "running",
            started_at: shown.started_at.map(|at| at.0),
            has_reported: shown.last_check_in_at.is_some(),
            report_period: shown.report_period,
            idle_limit: shown.policy.idle_timeout.seconds(),
            reports_count: shown.policy.evidence.split(',').any(|source| source == "check_in"),
            ports: shown.ports.iter().map(|port| port.host_port).collect(),
            image: shown.image,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_is_read() {
        let health = json!({
            "version": "0.1.0", "engine": {"status": "ok"}, "database": {"status": "ok"},
            "check_in": {"status": "unavailable", "message": "cannot listen"},
            "relay": {"status": "impaired", "descriptors": 30, "descriptors_limit": 1024,
                      "ports_not_open": [{"at": "127.0.0.1:20000", "message": "x"}]},
            "last_pass": {"failing": 2},
        });
        let expected = Server {
            version: "0.1.0".into(),
            troubles: vec!["check-in door: cannot listen".into()],
            door_is_open: false,
            ports_not_open: vec!["127.0.0.1:20000".into()],
            failing: 2,
            descriptors: Some((30, 1024)),
        };
        let read = |health| serde_json::from_value::<api::Health>(health).ok().map(Server::from);
        assert_eq!(read(health), Some(expected));
        assert_eq!(read(json!({"version": "1"})), None);
        assert_eq!(read(json!(null)), None);
    }

    #[test]
    fn a_container_is_read() {
        let shown = json!({
            "container_id": "0", "name": "/a", "image": "spindle/base", "status": "running", "active": "0",
            "ssh_port": "20000", "app_port": "", "uri": "/v1/containers/0", "created_at": "2026-11-21T03:00:00.000Z",
            "ports": [{"container_port": 22, "protocol": "tcp", "host": "127.0.0.1", "host_port": 20000}],
            "started_at": "2026-11-21T03:00:00.000Z", "last_check_in_at": null, "report_period": 60,
            "idle_timeout": 90, "evidence": "check_in,connection",
        });
        let read = Shown::from(serde_json::from_value::<api::Container>(shown).unwrap());
        assert!(read.is_running && !read.has_reported && read.reports_count);
        assert_eq!((read.report_period, read.idle_limit), (Some(60), Some(90)));
        assert_eq!((read.ports, read.started_at.is_some()), (vec![20_000], true));
    }
}

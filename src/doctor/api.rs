//! Our own API, asked as a client would.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use http_auth_basic::Credentials;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::facts::{Seen, Server, Shown};
use crate::config::Config;

/// No answer of ours is longer.
const LONGEST: u64 = 64 << 20;

/// Where the API can be reached from this machine.
pub fn address(config: &Config) -> SocketAddr {
    let ip = match config.address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        own => own,
    };
    SocketAddr::new(ip, config.port)
}

/// What the server says of itself.
pub async fn server(config: &Config) -> Seen<Server> {
    // 503 has the same body, and says what is not well.
    let (_, health) = get(config, "/v1/health", "").await?;
    read_server(&health).ok_or_else(|| "who answers there is no Spindle".to_owned())
}

/// The sandboxes that there are.
pub async fn sandboxes(config: &Config) -> Seen<Vec<Shown>> {
    let credentials = Credentials::new(&config.admin_user, &config.admin_password).as_http_header();
    match get(config, "/v1/containers", &format!("Authorization: {credentials}\r\n")).await? {
        (200, Value::Array(shown)) => Ok(shown.iter().map(read_sandbox).collect()),
        (401, _) => Err("the server has another user or password than this configuration".into()),
        (status, answer) => {
            Err(format!("the server answers {status} {}", answer["message"].as_str().unwrap_or_default()))
        }
    }
}

/// One request, in the oldest of HTTP: the answer ends with the connection, and nothing need be parsed but its head.
async fn get(config: &Config, path: &str, header: &str) -> Seen<(u16, Value)> {
    let at = address(config);
    let request = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n{header}\r\n");
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = asked.await.map_err(|e| e.to_string())?;
    let stranger = || "who answers there speaks no HTTP as we know it".to_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(stranger)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(stranger)?;
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}

fn read_server(health: &Value) -> Option<Server> {
    let parts = ["engine", "database", "check_in", "relay"];
    let is_well = |part: &str| health[part]["status"] != "unavailable";
    let why = |part: &str| health[part]["message"].as_str().unwrap_or("no reason is given").to_owned();
    let name = |part| match part {
        "check_in" => "check-in door",
        other => other,
    };
    let sick = parts.iter().filter(|part| !is_well(part));
    let not_open = health["relay"]["ports_not_open"].as_array().into_iter().flatten();
    let descriptors = (health["relay"]["descriptors"].as_u64(), health["relay"]["descriptors_limit"].as_u64());
    Some(Server {
        version: health["version"].as_str().filter(|_| health["check_in"].is_object())?.to_owned(),
        troubles: sick.map(|part| format!("{}: {}", name(part), why(part))).collect(),
        door_is_open: is_well("check_in"),
        ports_not_open: not_open.filter_map(|p| Some(p["at"].as_str()?.to_owned())).collect(),
        failing: health["last_pass"]["failing"].as_u64().unwrap_or_default(),
        descriptors: descriptors.0.zip(descriptors.1),
    })
}

fn read_sandbox(shown: &Value) -> Shown {
    let ports = shown["ports"].as_array().into_iter().flatten();
    Shown {
        image: shown["image"].as_str().unwrap_or_default().to_owned(),
        is_running: shown["status"] == "running",
        started_at: shown["started_at"].as_str().and_then(|at| at.parse().ok()),
        has_reported: shown["last_check_in_at"].is_string(),
        report_period: shown["report_period"].as_u64(),
        idle_limit: shown["idle_timeout"].as_u64(),
        reports_count: shown["evidence"].as_str().is_some_and(|e| e.split(',').any(|e| e == "check_in")),
        ports: ports.filter_map(|p| u16::try_from(p["host_port"].as_u64()?).ok()).collect(),
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
        assert_eq!(read_server(&health), Some(expected));
        assert_eq!(read_server(&json!({"version": "1"})), None);
        assert_eq!(read_server(&Value::Null), None);
    }

    #[test]
    fn a_container_is_read() {
        let shown = json!({
            "image": "spindle/base", "status": "running", "started_at": "2026-11-21T03:00:00.000Z",
            "last_check_in_at": null, "report_period": 60, "idle_timeout": 90, "evidence": "check_in,connection", "ports": [{"host_port": 20000}],
        });
        let read = read_sandbox(&shown);
        assert!(read.is_running && !read.has_reported && read.reports_count);
        assert_eq!((read.report_period, read.idle_limit), (Some(60), Some(90)));
        assert_eq!((read.ports, read.started_at.is_some()), (vec![20_000], true));
    }
}

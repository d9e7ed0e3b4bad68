//! What the tests stand on: a client, and the worlds in which one suite runs.

#![allow(dead_code, reason = "every test binary uses its own part of it")]

pub mod docker;
pub mod people;
pub mod programs;
pub mod scripted;
mod servers;
pub mod socket;
pub mod streams;
pub mod talk;
pub mod tls;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    /// Asserts the status, and passes the answer on.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts that this is an error of `status` and `code` in the one shape that errors have.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> String {
        let body = self.clone().expect(status).json();
        assert!(self.header("content-type").starts_with("application/json"), "{self:?}");
        assert_eq!(body["code"], code, "{self:?}");
        let request_id = body["request_id"].as_str().unwrap();
        assert!(!request_id.is_empty() && request_id == self.header("x-request-id"), "{self:?}");
        body["message"].as_str().unwrap().to_owned()
    }
}

/// A body as a client sends it.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    None,
    /// What `curl -d` sends.
    Form(&'a str),
    Json(Value),
    /// Bytes with a content type.
    Raw(&'a str, Vec<u8>),
}

/// A client of one server, with the admin's credentials unless told otherwise.
#[derive(Debug, Clone)]
pub struct Http {
    pub base: String,
    pub client: reqwest::Client,
}

impl Http {
    pub fn new(base: impl Into<String>) -> Self {
        let client = reqwest::Client::builder().timeout(Duration::from_mins(2)).no_proxy().build().unwrap();
        Self { base: base.into(), client }
    }

    /// A client that speaks from a given local address.
    pub fn from_address(base: impl Into<String>, address: IpAddr) -> Self {
        let client = reqwest::Client::builder().local_address(address).no_proxy().build().unwrap();
        Self { base: base.into(), client }
    }

    /// A request without credentials.
    pub async fn bare(&self, method: &str, path: &str, body: Body<'_>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = match body {
            Body::None => request,
            Body::Form(form) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())
            }
            Body::Json(json) => request.header("content-type", "application/json").body(json.to_string()),
            Body::Raw(content_type, bytes) => request.header("content-type", content_type).body(bytes),
        };
        let response = request.send().await.unwrap_or_else(|e| panic!("{method} {path}: {e:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap_or_default() }
    }

    pub async fn send(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        // admin:spindocker
        self.bare(method, path, body, &[("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg==")]).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::None).await
    }

    pub async fn create(&self, form: &str) -> Value {
        self.send("POST", "/v1/containers", Body::Form(form)).await.expect(201).json()
    }

    pub async fn patch(&self, container: &Value, form: &str) -> Answer {
        self.send("PATCH", uri(container), Body::Form(form)).await
    }

    pub async fn delete(&self, container: &Value) -> Answer {
        self.send("DELETE", uri(container), Body::None).await
    }

    /// The container as it is now.
    pub async fn now(&self, container: &Value) -> Value {
        self.get(uri(container)).await.expect(200).json()
    }
}

pub fn uri(container: &Value) -> &str {
    container["uri"].as_str().unwrap()
}

pub fn id(container: &Value) -> &str {
    container["container_id"].as_str().unwrap()
}

/// A port on which nobody listens, of either family. It is above those of sandboxes and below those that the kernel
/// lends, so that nobody is given it by chance before it is used, and given once.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16;
    loop {
        let port = 30_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 2_700;
        if std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// Says something of a container.
pub type Holds = fn(&Value) -> bool;

/// What others do to a container by way of the engine, or its program by itself.
#[derive(Debug, Clone, Copy)]
pub enum Meddling {
    /// Its program ends with this code.
    Crash(u8),
    Kill,
    Pause,
    Unpause,
    Rename(&'static str),
    /// 64 MiB and half a core.
    Limit,
}

/// A Spindle server with an engine under it, whichever, that has the mimic images.
#[async_trait]
pub trait World: Send + Sync {
    fn http(&self) -> &Http;

    /// Lets a moment pass: on the scripted engine by the clock, on Docker by waiting.
    async fn moment(&self);

    /// POSTs `body` to the check-in path `path` at the default gateway, from inside a container; the
    /// status and the body of the answer.
    async fn check_in_at(&self, container: &Value, path: &str, body: &str, header: &str) -> (u16, String);

    /// The check-in as the image's cron job would do it.
    async fn check_in(&self, container: &Value, body: &str) -> u16 {
        self.check_in_at(container, "/v1/check-in", body, "").await.0
    }

    /// A container's address on the sandboxes' network.
    async fn address(&self, container: &Value) -> String;

    /// What sandboxes find in `/run/spindle/token`.
    async fn token(&self, container: &Value) -> String;

    async fn stop_behind_back(&self, container: &Value);
    async fn start_behind_back(&self, container: &Value);
    async fn remove_behind_back(&self, container: &Value);
    async fn meddle(&self, container: &Value, how: Meddling);

    /// The ids of the containers that the engine holds for this deployment.
    async fn held(&self) -> Vec<String>;

    /// Ends the server and starts it again on the same data. It answers, and may not have made a pass.
    async fn begin_anew(&mut self);

    /// Waits until the engine holds nothing for this deployment: a delete is answered before it has removed.
    async fn until_none_is_held(&self) {
        let (mut least, mut since) = (usize::MAX, std::time::Instant::now());
        loop {
            let held = self.held().await;
            match held.len() {
                0 => return,
                n if n < least => (least, since) = (n, std::time::Instant::now()),
                _ => assert!(since.elapsed() < Duration::from_secs(30), "for 30 s there are still {held:?}"),
            }
            self.moment().await;
        }
    }

    /// Ends the server and starts it again on the same data.
    async fn restart(&mut self);

    /// Waits until `holds` of the container as the API shows it, letting moments pass; fails after 30 s.
    async fn until(&self, container: &Value, holds: Holds) -> Value {
        let started = std::time::Instant::now();
        loop {
            let now = self.http().now(container).await;
            if holds(&now) {
                return now;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "still {now}");
            self.moment().await;
        }
    }

    /// As [`World::until`], for an answer's status to a GET.
    async fn until_status(&self, container: &Value, status: u16, within: Duration) {
        let started = std::time::Instant::now();
        while self.http().get(uri(container)).await.status != status {
            assert!(started.elapsed() < within, "no {status}");
            self.moment().await;
        }
    }
}

pub fn is(status: &'static str) -> Holds {
    match status {
        "running" => |c| c["status"] == "running",
        "stopping" => |c| c["status"] == "stopping",
        "stopped" => |c| c["status"] == "stopped",
        other => panic!("no such status {other}"),
    }
}

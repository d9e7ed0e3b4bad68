//! What a sandbox may do, what it can reach, and what is written on it.

use std::net::UdpSocket;

use serde_json::{Value, json};

use super::clients::wait_for_mimic;
use crate::support::{
    Body, World,
    docker::{Docker, docker},
    id, uri,
};

/// Runs `mimic http` in a sandbox; the status and the body, or 0 if nobody answered.
fn http_inside(world: &Docker, container: &Value, method: &str, url: &str, rest: &[&str]) -> (u16, String) {
    let arguments = [&["exec", id(container), "mimic", "http", method, url], rest].concat();
    // It exits with an error when nobody answers, and prints nothing of use to anybody then.
    let (answered, text) = world.try_docker(&arguments);
    let (status, body) = text.split_once('\n').unwrap_or((&text, ""));
    (if answered { status.trim().parse().unwrap() } else { 0 }, body.trim().to_owned())
}

/// Connects, sends something, and prints what becomes of the connection.
const SPEAK: &str = "$SIG{PIPE} = 'IGNORE'; my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or print($!), exit; \
    defined syswrite($s, $ARGV[1]) or print($!), exit; my $n = sysread $s, my $byte, 1; print defined $n ? \"got $n\" : $!";

fn reach(world: &Docker, container: &Value, address: &str, port: &str) -> String {
    world.docker(&["exec", id(container), "mimic", "reach", address, port])
}

/// Addresses of the host at which a sandbox could try: its gateway, and the one that the host itself uses for
/// the world outside, if it has a way there.
fn addresses_of_the_host(world: &Docker) -> Vec<String> {
    // Nothing is sent: the kernel only decides where it would go out. The destination is nobody's.
    let outside = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("203.0.113.1:9")?;
        socket.local_addr()
    });
    outside.iter().map(|address| address.ip().to_string()).chain([world.gateway()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_labelled_limited_and_stripped() {
    let world = Docker::start(&[("CPUS", "0.5"), ("MEMORY", "64m"), ("PIDS_LIMIT", "33")]).await;
    let c = world.http().create("image=spindle/mimic&labels=course=db&idle_timeout=60&name=tidy-one").await;
    let shown = world.inspect(&c);
    let host = &shown["HostConfig"];
    assert_eq!(host["Init"], true);
    assert_eq!(host["LogConfig"], json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}));
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(64 << 20), &json!(64 << 20)));
    assert_eq!((&host["PidsLimit"], &host["NanoCpus"]), (&json!(33), &json!(500_000_000)));
    assert_eq!((&host["CapDrop"], &host["Privileged"]), (&json!(["ALL"]), &json!(false)));
    let kept: Vec<&str> = host["CapAdd"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    for capability in ["NET_RAW", "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "MKNOD", "ALL"] {
        assert!(!kept.contains(&capability), "{kept:?}");
    }
    for bindings in host["PortBindings"].as_object().unwrap().values() {
        assert_eq!(bindings[0]["HostIp"], "127.0.0.1");
    }
    let labels = &shown["Config"]["Labels"];
    assert_eq!((&labels["spindle.deployment"], &labels["course"]), (&json!(world.deployment), &json!("db")));
    assert_eq!((&labels["spindle.idle_timeout"], labels["spindle.id"].is_string()), (&json!("60"), true));
    let networks: Vec<&String> = shown["NetworkSettings"]["Networks"].as_object().unwrap().keys().collect();
    assert_eq!(networks, [&world.deployment], "its own network and no other");
    let effective = world.docker(&["exec", id(&c), "grep", "CapEff", "/proc/self/status"]);
    let effective = u64::from_str_radix(effective.split_whitespace().last().unwrap(), 16).unwrap();
    let net_raw = 1 << 13;
    assert_eq!(effective & net_raw, 0, "{effective:x}");
    assert_eq!(effective.count_ones() as usize, kept.len(), "{effective:x}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_spindle_is_read_only_and_holds_four_files() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let inside = |words: &[&str]| world.try_docker(&[&["exec", id(&c)], words].concat());
    let (_, names) = inside(&["ls", "/run/spindle"]);
    assert_eq!(
        names.split_whitespace().collect::<Vec<_>>(),
        ["authorized_keys", "check_in_url", "report_period", "token"]
    );
    for path in ["/run/spindle/new", "/run/spindle/token"] {
        let (ok, said) = inside(&["mimic", "touch", path]);
        assert!(!ok && said.contains("Read-only file system"), "{said}");
    }
    let (_, url) = inside(&["cat", "/run/spindle/check_in_url"]);
    assert_eq!(url, format!("http://{}/v1/check-in", world.gateway()));
    assert_eq!(inside(&["printenv", "SPINDLE_CHECK_IN_URL"]).1, url);
    let environment = inside(&["printenv"]).1;
    assert!(!environment.contains(&world.token(&c).await), "the token is in the file only");
    assert!(!world.inspect(&c).to_string().contains(&world.token(&c).await), "nor does Docker know it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sandboxes_do_not_reach_each_other() {
    let world = Docker::start(&[]).await;
    let (one, two) =
        (world.http().create("image=spindle/mimic").await, world.http().create("image=spindle/mimic").await);
    wait_for_mimic(&one);
    wait_for_mimic(&two);
    let network: Value = serde_json::from_str(&docker(&["network", "inspect", &world.deployment])).unwrap();
    assert_eq!(network[0]["Options"]["com.docker.network.bridge.enable_icc"], "false");
    assert_eq!(network[0]["IPAM"]["Config"][0]["Subnet"], world.subnet);
    assert_eq!(network[0]["Labels"]["spindle.deployment"], world.deployment);
    let address = |c: &Value| {
        let shown = world.inspect(c);
        shown["NetworkSettings"]["Networks"][&world.deployment]["IPAddress"].as_str().unwrap().to_owned()
    };
    for (from, to) in [(&one, &two), (&two, &one)] {
        assert_eq!(reach(&world, from, &address(to), "8000"), "closed");
        assert_eq!(reach(&world, from, &address(to), "22"), "closed");
    }
    assert_eq!(reach(&world, &one, "127.0.0.1", "8000"), "open", "the probe itself works");
    assert_eq!(reach(&world, &one, &world.gateway(), "80"), "open", "and so does the check-in door");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_out_of_a_sandboxs_reach() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let port = world.setting("PORT");
    for address in addresses_of_the_host(&world) {
        assert_eq!(reach(&world, &c, &address, port), "closed", "{address}");
    }
    let door = format!("http://{}", world.gateway());
    let credentials = ["", "Authorization: Basic YWRtaW46c3BpbmRvY2tlcg=="];
    for path in ["/v1/containers", "/v1/images", "/v1/health", uri(&c), "/", "/v1/check-in/"] {
        let (status, body) = http_inside(&world, &c, "GET", &format!("{door}{path}"), &credentials);
        assert!([404, 405].contains(&status), "the door serves {path}: {status} {body}");
    }
    let url = format!("{door}{}", uri(&c));
    assert_eq!(http_inside(&world, &c, "DELETE", &url, &credentials).0, 404);
    assert_eq!(world.http().now(&c).await["status"], "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_on_all_addresses_resets_every_connection_from_a_sandbox() {
    let world = Docker::start(&[("ADDRESS", "0.0.0.0"), ("ADMIN_PASSWORD", "correct horse")]).await;
    // admin:correct horse
    let header = "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==";
    let headers = [("authorization", header)];
    let create = world.http().bare("POST", "/v1/containers", Body::Form("image=spindle/mimic"), &headers);
    let c = create.await.expect(201).json();
    let request = format!("DELETE {} HTTP/1.1\r\nHost: a\r\nAuthorization: {header}\r\n\r\n", uri(&c));
    let check_in = "POST /v1/check-in HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nactive=5";
    for address in addresses_of_the_host(&world) {
        let api = format!("{address}:{}", world.setting("PORT"));
        for sent in ["", &request, check_in, "\u{16}\u{3}\u{1}"] {
            let became = world.docker(&["exec", id(&c), "perl", "-MIO::Socket::INET", "-e", SPEAK, &api, sent]);
            assert_eq!(became, "Connection reset by peer", "{api} {sent:?}");
        }
    }
    let shown = world.http().bare("GET", uri(&c), Body::None, &headers).await.expect(200).json();
    assert_eq!(shown["active"], "0");
    let door = format!("http://{}/v1/check-in", world.gateway());
    assert_eq!(http_inside(&world, &c, "POST", &door, &["active-connections=6"]).0, 200);
    world.http().bare("DELETE", uri(&c), Body::None, &headers).await.expect(204);
    world.until_none_is_held().await;
}

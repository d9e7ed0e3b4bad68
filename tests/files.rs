//! Files out of sandboxes and into them. On the scripted engine.

#[path = "files/faults.rs"]
mod faults;
mod support;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use spindle::{
    engine::{
        EngineError,
        archive::{self, Entry, Kind},
        fake::Fault,
    },
    http::Times,
};
use support::{
    Answer, Body, World,
    people::{by_password, course, of_alice},
    scripted::{Scripted, TestApp, activity, container},
    streams::{ALONE, PATIENCE, eventually},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const AUTHORIZATION: &str = "Authorization: Basic YWRtaW46c3BpbmRvY2tlcg==\r\n";

fn path(c: &Value, query: &str) -> String {
    format!("{}/files{query}", support::uri(c))
}

async fn world() -> (Scripted, Value) {
    let w = TestApp::default().start().await;
    let c = w.http().create("image=spindle/mimic").await;
    (w, c)
}

async fn put(w: &Scripted, c: &Value, query: &str, kind: &str, bytes: &[u8]) -> Answer {
    w.http().send("PUT", &path(c, query), Body::Raw(kind, bytes.to_vec())).await
}

const PLAIN: &str = "application/octet-stream";
const TAR: &str = "application/x-tar";

fn tar(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (entry, content) in entries {
        tar.extend_from_slice(&entry.head().unwrap());
        tar.extend_from_slice(content);
        tar.extend_from_slice(&archive::padding(content.len() as u64));
    }
    tar.extend_from_slice(&archive::END);
    tar
}

fn file<'c>(path: &str, content: &'c str) -> (Entry, &'c [u8]) {
    (Entry::file(path, content.len() as u64), content.as_bytes())
}

fn entry(kind: Kind, path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry { kind, target: target.into(), ..Entry::file(path, 0) }, b"")
}

fn text(w: &Scripted, c: &Value, path: &str) -> Option<String> {
    w.engine.file(&container(c), path).map(|file| String::from_utf8(file.content).unwrap())
}

fn source(activity: &Value, name: &str) -> u64 {
    let sources = activity["sources"].as_array().unwrap();
    sources.iter().find(|s| s["source"] == name).unwrap()["count"].as_u64().unwrap()
}

/// A connection of its own, to which `head` was sent.
async fn connection(w: &Scripted, head: &str) -> TcpStream {
    let to: SocketAddr = w.http().base.trim_start_matches("http://").parse().unwrap();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("{head}Host: a\r\n{AUTHORIZATION}\r\n").as_bytes()).await.unwrap();
    stream
}

/// All that comes, until the end.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it ends");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn a_file_goes_in_and_comes_out_as_it_is() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    let made = put(&w, &c, "?path=/home/student/a%20b.txt", PLAIN, b"one\xff").await.expect(200).json();
    assert_eq!(made, serde_json::json!({ "path": "/home/student/a b.txt", "entries": 1, "bytes": 4 }));
    let there = w.engine.file(&container(&c), "/home/student/a b.txt").unwrap();
    assert_eq!((there.what.owner, there.what.mode, there.content.as_slice()), ((1000, 1001), 0o644, &b"one\xff"[..]));
    let taken = w.http().get(&path(&c, "?path=/home/student/a%20b.txt")).await.expect(200);
    assert_eq!((taken.header("content-type"), taken.header("content-length")), ("application/octet-stream", "4"));
    assert!(taken.header("content-disposition").contains("filename=\"a_b.txt\""), "{taken:?}");
    assert_eq!(taken.text, "one\u{fffd}");
    for (query, owner, mode) in
        [("&owner=root&mode=600", (0, 0), 0o600), ("&owner=7", (7, 7), 0o644), ("&owner=7:8&mode=4755", (7, 8), 0o4755)]
    {
        put(&w, &c, &format!("?path=/tmp/x{query}"), PLAIN, b"x").await.expect(200);
        let there = w.engine.file(&container(&c), "/tmp/x").unwrap();
        assert_eq!((there.what.owner, there.what.mode, there.content.len()), (owner, mode, 1), "{query}");
    }
    let head = "HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n";
    let mut empty = connection(&w, &format!("PUT {}?path=/tmp/x {head}", path(&c, ""))).await;
    let answer = rest(&mut empty).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(text(&w, &c, "/tmp/x").as_deref(), Some(""));
    w.http().patch(&c, "status=stopped").await.expect(200);
    w.until(&c, support::is("stopped")).await;
    put(&w, &c, "?path=/tmp/y", PLAIN, b"later").await.expect(200);
    assert_eq!(w.http().get(&path(&c, "?path=/tmp/y")).await.expect(200).text, "later");
    assert_eq!(w.app.asked.in_transfer(), 0);
}

#[tokio::test]
async fn a_folder_comes_out_as_a_tar_and_is_listed() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    let link = Entry { kind: Kind::Symlink, target: b"/home/student".into(), ..Entry::file("", 0) };
    w.engine.lay(&container(&c), "/tmp/home", link, b"");
    put(&w, &c, "?path=/home/student/a", PLAIN, b"one").await.expect(200);
    put(&w, &c, "?path=/home/student", TAR, &tar(&[entry(Kind::Folder, "d/", ""), file("d/deep", "two")]))
        .await
        .expect(200);
    for folder in ["/home/student", "/tmp/home"] {
        let taken = w.http().get(&path(&c, &format!("?path={folder}"))).await.expect(200);
        assert_eq!(taken.header("content-type"), TAR);
        assert!(taken.text.contains("student/d/deep") && taken.text.contains("two"), "{folder}");
        let listed = w.http().get(&path(&c, &format!("?path={folder}&list=true"))).await.expect(200).json();
        assert_eq!((&listed["kind"], &listed["truncated"]), (&"folder".into(), &false.into()));
        let names: Vec<_> = listed["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "d"], "{folder}");
    }
    let listed = w.http().get(&path(&c, "?path=/tmp&list=true")).await.expect(200).json();
    let link = serde_json::json!({ "name": "home", "kind": "link", "size": 0, "mode": "0644",
        "modified": "1970-01-01T00:00:00.000Z", "target": "/home/student" });
    assert_eq!(listed["entries"], serde_json::json!([link]));
    let listed = w.http().get(&path(&c, "?path=/etc/passwd&list=true")).await.expect(200).json();
    assert_eq!((&listed["kind"], &listed["entries"][0]["name"]), (&"file".into(), &"passwd".into()));
}

#[tokio::test]
async fn a_tar_is_unpacked_unless_an_entry_leaves_the_folder() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    let before = w.engine.paths(&container(&c));
    let fine = file("fine", "1");
    for (bad, why) in [
        (entry(Kind::Symlink, "l", "/etc"), "leaves"),
        (entry(Kind::Symlink, "l", "../../etc"), "leaves"),
        (entry(Kind::HardLink, "h", "/etc/passwd"), "not beside"),
    ] {
        let refused = put(&w, &c, "?path=/home/student", TAR, &tar(&[fine.clone(), bad])).await;
        let message = refused.expect_error(400, "invalid_tar");
        assert!(message.contains(why), "{message}");
    }
    // These no builder of tars would write.
    let renamed = |path: &str, kind: u8| {
        let mut bytes = tar(&[fine.clone(), file("bad", "2")]);
        let head = &mut bytes[1024..1536];
        head[..100].fill(0);
        head[..path.len()].copy_from_slice(path.as_bytes());
        head[156] = kind;
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    };
    for (path, kind, why) in [("/etc/evil", b'0', "root"), ("../evil", b'0', ".."), ("a/../../evil", b'0', "..")] {
        let message =
            put(&w, &c, "?path=/home/student", TAR, &renamed(path, kind)).await.expect_error(400, "invalid_tar");
        assert!(message.contains(why), "{message}");
    }
    for kind in [b'3', b'4', b'6'] {
        let mut device = renamed("tty", kind);
        device[1024 + 124..1024 + 136].copy_from_slice(b"00000000000\0");
        let head = &mut device[1024..1536];
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let message = put(&w, &c, "?path=/home/student", TAR, &device).await.expect_error(400, "invalid_tar");
        assert!(message.contains("device"), "{message}");
    }
    for cut in
        [&b"no tar at all, though it is long enough to be one"[..], &tar(std::slice::from_ref(&fine))[..700], b""]
    {
        put(&w, &c, "?path=/home/student", TAR, cut).await.expect_error(400, "invalid_tar");
    }
    assert_eq!(w.engine.paths(&container(&c)), before, "nothing of any of them is there");

    let good = tar(&[entry(Kind::Folder, "./", ""), fine, entry(Kind::Symlink, "to", "fine")]);
    let made = put(&w, &c, "?path=/home/student", TAR, &good).await.expect(200).json();
    assert_eq!((&made["entries"], &made["bytes"]), (&2.into(), &1.into()));
    assert_eq!(text(&w, &c, "/home/student/fine").as_deref(), Some("1"));
    assert_eq!(w.engine.file(&container(&c), "/home/student/fine").unwrap().what.owner, (1000, 1001));
    assert_eq!(w.engine.file(&container(&c), "/home/student").unwrap().what.owner, (0, 0), "it stays as it was");
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let _beside = ALONE.read().await;
    let mut app = TestApp::default();
    app.settings.transfer_max = 1 << 20;
    let w = app.start().await;
    let c = w.http().create("image=spindle/mimic").await;
    for (query, kind, status, code) in [
        ("", PLAIN, 400, "missing_field"),
        ("?path=tmp/x", PLAIN, 400, "invalid_field"),
        ("?path=/tmp/../etc/x", PLAIN, 400, "invalid_field"),
        ("?path=/tmp/x%00", PLAIN, 400, "invalid_field"),
        ("?path=/tmp/x&mode=999", PLAIN, 400, "invalid_field"),
        ("?path=/tmp/x&owner=nobody-here", PLAIN, 400, "invalid_field"),
        ("?path=/tmp/x&user=root", PLAIN, 400, "unknown_field"),
        ("?path=/tmp&mode=644", TAR, 400, "invalid_field"),
        ("?path=/no/where/x", PLAIN, 404, "path_not_found"),
        ("?path=/no/where", TAR, 404, "path_not_found"),
        ("?path=/tmp", PLAIN, 409, "path_conflict"),
        ("?path=/", PLAIN, 409, "path_conflict"),
        ("?path=/etc/passwd/x", PLAIN, 409, "path_conflict"),
        ("?path=/etc/passwd", TAR, 409, "path_conflict"),
        ("?path=/run/spindle/x", PLAIN, 409, "read_only_path"),
    ] {
        let body = if kind == TAR { tar(&[file("x", "1")]) } else { b"x".to_vec() };
        put(&w, &c, query, kind, &body).await.expect_error(status, code);
    }
    for (query, status, code) in [
        ("", 400, "missing_field"),
        ("?path=/no/where", 404, "path_not_found"),
        ("?path=/tmp&list=yes", 400, "invalid_field"),
        ("?path=/tmp&mode=644", 400, "unknown_field"),
    ] {
        w.http().get(&path(&c, query)).await.expect_error(status, code);
    }
    let big = vec![0; (1 << 20) + 1];
    let message = put(&w, &c, "?path=/tmp/big", PLAIN, &big).await.expect_error(413, "payload_too_large");
    assert!(message.contains("1048576") && message.contains("SPINDLE_TRANSFER_MAX"), "{message}");
    let entries = [(Entry::file("big", big.len() as u64), big.as_slice())];
    put(&w, &c, "?path=/tmp", TAR, &tar(&entries)).await.expect_error(413, "payload_too_large");
    w.engine.lay(&container(&c), "/tmp/there", Entry::file("", 2 << 20), b"");
    w.http().get(&path(&c, "?path=/tmp/there")).await.expect_error(413, "payload_too_large");

    let head =
        format!("PUT {}?path=/tmp/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n", path(&c, ""));
    let mut chunked = connection(&w, &head).await;
    chunked.write_all(b"1\r\nx\r\n0\r\n\r\n").await.unwrap();
    let answer = rest(&mut chunked).await;
    assert!(answer.starts_with("HTTP/1.1 411 ") && answer.contains("length_required"), "{answer}");
    w.engine.next("unpack", Fault::Fail(EngineError::Refused("no space left on device".into())));
    let why = put(&w, &c, "?path=/tmp/x", PLAIN, b"x").await.expect_error(502, "engine_failed");
    assert!(why.contains("no space left"), "{why}");
    assert_eq!((w.app.asked.in_transfer(), text(&w, &c, "/tmp/x")), (0, None));
}

#[tokio::test]
async fn a_put_is_evidence_and_says_whose_and_a_look_is_none() {
    let _beside = ALONE.read().await;
    let w = course().await;
    let c = of_alice(&w).await;
    let put = async |who: &str| {
        let body = Body::Raw(PLAIN, b"x".to_vec());
        by_password(&w, who).send("PUT", &path(&c, "?path=/tmp/x"), body).await.expect(200)
    };
    put("alice").await;
    let own = activity(&w, &c).await;
    assert_eq!((source(&own, "files"), source(&own, "staff")), (1, 0));
    let used = w.http().now(&c).await["last_active_at"].clone();
    w.clock.advance(Duration::from_mins(10));
    let before = w.http().now(&c).await["stops_at"].clone();
    let answer = put("ina").await;
    let both = activity(&w, &c).await;
    assert_eq!((source(&both, "files"), source(&both, "staff")), (1, 1));
    assert_ne!(both["stops_at"], before, "it is in use");
    assert!(both["why"].as_str().unwrap().contains("ina, not its owner, worked in it through the API"), "{both}");
    assert_eq!(w.http().now(&c).await["last_active_at"], used, "which is not the learner's work");
    let action = w.http().get(&format!("/v1/actions/{}", answer.header("spindle-action"))).await.expect(200).json();
    assert_eq!((&action["verb"], &action["changed"][0]), (&"put_files".into(), &"/tmp/x".into()));
    w.clock.advance(Duration::from_mins(10));
    by_password(&w, "ina").get(&path(&c, "?path=/tmp/x")).await.expect(200);
    by_password(&w, "ina").get(&path(&c, "?path=/tmp&list=true")).await.expect(200);
    assert_eq!(activity(&w, &c).await["sources"], both["sources"]);
    by_password(&w, "bob").get(&path(&c, "?path=/tmp/x")).await.expect_error(404, "container_not_found");
}

#[tokio::test]
async fn a_slow_body_arrives_as_long_as_it_moves_and_nobody_waits_for_it() {
    let _beside = ALONE.read().await;
    let limit = Duration::from_millis(400);
    let w = TestApp::with_api(|api| api.times = Times { head: limit, body: limit }).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    let head = |length| {
        format!("PUT {}?path=/tmp/x HTTP/1.1\r\nContent-Length: {length}\r\nConnection: close\r\n", path(&c, ""))
    };
    let mut slow = connection(&w, &head(80 << 10)).await;
    // In all it takes longer than a client may be silent.
    for _ in 0..10 {
        timeout(limit / 8, slow.read(&mut [0])).await.expect_err("there is no answer yet");
        slow.write_all(&[b'x'; 8 << 10]).await.unwrap();
        assert_eq!(w.engine.calls("unpack"), 0, "the engine is not asked before all is there");
    }
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut silent = connection(&w, &head(2)).await;
    silent.write_all(b"x").await.unwrap();
    let answer = rest(&mut silent).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    eventually("it is let go of", || w.app.asked.in_transfer() == 0).await;
    assert_eq!(w.engine.calls("unpack"), 1);
}

//! What goes wrong with files amid their way, and what they cost.

use spindle::engine::archive::Entry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    PLAIN, connection, path, put, rest,
    support::{
        World,
        scripted::{TestApp, container},
        streams::{ALONE, PATIENCE, descriptors, eventually, rss},
    },
    text, world,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_who_vanish_amid_an_upload_leave_nothing_behind() {
    let _alone = ALONE.write().await;
    let w = TestApp::with_api(|api| api.connections = 4_096).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    put(&w, &c, "?path=/tmp/x", PLAIN, b"the old one").await.expect(200);
    let (before, asked) = (descriptors(), w.engine.calls("unpack"));
    for round in 0..10 {
        let mut clients = Vec::new();
        for number in 0..100 {
            let kind = if number % 2 == 0 { "path=/tmp/x" } else { "path=/tmp" };
            let tar = if number % 2 == 0 { "" } else { "Content-Type: application/x-tar\r\n" };
            let head = format!("PUT {}?{kind} HTTP/1.1\r\n{tar}Content-Length: 1000000\r\n", path(&c, ""));
            let mut client = connection(&w, &head).await;
            let first = Entry::file("x", 900_000).head().unwrap();
            client.write_all(&first).await.unwrap();
            client.write_all(&vec![b'y'; 300_000]).await.unwrap();
            clients.push(client);
        }
        eventually("they are under way", || w.app.asked.in_transfer() > 0).await;
        drop(clients);
        eventually("none is left", || w.app.asked.in_transfer() == 0 && w.engine.open_streams() == 0).await;
        assert_eq!(text(&w, &c, "/tmp/x").as_deref(), Some("the old one"), "{round}");
    }
    assert_eq!(w.engine.calls("unpack"), asked);
    eventually("no descriptor is left", || descriptors() <= before + 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_who_vanish_amid_a_download_leave_nothing_behind() {
    let _alone = ALONE.write().await;
    let w = TestApp::with_api(|api| api.connections = 4_096).start().await;
    let c = w.http().create("image=spindle/mimic").await;
    w.engine.lay(&container(&c), "/tmp/big", Entry::file("", 8 << 20), b"");
    let before = descriptors();
    for _ in 0..50 {
        let mut clients = Vec::new();
        for number in 0..20 {
            let what = if number % 2 == 0 { "/tmp/big" } else { "/tmp" };
            let mut client = connection(&w, &format!("GET {}?path={what} HTTP/1.1\r\n", path(&c, ""))).await;
            let mut begin = [0; 12];
            timeout(PATIENCE, client.read_exact(&mut begin)).await.expect("it begins").unwrap();
            assert_eq!(&begin, b"HTTP/1.1 200");
            clients.push(client);
        }
        drop(clients);
        eventually("none is left", || w.app.asked.in_transfer() == 0 && w.engine.open_streams() == 0).await;
    }
    eventually("no descriptor is left", || descriptors() <= before + 8).await;
}

/// Whoever gets a part never takes it for all.
#[tokio::test]
async fn what_breaks_off_looks_broken_off() {
    let _beside = ALONE.read().await;
    let (w, c) = world().await;
    w.engine.lay(&container(&c), "/tmp/big", Entry::file("", 48 << 20), b"");
    for what in ["/tmp/big", "/tmp"] {
        for removed in [false, true] {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let url = format!("{}{}?path={what}", w.http().base, path(&c, ""));
            let asked = client.get(url).header("authorization", "Basic YWRtaW46c3BpbmRvY2tlcg==");
            let mut response = asked.send().await.unwrap();
            assert_eq!(response.status(), 200);
            if removed {
                w.engine.vanish(&container(&c));
            } else {
                w.engine.set_away(true);
            }
            let mut read = 0;
            let broken = loop {
                match timeout(PATIENCE, response.chunk()).await.expect("it goes on") {
                    Ok(Some(piece)) => read += piece.len(),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            assert!(broken && read < 48 << 20, "{what}: {read}");
            w.engine.set_away(false);
            if removed {
                return;
            }
        }
    }
}

/// A file of 256 MiB, both ways, the client in the same process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_file_costs_little_memory_both_ways() {
    const SIZE: u64 = 256 << 20;
    let _alone = ALONE.write().await;
    let mut app = TestApp::default();
    app.settings.transfer_max = 1 << 30;
    let w = app.start().await;
    let c = w.http().create("image=spindle/mimic").await;
    put(&w, &c, "?path=/tmp/x", PLAIN, b"warm").await.expect(200);
    let before = rss();
    let head =
        format!("PUT {}?path=/tmp/big HTTP/1.1\r\nContent-Length: {SIZE}\r\nConnection: close\r\n", path(&c, ""));
    let mut upload = connection(&w, &head).await;
    let (piece, mut most) = (vec![0; 1 << 20], 0);
    for _ in 0..SIZE >> 20 {
        timeout(PATIENCE, upload.write_all(&piece)).await.expect("it is taken").unwrap();
        most = most.max(rss());
    }
    let answer = rest(&mut upload).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(w.engine.file(&container(&c), "/tmp/big").unwrap().what.size, SIZE);
    let mut download =
        connection(&w, &format!("GET {}?path=/tmp/big HTTP/1.1\r\nConnection: close\r\n", path(&c, ""))).await;
    let (mut read, mut piece) = (0, vec![0; 1 << 20]);
    loop {
        match timeout(PATIENCE, download.read(&mut piece)).await.expect("it comes").unwrap() {
            0 => break,
            length => read += length as u64,
        }
        most = most.max(rss());
    }
    assert!((SIZE..SIZE + 2_000).contains(&read), "{read}");
    let grown = most.saturating_sub(before);
    println!("256 MiB in and out: {} KiB", grown >> 10);
    assert!(grown < 16 << 20, "{} MiB", grown >> 20);
}

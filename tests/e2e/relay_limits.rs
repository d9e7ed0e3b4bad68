//! Shares of the relay, who is told whose connection it is, and both families of addresses.

use std::{io::Read, net::TcpStream, time::Duration};

use super::clients::{curl_json, port, wait_for_mimic};
use crate::support::{
    World,
    docker::{Docker, wait_for},
    talk::{dial, exchange, speak},
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_has_its_share_of_connections_and_others_have_theirs() {
    let world = Docker::start(&[("CONNECTIONS_PER_SANDBOX", "3")]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let (app, ssh) = (port(&c, "app_port"), port(&c, "ssh_port"));
    let carried = || curl_json(&world, &[], "/v1/health", 200)["relay"]["connections"].clone();
    wait_for("nothing is open", SOON, || carried() == 0);
    let mut held: Vec<TcpStream> = [app, ssh, app].map(dial).into();
    exchange(&held[0], b"one", 0).unwrap();
    exchange(&held[2], b"three", 0).unwrap();
    wait_for("three are open", SOON, || carried() == 3);
    for _ in 0..5 {
        assert!(speak(app, 0).is_err(), "a fourth was let in");
    }
    let other = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&other);
    held.swap_remove(1);
    wait_for("there is room again", SOON, || speak(app, 0).is_ok());
    exchange(&held[0], b"still there", 0).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_wants_to_know_is_told_whose_connection_it_is() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic:proxied").await;
    let mut stream = dial(port(&c, "app_port"));
    let (from, to) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    // As the specification of the PROXY protocol has it: version 2, PROXY, TCP over IPv4, twelve bytes.
    let mut expected =
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01".to_vec();
    expected.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    let mut header = vec![0; expected.len()];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header, expected);
    exchange(&stream, b"and then what the client says", 0).unwrap();
    let mut banner = [0; 15];
    dial(port(&c, "ssh_port")).read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-mimic\r\n", "the others are told nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_both_families_reach_it() {
    let world = Docker::start(&[("PUBLISH_ADDRESS", "::")]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let app = port(&c, "app_port");
    for address in ["127.0.0.1", "::1"] {
        let stream = TcpStream::connect((address, app)).unwrap_or_else(|e| panic!("{address}: {e}"));
        stream.set_read_timeout(Some(SOON)).unwrap();
        exchange(&stream, address.as_bytes(), 0).unwrap();
    }
    assert_eq!(c["ports"][0]["host"], "::");
}

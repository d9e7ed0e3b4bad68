//! The data path: every byte arrives, none is altered or crossed, and an end arrives as the end that it was.

use std::{
    io::Read,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::clients::{port, wait_for_mimic};
use crate::support::{
    Body, World,
    docker::{Docker, docker, try_docker, wait_for},
    id,
    talk::{Ending, Random, command, dial, drain, end, exchange, made_up, reset},
};

const SOON: Duration = Duration::from_secs(10);

/// A sandbox whose echo speaks in a voice of its own, ready.
pub async fn mimic_with_voice(world: &Docker, voice: u8) -> Value {
    let body = serde_json::json!({"image": "spindle/mimic", "env": {"MIMIC_XOR": voice.to_string()}});
    let c = world.http().send("POST", "/v1/containers", Body::Json(body)).await.expect(201).json();
    wait_for("its echo", Duration::from_secs(30), || crate::support::talk::speak(port(&c, "app_port"), voice).is_ok());
    c
}

/// The traffic of a port inside, as the object shows it.
pub fn traffic(container: &Value, inside: u16) -> &Value {
    let of_port = container["traffic"].as_array().unwrap().iter().find(|t| t["container_port"] == inside);
    of_port.unwrap_or_else(|| panic!("no traffic of {inside}: {container}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_on_several_connections_of_two_sandboxes_come_back_whole() {
    const LENGTH: usize = 6 << 20;
    let world = Docker::start(&[]).await;
    let ports = [
        (port(&mimic_with_voice(&world, 0x55).await, "app_port"), 0x55),
        (port(&mimic_with_voice(&world, 0xaa).await, "app_port"), 0xaa),
    ];
    let clients = (0..6).map(|number: u64| {
        let (port, voice) = ports[number as usize % 2];
        thread::spawn(move || {
            let data = Random::new(number).bytes(LENGTH + number as usize);
            let stream = dial(port);
            exchange(&stream, &data, voice).unwrap_or_else(|e| panic!("connection {number}: {e}"));
            end(&stream);
            assert_eq!(drain(&stream), (Vec::new(), Ending::End), "nothing comes after that");
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_may_end_first_and_is_still_answered() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let app = port(&c, "app_port");
    let stream = command(app, "answer-after-end 3000001");
    end(&stream);
    let (heard, ending) = drain(&stream);
    assert!(heard == made_up(3_000_001), "{} bytes came", heard.len());
    assert_eq!(ending, Ending::End);

    let mut stream = command(app, "end-first");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the server has ended its side");
    for part in Random::new(1).bytes(3_000_001).chunks(100_000) {
        std::io::Write::write_all(&mut stream, part).unwrap();
    }
    end(&stream);
    wait_for("what the server heard", SOON, || {
        try_docker(&["exec", id(&c), "cat", "/tmp/mimic.heard"]) == (true, "3000001".to_owned())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_arrives_as_a_reset_and_an_end_as_an_end() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let app = port(&c, "app_port");
    let stream = command(app, "reset");
    assert_eq!(drain(&stream), (Vec::new(), Ending::Reset), "the server's reset");

    let ended = |how: &str| {
        wait_for(how, SOON, || try_docker(&["exec", id(&c), "cat", "/tmp/mimic.ended"]) == (true, how.to_owned()));
        docker(&["exec", id(&c), "rm", "/tmp/mimic.ended"]);
    };
    let held = || {
        let mut stream = command(app, "hold");
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"held");
        stream
    };
    reset(held());
    ended("reset");
    drop(held());
    ended("end");
    // A client that has ended its side can still break off.
    let stream = command(app, "source 100000000");
    end(&stream);
    reset(stream);
    wait_for("nothing is open", SOON, || {
        let open =
            docker(&["exec", id(&c), "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'mimic serv[e]'"]);
        // The serving process and its init, and no child that still sends.
        open.lines().count() == 2
    });
}

/// A sender is held up by a slow receiver, by little more than what kernels keep, and all of it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_everything_and_holds_up_its_sender() {
    const LENGTH: usize = 48 << 20;
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    wait_for_mimic(&c);
    let before = resident(&world);
    let stream = command(port(&c, "app_port"), &format!("source {LENGTH}"));
    let mut told = 0;
    let mut since = Instant::now();
    // Until nothing has moved for longer than the counts may be late.
    while told == 0 || since.elapsed() < Duration::from_millis(2_500) {
        let now = traffic(&world.http().now(&c).await, 8_000)["bytes_out"].as_u64().unwrap();
        if now != told {
            (told, since) = (now, Instant::now());
        }
        world.moment().await;
    }
    assert!(told < LENGTH as u64 / 2, "{told} bytes went to a client that reads nothing");
    let held = resident(&world).saturating_sub(before);
    assert!(held < 8 << 20, "the server holds {held} bytes for it");
    let (heard, ending) = drain(&stream);
    assert!(heard == made_up(LENGTH), "{} bytes came", heard.len());
    assert_eq!(ending, Ending::End);
}

/// How much memory the server has in use.
fn resident(world: &Docker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Gives every thread of the server the lowest priority, so that it is the slowest link of what it carries: there is
/// always something to read, and always room for it.
fn be_humble(world: &Docker) {
    for thread in std::fs::read_dir(format!("/proc/{}/task", world.pid())).unwrap() {
        let thread = thread.unwrap().file_name().into_string().unwrap();
        assert!(Command::new("renice").args(["-n", "19", "-p", &thread]).output().unwrap().status.success());
    }
}

/// As much as the machine carries, on more connections than the server has threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_keeps_nobody_else_waiting() {
    let world = Docker::start(&[]).await;
    let (flooded, other) =
        (world.http().create("image=spindle/mimic").await, world.http().create("image=spindle/mimic").await);
    wait_for_mimic(&flooded);
    wait_for_mimic(&other);
    be_humble(&world);
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = command(port(&flooded, "app_port"), "source 1000000000000");
            thread::spawn(move || {
                let (mut part, mut read) = (vec![0; 1 << 18], 0_u64);
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(2) {
                    read += stream.read(&mut part).unwrap() as u64;
                }
                reset(stream);
                read
            })
        })
        .collect();
    let (mut slowest, mut rounds) = (Duration::ZERO, 0);
    while !floods.iter().all(thread::JoinHandle::is_finished) {
        let asked = Instant::now();
        crate::support::talk::speak(port(&other, "app_port"), 0).unwrap();
        world.http().now(&other).await;
        slowest = slowest.max(asked.elapsed());
        rounds += 1;
    }
    let flood: u64 = floods.into_iter().map(|f| f.join().unwrap()).sum();
    println!("{} MB flowed by, {rounds} rounds, the slowest in {slowest:?}", flood >> 20);
    assert!(slowest < Duration::from_secs(1), "a client waited {slowest:?}");
}

//! What a pass costs, over 1,000 and over 10,000 sandboxes in a store on the disk, against the scripted engine. Each has
//! two ports and evidence of several kinds; a tenth was used since the last pass, and nothing is due.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "support/mod.rs"]
mod yardstick;

use std::{path::Path, time::Duration};

use spindle::{
    app::CreateSpec,
    domain::{Evidence, ImageRef, Source},
};
use support::scripted::{Scripted, TestApp};
use yardstick::{Samples, only_asked};

const ROUNDS: usize = 15;

/// Sandboxes, each as if somebody used it.
async fn filled(number: u32, directory: &Path) -> Scripted {
    let mut app = TestApp { loops: false, database: Some(directory.join("spindle.db")), ..TestApp::default() };
    app.settings.max_running = number;
    app.settings.pool.range = 20_000..=59_999;
    let admin = spindle::domain::Actor::admin("admin");
    let world = app.start().await;
    world.engine.add_image("lab:latest", &["9000/udp", "9001/udp"], None);
    for _ in 0..number {
        let made = world.app.asked.create(&admin, CreateSpec::of(ImageRef::parse("lab").unwrap())).await.unwrap();
        world.app.asked.check_in(Some(made.token.reveal()), None, 1).await.unwrap();
        world.app.asked.extend(&admin, made.container.unwrap().as_str(), None).await.unwrap();
    }
    world
}

async fn pass(number: u32) -> f64 {
    let directory = std::env::temp_dir().join(format!("spindle-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let world = filled(number, &directory).await;
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        world.clock.advance(Duration::from_secs(1));
        // A tenth of them was used since the last pass.
        let known = world.store.all().await.unwrap();
        let evidence = Evidence { source: Source::Connection, at: support::scripted::now(&world) };
        let used = known.iter().step_by(10).map(|s| (s.id.clone(), s.life.generation, evidence));
        world.store.record_use(used.collect()).await.unwrap();
        samples.time(world.app.pass.converge()).await;
    }
    std::fs::remove_dir_all(&directory).unwrap();
    samples.median()
}

fn main() {
    if only_asked() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for number in [1_000, 10_000] {
            println!("one pass over {number} sandboxes, scripted engine: {:.1} ms", Box::pin(pass(number)).await);
        }
    });
}

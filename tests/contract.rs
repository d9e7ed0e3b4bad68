//! The API contract, statement by statement, on every engine: each test names its number in `CONTRACT.md`.
//! What each sends is what the documentation shows with curl.

mod support;

/// Defines each statement once and runs it in both worlds.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident: &mut $w:ty) $body:block)*) => {
        $( $(#[$doc])* async fn $name($world: &mut $w) $body )*

        mod on_the_scripted_engine {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let mut world = TestApp::default().start().await;
                    super::$name(&mut world).await;
                    world.check().await;
                }
            )*
        }

        mod on_docker {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let mut world = Docker::start(&[]).await;
                    super::$name(&mut world).await;
                }
            )*
        }
    };
}

#[path = "contract/access.rs"]
mod access;
#[path = "contract/check_in.rs"]
mod check_in;
#[path = "contract/create.rs"]
mod create;
#[path = "contract/fields.rs"]
mod fields;
#[path = "contract/lifecycle.rs"]
mod lifecycle;
#[path = "contract/objects.rs"]
mod objects;

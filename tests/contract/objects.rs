//! Images, the container object, list and get: statements 7 to 15.

use super::support::{Body, Holds, Meddling, World, docker::Docker, id, is, scripted::TestApp};
use serde_json::{Value, json};
use std::time::Duration;

contract! {
    async fn s07_images_are_a_flat_array_of_tags(w: &mut dyn World) {
        let images: Vec<String> = serde_json::from_str(&w.http().get("/v1/images").await.expect(200).text).unwrap();
        for tag in ["spindle/mimic:latest", "spindle/mimic:twin"] {
            assert_eq!(images.iter().filter(|i| *i == tag).count(), 1, "{images:?}");
        }
        assert!(images.iter().all(|i| i.contains(':') && !i.contains("<none>")), "{images:?}");
    }

    async fn s08_the_container_object_has_its_keys_as_strings(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let text = |key: &str| c[key].as_str().unwrap_or_else(|| panic!("{key} is no string: {c}")).to_owned();
        for key in ["container_id", "name", "image", "status", "active", "ssh_port", "app_port", "uri"] {
            text(key);
        }
        let id = text("container_id");
        assert!(id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        assert!(text("name").starts_with('/'));
        assert_eq!(text("image"), "spindle/mimic");
        assert_eq!(text("status"), "running");
        assert_eq!(text("uri"), format!("/v1/containers/{id}"));
    }

    async fn s09_ssh_port_is_22s_and_app_port_anothers(w: &mut dyn World) {
        let port = |c: &Value, inside: u16| {
            let ports = c["ports"].as_array().unwrap();
            let found = ports.iter().find(|p| p["container_port"] == inside);
            found.map(|p| p["host_port"].to_string()).unwrap_or_default()
        };
        let c = w.http().create("image=spindle/mimic").await;
        assert_eq!((&c["ssh_port"], &c["app_port"]), (&json!(port(&c, 22)), &json!(port(&c, 8000))));
        assert_ne!(c["ssh_port"], c["app_port"]);
        let c = w.http().create("image=spindle/mimic:many").await;
        assert_eq!(c["app_port"], json!(port(&c, 8000)), "the label decides");
        assert_eq!(c["ports"].as_array().unwrap().len(), 4);
        let c = w.http().create("image=spindle/mimic:udp").await;
        assert_eq!(c["app_port"], json!(port(&c, 5353)));
        assert_eq!(c["ports"].as_array().unwrap().iter().filter(|p| p["protocol"] == "udp").count(), 1);
    }

    async fn s10_a_stopped_container_shows_no_ports_and_keeps_them(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let stopping = w.http().patch(&c, "status=stopped").await.expect(200).json();
        assert_eq!((&stopping["ssh_port"], &stopping["app_port"]), (&c["ssh_port"], &c["app_port"]));
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!((&stopped["ssh_port"], &stopped["app_port"]), (&json!(""), &json!("")));
        assert_eq!(stopped["ports"], c["ports"]);
    }

    async fn s11_active_is_0_after_each_start_then_the_last_report(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        assert_eq!(c["active"], "0");
        for value in ["3", "0", "1"] {
            w.check_in(&c, &format!("active-connections={value}")).await;
            assert_eq!(w.http().now(&c).await["active"], value);
        }
        w.http().patch(&c, "status=stopped").await.expect(200);
        w.until(&c, is("stopped")).await;
        assert_eq!(w.http().patch(&c, "status=running").await.expect(200).json()["active"], "0");
    }

    async fn s12_the_list_is_ours_oldest_first(w: &mut dyn World) {
        assert_eq!(w.http().get("/v1/containers").await.expect(200).json(), json!([]));
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(w.http().create("image=spindle/mimic:bare").await);
        }
        w.http().patch(&made[1], "status=stopped").await.expect(200);
        w.until(&made[1], is("stopped")).await;
        let list = w.http().get("/v1/containers").await.expect(200).json();
        let ids: Vec<&str> = list.as_array().unwrap().iter().map(id).collect();
        assert_eq!(ids, made.iter().map(id).collect::<Vec<_>>());
    }

    async fn s13_get_by_id_prefix_and_name(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic:bare&name=alice-13").await;
        for reference in [id(&c), &id(&c)[..12], &id(&c)[..40], "alice-13"] {
            let answer = w.http().get(&format!("/v1/containers/{reference}")).await.expect(200);
            assert_eq!(answer.json(), c, "{reference}");
        }
        w.http().get(&format!("/v1/containers/{}", &id(&c)[..11])).await.expect(404);
        w.http().get(&format!("/v1/containers/{}/", id(&c))).await.expect(200);
    }

    async fn s14_an_unknown_id_is_404(w: &mut dyn World) {
        for unknown in ["nobody", &"0".repeat(64), "0123456789ab"] {
            for (method, body) in [("GET", Body::None), ("PATCH", Body::Form("status=stopped")), ("DELETE", Body::None)] {
                let answer = w.http().send(method, &format!("/v1/containers/{unknown}"), body).await;
                let message = answer.expect_error(404, "container_not_found");
                assert_eq!(message, format!("Container {unknown} doesn't exist"));
            }
        }
    }

    async fn s15_what_happens_behind_our_back_shows_within_two_seconds(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        let within = |started: std::time::Instant| assert!(started.elapsed() < Duration::from_secs(2));
        w.stop_behind_back(&c).await;
        let started = std::time::Instant::now();
        w.until(&c, is("stopped")).await;
        within(started);
        w.start_behind_back(&c).await;
        let started = std::time::Instant::now();
        let again = w.until(&c, is("running")).await;
        within(started);
        assert_eq!(again["ssh_port"], c["ssh_port"]);
        w.remove_behind_back(&c).await;
        w.until_status(&c, 404, Duration::from_secs(2)).await;
    }

    async fn s15_what_others_make_of_a_container_shows_within_two_seconds(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        assert_eq!((&c["paused"], &c["engine_name"]), (&json!(false), &json!(null)));
        let other = w.http().create("image=spindle/mimic:bare").await;
        let renamed: &'static str = Box::leak(format!("renamed-{}", &id(&c)[..8]).into_boxed_str());
        // With us it would be an id.
        let odd: &'static str = Box::leak(id(&c)[..16].to_owned().into_boxed_str());
        let shows: [(Meddling, Holds); 3] = [
            (Meddling::Pause, |c| c["paused"] == true),
            (Meddling::Limit, |c| c["memory"] == 64 << 20 && c["cpus"] == 0.5),
            (Meddling::Rename(renamed), |c| c["name"].as_str().unwrap().starts_with("/renamed-")),
        ];
        for (how, holds) in shows {
            let started = std::time::Instant::now();
            w.meddle(&c, how).await;
            w.until(&c, holds).await;
            assert!(started.elapsed() < Duration::from_secs(2), "{how:?}: {:?}", started.elapsed());
        }
        w.restart().await;
        let now = w.http().now(&c).await;
        assert_eq!((&now["status"], &now["paused"], &now["memory"]), (&json!("running"), &json!(true), &json!(64 << 20)));
        assert!(now["why"].as_str().unwrap().starts_with("paused: "), "{now}");
        assert_eq!(w.http().get(&format!("/v1/containers/{renamed}")).await.expect(200).json()["container_id"], c["container_id"]);
        w.meddle(&c, Meddling::Rename(odd)).await;
        let odd = w.until(&c, |c| !c["engine_name"].is_null()).await;
        assert_eq!((&odd["name"], odd["engine_name"].as_str()), (&json!(format!("/{renamed}")), Some(&id(&c)[..16])));
        w.meddle(&c, Meddling::Unpause).await;
        assert!(w.until(&c, |c| c["paused"] == false).await["why"].as_str().unwrap().starts_with("active: "));
        assert_eq!(w.http().now(&other).await["name"], other["name"], "nobody meddled with this one");
    }

    /// How it ended: in the object, and after the next start no more.
    async fn s15_how_a_container_ended_is_shown(w: &mut dyn World) {
        let (crashed, killed) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
        for key in ["exit_code", "oom_killed", "last_lines"] {
            assert_eq!(crashed[key], json!(null));
        }
        w.meddle(&crashed, Meddling::Crash(3)).await;
        w.meddle(&killed, Meddling::Kill).await;
        let ended = w.until(&crashed, is("stopped")).await;
        let shown = (&ended["stopped_reason"], &ended["exit_code"], &ended["oom_killed"]);
        assert_eq!(shown, (&json!("exited"), &json!(3), &json!(false)));
        assert!(ended["last_lines"].to_string().contains("mimic: started"), "{ended}");
        assert!(ended["why"].as_str().unwrap().ends_with("its program ended with exit code 3"), "{ended}");
        let ended = w.until(&killed, |c| c["why"].as_str().unwrap().contains("somebody stopped or killed it")).await;
        assert_eq!(ended["stopped_reason"], "exited");
        w.restart().await;
        assert_eq!(w.http().now(&killed).await["why"], ended["why"]);
        let again = w.http().patch(&crashed, "status=running").await.expect(200).json();
        assert_eq!((&again["exit_code"], &again["oom_killed"], &again["last_lines"]), (&json!(null), &json!(null), &json!(null)));
    }

    async fn s15_audit_takes_a_boolean_and_shortens_no_life(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        for yes_or_no in ["true", "True", "TRUE", "false", "False"] {
            let list = w.http().get(&format!("/v1/containers?audit={yes_or_no}")).await.expect(200).json();
            assert_eq!(list[0]["stops_at"], c["stops_at"]);
        }
        for bad in ["1", "yes", ""] {
            let message = w.http().get(&format!("/v1/containers?audit={bad}")).await.expect_error(400, "invalid_field");
            assert!(message.contains("audit"), "{message}");
        }
        w.stop_behind_back(&c).await;
        let list = w.http().get("/v1/containers?audit=true").await.expect(200).json();
        assert_eq!(list[0]["status"], "stopped", "an audit sees it at once");
    }
}

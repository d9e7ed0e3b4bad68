//! Check-in and idle stop: statements 26 to 33.

use std::time::Duration;

use super::support::{self, Body, World, docker::Docker, id, is, scripted::TestApp};
use serde_json::{Value, json};

contract! {
    /// curl -d active-connections=1 http://GATEWAY/v1/check-in
    async fn s26_a_check_in_sets_active(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        for (path, body, value) in [
            ("/v1/check-in", "active-connections=1", "1"),
            ("/v1/check-in", "active=2", "2"),
            ("/v1/check-in", "active_connections=3", "3"),
            ("/v1/check-in", "{\"active-connections\": 4}", "4"),
            ("/v1/check-in", "{\"active\": \"5\"}", "5"),
            ("/v1/check_in", "active-connections=6", "6"),
        ] {
            assert_eq!(w.check_in_at(&c, path, body, "").await, (200, String::new()), "{path} {body}");
            assert_eq!(w.http().now(&c).await["active"], value, "{path} {body}");
        }
    }

    async fn s27_the_peer_address_decides_and_no_header(w: &mut dyn World) {
        let (one, two) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
        let stranger = w.http().bare("POST", "/v1/check-in", Body::Form("active-connections=1"), &[]).await;
        assert_eq!((stranger.status, stranger.text.as_str()), (200, ""));
        let address = w.address(&two).await;
        let headers = [
            format!("X-Forwarded-For: {address}"),
            format!("X-Real-IP: {address}"),
            format!("Forwarded: for={address}"),
        ];
        for (value, header) in headers.iter().enumerate() {
            w.check_in_at(&one, "/v1/check-in", &format!("active-connections={}", value + 1), header).await;
            assert_eq!(w.http().now(&one).await["active"], (value + 1).to_string(), "{header}");
            assert_eq!(w.http().now(&two).await["active"], "0", "{header}");
        }
    }

    async fn s27_a_valid_token_wins_over_the_address(w: &mut dyn World) {
        let (one, two) = (w.http().create("image=spindle/mimic").await, w.http().create("image=spindle/mimic").await);
        let token = w.token(&two).await;
        w.check_in_at(&one, "/v1/check-in", "active-connections=1", &format!("X-Spindle-Token: {token}")).await;
        assert_eq!(w.http().now(&one).await["active"], "0");
        assert_eq!(w.http().now(&two).await["active"], "1");
        w.check_in(&one, &format!("active-connections=2&token={token}")).await;
        assert_eq!(w.http().now(&two).await["active"], "2");
        w.check_in_at(&one, "/v1/check-in", "active-connections=3", "X-Spindle-Token: invalid").await;
        assert_eq!(w.http().now(&one).await["active"], "3", "an invalid token is no token");
    }

    async fn s28_a_bad_check_in_is_400_and_changes_nothing(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic").await;
        w.check_in(&c, "active-connections=7").await;
        for body in [
            "other=1", "active-connections=", "active-connections=-1", "active-connections=1.5", "active-connections=x",
            "active-connections=99999999999999999999", "{\"active\": true}", "{\"active\": -1}", "{}", "{",
        ] {
            assert_eq!(w.check_in(&c, body).await, 400, "{body}");
        }
        assert_eq!(w.http().now(&c).await["active"], "7");
        w.http().bare("GET", "/v1/check-in", Body::None, &[]).await.expect_error(405, "method_not_allowed");
    }

    async fn s30_a_silent_container_is_stopped_and_can_be_started_again(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!(stopped["stopped_reason"], "idle");
        assert_eq!(w.held().await, [id(&c)], "stopped, not deleted");
        let again = w.http().patch(&c, "status=running").await.expect(200).json();
        assert_eq!(again["status"], "running");
    }

    async fn s30_the_limit_can_be_switched_off(w: &mut dyn World) {
        let forever = w.http().create("image=spindle/mimic&idle_timeout=never").await;
        assert_eq!((&forever["stops_at"], &forever["idle_timeout"]), (&Value::Null, &json!("never")));
        let brief = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        w.until(&brief, is("stopped")).await;
        assert_eq!(w.http().now(&forever).await["status"], "running");
    }

    async fn s31_stops_at_follows_evidence_and_a_0_shortens_nothing(w: &mut dyn World) {
        let instant = |c: &Value, key: &str| c[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let c = w.http().create("image=spindle/mimic").await;
        let limit = jiff::SignedDuration::from_secs(9_000);
        assert_eq!(instant(&c, "stops_at"), instant(&c, "started_at") + limit);
        w.moment().await;
        w.check_in(&c, "active-connections=1").await;
        let used = w.http().now(&c).await;
        assert_eq!(instant(&used, "stops_at"), instant(&used, "last_active_at") + limit);
        assert!(instant(&used, "stops_at") > instant(&c, "stops_at"));
        w.moment().await;
        w.check_in(&c, "active-connections=0").await;
        assert_eq!(w.http().now(&c).await["stops_at"], used["stops_at"]);
    }

    async fn s31_rare_reports_make_the_limit_three_of_their_periods(w: &mut dyn World) {
        let instant = |c: &Value, key: &str| c[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let clock = w.http().create("image=spindle/mimic").await;
        let c = w.http().create("image=spindle/mimic&idle_timeout=4").await;
        let mut reported = c.clone();
        let mut next = jiff::Timestamp::MIN;
        for _ in 0..3 {
            // Another sandbox tells the time, as it passes in this world.
            let mut now = jiff::Timestamp::MIN;
            while now < next {
                w.moment().await;
                w.check_in(&clock, "active-connections=0").await;
                now = instant(&w.http().now(&clock).await, "last_check_in_at");
            }
            w.check_in(&c, "active-connections=1").await;
            reported = w.http().now(&c).await;
            next = instant(&reported, "last_check_in_at") + jiff::SignedDuration::from_millis(2_500);
        }
        let period = reported["report_period"].as_i64().unwrap();
        assert!(period >= 2, "{reported}");
        let limit = instant(&reported, "stops_at").duration_since(instant(&reported, "last_active_at"));
        assert_eq!((limit.as_secs(), &reported["idle_timeout"]), (3 * period, &json!(4)));
        let said = format!("(it is seen to report every {period} s only, so that its limit is {} s and not 4 s)", 3 * period);
        assert!(reported["why"].as_str().unwrap().ends_with(&said), "{reported}");
        let activity = w.http().get(&format!("{}/activity", support::uri(&c))).await.expect(200).json();
        assert_eq!((&activity["check_ins"]["period"], &activity["check_ins"]["needed"]), (&json!(period), &json!(1)));
        assert!(said.contains(activity["check_ins"]["note"].as_str().unwrap()), "{activity}");
        w.check_in(&c, "active-connections=0").await;
        assert!(instant(&w.http().now(&c).await, "stops_at") >= instant(&reported, "stops_at"), "a 0 shortens nothing");
        let stopped = w.until(&c, is("stopped")).await;
        assert!(instant(&stopped, "stopped_at") >= instant(&reported, "stops_at"), "{stopped}");
        assert!(stopped["why"].as_str().unwrap().contains("seen to report every"), "{stopped}");
    }

    async fn s31_an_old_report_does_not_keep_a_silent_container(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        w.check_in(&c, "active-connections=1").await;
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!(stopped["active"], "1", "its last report said that it was in use");
    }

    async fn s32_stopped_containers_are_left_alone(w: &mut dyn World) {
        let c = w.http().create("image=spindle/mimic&idle_timeout=3").await;
        let token = w.token(&c).await;
        let other = w.http().create("image=spindle/mimic").await;
        w.http().patch(&c, "status=stopped").await.expect(200);
        let stopped = w.until(&c, is("stopped")).await;
        assert_eq!(stopped["stops_at"], Value::Null);
        let late = w.check_in_at(&other, "/v1/check-in", "active-connections=9", &format!("X-Spindle-Token: {token}")).await;
        assert_eq!(late.0, 200);
        assert_eq!(w.http().now(&c).await, stopped);
        assert_eq!(w.http().now(&other).await["active"], "0");
    }

    async fn contract_33_health_is_503_until_the_first_pass_is_complete(w: &mut dyn World) {
        for _ in 0..3 {
            w.http().create("image=spindle/mimic").await;
        }
        w.begin_anew().await;
        let started = std::time::Instant::now();
        loop {
            let answer = w.http().bare("GET", "/v1/health", Body::None, &[]).await;
            let said = answer.json();
            if answer.status == 200 {
                assert_eq!(said["last_pass"]["observed"], 3, "it has looked: {said}");
                break;
            }
            assert_eq!(answer.status, 503, "{said}");
            assert!(said["status"] == "starting" || !said["last_pass"].is_null(), "{said}");
            assert!(started.elapsed() < Duration::from_secs(30), "still {said}");
            w.moment().await;
        }
        assert_eq!(w.http().get("/v1/containers").await.json().as_array().unwrap().len(), 3);
    }

    async fn s33_everything_survives_a_restart(w: &mut dyn World) {
        let used = w.http().create("image=spindle/mimic&name=used-33").await;
        let stopped = w.http().create("image=spindle/mimic").await;
        w.http().patch(&stopped, "status=stopped").await.expect(200);
        w.until(&stopped, is("stopped")).await;
        w.check_in(&used, "active-connections=2").await;
        let before = w.http().get("/v1/containers").await.expect(200).json();
        w.restart().await;
        assert_eq!(w.http().get("/v1/containers").await.expect(200).json(), before);
        w.http().patch(&stopped, "status=running").await.expect(200);
    }
}

/// 29: the default installation's door is port 80 of the gateway; the images' reporter finds it there.
#[tokio::test(flavor = "multi_thread")]
async fn s29_the_door_is_at_the_default_gateway_on_port_80() {
    let world = Docker::start(&[]).await;
    let c = world.http().create("image=spindle/mimic").await;
    let output = support::docker::docker(&["exec", id(&c), "mimic", "check-in", "1"]);
    assert!(output.starts_with("200"), "{output}");
    assert_eq!(world.http().now(&c).await["active"], "1");
}

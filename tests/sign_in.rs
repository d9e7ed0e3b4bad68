//! Signing in: tokens, sessions, invitations, other sites' pages, and what becomes of wrong passwords.

mod support;

use support::{
    Body, Http, World,
    people::{Caller, PASSWORD, admin, basic, bearer, by_password, course, of_alice, session, text},
    scripted::TestApp,
    uri,
};

#[tokio::test]
async fn a_token_does_no_more_than_its_scopes_and_than_its_owner() {
    let w = course().await;
    let made = of_alice(&w).await;
    let ina = by_password(&w, "ina");
    let given = ina.post("/v1/tokens", "name=grader&scopes=operate&expires_in=2h").await.expect(201).json();
    assert!(text(&given, "token").starts_with("spindle_") && text(&given, "token").len() == 72);
    let token = bearer(&w, &given);
    token.patch(uri(&made), "idle_timeout=1h").await.expect(200);
    let refused = token.send("DELETE", uri(&made), Body::None).await.expect_error(403, "forbidden");
    assert!(refused.contains("lacks the scope create"), "{refused}");
    token.post("/v1/tokens", "name=more&scopes=admin").await.expect_error(403, "forbidden");
    token.patch("/v1/me", "current_password=x&password=mine now, really").await.expect_error(403, "forbidden");
    let as_password = Caller { http: w.http(), header: ("authorization", basic("ina", text(&given, "token"))) };
    as_password.get(uri(&made)).await.expect(200);
    let as_other = Caller { http: w.http(), header: ("authorization", basic("bob", text(&given, "token"))) };
    as_other.get(uri(&made)).await.expect_error(401, "unauthorized");
    let session = format!("name=ina&password={}", text(&given, "token"));
    let refused = w.http().bare("POST", "/v1/session", Body::Form(&session), &[]).await;
    refused.expect_error(401, "unauthorized");
    // Whoever may more than before needs new tokens.
    admin(&w, "POST", "/v1/namespaces", "name=net").await;
    admin(&w, "PATCH", "/v1/users/ina", &format!("namespaces=db,net&password={PASSWORD}")).await;
    token.get(uri(&made)).await.expect_error(401, "unauthorized");
    let given = ina.post("/v1/tokens", "name=grader&scopes=operate&expires_in=2h").await.expect(201).json();
    let token = bearer(&w, &given);
    // The owner's role is looked at with each request.
    admin(&w, "PATCH", "/v1/users/ina", "role=assistant").await;
    token.patch(uri(&made), "idle_timeout=2h").await.expect_error(403, "forbidden");
    token.get(uri(&made)).await.expect(200);
    let listed = ina.get("/v1/tokens").await.expect(200).json();
    assert!(listed[0].get("token").is_none() && text(&listed[0], "name") == "grader", "{listed}");
    ina.send("DELETE", &format!("/v1/tokens/{}", text(&given, "id")), Body::None).await.expect(204);
    token.get(uri(&made)).await.expect_error(401, "unauthorized");
    let short = ina.post("/v1/tokens", "name=short&scopes=read&expires_in=60").await.expect(201).json();
    bearer(&w, &short).get("/v1/me").await.expect(200);
    w.clock.advance(std::time::Duration::from_secs(61));
    bearer(&w, &short).get("/v1/me").await.expect_error(401, "unauthorized");
}

#[tokio::test]
async fn an_admins_token_for_a_namespace_is_an_instructors_there() {
    let w = course().await;
    let made = of_alice(&w).await;
    let elsewhere = admin(&w, "POST", "/v1/containers", "image=spindle/mimic").await;
    let form = "name=ci&scopes=read,operate,create,admin&namespaces=db";
    let token = admin(&w, "POST", "/v1/tokens", form).await;
    let token = bearer(&w, &token);
    token.get(uri(&made)).await.expect(200);
    token.get(uri(&elsewhere)).await.expect_error(404, "container_not_found");
    token.post("/v1/users", "name=x&role=admin").await.expect_error(403, "forbidden");
    token.post("/v1/namespaces", "name=x").await.expect_error(403, "forbidden");
    token.post("/v1/users", "name=x&namespaces=db").await.expect(201);
    let all = admin(&w, "POST", "/v1/tokens", "name=all&scopes=admin").await;
    let all = bearer(&w, &all);
    all.post("/v1/users", "name=backdoor&role=admin&password=correct horse").await.expect_error(403, "forbidden");
    all.patch("/v1/users/ina", "password=correct horse").await.expect_error(403, "forbidden");
    all.post("/v1/users", "name=y&namespaces=db").await.expect(201);
}

#[tokio::test]
async fn an_invitation_ends_with_the_right_to_give_it() {
    let w = course().await;
    let made = of_alice(&w).await;
    let ina = by_password(&w, "ina");
    let invite = async || ina.post(&format!("{}/invite", uri(&made)), "").await.expect(201).json();
    let token = ina.post("/v1/tokens", "name=x&scopes=operate&expires_in=1h").await.expect(201).json();
    let by_token =
        bearer(&w, &token).post(&format!("{}/invite", uri(&made)), "expires_in=90d").await.expect(201).json();
    assert_eq!(text(&by_token, "expires_at"), text(&token, "expires_at"), "it lasts no longer than the token");
    bearer(&w, &by_token).get(uri(&made)).await.expect(200);
    let me = bearer(&w, &by_token).get("/v1/me").await.expect(200).json();
    assert_eq!(text(&me, "name"), format!("invitation {}", text(&by_token, "id")), "its own id, not the token's");
    ina.send("DELETE", &format!("/v1/tokens/{}", text(&token, "id")), Body::None).await.expect(204);
    bearer(&w, &by_token).get(uri(&made)).await.expect_error(401, "unauthorized");
    let kept = invite().await;
    ina.patch(uri(&made), "owner=alice").await.expect(200);
    bearer(&w, &kept).get(uri(&made)).await.expect(200);
    ina.patch(uri(&made), "owner=bob").await.expect(200);
    bearer(&w, &kept).get(uri(&made)).await.expect_error(401, "unauthorized");
    let last = invite().await;
    for change in ["role=assistant", "role=instructor&namespaces="] {
        bearer(&w, &last).get(uri(&made)).await.expect(200);
        admin(&w, "PATCH", "/v1/users/ina", change).await;
        bearer(&w, &last).get(uri(&made)).await.expect_error(401, "unauthorized");
        admin(&w, "PATCH", "/v1/users/ina", "role=instructor&namespaces=db").await;
    }
}

#[tokio::test]
async fn a_link_replaces_no_session_and_looking_at_it_signs_nobody_in() {
    let w = course().await;
    let made = of_alice(&w).await;
    let ina = by_password(&w, "ina");
    let invited = ina.post(&format!("{}/invite", uri(&made)), "").await.expect(201).json();
    let link = text(&invited, "url").strip_prefix(&w.http().base).unwrap().to_owned();
    let looked = w.http().bare("HEAD", &link, Body::None, &[]).await.expect(204);
    assert!(looked.header("set-cookie").is_empty(), "{looked:?}");
    let (teacher, _) = session(&w, &format!("name=ina&password={PASSWORD}")).await;
    let refused = teacher.get(&link).await;
    assert!(refused.header("set-cookie").is_empty());
    refused.expect_error(409, "signed_in");
}

#[tokio::test]
async fn a_session_ends_with_its_password_its_role_and_its_owner() {
    let w = course().await;
    let form = format!("name=alice&password={PASSWORD}");
    let (first, _) = session(&w, &form).await;
    let wrong = first.patch("/v1/me", "current_password=guessed one&password=another horse").await;
    wrong.expect_error(401, "unauthorized");
    first.patch("/v1/me", "password=another horse").await.expect_error(400, "missing_field");
    let change = format!("current_password={PASSWORD}&password=another horse");
    first.patch("/v1/me", &change).await.expect(204);
    first.get("/v1/me").await.expect_error(401, "unauthorized");
    by_password(&w, "alice").get("/v1/me").await.expect_error(401, "unauthorized");
    let (second, shown) = session(&w, "name=alice&password=another horse").await;
    assert_eq!(text(&second.get("/v1/me").await.expect(200).json(), "credential"), "session");
    let (third, _) = session(&w, "name=alice&password=another horse").await;
    third.send("DELETE", &format!("/v1/sessions/{}", text(&shown, "id")), Body::None).await.expect(204);
    second.get("/v1/me").await.expect_error(401, "unauthorized");
    admin(&w, "PATCH", "/v1/users/alice", "role=assistant&password=another horse").await;
    third.get("/v1/me").await.expect_error(401, "unauthorized");
    let (fourth, _) = session(&w, "name=alice&password=another horse").await;
    // Other credentials beside the cookie keep no session alive.
    let beside = [("cookie", fourth.header.1.as_str()), ("authorization", &basic("alice", "another horse"))];
    w.http().bare("DELETE", "/v1/session", Body::None, &beside).await.expect(204);
    fourth.get("/v1/me").await.expect_error(401, "unauthorized");
    let (fifth, _) = session(&w, "name=alice&password=another horse").await;
    w.clock.advance(std::time::Duration::from_hours(25));
    fifth.get("/v1/me").await.expect_error(401, "unauthorized");
    let (sixth, _) = session(&w, "name=alice&password=another horse").await;
    admin(&w, "DELETE", "/v1/users/alice", "").await;
    sixth.get("/v1/me").await.expect_error(401, "unauthorized");
    w.http().bare("DELETE", "/v1/session", Body::None, &[]).await.expect(204);
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let w = course().await;
    let made = of_alice(&w).await;
    let (alice, _) = session(&w, &format!("name=alice&password={PASSWORD}")).await;
    let host = w.http().base.clone();
    let other = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")];
    for (name, value) in other {
        for header in [("cookie", alice.header.1.clone()), ("authorization", basic("alice", PASSWORD))] {
            let headers = [(header.0, header.1.as_str()), (name, value)];
            let answer = w.http().bare("PATCH", uri(&made), Body::Form("status=stopped"), &headers).await;
            answer.expect_error(403, "cross_site");
        }
        let form = Body::Form("name=alice&password=correct horse");
        w.http().bare("POST", "/v1/session", form, &[(name, value)]).await.expect_error(403, "cross_site");
    }
    for (name, value) in [("origin", host.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")] {
        let headers = [("cookie", alice.header.1.as_str()), (name, value)];
        w.http().bare("PATCH", uri(&made), Body::Form("status=running"), &headers).await.expect(200);
    }
}

#[tokio::test]
async fn an_invitation_lets_anybody_into_one_sandbox_until_it_ends() {
    let w = course().await;
    let (made, other) = (of_alice(&w).await, admin(&w, "POST", "/v1/containers", "image=spindle/mimic").await);
    let ina = by_password(&w, "ina");
    let invited = ina.post(&format!("{}/invite", uri(&made)), "expires_in=2h").await.expect(201).json();
    let guest = bearer(&w, &invited);
    guest.patch(uri(&made), "status=stopped").await.expect(200);
    guest.patch(uri(&made), "status=running").await.expect(200);
    guest.get(uri(&other)).await.expect_error(404, "container_not_found");
    assert_eq!(guest.get("/v1/containers").await.expect(200).json().as_array().unwrap().len(), 1);
    let link = text(&invited, "url").strip_prefix(&w.http().base).unwrap().to_owned();
    let no_redirect = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let browser = Http { base: w.http().base.clone(), client: no_redirect };
    let answer = browser.bare("GET", &link, Body::None, &[]).await.expect(303);
    assert_eq!(answer.header("location"), uri(&made));
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let in_browser = Caller { http: w.http(), header: ("cookie", cookie) };
    let me = in_browser.get("/v1/me").await.expect(200).json();
    assert_eq!((text(&me, "role"), text(&me, "container")), ("learner", uri(&made)));
    in_browser.post(&format!("{}/extend", uri(&made)), "").await.expect(200);
    let shown = ina.get(&format!("{}/invitations", uri(&made))).await.expect(200).json();
    assert_eq!(text(&shown[0], "user"), "ina");
    let path = format!("{}/invitations/{}", uri(&made), text(&shown[0], "id"));
    ina.send("DELETE", &path, Body::None).await.expect(204);
    for gone in [&guest, &in_browser] {
        gone.get(uri(&made)).await.expect_error(401, "unauthorized");
    }
    browser.bare("GET", &link, Body::None, &[]).await.expect_error(401, "unauthorized");
    let short = ina.post(&format!("{}/invite", uri(&made)), "expires_in=60").await.expect(201).json();
    w.clock.advance(std::time::Duration::from_secs(61));
    bearer(&w, &short).get("/v1/me").await.expect_error(401, "unauthorized");
    let last = ina.post(&format!("{}/invite", uri(&made)), "").await.expect(201).json();
    ina.send("DELETE", uri(&made), Body::None).await.expect(204);
    bearer(&w, &last).get("/v1/me").await.expect_error(401, "unauthorized");
}

#[tokio::test]
async fn a_wrong_password_costs_and_slows_nobody_else() {
    let w = course().await;
    let other: std::net::IpAddr = "127.0.0.9".parse().unwrap();
    let guesser = Http::from_address(w.http().base.clone(), other);
    let guess = async |user: &str| {
        let header = basic(user, "guessed wrong");
        guesser.bare("GET", "/v1/me", Body::None, &[("authorization", &header)]).await
    };
    by_password(&w, "alice").get("/v1/me").await.expect(200);
    let mut refused = 0;
    let slowed = loop {
        let answer = guess("alice").await;
        if answer.status == 429 {
            break answer;
        }
        answer.expect_error(401, "unauthorized");
        refused += 1;
        assert!(refused < 30, "never slowed");
    };
    let wait: u32 = slowed.header("retry-after").parse().unwrap();
    assert!((1..=11).contains(&wait), "{wait}");
    slowed.expect_error(429, "too_many_attempts");
    // Even the right password waits there, or guessing would go on.
    let right = basic("bob", PASSWORD);
    guesser
        .bare("GET", "/v1/me", Body::None, &[("authorization", &right)])
        .await
        .expect_error(429, "too_many_attempts");
    by_password(&w, "alice").get("/v1/me").await.expect(200);
    let stranger = Http::from_address(w.http().base.clone(), "127.0.0.10".parse().unwrap());
    let header = basic("alice", PASSWORD);
    let told = stranger.bare("GET", "/v1/me", Body::None, &[("authorization", &header)]).await;
    told.expect_error(429, "too_many_attempts");
    let header = basic("bob", PASSWORD);
    stranger.bare("GET", "/v1/me", Body::None, &[("authorization", &header)]).await.expect(200);
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_the_same() {
    let w = course().await;
    let mut answers = Vec::new();
    let given = by_password(&w, "ina").post("/v1/tokens", "name=x&scopes=read").await.expect(201).json();
    let twisted = text(&given, "token").replace(['0', '1', '2'], "3");
    for header in [
        basic("alice", "wrong one"),
        basic("nobody", "wrong one"),
        basic("admin", "wrong one"),
        basic("", ""),
        "Basic !".into(),
        "Digest x".into(),
        format!("Bearer {twisted}"),
        "Bearer".into(),
        basic("ina", &twisted),
    ] {
        let answer = w.http().bare("GET", "/v1/containers", Body::None, &[("authorization", &header)]).await;
        let told = answer.clone().expect_error(401, "unauthorized");
        answers.push((told, answer.header("www-authenticate").to_owned()));
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
}

#[tokio::test]
async fn the_database_has_no_secret_and_no_answer_repeats_a_password() {
    let directory = std::env::temp_dir().join(format!("spindle-people-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let w = TestApp { database: Some(directory.join("spindle.db")), ..TestApp::default() }.start().await;
    admin(&w, "POST", "/v1/users", &format!("name=alice&password={PASSWORD}")).await;
    let token = by_password(&w, "alice").post("/v1/tokens", "name=x&scopes=read").await.expect(201).json();
    let (cookie, _) = session(&w, &format!("name=alice&password={PASSWORD}")).await;
    let short = w.http().send("PATCH", "/v1/users/alice", Body::Form("password=tiny")).await;
    assert!(!short.expect_error(400, "invalid_field").contains("tiny"));
    let secrets = [PASSWORD, text(&token, "token"), cookie.header.1.split_once('=').unwrap().1, "spindocker"];
    for entry in std::fs::read_dir(&directory).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "the database has {secret}");
        }
    }
    drop(w);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn sessions_are_few_and_nobody_inherits_a_secret() {
    let w = course().await;
    let given = by_password(&w, "alice").post("/v1/tokens", "name=x&scopes=read").await.expect(201).json();
    let form = format!("name=alice&password={PASSWORD}");
    let (first, _) = session(&w, &form).await;
    for _ in 0..100 {
        session(&w, &form).await;
    }
    first.get("/v1/me").await.expect_error(401, "unauthorized");
    assert_eq!(by_password(&w, "alice").get("/v1/sessions").await.expect(200).json().as_array().unwrap().len(), 100);
    admin(&w, "DELETE", "/v1/users/alice", "").await;
    admin(&w, "POST", "/v1/users", &format!("name=alice&role=admin&password={PASSWORD}")).await;
    bearer(&w, &given).get("/v1/me").await.expect_error(401, "unauthorized");
}

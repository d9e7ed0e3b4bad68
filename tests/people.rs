//! People: users, namespaces, quotas, tokens, sessions, invitations, and what becomes of wrong passwords.

mod support;

use serde_json::{Value, json};
use support::{
    Answer, Body, Http, World, id,
    scripted::{Scripted, TestApp},
    uri,
};

const PASSWORD: &str = "correct horse";

fn basic(user: &str, password: &str) -> String {
    http_auth_basic::Credentials::new(user, password).as_http_header()
}

/// A caller with an `Authorization` or a `Cookie`.
struct Caller<'w> {
    http: &'w Http,
    header: (&'static str, String),
}

impl Caller<'_> {
    async fn send(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        self.http.bare(method, path, body, &[(self.header.0, &self.header.1)]).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::None).await
    }

    async fn post(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, Body::Form(form)).await
    }

    async fn patch(&self, path: &str, form: &str) -> Answer {
        self.send("PATCH", path, Body::Form(form)).await
    }
}

fn by_password<'w>(w: &'w Scripted, user: &str) -> Caller<'w> {
    Caller { http: w.http(), header: ("authorization", basic(user, PASSWORD)) }
}

fn bearer<'w>(w: &'w Scripted, given: &Value) -> Caller<'w> {
    Caller { http: w.http(), header: ("authorization", format!("Bearer {}", text(given, "token"))) }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

async fn admin(w: &Scripted, method: &str, path: &str, form: &str) -> Value {
    let answer = w.http().send(method, path, Body::Form(form)).await;
    assert!(answer.status < 300, "{method} {path} {form}: {answer:?}");
    if answer.text.is_empty() { Value::Null } else { answer.json() }
}

/// A course `db` with an instructor and two learners.
async fn course() -> Scripted {
    let w = TestApp::default().start().await;
    admin(&w, "POST", "/v1/namespaces", "name=db&title=Databases").await;
    for (name, role) in [("ina", "instructor"), ("alice", "learner"), ("bob", "learner")] {
        let form = format!("name={name}&role={role}&namespaces=db&password={PASSWORD}");
        admin(&w, "POST", "/v1/users", &form).await;
    }
    w
}

async fn of_alice(w: &Scripted) -> Value {
    by_password(w, "ina").post("/v1/containers", "image=spindle/mimic&owner=alice&name=alice").await.expect(201).json()
}

#[tokio::test]
async fn an_instructor_gives_a_learner_a_sandbox_and_the_learner_uses_it() {
    let w = course().await;
    let made = of_alice(&w).await;
    assert_eq!((text(&made, "namespace"), text(&made, "owner")), ("db", "alice"), "the only namespace of hers");
    let alice = by_password(&w, "alice");
    assert_eq!(alice.get("/v1/containers").await.expect(200).json().as_array().unwrap().len(), 1);
    alice.patch(uri(&made), "status=stopped").await.expect(200);
    alice.patch(uri(&made), "status=running").await.expect(200);
    let kept = alice.post(&format!("{}/extend", uri(&made)), "for=99h").await.expect(200).json();
    let until: jiff::Timestamp = text(&kept, "keep_until").parse().unwrap();
    let most = jiff::SignedDuration::try_from(w.settings.keep_max).unwrap();
    assert_eq!(until.duration_since(support::scripted::now(&w)), most, "no longer than from inside");
    let refused = alice.patch(uri(&made), "idle_timeout=9h").await.expect_error(403, "forbidden");
    assert!(refused.contains("takes the role instructor") && refused.contains("alice"), "{refused}");
    let bob = by_password(&w, "bob");
    assert_eq!(bob.get("/v1/containers").await.expect(200).json(), json!([]));
    let hidden = bob.get(uri(&made)).await.expect_error(404, "container_not_found");
    let absent = bob.get("/v1/containers/nobody").await.expect_error(404, "container_not_found");
    assert_eq!(hidden.replace(id(&made), "nobody"), absent, "what is hidden looks like what is not there");
    let prefix = format!("/v1/containers/{}", &id(&made)[..12]);
    bob.send("DELETE", &prefix, Body::None).await.expect_error(404, "container_not_found");
    let taken = bob.post("/v1/containers", "image=spindle/mimic&name=alice").await;
    taken.expect_error(403, "forbidden");
}

#[tokio::test]
async fn a_name_that_others_have_is_taken_and_nothing_else_is_told() {
    let w = course().await;
    of_alice(&w).await;
    admin(&w, "POST", "/v1/namespaces", "name=net").await;
    admin(&w, "POST", "/v1/users", &format!("name=nils&role=instructor&namespaces=net&password={PASSWORD}")).await;
    let nils = by_password(&w, "nils");
    let told = nils.post("/v1/containers", "image=spindle/mimic&name=alice").await.expect_error(409, "name_taken");
    assert!(told.contains("a container that you may not see") && !told.contains("created"), "{told}");
    let made = nils.post("/v1/containers", "image=spindle/mimic&name=ALICE").await.expect(201).json();
    assert!(made.get("warnings").is_none(), "no word of a namesake elsewhere: {made}");
    nils.post("/v1/containers", "image=spindle/mimic&namespace=db").await.expect_error(404, "namespace_not_found");
    nils.post("/v1/users", "name=x&namespaces=db").await.expect_error(404, "namespace_not_found");
    nils.post("/v1/users", "name=x&namespaces=net&role=admin").await.expect_error(403, "forbidden");
    nils.patch("/v1/users/alice", "password=mine now, really").await.expect_error(404, "user_not_found");
    let both = "name=eve&namespaces=db,net&password=correct horse";
    admin(&w, "POST", "/v1/users", both).await;
    nils.patch("/v1/users/eve", "password=mine now, really").await.expect_error(403, "forbidden");
}

#[tokio::test]
async fn a_sandbox_is_given_to_somebody_else_only_where_both_are() {
    let w = course().await;
    let made = of_alice(&w).await;
    let ina = by_password(&w, "ina");
    let given = ina.patch(uri(&made), "owner=bob").await.expect(200).json();
    assert_eq!(text(&given, "owner"), "bob");
    let nobody = ina.patch(uri(&made), "owner=carol").await.expect_error(400, "invalid_field");
    assert!(nobody.contains("owner: \"carol\"") && nobody.contains("db lists"), "{nobody}");
    ina.patch(uri(&made), "namespace=default").await.expect_error(404, "namespace_not_found");
    let in_use = w.http().send("DELETE", "/v1/users/bob", Body::None).await.expect_error(409, "in_use");
    assert!(in_use.contains("bob owns 1 container"), "{in_use}");
    w.http().send("DELETE", "/v1/namespaces/db", Body::None).await.expect_error(409, "in_use");
    w.http().send("DELETE", "/v1/namespaces/default", Body::None).await.expect_error(409, "in_use");
    admin(&w, "PATCH", uri(&made), "owner=none&namespace=default").await;
    admin(&w, "DELETE", "/v1/users/bob", "").await;
    ina.get(uri(&made)).await.expect_error(404, "container_not_found");
}

#[tokio::test]
async fn quotas_hold_for_creation_start_and_moves() {
    let w = course().await;
    let quota = json!({"quota": {"containers": 3, "running": 2, "memory": "2g"}, "owner_quota": {"running": 1}});
    let changed = w.http().send("PATCH", "/v1/namespaces/db", Body::Json(quota)).await.expect(200).json();
    assert_eq!(changed["quota"], json!({"containers": 3, "running": 2, "memory": 2_147_483_648_u64}));
    let made = of_alice(&w).await;
    let ina = by_password(&w, "ina");
    let create = async |form: &str| ina.post("/v1/containers", &format!("image=spindle/mimic&{form}")).await;
    let told = create("owner=alice").await.expect_error(403, "quota_exceeded");
    assert!(told.contains("the quota of alice in the namespace db: 1 of 1 containers run"), "{told}");
    let told = create("memory=1600m").await.expect_error(403, "quota_exceeded");
    assert!(told.contains("512m of 2048m memory, and this one takes 1600m") && told.contains("an admin"), "{told}");
    let second = create("owner=bob").await.expect(201).json();
    create("").await.expect_error(403, "quota_exceeded");
    ina.patch(uri(&second), "status=stopped").await.expect(200);
    let third = create("").await.expect(201).json();
    let told = create("").await.expect_error(403, "quota_exceeded");
    assert!(told.contains("it has 3 of 3 containers"), "{told}");
    w.until(&second, support::is("stopped")).await;
    ina.patch(uri(&second), "status=running").await.expect_error(403, "quota_exceeded");
    admin(&w, "PATCH", uri(&third), "namespace=default").await;
    ina.patch(uri(&second), "status=running").await.expect(200);
    let back = w.http().patch(&third, "namespace=db").await.expect_error(403, "quota_exceeded");
    assert!(back.contains("2 of 2 containers run"), "{back}");
    let used = admin(&w, "GET", "/v1/namespaces/db", "").await["used"].clone();
    assert_eq!(used, json!({"containers": 2, "running": 2, "memory": 1_073_741_824_u64}));
    let _ = made;
}

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
    token.patch("/v1/me", "password=mine now, really").await.expect_error(403, "forbidden");
    let as_password = Caller { http: w.http(), header: ("authorization", basic("ina", text(&given, "token"))) };
    as_password.get(uri(&made)).await.expect(200);
    let as_other = Caller { http: w.http(), header: ("authorization", basic("bob", text(&given, "token"))) };
    as_other.get(uri(&made)).await.expect_error(401, "unauthorized");
    let session = format!("name=ina&password={}", text(&given, "token"));
    let refused = w.http().bare("POST", "/v1/session", Body::Form(&session), &[]).await;
    refused.expect_error(401, "unauthorized");
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
}

/// Signs in, and returns who has the cookie.
async fn session<'w>(w: &'w Scripted, form: &str) -> (Caller<'w>, Value) {
    let answer = w.http().bare("POST", "/v1/session", Body::Form(form), &[]).await.expect(201);
    let cookie = answer.header("set-cookie").to_owned();
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && cookie.contains("; Path=/"),
        "{cookie}"
    );
    assert!(answer.json().get("token").is_none(), "scripts never see it");
    let pair = cookie.split(';').next().unwrap().to_owned();
    (Caller { http: w.http(), header: ("cookie", pair) }, answer.json())
}

#[tokio::test]
async fn a_session_ends_with_its_password_its_role_and_its_owner() {
    let w = course().await;
    let form = format!("name=alice&password={PASSWORD}");
    let (first, _) = session(&w, &form).await;
    first.patch("/v1/me", "password=another horse").await.expect(204);
    first.get("/v1/me").await.expect_error(401, "unauthorized");
    by_password(&w, "alice").get("/v1/me").await.expect_error(401, "unauthorized");
    let (second, shown) = session(&w, "name=alice&password=another horse").await;
    assert_eq!(text(&second.get("/v1/me").await.expect(200).json(), "credential"), "session");
    let (third, _) = session(&w, "name=alice&password=another horse").await;
    third.send("DELETE", &format!("/v1/sessions/{}", text(&shown, "id")), Body::None).await.expect(204);
    second.get("/v1/me").await.expect_error(401, "unauthorized");
    admin(&w, "PATCH", "/v1/users/alice", "role=assistant").await;
    third.get("/v1/me").await.expect_error(401, "unauthorized");
    let (fourth, _) = session(&w, "name=alice&password=another horse").await;
    fourth.send("DELETE", "/v1/session", Body::None).await.expect(204);
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
async fn a_class_is_imported_and_each_row_has_its_result() {
    let w = course().await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9zbQzdVLVyVQJTqYMHm3AnJjZPmWoEHgSjLZ5ZDgIA carol";
    let table = format!(
        "Name;Namespace;Key;Password\r\ncarol;db;{key};\r\ndave;db;;generate\r\nalice;db;;\r\nErna;db;;\r\nfred;net;;x\r\n"
    );
    let ina = by_password(&w, "ina");
    let import = async |accept: &str, table: &str| {
        let headers = [(ina.header.0, ina.header.1.as_str()), ("accept", accept)];
        let body = Body::Raw("text/csv", table.as_bytes().to_vec());
        w.http().bare("POST", "/v1/users/import", body, &headers).await
    };
    let rows = import("application/json", &table).await.expect(200).json();
    let said = |row: usize| (rows[row]["line"].as_u64().unwrap(), text(&rows[row], "status"));
    assert_eq!([said(0), said(1), said(2)], [(2, "created"), (3, "created"), (4, "failed")]);
    assert_eq!((text(&rows[2], "code"), text(&rows[4], "code")), ("name_taken", "namespace_not_found"));
    assert!(text(&rows[3], "message").ends_with("\"erna\" would do"), "{rows}");
    let password = text(&rows[1], "password");
    let dave = Caller { http: w.http(), header: ("authorization", basic("dave", password)) };
    dave.get("/v1/me").await.expect(200);
    // The key is for sandboxes whose owner she is.
    let made = ina.post("/v1/containers", "image=spindle/mimic&owner=carol").await.expect(201).json();
    let keys = w.engine.ssh_key(&support::scripted::container(&made)).unwrap_or_default();
    assert!(keys.contains("AAAAIJ9zbQzdVLVyVQJTqYMHm3AnJjZPmWoEHgSjLZ5ZDgIA"), "{keys}");
    let sheet = import("text/html", "name,namespace,password\ngina,db,generate\n").await.expect(200);
    assert!(sheet.text.contains("<strong>gina</strong>") && sheet.text.contains("<code>"), "{}", sheet.text);
    let csv = import("text/csv", "name,namespace\n=cmd,db\n").await;
    assert!(csv.text.contains("'=cmd"), "{}", csv.text);
    let none = import("application/json", "name,namespace\nhans,elsewhere\n").await.expect(400).json();
    assert_eq!(text(&none[0], "status"), "failed");
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

//! People and their sandboxes: who sees what, whose it is, quotas, and a class that is imported.

mod support;

use serde_json::json;
use support::{
    Body, World, id,
    people::{Caller, PASSWORD, admin, basic, bearer, by_password, course, of_alice, session, text},
    uri,
};

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
    let told = nils.patch("/v1/users/eve", "password=mine now, really").await.expect_error(403, "forbidden");
    assert_eq!(told, "eve is in another course as well; an admin does this");
    let eve = nils.get("/v1/users/eve").await.expect(200).json();
    assert_eq!(eve["namespaces"], json!(["net"]), "the other course's name is not told");
    let told = nils.post("/v1/users", "name=alice&namespaces=net").await.expect_error(409, "name_taken");
    assert!(told.contains("a user in another course; an admin adds"), "{told}");
    admin(&w, "PATCH", "/v1/users/nils", &format!("namespaces=net,db&password={PASSWORD}")).await;
    let told = nils.post("/v1/containers", "image=spindle/mimic").await.expect_error(400, "invalid_field");
    assert!(told.contains("say which of yours: db, net"), "{told}");
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
    let token = admin(&w, "POST", "/v1/tokens", "name=x&scopes=admin").await;
    bearer(&w, &token).patch(uri(&made), "owner=bob").await.expect(200);
    // The words of an error are for whoever made it.
    w.http().send("POST", "/v1/users", Body::Form("name=alice&namespaces=db")).await.expect_error(409, "name_taken");
    let seen = ina.get("/v1/actions?verb=make_user&limit=1").await.expect(200).json();
    assert_eq!(seen[0]["error"], json!({"code": "name_taken", "message": "(name_taken)"}));
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
    admin(&w, "PATCH", "/v1/namespaces/db", "quota=containers=1,running=1").await;
    ina.patch(uri(&second), "owner=none").await.expect(200);
    admin(&w, "PATCH", "/v1/namespaces/db", "quota=containers=3,running=2").await;
    let used = admin(&w, "GET", "/v1/namespaces/db", "").await["used"].clone();
    assert_eq!(used, json!({"containers": 2, "running": 2, "memory": 1_073_741_824_u64}));
    let _ = made;
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
    let more = "sep=;\nname;namespace\nida;db;x;y\n;;\njan;db\n";
    let rows = import("application/json", more).await.expect(200).json();
    assert_eq!(rows.as_array().unwrap().len(), 2, "an empty row is none: {rows}");
    assert_eq!((text(&rows[0], "status"), text(&rows[1], "status")), ("failed", "created"));
    let none = import("application/json", "name,namespace\nhans,elsewhere\n").await.expect(400).json();
    assert_eq!(text(&none[0], "status"), "failed");
}

#[tokio::test]
async fn an_assistant_does_not_see_the_secret_of_a_learners_app() {
    let w = course().await;
    w.engine.label_image("spindle/mimic:latest", "access", "/lab?token={token}");
    let made = of_alice(&w).await;
    admin(&w, "POST", "/v1/users", &format!("name=asta&role=assistant&namespaces=db&password={PASSWORD}")).await;
    for (user, sees) in [("ina", true), ("alice", true), ("asta", false)] {
        let user = by_password(&w, user);
        for shown in [user.get(uri(&made)).await.json(), user.get("/v1/containers").await.json()[0].clone()] {
            assert_eq!(shown["access"].is_string(), sees, "{shown}");
        }
    }
    let kept = by_password(&w, "asta").post(&format!("{}/extend", uri(&made)), "").await.expect(200).json();
    assert!(kept["access"].is_null(), "{kept}");
}

#[tokio::test]
async fn a_token_for_a_namespace_that_was_removed_is_none_for_its_successor() {
    let w = course().await;
    for name in ["one", "two"] {
        admin(&w, "POST", "/v1/namespaces", &format!("name={name}")).await;
    }
    let one = admin(&w, "POST", "/v1/tokens", "name=one&scopes=read&namespaces=one").await;
    let both = admin(&w, "POST", "/v1/tokens", "name=both&scopes=read&namespaces=one,two").await;
    admin(&w, "DELETE", "/v1/namespaces/one", "").await;
    admin(&w, "POST", "/v1/namespaces", "name=one").await;
    bearer(&w, &one).get("/v1/namespaces").await.expect_error(401, "unauthorized");
    let left = bearer(&w, &both).get("/v1/me").await.expect(200).json();
    assert_eq!(left["namespaces"], json!(["two"]));
}

#[tokio::test]
async fn who_may_more_than_before_gets_a_new_password_and_key() {
    let w = course().await;
    admin(&w, "POST", "/v1/namespaces", "name=web").await;
    let ina = by_password(&w, "ina");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ina";
    ina.patch("/v1/users/alice", &format!("ssh_key={}", key.replace(' ', "%20"))).await.expect(200);
    let (signed_in, _) = session(&w, &format!("name=alice&password={PASSWORD}")).await;
    let moved = admin(&w, "PATCH", "/v1/users/alice", "namespaces=db,web").await;
    assert_eq!(moved["ssh_key"], json!(null), "{moved}");
    by_password(&w, "alice").get("/v1/me").await.expect_error(401, "unauthorized");
    signed_in.get("/v1/me").await.expect_error(401, "unauthorized");
    admin(&w, "PATCH", "/v1/users/alice", &format!("role=assistant&password={PASSWORD}")).await;
    by_password(&w, "alice").get("/v1/me").await.expect(200);
    // Who may less keeps them.
    admin(&w, "PATCH", "/v1/users/alice", "role=learner").await;
    by_password(&w, "alice").get("/v1/me").await.expect(200);
    let word =
        by_password(&w, "alice").patch("/v1/me", &format!("current_password={PASSWORD}&password=generate")).await;
    word.expect_error(400, "invalid_field");
}

//! The table of rights in `SECURITY.md`, row by row: every route, as everybody, on what is theirs and what is not.
//!
//! Each cell is a request that is really made. It is `yes` unless the answer is 401, 403 or 404, which are written as
//! they are.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::{
    Body, Http, World, id,
    scripted::{Scripted, TestApp},
};

/// Whoever asks, and about whose objects.
struct Column {
    title: &'static str,
    who: &'static str,
    about: About,
}

#[derive(Clone, Copy, PartialEq)]
enum About {
    /// What is the actor's, or in the actor's namespace.
    Own,
    /// What is another's in the same namespace.
    Others,
    /// What is in another namespace.
    Elsewhere,
}

use About::{Elsewhere, Others, Own};

impl About {
    /// A namespace, and the owner of a sandbox in it.
    fn whose(self) -> (&'static str, &'static str) {
        match self {
            Own => ("a", "lea"),
            Others => ("a", "leo"),
            Elsewhere => ("b", "bea"),
        }
    }
}

const COLUMNS: [Column; 11] = [
    Column { title: "admin", who: "ada", about: Own },
    Column { title: "instructor", who: "ina", about: Own },
    Column { title: "instructor, elsewhere", who: "ina", about: Elsewhere },
    Column { title: "assistant", who: "asta", about: Own },
    Column { title: "assistant, elsewhere", who: "asta", about: Elsewhere },
    Column { title: "learner, own", who: "lea", about: Own },
    Column { title: "learner, others'", who: "lea", about: Others },
    Column { title: "learner, elsewhere", who: "lea", about: Elsewhere },
    Column { title: "invited", who: "guest", about: Own },
    Column { title: "invited, others'", who: "guest", about: Others },
    Column { title: "nobody", who: "", about: Own },
];

/// The requests that are tried, by method and route as Rocket has it; a route with several verbs has several.
const ROWS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/health", ""),
    ("POST", "/v1/check-in", "active=1"),
    ("POST", "/v1/check_in", "active=1"),
    ("POST", "/v1/session", "invitation=a wrong one"),
    ("DELETE", "/v1/session", ""),
    ("GET", "/v1/invitation/<secret>", ""),
    ("GET", "/v1/me", ""),
    ("PATCH", "/v1/me", "current_password=correct horse&password=another one"),
    ("GET", "/v1/containers", ""),
    ("GET", "/v1/containers", "?audit=true"),
    ("POST", "/v1/containers", "image=spindle/mimic&namespace={namespace}"),
    ("GET", "/v1/containers/<id>?<audit>", ""),
    ("GET", "/v1/containers/<id>/activity", ""),
    ("GET", "/v1/containers/<id>/logs", ""),
    ("GET", "/v1/containers/<id>/stats?<stream>", ""),
    ("GET", "/v1/containers/<id>/processes", ""),
    ("GET", "/v1/containers/<id>/configuration", ""),
    ("GET", "/v1/containers/<id>/files", "?path=/etc/passwd"),
    ("PUT", "/v1/containers/<id>/files", "?path=/tmp/x"),
    ("PATCH", "/v1/containers/<id>", ""),
    ("PATCH", "/v1/containers/<id>", "status=stopped"),
    ("PATCH", "/v1/containers/<id>", "status=running"),
    ("PATCH", "/v1/containers/<id>", "idle_timeout=1h"),
    ("PATCH", "/v1/containers/<id>", "wake=never"),
    ("PATCH", "/v1/containers/<id>", "owner=none"),
    ("POST", "/v1/containers/<id>/extend", "for=1h"),
    ("PATCH", "/v1/containers/<id>", "name={new}"),
    ("PATCH", "/v1/containers/<id>", "ssh_key=none"),
    ("POST", "/v1/containers/<id>/restart", ""),
    ("POST", "/v1/containers/<id>/reset", "confirm=true"),
    ("POST", "/v1/containers/<id>/message", "text=hello"),
    ("PATCH", "/v1/containers", "?name=nobody wake=never"),
    ("PATCH", "/v1/containers", "?name=nobody status=stopped"),
    ("POST", "/v1/containers/restart", "?name=nobody"),
    ("POST", "/v1/containers/extend", "?name=nobody for=1h"),
    ("POST", "/v1/containers/message", "?name=nobody text=hello"),
    ("DELETE", "/v1/containers", "?name=nobody"),
    ("POST", "/v1/containers", "image=spindle/mimic&namespace={namespace}&count=1"),
    ("POST", "/v1/containers/<id>/exec", "command=echo"),
    ("GET", "/v1/containers/<id>/terminal", ""),
    ("GET", "/v1/containers/<id>/terminals", ""),
    ("POST", "/v1/tickets", "path=/v1/containers/x/terminal"),
    ("DELETE", "/v1/containers/<id>", ""),
    ("POST", "/v1/containers/<id>/invite", ""),
    ("GET", "/v1/containers/<id>/invitations", ""),
    ("DELETE", "/v1/containers/<id>/invitations/<invitation>", ""),
    ("GET", "/v1/images", ""),
    ("GET", "/v1/images/<first>/<rest..>", ""),
    ("PUT", "/v1/images/<first>/<rest..>", ""),
    ("DELETE", "/v1/images/<first>/<rest..>", ""),
    ("GET", "/v1/users", ""),
    ("POST", "/v1/users", "name={new}&role=learner&namespaces={namespace}"),
    ("POST", "/v1/users", "name={new}&role=assistant&namespaces={namespace}"),
    ("POST", "/v1/users/import?<passwords>", "name,namespace\n{new},{namespace}"),
    ("GET", "/v1/users/<name>", ""),
    ("PATCH", "/v1/users/<name>", "ssh_key=none"),
    ("PATCH", "/v1/users/<name>", "role=instructor"),
    ("DELETE", "/v1/users/<name>", ""),
    ("GET", "/v1/namespaces", ""),
    ("POST", "/v1/namespaces", "name={new}"),
    ("GET", "/v1/namespaces/<name>", ""),
    ("PATCH", "/v1/namespaces/<name>", "title=x"),
    ("DELETE", "/v1/namespaces/<name>", ""),
    ("GET", "/v1/tokens?<user>", ""),
    ("GET", "/v1/tokens?<user>", "?user=leo"),
    ("POST", "/v1/tokens", "name=x&scopes=read"),
    ("PATCH", "/v1/tokens/<id>", "name=y"),
    ("DELETE", "/v1/tokens/<id>", ""),
    ("GET", "/v1/sessions?<user>", ""),
    ("DELETE", "/v1/sessions/<id>", ""),
    ("GET", "/v1/actions", ""),
    ("GET", "/v1/actions/<id>", ""),
    ("POST", "/v1/actions/<id>/cancel", ""),
    ("GET", "/v1/events", "?follow=false"),
    ("GET", "/metrics", ""),
];

/// People of two namespaces, `a` and `b`, each with a session.
struct Department {
    world: Scripted,
    /// The header with which each asks.
    header: BTreeMap<&'static str, (&'static str, String)>,
    guests: Value,
    number: u32,
}

const PASSWORD: &str = "correct horse";

impl Department {
    async fn open() -> Self {
        let world = TestApp::default().start().await;
        let mut it = Self { world, header: BTreeMap::new(), guests: Value::Null, number: 0 };
        for namespace in ["a", "b"] {
            it.admin("POST", "/v1/namespaces", &format!("name={namespace}")).await;
        }
        for (name, role, namespace) in [
            ("ada", "admin", ""),
            ("ina", "instructor", "a"),
            ("asta", "assistant", "a"),
            ("lea", "learner", "a"),
            ("leo", "learner", "a"),
            ("bea", "learner", "b"),
        ] {
            let user = format!("name={name}&role={role}&namespaces={namespace}&password={PASSWORD}");
            it.admin("POST", "/v1/users", &user).await;
            it.sign_in(name).await;
        }
        let sandbox = it.sandbox("a", "lea").await;
        let invited = it.admin("POST", &format!("{}/invite", support::uri(&sandbox)), "").await;
        it.header.insert("guest", ("authorization", format!("Bearer {}", invited["token"].as_str().unwrap())));
        it.guests = sandbox;
        it
    }

    async fn sign_in(&mut self, name: &'static str) {
        let form = format!("name={name}&password={PASSWORD}");
        let answer = self.http().bare("POST", "/v1/session", Body::Form(&form), &[]).await.expect(201);
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        self.header.insert(name, ("cookie", cookie));
    }

    fn http(&self) -> &Http {
        self.world.http()
    }

    /// A request by the configured admin that works.
    async fn admin(&self, method: &str, path: &str, form: &str) -> Value {
        let answer = self.http().send(method, path, Body::Form(form)).await;
        assert!(answer.status < 300, "{method} {path} {form}: {answer:?}");
        answer.json()
    }

    async fn sandbox(&self, namespace: &str, owner: &str) -> Value {
        self.admin("POST", "/v1/containers", &format!("image=spindle/mimic&namespace={namespace}&owner={owner}")).await
    }

    /// A secret of a user's, by its id.
    async fn secret_of(&mut self, kind: &str, user: &'static str) -> String {
        let (name, header) = self.header[user].clone();
        let answer = if kind == "token" {
            let form = Body::Form("name=x&scopes=read");
            self.http().bare("POST", "/v1/tokens", form, &[(name, &header)]).await
        } else {
            let form = format!("name={user}&password={PASSWORD}");
            self.http().bare("POST", "/v1/session", Body::Form(&form), &[]).await
        };
        answer.expect(201).json()["id"].as_str().unwrap().to_owned()
    }

    /// The path of a row for a column, what it needs made, and the sandbox among that.
    async fn path(&mut self, column: &Column, (method, route): (&str, &str), new: &str) -> (String, Option<Value>) {
        let (namespace, owner) = column.about.whose();
        let path = route.split('?').next().unwrap();
        if path.contains("/containers/<id>") {
            // An invitation is for one that is there already.
            let is_guests = column.who == "guest" && column.about == Own;
            let sandbox = if is_guests { self.guests.clone() } else { self.sandbox(namespace, owner).await };
            let mut path = path.replace("<id>", id(&sandbox));
            if path.contains("<invitation>") {
                let invited = self.admin("POST", &format!("{}/invite", support::uri(&sandbox)), "").await;
                path = path.replace("<invitation>", invited["id"].as_str().unwrap());
            }
            return (path, Some(sandbox).filter(|_| !is_guests));
        }
        if path.contains("/users/<name>") {
            self.admin("POST", "/v1/users", &format!("name={new}&namespaces={namespace}")).await;
        }
        if path.contains("/actions/<id>") {
            // What an admin did to a sandbox there.
            let form = format!("image=spindle/mimic&namespace={namespace}&owner={owner}");
            let made = self.http().send("POST", "/v1/containers", Body::Form(&form)).await.expect(201);
            return (path.replace("<id>", made.header("spindle-action")), Some(made.json()));
        }
        let mut path = path.replace("/users/<name>", &format!("/users/{new}")).replace("<name>", namespace);
        if path.contains("/<id>") {
            let kind = if path.contains("token") { "token" } else { "session" };
            let has_own = column.about == Own && !["guest", ""].contains(&column.who);
            let id = self.secret_of(kind, if has_own { column.who } else { "leo" }).await;
            path = path.replace("<id>", &id);
        }
        let image = if method == "DELETE" { "spindle/mimic:twin" } else { "spindle/mimic:bare" };
        (path.replace("<secret>", "spindle_0").replace("<first>/<rest..>", image), None)
    }

    /// Asks. The status as the table writes it.
    async fn cell(&mut self, column: &Column, (method, route, with): (&str, &str, &str)) -> String {
        self.number += 1;
        let new = format!("new-{}", self.number);
        let (path, made) = self.path(column, (method, route), &new).await;
        let (query, form) = if with.starts_with('?') { with.split_once(' ').unwrap_or((with, "")) } else { ("", with) };
        let form = form.replace("{namespace}", column.about.whose().0).replace("{new}", &new);
        let body = match form.as_str() {
            "" => Body::None,
            table if route.contains("import") => Body::Raw("text/csv", table.as_bytes().to_vec()),
            form => Body::Form(form),
        };
        let header = self.header.get(column.who).cloned();
        let headers: Vec<(&str, &str)> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.http().bare(method, &format!("{path}{query}"), body, &headers).await;
        // What was changed is made good again.
        if (method, route) == ("PATCH", "/v1/me") && answer.status < 300 {
            self.admin("PATCH", &format!("/v1/users/{}", column.who), &format!("password={PASSWORD}")).await;
            self.sign_in(column.who).await;
        }
        if (method, route) == ("DELETE", "/v1/session") && header.is_some_and(|(name, _)| name == "cookie") {
            self.sign_in(column.who).await;
        }
        if let Some(made) = made {
            self.http().delete(&made).await;
        }
        match answer.status {
            401 | 403 | 404 => answer.status.to_string(),
            500.. => panic!("{method} {path}: {answer:?}"),
            _ => "yes".into(),
        }
    }
}

fn label(method: &str, route: &str, with: &str) -> String {
    let path =
        route.split('?').next().unwrap().replace("<first>/<rest..>", "{image}").replace('<', "{").replace('>', "}");
    let what = if route.contains("import") { "" } else { with };
    let what = what.replace("{new}", "…").replace("{namespace}", "…");
    let what = if what.is_empty() { String::new() } else { format!(" {what}") };
    format!("`{method} {path}{what}`")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_everybody_as_the_table_says() {
    let mut department = Department::open().await;
    let mut lines = vec![format!("| | {} |", COLUMNS.map(|column| column.title).join(" | "))];
    lines.push(format!("|---|{}", "---|".repeat(COLUMNS.len())));
    for &row in ROWS {
        let mut cells = Vec::new();
        for column in &COLUMNS {
            cells.push(department.cell(column, row).await);
        }
        lines.push(format!("| {} | {} |", label(row.0, row.1, row.2), cells.join(" | ")));
    }
    let written = include_str!("../docs/SECURITY.md");
    let table: Vec<&str> = written
        .lines()
        .skip_while(|line| !line.starts_with("| | admin |"))
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(table == lines, "docs/SECURITY.md has not what is true, which is:\n\n{}\n", lines.join("\n"));
}

#[test]
fn the_table_has_every_route_and_no_other() {
    let routes: BTreeSet<_> = spindle::http::routes().into_iter().collect();
    let rows: BTreeSet<_> = ROWS.iter().map(|(method, route, _)| ((*method).to_owned(), (*route).to_owned())).collect();
    assert_eq!(rows, routes);
}

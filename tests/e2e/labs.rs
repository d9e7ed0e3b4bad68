//! The lab images that serve something: how each is asked, used, and left alone.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::clients::text;
use crate::support::{
    docker::{docker, try_docker},
    id,
};

/// What is served in one sandbox, and how a person with a client would find it.
pub trait Service: Send {
    fn image(&self) -> &'static str;

    /// Whether it answers at the sandbox's app port.
    fn answers(&mut self, container: &Value) -> bool;

    /// Leaves something behind that shall be there after a stop and a start.
    fn leave(&mut self, container: &Value);

    fn is_still_there(&mut self, container: &Value) -> bool;

    /// Begins to use it, or goes on.
    fn go_on(&mut self, container: &Value);

    /// Ends the use, but stays connected as somebody who has gone for a coffee.
    fn pause(&mut self, container: &Value);
}

/// What a sandbox's own token is.
fn token(container: &Value) -> String {
    docker(&["exec", id(container), "cat", "/run/spindle/token"])
}

fn url(container: &Value, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", text(container, "app_port"))
}

/// What curl gets; nothing unless the answer's status is 200.
fn get(url: &str, header: &str) -> String {
    let options = ["-s", "-f", "-m", "10", "--noproxy", "*", "-H", header, url];
    let output = Command::new("curl").args(options).output().expect("curl is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A client at a prompt, which stays open.
#[derive(Default)]
pub struct Postgres {
    prompt: Option<Child>,
}

impl Postgres {
    /// The image's own psql, outside of the sandbox.
    fn psql(container: &Value, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "-i", "--network", "host", "-e", "PGCONNECT_TIMEOUT=5", "--entrypoint", "psql"]);
        command.args(["spindle/postgres", "-XAtq", text(container, "access")]).args(arguments);
        command
    }

    fn ask(container: &Value, statement: &str) -> String {
        let output = Self::psql(container, &["-c", statement]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Service for Postgres {
    fn image(&self) -> &'static str {
        "spindle/postgres"
    }

    fn answers(&mut self, container: &Value) -> bool {
        Self::ask(container, "SELECT current_user || ' of ' || current_database()") == "student of student"
    }

    fn leave(&mut self, container: &Value) {
        Self::ask(container, "CREATE TABLE kept AS SELECT 42 AS answer");
    }

    fn is_still_there(&mut self, container: &Value) -> bool {
        Self::ask(container, "SELECT answer FROM kept") == "42"
    }

    fn go_on(&mut self, container: &Value) {
        let prompt = self.prompt.get_or_insert_with(|| {
            let mut psql = Self::psql(container, &[]);
            psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        });
        writeln!(prompt.stdin.as_mut().unwrap(), "SELECT 1;").unwrap();
        thread::sleep(Duration::from_millis(500));
    }

    fn pause(&mut self, _: &Value) {
        assert!(self.prompt.as_mut().unwrap().try_wait().unwrap().is_none(), "the connection is still open");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut prompt) = self.prompt.take() {
            drop(prompt.stdin.take());
            let _ = prompt.wait();
        }
    }
}

pub struct Django;

impl Service for Django {
    fn image(&self) -> &'static str {
        "spindle/django"
    }

    fn answers(&mut self, container: &Value) -> bool {
        get(&url(container, "/"), "").contains("It works</h1>")
    }

    /// As a learner edits the page; it shows without a restart.
    fn leave(&mut self, container: &Value) {
        let edit = "sed -i 's/<h1>/<h1>Really, /' site/lab/templates/home.html";
        docker(&["exec", id(container), "as-student", "sh", "-c", edit]);
    }

    fn is_still_there(&mut self, container: &Value) -> bool {
        get(&url(container, "/"), "").contains("<h1>Really, It works</h1>")
    }

    fn go_on(&mut self, container: &Value) {
        get(&url(container, "/"), "");
        thread::sleep(Duration::from_millis(500));
    }

    fn pause(&mut self, _: &Value) {}
}

/// Runs in the sandbox, and speaks with Jupyter as a browser does: begins a cell and goes away, or only looks.
const BROWSER: &str = r#"
import json, sys, time, urllib.request, websocket
headers = {"Authorization": "token " + open("/run/spindle/token").read().strip()}
kernels = "127.0.0.1:8888/api/kernels"
def ask(data=None):
    return json.load(urllib.request.urlopen(urllib.request.Request("http://" + kernels, data, headers)))
kernel = (ask() or [ask(b"{}")])[0]["id"]
tab = websocket.create_connection(f"ws://{kernels}/{kernel}/channels", header=headers)
def send(kind, **content):
    header = {"msg_id": kind, "msg_type": kind, "session": "test", "username": "", "version": "5.3"}
    message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    tab.send(json.dumps(message))
send("kernel_info_request")
if sys.argv[1] == "look":
    print("open", flush=True)
    time.sleep(60)
else:
    send("execute_request", code=sys.argv[1], silent=False, store_history=True, allow_stdin=False)
    while json.loads(tab.recv())["header"]["msg_type"] != "execute_input":
        pass
"#;

/// A cell that runs until it is told to end.
const CELL: &str = "import os, time\nwhile not os.path.exists('enough'): time.sleep(0.1)";

#[derive(Default)]
pub struct Jupyter {
    runs: bool,
}

impl Service for Jupyter {
    fn image(&self) -> &'static str {
        "spindle/jupyter"
    }

    fn answers(&mut self, container: &Value) -> bool {
        let url = url(container, "/api/kernels");
        let authorization = format!("Authorization: token {}", token(container));
        get(&url, &authorization).starts_with('[') && get(&url, "").is_empty()
    }

    fn leave(&mut self, container: &Value) {
        docker(&["exec", id(container), "as-student", "touch", "notes.ipynb"]);
    }

    fn is_still_there(&mut self, container: &Value) -> bool {
        assert!(get(text(container, "access"), "").contains("<title>JupyterLab</title>"));
        let files = format!("/api/contents?token={}", token(container));
        get(&url(container, &files), "").contains("notes.ipynb")
    }

    fn go_on(&mut self, container: &Value) {
        if !self.runs {
            docker(&["exec", id(container), "as-student", "/opt/venv/bin/python", "-c", BROWSER, CELL]);
            self.runs = true;
        }
        thread::sleep(Duration::from_millis(500));
    }

    fn pause(&mut self, container: &Value) {
        docker(&["exec", id(container), "as-student", "touch", "enough"]);
        let (began, said) =
            try_docker(&["exec", "-d", id(container), "as-student", "/opt/venv/bin/python", "-c", BROWSER, "look"]);
        assert!(began, "{said}");
    }
}

//! Commands for whoever is on the server itself: a password's hash, and an admin for whom nobody needs to be asked.

use std::{
    io::{self, BufRead, IsTerminal},
    os::fd::AsFd,
};

use jiff::Timestamp;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use spindle::{
    app::{new_id, password},
    clock::{Clock, SystemClock},
    config::Config,
    domain::{Act, ActedOn, Action, ActionState, Actor, ObjectKind, Role, User, UserName, action::actor_word},
    store::Store,
};

use super::Sentence;

/// Reads a password from the terminal or a pipe, and writes its hash.
///
/// # Errors
/// If nothing comes, or the machine gives no random numbers.
pub fn hash_password() -> Result<(), Sentence> {
    let password = if io::stdin().is_terminal() {
        let once = read_hidden("password: ")?;
        if once != read_hidden("again: ")? {
            return Err("the two passwords differ; nothing was written".into());
        }
        once
    } else {
        read_line()?
    };
    password::check(&password)?;
    println!("{}", password::hash(&password)?);
    Ok(())
}

fn read_line() -> Result<String, Sentence> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Reads a line that the terminal does not show.
fn read_hidden(prompt: &str) -> Result<String, Sentence> {
    eprint!("{prompt}");
    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd())?;
    let mut hidden = before.clone();
    hidden.local_modes -= LocalModes::ECHO;
    tcsetattr(stdin.as_fd(), OptionalActions::Flush, &hidden)?;
    let line = read_line();
    tcsetattr(stdin.as_fd(), OptionalActions::Flush, &before)?;
    eprintln!();
    line
}

/// Makes `name` an admin with a new password, and writes it. It reaches the database itself: the server may run or not.
///
/// # Errors
/// If the name is not allowed, or the database cannot be used.
pub fn reset_admin(config: &Config, name: &str) -> Result<(), Sentence> {
    if name == config.admin_user {
        return Err(format!(
            "{name} is the configured admin: set SPINDLE_ADMIN_PASSWORD anew and restart, or name another user"
        )
        .into());
    }
    let name = UserName::parse("name", name)?;
    let store = Store::open_beside(&config.database)?;
    let told = password::generated()?;
    let hash = Some(password::hash(&told)?);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let created_at = SystemClock.now();
        let made = match store.user(name.as_str()).await? {
            Some(seen) => {
                let user = User { role: Role::Admin, password: hash, ..seen.clone() };
                store.change_user(seen, user).await?
            }
            None => {
                let role = Role::Admin;
                let namespaces = std::collections::BTreeSet::new();
                let (password, ssh_key, enters) = (hash, None, namespaces.clone());
                let user = User { name: name.clone(), role, namespaces, enters, password, ssh_key, created_at };
                store.insert_user(user).await?
            }
        };
        if !made {
            return Err("the user was changed at the same moment; try again".into());
        }
        store.begin_action(reset(&name, created_at)?, |_| {});
        store.written().await;
        println!("{name} is an admin now, with the password {told}");
        Ok(())
    })
}

/// What is recorded of it: whoever may run this is nobody that the server knows.
fn reset(name: &UserName, at: Timestamp) -> Result<Action, Sentence> {
    let by = Actor::server();
    Ok(Action {
        id: new_id()?,
        verb: Act::ChangeUser.word().to_owned(),
        actor: actor_word(&by.who),
        credential: "reset-admin".to_owned(),
        from: None,
        request: None,
        on: ActedOn::named(ObjectKind::User, name.as_str()),
        changed: vec!["role".into(), "password".into()],
        started_at: at,
        state: ActionState::Success,
        ended_at: Some(at),
        failure: None,
    })
}

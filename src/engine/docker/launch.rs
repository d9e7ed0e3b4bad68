//! With what a container's program is started: as Docker is told, and as a label. Docker itself shows these values mixed
//! with the image's.

use std::sync::Arc;

use bollard::models::{ContainerConfig, ContainerCreateBody};
use serde_json::{Value, json};

use crate::domain::Launch;

/// The variable that says where a container checks in.
pub const CHECK_IN_URL: &str = "SPINDLE_CHECK_IN_URL";

/// The label. A container of an older version has none.
pub const LABEL: &str = "spindle.launch";

/// The text of the label. It has the variables' names: their values are the container's own.
pub fn label(launch: &Launch) -> String {
    let Launch { env, command, entrypoint, workdir, user, hostname } = launch;
    let env: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    json!({
        "env": env,
        "command": command,
        "entrypoint": entrypoint,
        "workdir": workdir,
        "user": user,
        "hostname": hostname,
    })
    .to_string()
}

/// The request for a container whose program is started so, and checks in at `url`.
pub fn request(launch: &Launch, url: &str) -> ContainerCreateBody {
    let mut env: Vec<String> = launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    env.push(format!("{CHECK_IN_URL}={url}"));
    ContainerCreateBody {
        env: Some(env),
        cmd: launch.command.clone(),
        entrypoint: launch.entrypoint.clone(),
        working_dir: launch.workdir.clone(),
        user: launch.user.clone(),
        hostname: launch.hostname.clone(),
        ..ContainerCreateBody::default()
    }
}

/// Reads it back from a container. Of one of an older version all variables are its creator's, the image's among them;
/// they have the same values.
pub fn read(shown: &ContainerConfig) -> Option<Arc<Launch>> {
    let variables = shown.env.iter().flatten().filter_map(|variable| variable.split_once('='));
    let variables = variables.filter(|(name, _)| *name != CHECK_IN_URL);
    let text = shown.labels.as_ref()?.get(LABEL).filter(|text| !text.is_empty());
    let Some(text) = text else {
        let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        return Some(Arc::new(Launch { env, ..Launch::default() }));
    };
    let value: Value = serde_json::from_str(text).ok()?;
    let words = |key: &str| -> Option<Vec<String>> {
        value[key].as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let one = |key: &str| value[key].as_str().map(str::to_owned);
    let values: Vec<(&str, &str)> = variables.collect();
    let variable = |name: String| {
        let value = values.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())?;
        Some((name, value))
    };
    Some(Arc::new(Launch {
        env: words("env")?.into_iter().filter_map(variable).collect(),
        command: words("command"),
        entrypoint: words("entrypoint"),
        workdir: one("workdir"),
        user: one("user"),
        hostname: one("hostname"),
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn shown(launch: &Launch, label: Option<String>) -> ContainerConfig {
        let mut env = vec!["PATH=/bin".to_owned()];
        env.extend(request(launch, "http://10.0.0.1/").env.unwrap());
        let labels = HashMap::from([(LABEL.to_owned(), label.unwrap_or_default())]);
        ContainerConfig { env: Some(env), labels: Some(labels), ..ContainerConfig::default() }
    }

    #[test]
    fn it_comes_back_as_it_was_said() {
        let whole = Launch {
            env: vec![("A".into(), "b=c\n".into()), ("EMPTY".into(), String::new())],
            command: Some(vec!["sleep".into(), "6 0".into()]),
            entrypoint: Some(vec!["/bin/\"sh\"".into()]),
            workdir: Some("/home".into()),
            user: Some("1000:1000".into()),
            hostname: Some("lab".into()),
        };
        for launch in [whole, Launch::default()] {
            assert_eq!(read(&shown(&launch, Some(label(&launch)))).as_deref(), Some(&launch));
        }
    }

    #[test]
    fn of_an_older_version_all_variables_are_its_creators() {
        let launch = Launch { env: vec![("A".into(), "b".into())], ..Launch::default() };
        let read = read(&shown(&launch, None)).unwrap();
        assert_eq!(read.env, [("PATH".into(), "/bin".into()), ("A".into(), "b".into())]);
    }
}

//! The configuration: defaults, sources, refusals.

use std::collections::HashMap;

use super::*;
use crate::domain::Limit;

fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(k, v)| (format!("SPINDLE_{k}"), v.to_string()));
    Config::load(Path::new("/nonexistent/spindle.toml"), false, variables)
}

fn refusal(variables: &[(&str, &str)]) -> String {
    load(variables).expect_err("it must be refused").to_string()
}

#[test]
fn contract_01_and_30_the_defaults_are_the_contracts() {
    let config = load(&[]).unwrap();
    assert_eq!((config.admin_user.as_str(), config.admin_password.known()), ("admin", "spindocker"));
    assert_eq!(config.policy.policy.idle_limit, Limit::After(Duration::from_mins(150)));
    assert_eq!((config.check_in_address, config.check_in_port), (None, 80));
    assert_eq!(config.stop_grace, Duration::from_secs(10));
}

#[test]
fn contract_04_the_default_password_is_for_loopback_only() {
    let sentence = refusal(&[("ADDRESS", "0.0.0.0")]);
    assert!(sentence.contains("set SPINDLE_ADMIN_PASSWORD"), "{sentence}");
    assert!(load(&[("ADDRESS", "0.0.0.0"), ("ADMIN_PASSWORD", "else")]).is_ok());
    assert!(load(&[("ADDRESS", "::1")]).is_ok());
}

#[test]
fn contradictions_are_refused() {
    for (variables, named) in [
        (vec![("IDLE_TIMEOUT", "179")], "SPINDLE_IDLE_TIMEOUT"),
        (vec![("IDLE_TIMEOUT", "0")], "SPINDLE_IDLE_TIMEOUT"),
        (vec![("RESUME_GRACE", "59")], "SPINDLE_RESUME_GRACE"),
        (vec![("PORT", "20500")], "SPINDLE_PORT"),
        (vec![("SUBNET", "10.0.0.0/24")], "SPINDLE_MAX_RUNNING"),
        (vec![("MAX_RUNNING", "1023")], "SPINDLE_MAX_RUNNING"),
        (vec![("TLS_KEY", "/key.pem")], "SPINDLE_TLS_CERT"),
        (vec![("PROXIES", "127.0.0.1,10.0.0.0/8")], "SPINDLE_PROXIES"),
        (vec![("PROXIES", "10.213.1.7")], "SPINDLE_SUBNET"),
        (vec![("CHECK_IN_ADDRESS", "127.0.0.1")], "SPINDLE_CHECK_IN_ADDRESS"),
        (vec![("ADDRESS", "0.0.0.0"), ("ADMIN_PASSWORD", "x"), ("PORT", "80")], "SPINDLE_CHECK_IN_PORT"),
    ] {
        let sentence = refusal(&variables);
        assert!(sentence.contains(named), "{variables:?}: {sentence}");
    }
}

#[test]
fn bad_values_name_variable_value_and_what_is_allowed() {
    for (key, value) in [
        ("PORT", "0"),
        ("ADDRESS", "localhost"),
        ("PORT_RANGE", "30000-20000"),
        ("PORT_RANGE", "80-90"),
        ("SUBNET", "10.0.0.1/24"),
        ("MEMORY", "1"),
        ("OPEN_FILES_LIMIT", "255"),
        ("TERMINALS_LIMIT", "0"),
        ("CONNECTIONS_FROM_SANDBOXES", "yes"),
        ("LOG_FORMAT", "xml"),
        ("PUBLIC_URL", "lab.example.org"),
        ("PROXIES", "127.0.0.1,localhost"),
        ("LOG", "blub"),
        ("LOG", "info,spindle=loud"),
        ("LOG_MAX_SIZE", "10mm"),
        ("CONVERGE_EVERY", "0"),
        ("DEPLOYMENT", "a b"),
        ("DEPLOYMENT", "bridge"),
        ("SUBNET", "127.0.0.0/22"),
        ("ADMIN_PASSWORD", ""),
        ("ADMIN_USER", "a:b"),
    ] {
        let sentence = refusal(&[(key, value)]);
        assert!(sentence.contains(&format!("SPINDLE_{key}")) && sentence.contains(value), "{sentence}");
    }
    for flag in ["LENIENT", "DEFAULT_SSH_KEY_ALWAYS"] {
        assert!(refusal(&[(flag, "perhaps")]).contains("it is true or false"));
        assert!(load(&[(flag, "True")]).is_ok());
    }
}

#[test]
fn a_setting_that_does_not_exist_is_refused_and_the_nearest_named() {
    for (key, meant) in [
        ("IDLE_TIMOUT", "SPINDLE_IDLE_TIMEOUT"),
        ("PASSWORD", "SPINDLE_ADMIN_PASSWORD"),
        ("LOGFORMAT", "SPINDLE_LOG_FORMAT"),
        ("LENIANT", "SPINDLE_LENIENT"),
    ] {
        let sentence = refusal(&[(key, "x")]);
        assert!(sentence.contains("no setting") && sentence.contains(key), "{sentence}");
        assert!(sentence.contains("did you mean") && sentence.contains(meant), "{sentence}");
    }
    assert!(refusal(&[("NONSENSE", "x")]).contains("docs/CONFIGURATION.md"));
}

#[test]
fn values_are_text_until_they_are_parsed() {
    let config =
        load(&[("ADMIN_PASSWORD", " 007 "), ("IDLE_TIMEOUT", "never"), ("CAPABILITIES", "cap_chown kill")]).unwrap();
    assert_eq!(config.admin_password.known(), " 007 ");
    assert_eq!(config.policy.policy.idle_limit, Limit::Never);
    assert_eq!(config.sandbox.capabilities, ["CHOWN", "KILL"]);
}

#[test]
fn variables_win_over_the_file_and_what_is_shown_can_be_read_again() {
    let path = std::env::temp_dir().join(format!("spindle-config-{}.toml", std::process::id()));
    let text = "port = 8081\nadmin_password = 12345\ncapabilities = [\"CHOWN\"]\ncpus = 0.5\nlenient = true\n\
                default_ssh_key = [\"ssh-ed25519 A one, two\", \"ssh-rsa B\"]\n";
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path, true, [("SPINDLE_PORT".into(), "8082".into())]).unwrap();
    assert_eq!((config.port, config.admin_password.known(), config.sandbox.cpus.cores()), (8082, "12345", 0.5));
    assert_eq!(config.sandbox.default_ssh_key.as_deref(), Some("ssh-ed25519 A one, two\nssh-rsa B"));
    assert!(config.lenient && config.sandbox.default_ssh_key_always);
    let shown = config.show();
    assert!(!shown.contains("12345"), "{shown}");
    std::fs::write(&path, &shown).unwrap();
    let again = Config::load(&path, true, []).unwrap();
    assert_eq!(again.admin_password.known(), DEFAULT_PASSWORD, "the mask is no password");
    assert_eq!(again.show().lines().skip(1).collect::<Vec<_>>(), shown.lines().skip(1).collect::<Vec<_>>());
    std::fs::write(&path, "nonsense = 1\n").unwrap();
    assert!(Config::load(&path, true, []).unwrap_err().to_string().contains("nonsense"));
    std::fs::remove_file(&path).unwrap();
    assert!(Config::load(&path, true, []).is_err());
}

#[test]
fn every_key_is_documented_with_its_default() {
    let page = include_str!("../../docs/CONFIGURATION.md");
    let cell = |row: &str, n| row.split(" | ").nth(n).unwrap_or_default().trim_matches(['|', ' ']).to_owned();
    let rows: HashMap<_, _> = page
        .lines()
        .filter(|line| line.starts_with("| `SPINDLE_"))
        .map(|row| (cell(row, 0).trim_matches('`').to_owned(), cell(row, 1)))
        .collect();
    let shown = load(&[]).unwrap().show();
    let keys = shown.lines().map(|line| line.trim_start_matches("# ").split_once(' ').unwrap());
    let mut compared = 0;
    for (key, rest) in keys {
        let variable = format!("SPINDLE_{}", key.to_ascii_uppercase());
        let told = rows.get(&variable).unwrap_or_else(|| panic!("docs/CONFIGURATION.md does not name {variable}"));
        // If the cell has other words too, the default is not one plain value.
        let value = told.strip_prefix('`').and_then(|t| t.strip_suffix('`')).filter(|_| rest.starts_with("= "));
        if let Some(value) = value.filter(|v| !v.contains('`')) {
            let real = rest.trim_start_matches("= ").replace(['"', '[', ']'], "").replace(", ", ",");
            assert_eq!(real, value, "{variable}");
            compared += 1;
        }
    }
    assert!(compared > 25, "only {compared} defaults were compared");
    assert_eq!(rows.len(), shown.lines().count(), "a setting is documented that does not exist");
}

#[test]
fn sandboxes_are_refused_at_each_others_ports_and_the_host_is_not() {
    let refused = |variables: &[(&str, &str)]| load(variables).unwrap().relay.limits.refused;
    let subnet = ("SUBNET", "10.9.8.0/22");
    let range = refused(&[subnet]).unwrap();
    for (address, is_refused) in [
        ("10.9.8.1", false),
        ("10.9.8.2", true),
        ("::ffff:10.9.11.254", true),
        ("10.9.12.1", false),
        ("127.0.0.1", false),
        ("::1", false),
    ] {
        assert_eq!(range.contains(address.parse().unwrap()), is_refused, "{address}");
    }
    assert_eq!(refused(&[subnet, ("CONNECTIONS_FROM_SANDBOXES", "allow")]), None);
}

//! Writes the configuration in force as a TOML file.

use super::{Config, LogFormat, is_default};
use crate::domain::Password;

impl Config {
    /// The configuration in force as a TOML file, secrets masked.
    pub fn show(&self) -> String {
        // In a comment: if somebody saves this as a file, the mask must not become the password.
        let (password, hash) = match &self.admin_password {
            password if is_default(password) => ("the default", "not set"),
            Password::Plain(_) => ("set, and not shown", "not set"),
            Password::Hash(_) => ("not set", "set, and not shown"),
        };
        let lines: String = self.lines().into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        format!("# admin_password is {password}\n# admin_password_hash is {hash}\n") + &lines
    }

    /// The settings in force without secrets: each key, and its value as in a TOML file.
    pub fn lines(&self) -> Vec<(String, String)> {
        let own = self.first_lines().into_iter().chain(self.sandbox.lines()).chain(self.last_lines());
        let lines = own.chain(self.gate.lines()).chain(self.policy.lines()).chain(self.relay.lines());
        let lines = lines.chain(self.transfer.lines());
        lines.map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn first_lines(&self) -> Vec<(&'static str, String)> {
        let number = |n: u64| n.to_string();
        let quoted = |t: &dyn std::fmt::Display| format!("{:?}", t.to_string());
        let range = format!("{}-{}", self.port_range.start(), self.port_range.end());
        let check_in = self.check_in_address.map_or("auto".to_owned(), |a| a.to_string());
        vec![
            ("address", quoted(&self.address)),
            ("port", number(self.port.into())),
            ("admin_user", quoted(&self.admin_user)),
            ("database", quoted(&self.database.display())),
            ("files", quoted(&self.files.display())),
            ("deployment", quoted(&self.deployment)),
            ("report_period", number(self.report_period.as_secs())),
            ("resume_grace", number(self.resume_grace.as_secs())),
            ("converge_every", number(self.converge_every.as_secs())),
            ("stop_grace", number(self.stop_grace.as_secs())),
            ("check_in_address", quoted(&check_in)),
            ("check_in_port", number(self.check_in_port.into())),
            ("publish_address", quoted(&self.publish_address)),
            ("port_range", quoted(&range)),
            ("subnet", quoted(&self.subnet)),
            ("max_running", number(self.max_running.into())),
            ("start_concurrency", number(self.start_concurrency as u64)),
            ("actions_keep", number(self.actions_keep.as_secs() / 86_400)),
        ]
    }

    fn last_lines(&self) -> [(&'static str, String); 3] {
        let format = if self.log_format == LogFormat::Json { "json" } else { "text" };
        [
            ("lenient", self.lenient.to_string()),
            ("log", format!("{:?}", self.log)),
            ("log_format", format!("{format:?}")),
        ]
    }
}

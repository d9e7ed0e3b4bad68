//! Writes the report, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    Report,
    finding::{Finding, Status},
    words::grouped,
};

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unseen => "unseen",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Fail => "\x1b[31m",
            Self::Unseen => "\x1b[2m",
        }
    }
}

impl Report {
    /// For people. A check that is well takes one line.
    pub fn text(&self, colours: bool) -> String {
        let mut text = String::new();
        for Finding { check, status, found, why, fix } in &self.findings {
            let word = format!("{:<6}", status.word());
            let word = if colours { format!("{}{word}\x1b[0m", status.colour()) } else { word };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{word}  {check:<13}  {found}");
            for (name, said) in [("why", why), ("fix", fix)].iter().filter(|(_, said)| !said.is_empty()) {
                let _ = writeln!(text, "{:23}{name}: {said}", "");
            }
        }
        let limits: Vec<String> =
            self.capacity.limits.iter().map(|l| format!("{} {}", l.of, grouped(l.sandboxes))).collect();
        let _ = writeln!(text, "\n{}\n({})", self.capacity.sentence(), limits.join(", "));
        text + &self.summary() + "\n"
    }

    fn summary(&self) -> String {
        let count = |status| self.findings.iter().filter(|f| f.status == status).count();
        let mut parts = match count(Status::Fail) {
            0 => vec!["Nothing prevents work".to_owned()],
            1 => vec!["1 thing prevents work".to_owned()],
            n => vec![format!("{n} things prevent work")],
        };
        match count(Status::Warn) {
            0 => {}
            1 => parts.push("1 is worth a look".to_owned()),
            n => parts.push(format!("{n} are worth a look")),
        }
        match count(Status::Unseen) {
            0 => {}
            n => parts.push(format!("{n} could not be seen")),
        }
        parts.join("; ") + "."
    }

    /// For programs.
    pub fn json(&self) -> String {
        let or_null = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let finding = |f: &Finding| {
            json!({
                "check": f.check, "status": f.status.word(), "found": f.found, "why": or_null(&f.why), "fix": or_null(&f.fix),
            })
        };
        let limits = self.capacity.limits.iter();
        let limits: Vec<Value> = limits.map(|l| json!({"of": l.of, "sandboxes": l.sandboxes, "how": l.how})).collect();
        let report = json!({
            "ok": self.is_ok(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "capacity": {
                "sandboxes": self.capacity.limits[0].sandboxes,
                "first_limit": self.capacity.limits[0].of,
                "memory_each": self.capacity.memory_each,
                "limits": limits,
                "summary": self.capacity.sentence(),
            },
        });
        format!("{report:#}\n")
    }
}

//! Programs that somebody runs inside a sandbox through the API.

use super::names::{ContainerId, Invalid, SandboxId};

/// The most bytes of a command, its arguments included.
const LONGEST: usize = 32 * 1024;

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { cols: 80, rows: 24 }
    }
}

impl Size {
    /// Larger ones are mistakes, and programs reserve memory by them.
    const LARGEST: u16 = 1_000;

    /// Checks a size.
    ///
    /// # Errors
    /// The field that is not allowed.
    pub fn new(cols: u16, rows: u16) -> Result<Self, Invalid> {
        let fits = |field, n: u16| {
            let allowed = format!("it is a number from 1 to {}", Self::LARGEST);
            if (1..=Self::LARGEST).contains(&n) { Ok(n) } else { Err(Invalid::new(field, &n.to_string(), allowed)) }
        };
        Ok(Self { cols: fits("cols", cols)?, rows: fits("rows", rows)? })
    }
}

/// A program to be run inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name and its arguments.
    pub command: Vec<String>,
    /// As which user; `None`: as the image's own login user.
    pub user: Option<String>,
    /// Where; `None`: where that user begins.
    pub workdir: Option<String>,
    /// Variables besides those of the container.
    pub env: Vec<(String, String)>,
    /// Whether something is written to it.
    pub stdin: bool,
    /// Its terminal, if it gets one.
    pub terminal: Option<Size>,
}

impl Program {
    /// A command that a shell reads.
    pub fn shell(line: &str) -> Vec<String> {
        ["/bin/sh", "-c", line].map(str::to_owned).into()
    }

    /// A shell in which somebody types, at home if there is one.
    pub fn login() -> Vec<String> {
        Self::shell("cd 2>/dev/null; exec \"$(command -v bash || echo sh)\" -l")
    }

    /// Checks what a caller wants to be run.
    ///
    /// # Errors
    /// The field that is not allowed.
    pub fn check(self) -> Result<Self, Invalid> {
        let bytes: usize = self.command.iter().map(|word| word.len() + 1).sum();
        if self.command.first().is_none_or(String::is_empty) {
            return Err(Invalid::new("command", "", "it names a program: a list of words, or a line for the shell"));
        }
        if bytes > LONGEST {
            return Err(Invalid::new("command", &format!("{bytes} bytes"), format!("it has at most {LONGEST}")));
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return Err(Invalid::new("command", "(with a NUL)", "it has no NUL"));
        }
        let is_name = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-$@".contains(&b);
            !part.is_empty() && part.len() <= 64 && part.bytes().all(plain) && !part.starts_with('-')
        };
        if let Some(user) = self.user.as_ref().filter(|user| !user.splitn(2, ':').all(is_name)) {
            let allowed = "it is a user's name or number inside, or user:group";
            return Err(Invalid::new("user", user, allowed));
        }
        let is_place = |place: &String| place.starts_with('/') && place.len() <= 4_096 && !place.contains('\0');
        match self.workdir.as_ref().filter(|place| !is_place(place)) {
            Some(place) => Err(Invalid::new("workdir", place, "it is an absolute path inside, such as /home/student")),
            None => Ok(self),
        }
    }
}

/// A program that was begun inside, as it is recorded until it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Our id. The program has it in its environment.
    pub id: String,
    /// In which sandbox.
    pub sandbox: SandboxId,
    /// In which container.
    pub container: ContainerId,
    /// The engine's id of it.
    pub exec: String,
    /// As which user it was asked for.
    pub user: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &[&str]) -> Program {
        Program { command: command.iter().map(|word| (*word).to_owned()).collect(), ..Program::default() }
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_its_field() {
        assert!(of(&["ls", "", "-l"]).check().is_ok(), "an argument may be empty");
        let refused = |program: Program| program.check().unwrap_err().to_string();
        for bad in [&[][..], &[""], &["a\0"], &["a", &"x".repeat(40_000)]] {
            assert!(refused(of(bad)).starts_with("command"), "{bad:.20?}");
        }
        for (user, fits) in
            [("student", true), ("0:0", true), ("a:b:c", false), ("", false), ("a b", false), ("-u", false)]
        {
            let program = Program { user: Some(user.into()), ..of(&["id"]) };
            assert_eq!(program.check().is_ok(), fits, "{user:?}");
        }
        for (place, fits) in [("/", true), ("/a b", true), ("a", false), ("", false), ("/\0", false)] {
            let program = Program { workdir: Some(place.into()), ..of(&["pwd"]) };
            assert_eq!(program.check().is_ok(), fits, "{place:?}");
        }
    }

    #[test]
    fn a_terminal_has_a_size_that_somebody_can_see() {
        assert!(Size::new(1, 1_000).is_ok());
        for (cols, rows, field) in [(0, 1, "cols"), (80, 0, "rows"), (1_001, 1, "cols")] {
            assert!(Size::new(cols, rows).unwrap_err().to_string().starts_with(field));
        }
    }
}

//! Seen: what the engine shows of a sandbox besides its state: how its last run ended, and what others have done to it.

use std::time::Duration;

use super::{limits::Memory, time::span};

/// A run that ends within this time after its start does not count as a run.
pub const QUICK: Duration = Duration::from_mins(1);

/// After so many of them in a row, connections wake it no longer: the next run would end in the same way.
pub const QUICK_ENDS: u32 = 3;

/// How many of a sandbox's last lines are kept, and how many characters of each.
const LINES: usize = 10;
const LINE: usize = 300;

/// The exit code of a process that SIGKILL ended.
const KILLED: i64 = 137;

/// Who ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Its program ended, or the kernel killed it: nobody asked for it.
    Itself,
    /// Somebody sent it a deadly signal through the engine.
    Signal,
    /// It ended while nobody listened to the engine, so it may be either.
    Unheard,
}

impl EndedBy {
    /// The word for it in the store.
    pub fn word(self) -> &'static str {
        match self {
            EndedBy::Itself => "itself",
            EndedBy::Signal => "signal",
            EndedBy::Unheard => "unheard",
        }
    }

    /// Reads [`EndedBy::word`]; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [EndedBy::Itself, EndedBy::Signal, EndedBy::Unheard].into_iter().find(|by| by.word() == word)
    }

    /// Whether it says more than `other`: we may hear of a signal late.
    pub fn outranks(self, other: Self) -> bool {
        let rank = |by| match by {
            EndedBy::Unheard => 0,
            EndedBy::Itself => 1,
            EndedBy::Signal => 2,
        };
        rank(self) > rank(other)
    }
}

/// The code with which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What the first process said, or 128 and the number of the signal that ended it.
    pub code: i64,
    /// Whether the kernel killed one of its processes in that run because its memory was used up. If `code` is 137,
    /// that most likely ended it; else it went on, and ended for another reason.
    pub oom_killed: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Its code, where the engine told it.
    pub exit: Option<Exit>,
    /// Who ended it.
    pub by: EndedBy,
    /// Its last output, as [`last_lines`] gives it; empty where we stopped it.
    pub last_lines: Vec<String>,
}

/// What the engine shows of a sandbox besides its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Somebody has paused it through the engine: its processes stand still.
    pub paused: bool,
    /// Its name at the engine, where we cannot give it the same name.
    pub called: Option<String>,
    /// How its last run ended; `None` while it runs, or if nobody knows.
    pub ending: Option<Ending>,
    /// How many of its last runs in a row ended within [`QUICK`] after their start, though nobody told them to.
    pub quick_ends: u32,
    /// Whether the engine may not have what the row says: its name, limits or keys were changed, and nobody knows yet
    /// whether the engine did its part.
    pub unsettled: bool,
}

impl Seen {
    /// Whether it has ended quickly so often that only a request starts it.
    pub fn keeps_ending(&self) -> bool {
        self.quick_ends >= QUICK_ENDS
    }

    /// Whether its last run ended by itself.
    pub fn ended_by_itself(&self) -> bool {
        self.ending.as_ref().is_some_and(|e| e.by == EndedBy::Itself)
    }
}

impl Seen {
    /// How its last run ended, if nobody asked Spindle for the end, as a sentence. `memory`: the limit that it had.
    pub fn how_it_ended(&self, memory: Memory) -> String {
        let Some(Ending { exit: Some(Exit { code, oom_killed }), by, .. }) = &self.ending else {
            return "it ended by itself, or something other than Spindle stopped it".into();
        };
        let what = match (by, oom_killed) {
            (EndedBy::Signal, _) => format!(
                "somebody stopped or killed it through the engine (exit code {code}), so only wake=always wakes it"
            ),
            (EndedBy::Unheard, _) => format!(
                "it ended while Spindle could not hear whether somebody stopped it (exit code {code}), so only wake=always wakes it"
            ),
            (EndedBy::Itself, true) if *code == KILLED => {
                format!("its memory ({memory}) was used up, and the kernel killed it (exit code {code})")
            }
            (EndedBy::Itself, true) => format!(
                "its program ended with exit code {code}; its memory ({memory}) had been used up before, and the kernel had killed a process"
            ),
            (EndedBy::Itself, false) => format!("its program ended with exit code {code}"),
        };
        if !self.keeps_ending() {
            return what;
        }
        let (times, quick) = (self.quick_ends, span(QUICK));
        format!("{what}; it has ended {times} times in a row within {quick} of its start, so no connection wakes it")
    }
}

/// The last lines of a program's output, as text that is safe to show: at most ten, of at most 300 characters each,
/// without codes that control a terminal.
pub fn last_lines(written: &[u8]) -> Vec<String> {
    let text = plain(&String::from_utf8_lossy(written));
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let shown = |line: &str| match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    };
    let mut last: Vec<String> = lines.rev().take(LINES).map(shown).collect();
    last.reverse();
    last
}

/// `text` without terminals' escape sequences and other control characters. A text that would overwrite a line becomes
/// a line of its own.
fn plain(text: &str) -> String {
    const ESCAPE: char = '\u{1b}';
    let turns_text = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE => match chars.next() {
                Some('[') => drop(chars.by_ref().find(|c| ('@'..='~').contains(c))),
                Some(']') => drop(chars.by_ref().find(|c| *c == '\u{7}' || *c == ESCAPE)),
                _ => {}
            },
            '\n' | '\r' => plain.push('\n'),
            '\t' => plain.push(' '),
            c if c.is_control() || turns_text(c) => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_ended_is_a_sentence() {
        let says = |by, code, oom_killed, quick_ends| {
            let ending = Ending { exit: Some(Exit { code, oom_killed }), by, last_lines: vec![] };
            let seen = Seen { ending: Some(ending), quick_ends, ..Seen::default() };
            seen.how_it_ended(Memory::parse("64m").unwrap())
        };
        assert_eq!(says(EndedBy::Itself, 3, false, 1), "its program ended with exit code 3");
        assert!(
            says(EndedBy::Itself, 137, true, 0).starts_with("its memory (64m) was used up, and the kernel killed it")
        );
        assert!(says(EndedBy::Itself, 1, true, 0).contains("exit code 1; its memory (64m) had been used up before"));
        assert!(says(EndedBy::Signal, 143, false, 0).starts_with("somebody stopped or killed it"));
        assert!(says(EndedBy::Unheard, 0, false, 0).contains("could not hear"));
        let often = says(EndedBy::Itself, 1, false, 3);
        assert!(often.ends_with("3 times in a row within 1 min of its start, so no connection wakes it"), "{often}");
    }

    #[test]
    fn the_last_lines_are_few_short_and_plain() {
        let many: String = (0..50).map(|n| format!("line {n}\n")).collect();
        assert_eq!(last_lines(many.as_bytes()).len(), LINES);
        assert_eq!(last_lines(many.as_bytes())[9], "line 49");
        let long = last_lines("ä".repeat(5_000).as_bytes());
        assert_eq!((long.len(), long[0].chars().count()), (1, LINE + 1));
        let hostile = b"\x1b[2J\x1b]0;title\x07red \x1b[31mhere\x1b[0m\x07\r\n\xff\xfe\0half\x1b";
        assert_eq!(last_lines(hostile), ["red here", "\u{fffd}\u{fffd}half"]);
        assert_eq!(last_lines("10 %\r20 %\r\n\n\u{202e}end".as_bytes()), ["10 %", "20 %", "end"]);
        assert!(last_lines(b"\n \n").is_empty());
    }
}

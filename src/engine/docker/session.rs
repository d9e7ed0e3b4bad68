//! Ends a program that Docker has started inside a container, with all that it left, where the engine is on this machine.
//!
//! Docker has no call for that. Each such program begins a session, whose number is its process's; the kernel gives that
//! number to nobody else as long as the session has a member.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::observe::is_process_of;
use crate::domain::ContainerId;

/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Until then nothing is done to what a program leaves that has ended by itself: it may be about to begin a session of
/// its own.
const MOMENT: u32 = 5;

/// After so many looks, processes that were asked to end are killed.
const PATIENCE: u32 = 50;

/// After so many looks something is wrong: the kernel does not let a process go.
const LONGEST: u32 = 800;

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    session: u32,
}

/// Reads `/proc/<pid>/stat`: a program's name may have brackets and spaces in it.
fn process(pid: u32, stat: &str) -> Option<Process> {
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    // A dead process that nobody has fetched holds nothing.
    rest.next().filter(|state| !["Z", "X"].contains(state))?;
    let parent = rest.next()?.parse().ok()?;
    let session = rest.nth(1)?.parse().ok()?;
    Some(Process { pid, parent, session })
}

fn look(pid: u32) -> Option<Process> {
    process(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn all() -> io::Result<Vec<Process>> {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(names.filter_map(look).collect())
}

/// Those of the session of `leader`, and all below them.
fn members(all: &[Process], leader: u32) -> Vec<Process> {
    let mut found: HashSet<u32> =
        all.iter().filter(|p| p.session == leader || p.pid == leader).map(|p| p.pid).collect();
    loop {
        let below: Vec<u32> =
            all.iter().filter(|p| found.contains(&p.parent) && !found.contains(&p.pid)).map(|p| p.pid).collect();
        if below.is_empty() {
            break;
        }
        found.extend(below);
    }
    all.iter().filter(|p| found.contains(&p.pid)).copied().collect()
}

/// The program that finds `id` in its environment and came into the container from outside.
fn by_mark(all: &[Process], container: &ContainerId, id: &str) -> Option<u32> {
    let sessions: HashMap<u32, u32> = all.iter().map(|p| (p.pid, p.parent)).collect();
    let mark = format!("SPINDLE_EXEC={id}");
    let is_marked = |pid: u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let leads = |p: &&Process| {
        p.pid == p.session
            && is_process_of(p.pid, container)
            && sessions.get(&p.pid).is_none_or(|parent| !is_process_of(*parent, container))
            && is_marked(p.pid)
    };
    all.iter().find(leads).map(|p| p.pid)
}

/// Sends a signal to the process that `seen` still is.
fn send(seen: Process, container: &ContainerId, signal: Signal) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(seen.pid as i32) else { return Ok(()) };
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    // The number cannot become another's while the descriptor holds a process that lives: look only now.
    if look(seen.pid).is_none_or(|now| now.session != seen.session) || !is_process_of(seen.pid, container) {
        return Ok(());
    }
    match pidfd_send_signal(held, signal) {
        Err(e) if e != rustix::io::Errno::SRCH => Err(e.into()),
        _ => Ok(()),
    }
}

/// Ends the program whose first process is or was `leader`, if it `runs`; `None`: the one that finds `id` in its
/// environment.
///
/// # Errors
/// If a process cannot be ended, or does not end.
pub fn end(container: &ContainerId, leader: Option<(u32, bool)>, id: &str) -> io::Result<()> {
    let begins = if matches!(leader, Some((_, false))) { MOMENT } else { 0 };
    let leader = match leader {
        // If somebody else has its number now, it has left nobody.
        Some((pid, false)) if look(pid).is_some() => return Ok(()),
        Some((pid, _)) => pid,
        None => match by_mark(&all()?, container, id) {
            Some(pid) => pid,
            None => return Ok(()),
        },
    };
    let mut asked = HashSet::new();
    for look in 0.. {
        let left = members(&all()?, leader);
        let left: Vec<Process> = left.into_iter().filter(|p| is_process_of(p.pid, container)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if look > LONGEST {
            return Err(io::Error::other(format!("{} of its processes do not end", left.len())));
        }
        for process in left.into_iter().filter(|_| look >= begins) {
            if look >= PATIENCE {
                send(process, container, Signal::KILL)?;
            } else if asked.insert(process.pid) {
                for signal in [Signal::HUP, Signal::TERM, Signal::CONT] {
                    send(process, container, signal)?;
                }
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "77 (a) b) S) S 5 77 70 34816 77 4194304 1";
        assert_eq!(process(77, stat), Some(Process { pid: 77, parent: 5, session: 70 }));
        assert_eq!(process(77, "77 (sh) Z 5 77 70 0"), None, "it is dead");
        assert_eq!(process(77, "rubbish"), None);
        let own = std::process::id();
        assert_eq!(look(own).map(|p| p.pid), Some(own));
    }

    #[test]
    fn a_session_has_its_members_and_all_below_them() {
        let p = |pid, parent, session| Process { pid, parent, session };
        let all = [p(10, 1, 10), p(11, 10, 10), p(12, 11, 12), p(13, 12, 12), p(14, 1, 10), p(15, 1, 15), p(1, 0, 1)];
        let found: Vec<u32> = members(&all, 10).iter().map(|p| p.pid).collect();
        assert_eq!(found, [10, 11, 12, 13, 14], "14 was left by its parent, 15 began a session of its own");
        let without_leader: Vec<u32> = members(&all[2..], 10).iter().map(|p| p.pid).collect();
        assert_eq!(without_leader, [14]);
    }
}

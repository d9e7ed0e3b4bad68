//! Tell: the text that warns those inside of a stop.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    explain::{after_change, unused},
    idle::{By, Deadline, end_of_age},
    policy::Policy,
    sandbox::{Sandbox, StopReason},
    time::{since, span},
};

/// The warning on the terminals inside before a stop, as lines. `stop` is the earliest moment of the stop. `keep_max`
/// is the longest time that those inside may ask for.
pub fn warning_text(
    policy: &Policy,
    sandbox: &Sandbox,
    deadline: &Deadline,
    stop: Timestamp,
    keep_max: Duration,
    now: Timestamp,
) -> String {
    let left = span(Duration::try_from(stop.duration_since(now)).unwrap_or_default().max(Duration::from_secs(1)));
    let time = |at| sandbox.recipe.zone.clock_time(at, now);
    let at = time(stop);
    let policy = policy.of(sandbox);
    match deadline.reason() {
        StopReason::MaxAge => format!(
            "Spindle: this sandbox will be stopped in {left}, at {at}: it has run for as long as it may.\n\
             Save your work. Its files are kept, and it can be started again."
        ),
        _ => {
            let why = format!("{}{}", after_change(deadline), unused(&policy, sandbox, deadline, time));
            // A wish beyond its age would be refused.
            let age = end_of_age(&policy, sandbox).map_or(Duration::MAX, |end| since(now, end));
            let keep = Duration::from_hours(1).min(keep_max).min(age);
            let minutes = keep.as_secs() / 60;
            let keep = if minutes > 0 {
                format!("spindle-keep {minutes}m")
            } else {
                format!("spindle-keep {}", keep.as_secs())
            };
            let stay = match (deadline.by, policy.evidence.check_in || policy.evidence.connection) {
                (By::Cap, _) | (_, false) => format!("To stay: {keep} (or ask your instructor to extend it)."),
                _ => format!("To stay: use it, or {keep}."),
            };
            format!("Spindle: this sandbox will be stopped in {left}, at {at}: {why}.\n{stay} A stop deletes nothing.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Evidence, Source, Zone,
        fixtures::{POLICY, at, running},
    };

    #[test]
    fn a_warning_tells_times_as_they_are_inside() {
        let mut sandbox = running(0);
        sandbox.recipe.zone = Zone::read("Asia/Kolkata").unwrap();
        let deadline = crate::domain::deadline(&POLICY, &sandbox).unwrap();
        let text = warning_text(&POLICY, &sandbox, &deadline, deadline.at, Duration::MAX, at(8_400));
        assert!(
            text.contains("in 10 min, at 08:00:00 IST: idle since 05:30:00 IST (the last was its start)"),
            "{text}"
        );
    }

    #[test]
    fn a_warning_names_time_reason_and_how_to_stay() {
        let sandbox = running(0);
        let deadline = crate::domain::deadline(&POLICY, &sandbox).unwrap();
        let text = warning_text(&POLICY, &sandbox, &deadline, deadline.at, Duration::MAX, at(8_400));
        assert!(
            text.contains("in 10 min, at 02:30:00 UTC: idle since 00:00:00 UTC (the last was its start)"),
            "{text}"
        );
        assert!(text.contains("spindle-keep 60m"), "{text}");
        let capped =
            Deadline { by: By::Cap, evidence: Evidence { source: Source::Connection, at: at(8_399) }, ..deadline };
        let text_at_the_cap = warning_text(&POLICY, &sandbox, &capped, deadline.at, Duration::MAX, at(8_400));
        assert!(
            text_at_the_cap.contains("only bytes on a connection kept it since its start at 00:00:00 UTC"),
            "{text_at_the_cap}"
        );
        let aged = Deadline { by: By::Age, ..deadline };
        assert!(
            !warning_text(&POLICY, &sandbox, &aged, deadline.at, Duration::MAX, at(8_400)).contains("spindle-keep")
        );
    }
}

//! Tests of how policies are read, and which one applies.

use std::collections::BTreeMap;

use super::*;

fn seconds(s: u64) -> Limit {
    Limit::After(Duration::from_secs(s))
}

#[test]
fn limits_are_seconds_of_three_reports_or_never() {
    let parse = |text| Limit::parse("idle_timeout", text, least_idle_limit(Duration::from_mins(1)));
    assert_eq!(parse("never"), Ok(Limit::Never));
    assert_eq!(parse("180"), Ok(seconds(180)));
    assert_eq!(parse("3h"), Ok(seconds(10_800)));
    for bad in ["0", "179", "2m", "-1", "1e9", "", "Never", "99999999999999999999", "+300", "h", "3w", "9999999d"] {
        assert!(parse(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn sources_are_read_and_written() {
    for text in ["check_in,connection", "connection,cpu=50", "none", "cpu=1"] {
        assert_eq!(Sources::read(text).unwrap().to_string(), text);
    }
    assert_eq!(Sources::read("cpu, check_in").unwrap().to_string(), "check_in,cpu=20");
    for bad in ["", "cpu=", "cpu=0", "cpu=-1", "check-in", "start", "none,cpu", "check_in,,cpu"] {
        assert_eq!(Sources::read(bad), None, "{bad:?} was taken");
    }
    assert!(Sources::read("none").unwrap().count(Source::Extension), "a person's word always counts");
}

#[test]
fn the_creators_word_goes_over_the_images_and_this_over_the_configured() {
    let labels = BTreeMap::from([("idle_timeout", "300"), ("max_age", "3600")]);
    let image = OwnPolicy::of_labels(|key| labels.get(key).copied(), Duration::ZERO).unwrap();
    let creator = OwnPolicy { idle_limit: Some(Limit::Never), ..OwnPolicy::default() };
    let own = creator.or(image);
    assert_eq!((own.idle_limit, own.max_age, own.warn_before), (Some(Limit::Never), Some(seconds(3_600)), None));
    let names = OwnPolicy::KEYS;
    let words = own.words();
    let read =
        OwnPolicy::parse(names, Duration::ZERO, |key| words[names.iter().position(|k| *k == key).unwrap()].as_deref());
    assert_eq!(read, Ok(own));
    let bad = |key: &str| Some("0").filter(|_| key == "max_age");
    let message = OwnPolicy::of_labels(bad, Duration::ZERO).unwrap_err().to_string();
    assert!(message.contains("label spindle.max_age") && message.contains("never"), "{message}");
}

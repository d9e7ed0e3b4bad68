//! Nearest: which name a caller probably meant by one that does not exist.

/// The one of `names` that `given` most likely means; `None` if none is near.
///
/// Case, the kind of dash, and a part in brackets (`labels[group]`) do not matter. Two names are near if they differ in
/// a third of their letters at most, or if a part of one begins with the other (`timeout` in `idle_timeout`).
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.split('[').next().unwrap_or_default().to_ascii_lowercase().replace(['-', ' '], "_");
    // A long text is no typo of our names, and to compare it takes time.
    let given = plain(given.get(..given.len().min(64)).unwrap_or_default());
    let distance = |name: &str| {
        let name = plain(name);
        let begins = |long: &str, short: &str| short.len() > 2 && long.split('_').any(|part| part.starts_with(short));
        match strsim::osa_distance(&given, &name) {
            near if near <= given.len().max(name.len()) / 3 => Some(near),
            far if begins(&name, &given) || begins(&given, &name) => Some(far),
            _ => None,
        }
    };
    let near = names.into_iter().filter_map(|name| Some((distance(name)?, name)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] =
        ["image", "name", "ssh_key", "env", "memory", "cpus", "labels", "idle_timeout", "connection_cap"];

    #[test]
    fn contract_24_a_typo_finds_the_name_that_was_meant() {
        for (given, meant) in [
            ("imgae", "image"),
            ("Image", "image"),
            ("nmae", "name"),
            ("sshkey", "ssh_key"),
            ("ssh-key", "ssh_key"),
            ("key", "ssh_key"),
            ("memroy", "memory"),
            ("mem", "memory"),
            ("cpu", "cpus"),
            ("label", "labels"),
            ("labels[group]", "labels"),
            ("env[A]", "env"),
            ("idle_timout", "idle_timeout"),
            ("IDLE-TIMEOUT", "idle_timeout"),
            ("timeout", "idle_timeout"),
            ("connectioncap", "connection_cap"),
        ] {
            assert_eq!(nearest(given, NAMES), Some(meant), "{given}");
        }
    }

    #[test]
    fn contract_24_what_is_like_nothing_finds_nothing() {
        for given in ["", "x", "hours", "privileged", "volumes", "é", &"x".repeat(100_000), &"é".repeat(1_000)] {
            assert_eq!(nearest(given, NAMES), None, "{given:.20}");
        }
        assert_eq!(nearest("image", []), None);
    }
}

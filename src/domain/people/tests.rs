//! Tests of names, roles and narrowed rights.

use super::*;

#[test]
fn whom_records_name_is_read_again() {
    for who in [Who::User("admin".into()), Who::Inside, Who::Invited("3f".into())] {
        assert_eq!(Who::named(&who.to_string()), who);
    }
}

#[test]
fn names_of_users_and_namespaces_are_plain_and_a_near_one_is_proposed() {
    assert!(UserName::parse("name", "alice.b_c-d@school.example").is_ok());
    assert!(Namespace::parse("name", "databases-101").is_ok());
    for (text, clean) in [("Jörg Müller", "jorg-muller"), ("Alice", "alice"), ("-a", "a"), ("a:b", "a-b")] {
        let message = UserName::parse("name", text).unwrap_err().to_string();
        assert!(message.ends_with(&format!("; {clean:?} would do")), "{message}");
        assert!(UserName::parse("name", clean).is_ok());
    }
    for bad in ["", "a/b", "a b", "\0", "é", Who::INSIDE, &"x".repeat(64)] {
        assert!(UserName::parse("name", bad).is_err(), "{bad:?} was taken");
        assert!(bad == Who::INSIDE || Namespace::parse("name", bad).is_err(), "{bad:?} was taken");
    }
    assert!(Namespace::parse("name", "a_b").is_err());
}

#[test]
fn a_token_never_adds_a_right() {
    let namespaces =
        |names: &[&str]| -> BTreeSet<_> { names.iter().map(|name| Namespace::parse("n", name).unwrap()).collect() };
    let read = BTreeSet::from([Scope::Read]);
    let all = BTreeSet::from(Scope::ALL);
    let one = Rights::of(Role::Instructor, namespaces(&["a", "b"]));
    let narrowed = one.clone().narrowed(&read, &namespaces(&["b", "c"]));
    assert_eq!(narrowed, Rights { scopes: read.clone(), ..Rights::of(Role::Instructor, namespaces(&["b"])) });
    assert_eq!(one.clone().narrowed(&all, &namespaces(&[])), one);
    assert_eq!(one.clone().narrowed(&read, &namespaces(&[])).narrowed(&all, &namespaces(&[])).scopes, read);
    let admin = Rights::all().narrowed(&all, &namespaces(&["c"]));
    assert_eq!(admin, Rights::of(Role::Instructor, namespaces(&["c"])));
    let learner = Rights::of(Role::Learner, namespaces(&["a"])).narrowed(&all, &namespaces(&["b"]));
    assert_eq!(learner, Rights::of(Role::Learner, namespaces(&[])));
}

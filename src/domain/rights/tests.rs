//! Tests of what the table in `SECURITY.md` does not show: tokens, invitations, and users in several namespaces.

use super::*;
use crate::domain::people::{Rights, UserName};

fn namespace(name: &str) -> Namespace {
    Namespace::parse("namespace", name).unwrap()
}

fn somebody(role: Role, namespaces: &[&str]) -> Actor {
    let rights = Rights::of(role, namespaces.iter().map(|name| namespace(name)).collect());
    Actor { rights, ..Actor::admin("ann") }
}

fn id(byte: u8) -> SandboxId {
    SandboxId::from_bytes([byte; 16])
}

fn of(name: &str, owner: Option<&str>) -> Ownership {
    Ownership { namespace: namespace(name), owner: owner.map(|owner| UserName::parse("owner", owner).unwrap()) }
}

const ON_SANDBOXES: [Verb; 9] = [
    Verb::See,
    Verb::Start,
    Verb::Stop,
    Verb::Extend,
    Verb::Change,
    Verb::Assign,
    Verb::Invite,
    Verb::Delete,
    Verb::Logs,
];

#[test]
fn all_verbs_are_in_the_list_and_no_two_have_one_word() {
    for (at, verb) in Verb::ALL.into_iter().enumerate() {
        assert_eq!(verb as usize, at, "{verb:?}");
    }
    assert_eq!(Verb::ALL.last(), Some(&Verb::SeeConfiguration), "the last one of the enum");
    assert_eq!(Verb::ALL.map(Verb::word).into_iter().collect::<BTreeSet<_>>().len(), Verb::ALL.len());
}

#[test]
fn a_later_role_may_do_all_that_an_earlier_one_may() {
    let own = of("a", Some("ann"));
    for verb in ON_SANDBOXES {
        let answers = [Role::Learner, Role::Assistant, Role::Instructor, Role::Admin]
            .map(|role| may(&somebody(role, &["a"]), verb, Object::Sandbox(&id(1), &own)));
        assert!(answers.is_sorted_by_key(|answer| *answer == Answer::Yes), "{verb:?}: {answers:?}");
    }
}

#[test]
fn what_is_not_seen_is_hidden_whatever_is_wanted() {
    for verb in ON_SANDBOXES {
        for role in [Role::Learner, Role::Assistant, Role::Instructor] {
            let theirs = of("b", Some("ann"));
            let answer = may(&somebody(role, &["a"]), verb, Object::Sandbox(&id(1), &theirs));
            assert_eq!(answer, Answer::Hidden, "{role:?} {verb:?}: its namespace does not list the owner");
        }
        for owner in [None, Some("bob")] {
            let answer = may(&somebody(Role::Learner, &["a"]), verb, Object::Sandbox(&id(1), &of("a", owner)));
            assert_eq!(answer, Answer::Hidden, "{verb:?} of {owner:?}");
        }
    }
}

#[test]
fn an_invitation_is_for_one_sandbox_alone() {
    let rights = Rights { only: Some(id(1)), ..Rights::of(Role::Learner, [namespace("a")].into()) };
    let who = Who::Invited("7".into());
    let guest = Actor { rights, who, credential: Credential::Invitation("7".into()), ..Actor::admin("") };
    let (here, there) = (of("a", None), of("a", Some("ann")));
    assert_eq!(may(&guest, Verb::Start, Object::Sandbox(&id(1), &here)), Answer::Yes);
    assert_eq!(may(&guest, Verb::Delete, Object::Sandbox(&id(1), &here)), Answer::No);
    assert_eq!(may(&guest, Verb::See, Object::Sandbox(&id(2), &there)), Answer::Hidden);
    assert_eq!(may(&guest, Verb::Create, Object::Namespace(&namespace("a"))), Answer::Hidden);
    for verb in [Verb::OwnCredentials, Verb::SeeImages, Verb::SeeUsers, Verb::Audit] {
        assert_eq!(may(&guest, verb, Object::Server), Answer::No, "{verb:?}");
    }
}

#[test]
fn a_token_does_what_its_scopes_say_and_makes_no_tokens() {
    let mine = of("a", None);
    for (scope, allowed) in [
        (Scope::Read, &[Verb::See, Verb::Logs][..]),
        (Scope::Operate, &[Verb::See, Verb::Start, Verb::Stop, Verb::Extend, Verb::Change, Verb::Invite, Verb::Logs]),
        (Scope::Create, &[Verb::See, Verb::Delete, Verb::Logs]),
        (Scope::Admin, &[Verb::See, Verb::Assign, Verb::Logs]),
    ] {
        let rights = Rights::all().narrowed(&[scope].into(), &BTreeSet::new());
        let actor = Actor { rights, credential: Credential::Token("1".into()), ..Actor::admin("ann") };
        let may = |verb| may(&actor, verb, Object::Sandbox(&id(1), &mine)) == Answer::Yes;
        let does: Vec<Verb> = ON_SANDBOXES.into_iter().filter(|verb| may(*verb)).collect();
        assert_eq!(does, allowed, "{scope:?}");
        assert_eq!(super::may(&actor, Verb::OwnCredentials, Object::Server), Answer::No);
    }
    let rights = Rights::all().narrowed(&BTreeSet::new(), &BTreeSet::new());
    let nothing = Actor { rights, ..Actor::admin("ann") };
    assert_eq!(may(&nothing, Verb::See, Object::Sandbox(&id(1), &mine)), Answer::No);
}

#[test]
fn an_instructor_manages_learners_of_own_namespaces_only() {
    let ann = somebody(Role::Instructor, &["a", "b"]);
    let manages = |role, names: &[&str]| {
        may(&ann, Verb::ManageUser, Object::User(role, &names.iter().map(|name| namespace(name)).collect()))
    };
    assert_eq!(manages(Role::Learner, &["a"]), Answer::Yes);
    assert_eq!(manages(Role::Learner, &["a", "b"]), Answer::Yes);
    assert_eq!(manages(Role::Learner, &["a", "c"]), Answer::No, "who acts as the learner acts in c too");
    assert_eq!(manages(Role::Learner, &["c"]), Answer::Hidden);
    assert_eq!(manages(Role::Learner, &[]), Answer::Hidden);
    assert_eq!(manages(Role::Assistant, &["a"]), Answer::No);
    assert_eq!(manages(Role::Instructor, &["a"]), Answer::No, "themselves included");
}

#[test]
fn an_assistant_enters_where_the_namespace_says_so() {
    let (theirs, own) = (of("a", Some("bob")), of("a", Some("ann")));
    for verb in [Verb::Enter, Verb::Exec] {
        let asks = |actor: &Actor, of: &Ownership| may(actor, verb, Object::Sandbox(&id(1), of));
        let mut assistant = somebody(Role::Assistant, &["a", "b"]);
        assert_eq!((asks(&assistant, &theirs), asks(&assistant, &own)), (Answer::No, Answer::Yes), "{verb:?}");
        assistant.rights.enters = [namespace("b")].into();
        assert_eq!(asks(&assistant, &theirs), Answer::No, "{verb:?}: another namespace says so");
        assistant.rights.enters = [namespace("a")].into();
        assert_eq!(asks(&assistant, &theirs), Answer::Yes, "{verb:?}");
        let read = assistant.rights.clone().narrowed(&[Scope::Read].into(), &BTreeSet::new());
        assert_eq!(asks(&Actor { rights: read, ..assistant }, &theirs), Answer::No, "{verb:?}: a token that reads");
    }
}

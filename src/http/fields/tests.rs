//! Tests what is read from a body, and what is refused.

use super::*;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json; charset=utf-8");
const TAKEN: Taken = Taken { names: &[&["image", "env", "labels"]], elsewhere: &[(&["status"], "PATCH sets it")] };

fn body(content_type: Option<&str>, text: &str, lenient: bool) -> Body {
    Body { lenient, ..Body::parse(content_type, text).unwrap() }
}

fn fields(content_type: Option<&str>, text: &str) -> Fields {
    body(content_type, text, false).only(&TAKEN).unwrap()
}

fn image(content_type: Option<&str>, text: &str) -> Option<String> {
    fields(content_type, text).text("image").unwrap()
}

fn refusal(content_type: Option<&str>, text: &str) -> (&'static str, String) {
    let error = body(content_type, text, false).only(&TAKEN).unwrap_err();
    (error.code(), error.message().to_owned())
}

#[test]
fn forms_and_json_are_the_same() {
    assert_eq!(image(FORM, "image=a%2Fb:1").as_deref(), Some("a/b:1"));
    assert_eq!(image(JSON, r#"{"image": "a/b:1"}"#).as_deref(), Some("a/b:1"));
    assert_eq!(image(FORM, r#" {"image": "a"}"#).as_deref(), Some("a"));
    assert_eq!(image(Some("text/plain"), "  "), None);
    assert_eq!(image(JSON, r#"{"image": null}"#), None);
}

#[test]
fn rubbish_is_refused() {
    for (content_type, text) in [
        (JSON, "{"),
        (JSON, "[1]"),
        (JSON, "image=x"),
        (Some("text/plain"), "image=x"),
        (Some("multipart/form-data; boundary=x"), "--x"),
    ] {
        assert!(Body::parse(content_type, text).is_err(), "{text:?} was taken");
    }
    assert_eq!(refusal(FORM, "image=%ff").0, "invalid_utf8");
}

#[test]
fn a_wrong_type_names_its_field() {
    let fields = fields(JSON, r#"{"image": ["x"], "env": {"A": 1}}"#);
    for error in [fields.text("image").unwrap_err(), fields.object("env", None).unwrap_err()] {
        let message = format!("{error:?}");
        assert!(message.contains("image: ") || message.contains("env: "), "{message}");
    }
}

#[test]
fn contract_24_what_is_no_field_is_refused() {
    let (code, message) = refusal(FORM, "image=x&lables=a=1");
    assert_eq!(code, "unknown_field");
    assert!(message.contains("\"lables\"") && message.contains("did you mean \"labels\"?"), "{message}");
    assert!(message.contains("which takes \"image\", \"env\", \"labels\";"), "{message}");
    let (_, message) = refusal(JSON, r#"{"status": "stopped"}"#);
    assert!(message.contains("PATCH sets it"), "{message}");
    let (_, message) = refusal(FORM, &format!("{}=1", "x".repeat(10_000)));
    assert!(message.len() < 300, "{message}");
}

#[test]
fn contract_24_what_comes_twice_is_refused() {
    for (content_type, text) in [(FORM, "image=a&image=a"), (JSON, r#"{"image": "a", "image": null}"#)] {
        let (code, message) = refusal(content_type, text);
        assert!(code == "duplicate_field" && message.contains("\"image\""), "{message}");
    }
    let twice = fields(JSON, r#"{"env": {"A": "1", "B": "2", "A": "3"}}"#).object("env", None).unwrap_err();
    assert_eq!(twice.code(), "duplicate_field");
    assert!(twice.message().contains("env") && twice.message().contains("\"A\""), "{twice:?}");
}

#[test]
fn contract_24_who_is_lenient_has_it_as_it_was() {
    let lenient = |content_type, text| body(content_type, text, true).only(&TAKEN).unwrap();
    assert_eq!(lenient(FORM, "image=a&image=b&x=y").text("image").unwrap().as_deref(), Some("a"));
    assert_eq!(lenient(JSON, r#"{"image": "a", "image": "b", "x": 1}"#).text("image").unwrap().as_deref(), Some("b"));
    let env = lenient(JSON, r#"{"env": {"A": "1", "B": "2", "A": "3"}}"#).object("env", None).unwrap();
    assert_eq!(env, [("B".to_owned(), "2".to_owned()), ("A".into(), "3".into())]);
}

#[test]
fn contract_24_who_takes_anything_hears_all_of_it() {
    let all = |content_type, text| body(content_type, text, false).all(&["a", "b"]).collect::<Vec<_>>();
    assert_eq!(all(FORM, "a=1&c=2&b=3&a=%ff&a=4"), [Ok("1".into()), Ok("3".into()), Ok("4".into())]);
    let json = r#"{"a": 1, "b": true, "a": null, "c": 5, "a": "6"}"#;
    assert_eq!(all(JSON, json), [Ok("1".into()), Err("true".into()), Ok("6".into())]);
}

//! JSON as it was sent: its objects keep every key, in order, repeated ones too. serde's own map keeps the last of two
//! and silently loses the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_json::Value;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// An object.
    Object(Vec<(String, Json)>),
    /// Anything else.
    Plain(Value),
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = match self {
            Self::Plain(value) => return value.fmt(f),
            Self::Object(pairs) => pairs,
        };
        f.write_str("{")?;
        for (at, (key, value)) in pairs.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}:{value}", Value::from(key.as_str()))?;
        }
        f.write_str("}")
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Every)
    }
}

struct Every;

impl<'de> Visitor<'de> for Every {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Json, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(Json::Plain)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Plain(text.into()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Plain(value.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Plain(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Plain(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Plain(number.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Plain(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_24_no_key_is_lost_and_all_else_is_as_serde_reads_it() {
        let text = r#"{"a":1,"b":{"c":"x","c":{"d":[1,{"e":null}]}},"a":-2.5,"f":[true,18446744073709551615]}"#;
        let read: Json = serde_json::from_str(text).unwrap();
        assert_eq!(read.to_string(), text);
        let Json::Object(pairs) = read else { panic!("{read}") };
        assert_eq!(pairs.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b", "a", "f"]);
        for text in ["[1,\"x\"]", "\"x\\n\"", "null", "-7", "{}", "{\"\":\"\"}"] {
            assert_eq!(serde_json::from_str::<Json>(text).unwrap().to_string(), text);
        }
        for bad in ["", "{", "{\"a\":1,}", "{a:1}", "{} x", &"{\"a\":".repeat(10_000)] {
            assert!(serde_json::from_str::<Json>(bad).is_err(), "{bad:.20} was taken");
        }
    }
}

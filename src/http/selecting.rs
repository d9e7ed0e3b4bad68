//! Selecting: reads from a query which containers a request is about, and which page of a list it wants.

use std::borrow::Cow;

use rocket::{
    Request,
    http::{Header, RawStr, Status, uri::Origin},
    request::{FromRequest, Outcome},
};

use super::error::ApiError;
use crate::{app::Page, domain::Selection};

/// The most that a page may have.
const MOST: usize = 1_000;

/// The parameters of a list of containers.
pub const LIST: [&str; 9] = with(["audit", "limit", "after"]);

/// The parameters of a request that destroys what it selects.
pub const CONFIRMED: [&str; 7] = with(["confirm"]);

/// The conditions of a selection, and what else a request takes.
const fn with<const MORE: usize, const ALL: usize>(more: [&'static str; MORE]) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < Selection::KEYS.len() { Selection::KEYS[at] } else { more[at - Selection::KEYS.len()] };
        at += 1;
    }
    all
}

/// The parameters of a request, decoded, in their order.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The value of a parameter that comes once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Which containers are meant.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn selection(&self) -> Result<Selection, ApiError> {
        // Where a lenient server lets others than labels come twice, the first counts, as in a form.
        let first = |at: usize, name: &str| name == "label" || !self.0[..at].iter().any(|(earlier, _)| earlier == name);
        let pairs = self.0.iter().enumerate().filter(|(at, (name, _))| first(*at, name));
        Ok(Selection::parse(pairs.map(|(_, (name, value))| (name.as_str(), value.as_str())))?)
    }

    /// Which page of a list is wanted.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn page(&self) -> Result<Page, ApiError> {
        let limit = self.get("limit").map(|text| {
            let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
            limit.ok_or_else(|| ApiError::invalid("limit", text, format!("it is a whole number, 1 to {MOST}")))
        });
        let after = self.get("after").map(|text| {
            let allowed = "take it from the Link that came with the page before";
            text.parse::<u32>().map(i64::from).map_err(|_| ApiError::invalid("after", text, allowed))
        });
        Ok(Page { after: after.transpose()?.unwrap_or_default(), limit: limit.transpose()? })
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Parameters {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ApiError> {
        let query = request.uri().query().map_or("", |query| query.as_str());
        let decoded = |text: &str| RawStr::new(text).url_decode().map(Cow::into_owned);
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
        match pairs {
            Ok(pairs) => Outcome::Success(Self(pairs)),
            Err::<_, std::str::Utf8Error>(_) => {
                let message = "The query is not valid UTF-8";
                Outcome::Error((Status::BadRequest, ApiError::new(Status::BadRequest, "invalid_utf8", message)))
            }
        }
    }
}

/// The page after the one that ends with `last`: the same question, from there on.
pub fn next(origin: &Origin<'_>, last: &str) -> Header<'static> {
    let query = origin.query().map_or("", |query| query.as_str());
    let same = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let query: String = same.map(|pair| format!("{pair}&")).collect();
    Header::new("Link", format!("<{}?{query}after={last}>; rel=\"next\"", origin.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_question() {
        let link = |uri: &str| next(&Origin::parse_owned(uri.to_owned()).unwrap(), "7").value().to_owned();
        assert_eq!(link("/v1/actions"), "</v1/actions?after=7>; rel=\"next\"");
        assert_eq!(
            link("/v1/actions?verb=stop&after=9&limit=2"),
            "</v1/actions?verb=stop&limit=2&after=7>; rel=\"next\""
        );
    }
}

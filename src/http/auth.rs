//! Decides who may use the API: anybody with the one pair of credentials.

use http_auth_basic::Credentials as Basic;
use rocket::{
    Request,
    http::Status,
    request::{FromRequest, Outcome},
};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::Actor;

/// The credentials that the server accepts.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Credentials {
    /// A user and a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// Whether `given` are the credentials. The time does not depend on how much of them is right (`CONTRACT.md` 2).
    fn accepts(&self, given: &Basic) -> bool {
        bool::from(equal(&self.user, &given.user_id) & equal(&self.password, &given.password))
    }
}

/// The longest credential whose length is hidden too.
const FRAME: usize = 512;

fn equal(ours: &str, theirs: &str) -> Choice {
    /// Texts are compared in frames of one size, so that not even the length shows.
    fn frame(text: &str) -> [u8; FRAME] {
        let mut frame = [0; FRAME];
        for (to, from) in frame.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        frame
    }
    if ours.len() > FRAME {
        return ours.as_bytes().ct_eq(theirs.as_bytes());
    }
    frame(ours).ct_eq(&frame(theirs)) & (ours.len() as u64).ct_eq(&(theirs.len() as u64))
}

fn given(request: &Request<'_>) -> Option<Result<Basic, ()>> {
    let header = request.headers().get_one("Authorization")?;
    Some(Basic::from_header(header.trim().to_owned()).map_err(drop))
}

/// The user name that came with a request, if any. Rubbish in the header has none. It is for the log, so a password in
/// its place is not repeated.
pub fn user_tried(request: &Request<'_>) -> Option<String> {
    let user = given(request)?.map(|basic| basic.user_id).unwrap_or_default();
    let is_password =
        request.rocket().state::<Credentials>().is_some_and(|ours| bool::from(equal(&ours.password, &user)));
    Some(if is_password { "(the password)".into() } else { user })
}

/// Whether a request has the right credentials. Rubbish in the header counts as none.
pub fn is_admin(request: &Request<'_>) -> bool {
    let given = given(request);
    let ours = request.rocket().state::<Credentials>();
    matches!((given, ours), (Some(Ok(given)), Some(ours)) if ours.accepts(&given))
}

/// Who asks, once their credentials are known to be right.
pub struct Caller(pub Actor);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Caller {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match request.rocket().state::<Credentials>().filter(|_| is_admin(request)) {
            Some(ours) => Outcome::Success(Self(Actor::admin(&ours.user))),
            None => Outcome::Error((Status::Unauthorized, ())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contract_02_only_the_whole_pair_is_accepted() {
        let ours = Credentials::new("admin", "spin:docker");
        let accepts = |user: &str, password: &str| ours.accepts(&Basic::new(user, password));
        assert!(accepts("admin", "spin:docker"));
        let long = "x".repeat(2_000);
        for (user, password) in
            [("admin", ""), ("", "spin:docker"), ("admin", "spin:dockerx"), ("admin\0", "spin:docker"), (&long, &long)]
        {
            assert!(!accepts(user, password), "{user:?} {password:?} was accepted");
        }
        let long_ours = Credentials::new("admin", "y".repeat(600));
        let other = "y".repeat(550) + &"z".repeat(50);
        assert!(!long_ours.accepts(&Basic::new("admin", &other)), "what lies beyond the frame counts too");
    }
}

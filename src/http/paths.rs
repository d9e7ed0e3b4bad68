//! The paths of a server, with their methods and users, taken from the routes themselves.

use rocket::{Route, http::Method};

/// Who may use a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Callers with credentials.
    Callers,
    /// Everybody but the sandboxes.
    Everybody,
    /// The sandboxes too.
    Sandboxes,
}

/// Managed by each server: its paths.
#[derive(Default)]
pub struct Paths(Vec<Path>);

struct Path {
    /// As the route declares it, such as `/v1/containers/<id>`.
    pattern: String,
    method: Method,
    whom: For,
}

/// The order in which `Allow` names methods.
const METHODS: [Method; 6] = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

impl Paths {
    /// Adds the paths of `routes`, which are for `whom`.
    pub fn and(mut self, whom: For, routes: &[Route]) -> Self {
        self.0.extend(routes.iter().map(|route| Path {
            pattern: route.uri.path().to_owned(),
            method: route.method,
            whom,
        }));
        self
    }

    /// The methods of `path`, as `Allow` names them, and who may use it; `None` if there is no such path.
    pub fn known(&self, path: &str) -> Option<(String, For)> {
        let known: Vec<&Path> = self.0.iter().filter(|known| matches(&known.pattern, path)).collect();
        let has = |method: Method| {
            // Rocket answers HEAD by the route of GET.
            known.iter().any(|k| k.method == method || (k.method == Method::Get && method == Method::Head))
        };
        let methods: Vec<_> = METHODS.into_iter().filter(|method| has(*method)).map(Method::as_str).collect();
        Some((methods.join(", "), known.first()?.whom))
    }

    /// Whether the sandboxes may use `path`.
    pub fn is_for_sandboxes(&self, path: &str) -> bool {
        self.known(path).is_some_and(|(_, whom)| whom == For::Sandboxes)
    }
}

/// Whether a route that declares `pattern` serves `path`: `<x>` stands for one part, `<x..>` for all that is left.
fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        if wanted.ends_with("..>") {
            return true;
        }
        match parts.next() {
            Some(part) if wanted.starts_with('<') && !part.is_empty() => {}
            Some(part) if part == wanted => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_its_paths_and_no_others() {
        for (pattern, path) in [
            ("/v1/containers", "/v1/containers"),
            ("/v1/containers/<id>", "/v1/containers/x"),
            ("/v1/containers/<id>/extend", "/v1/containers/x/extend"),
            ("/v1/images/<first>/<rest..>", "/v1/images/a"),
            ("/v1/images/<first>/<rest..>", "/v1/images/a/b:1"),
        ] {
            assert!(matches(pattern, path), "{pattern} has {path}");
        }
        for (pattern, path) in [
            ("/v1/containers", "/v1/containers/x"),
            ("/v1/containers/<id>", "/v1/containers"),
            ("/v1/containers/<id>", "/v1/containers/"),
            ("/v1/containers/<id>", "/v1/containers/x/y"),
            ("/v1/containers/<id>/extend", "/v1/containers//extend"),
            ("/v1/images/<first>/<rest..>", "/v1/images"),
        ] {
            assert!(!matches(pattern, path), "{pattern} does not have {path}");
        }
    }
}

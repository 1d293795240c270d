//! Which operation a request asks for, by its method and path.

use crate::operations::Operation;
use matchit::Router;

/// The operations of one server.
pub struct Routes<K: 'static> {
    paths: Router<Vec<&'static Operation<K>>>,
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'p, K> {
    /// With the part of the path that is `{id}`; empty where there is none.
    Operation(K, &'p str),
    /// The path takes other methods: the value of `Allow` (RFC 9110 section 10.2.1).
    OtherMethods(String),
    Nothing,
}

impl<K: Copy> Routes<K> {
    /// # Panics
    /// Two paths of the table cannot be distinguished.
    pub fn new(operations: &'static [Operation<K>]) -> Self {
        let mut paths: Vec<_> = operations.iter().map(|operation| operation.path).collect();
        paths.sort_unstable();
        paths.dedup();
        let mut router = Router::new();
        for path in paths {
            let here = operations.iter().filter(|operation| operation.path == path).collect();
            router.insert(path, here).expect("every path of the table is unlike the others");
        }
        Self { paths: router }
    }

    /// What `method` asks of `path`, which has no query.
    pub fn find<'p>(&self, method: &str, path: &'p str) -> Found<'p, K> {
        let Ok(found) = self.paths.at(path) else { return Found::Nothing };
        let takes = |operation: &&&Operation<K>| operation.method.names().contains(&method);
        match found.value.iter().find(takes) {
            Some(operation) => Found::Operation(operation.kind, found.params.get("id").unwrap_or_default()),
            None => {
                let methods: Vec<_> =
                    found.value.iter().flat_map(|operation| operation.method.names()).copied().collect();
                Found::OtherMethods(methods.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::{ADMIN, ANALYTICS, Admin, Analytics, Query};

    #[test]
    fn a_path_leads_to_its_operation_and_says_which_methods_it_takes() {
        let routes = Routes::new(ANALYTICS);
        assert_eq!(routes.find("GET", "/api/v1/trace/ab"), Found::Operation(Analytics::Query(Query::Trace), "ab"));
        assert_eq!(routes.find("HEAD", "/"), Found::Operation(Analytics::Page, ""));
        assert_eq!(routes.find("POST", "/v1/chunks"), Found::Operation(Analytics::Chunks, ""));
        assert_eq!(routes.find("GET", "/v1/chunks"), Found::OtherMethods("POST".to_owned()));
        assert_eq!(routes.find("DELETE", "/api/v1/ledger"), Found::OtherMethods("GET, HEAD".to_owned()));
        for path in ["/api/v1/trace/", "/api/v1/trace/a/b", "/api/v1", "/api/v1/ledger/", "", "*"] {
            assert_eq!(routes.find("GET", path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn every_operation_is_found() {
        let routes = Routes::new(ADMIN);
        for operation in ADMIN {
            for method in operation.method.names() {
                let id = if operation.path.contains("{id}") { "{id}" } else { "" };
                assert_eq!(routes.find(method, operation.path), Found::Operation::<Admin>(operation.kind, id));
            }
        }
    }
}

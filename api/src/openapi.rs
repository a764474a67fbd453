//! The OpenAPI document of the management listener, kept by hand in `openapi.json`.

use axum::http::header;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

/// `/api/openapi.json`
pub(crate) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_route_and_method_is_in_the_document() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(|method| (path.clone(), method.clone())).collect::<Vec<_>>()
            })
            .collect();
        // The router cannot be asked for its routes; its source can.
        let routed: BTreeSet<(String, String)> = include_str!("management.rs")
            .lines()
            .filter_map(|line| line.trim().strip_prefix(".route(\""))
            .flat_map(|line| {
                let (path, handlers) = line.split_once("\", ").unwrap();
                ["get", "post", "put", "patch", "delete"]
                    .into_iter()
                    .filter(|method| handlers.contains(&format!("{method}(")))
                    .map(|method| (path.to_owned(), method.to_owned()))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert!(routed.len() > 10);
        assert_eq!(routed, documented);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                        assert!(root.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                    }
                    map.values().for_each(|value| walk(value, root));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, root)),
                _ => {}
            }
        }
        let document = serde_json::from_str(DOCUMENT).unwrap();
        walk(&document, &document);
    }
}

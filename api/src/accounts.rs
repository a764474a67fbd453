//! `/api/accounts`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::problem;
use crate::management::{PageQuery, Shared};
use crate::{AccountChange, NewAccount, NodeError};

/// A JSON body that is refused with a problem document.
pub(crate) struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Body(value)),
            Err(error @ JsonRejection::JsonDataError(_)) => {
                Err(problem(StatusCode::UNPROCESSABLE_ENTITY, &error.body_text()))
            }
            Err(error) => Err(problem(error.status(), &error.body_text())),
        }
    }
}

pub(crate) async fn list(State(node): Shared, PageQuery(page): PageQuery) -> Result<impl IntoResponse, NodeError> {
    node.accounts().list(page).await.map(Json)
}

pub(crate) async fn add(State(node): Shared, Body(account): Body<NewAccount>) -> Result<impl IntoResponse, NodeError> {
    let added = node.accounts().add(account).await?;
    let mut response = (StatusCode::CREATED, Json(&added)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/accounts/{}", added.aor)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn import(
    State(node): Shared,
    Body(accounts): Body<Vec<NewAccount>>,
) -> Result<impl IntoResponse, NodeError> {
    node.accounts().import(accounts).await.map(Json)
}

pub(crate) async fn show(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.accounts().show(&aor).await.map(Json)
}

pub(crate) async fn change(
    State(node): Shared,
    Path(aor): Path<String>,
    Body(change): Body<AccountChange>,
) -> Result<impl IntoResponse, NodeError> {
    node.accounts().change(&aor, change).await.map(Json)
}

/// The query of a removal.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    #[serde(default)]
    erase: bool,
}

/// Removes an account, or erases its user, which is answered with what went.
pub(crate) async fn remove(
    State(node): Shared,
    Path(aor): Path<String>,
    removal: Result<Query<Removal>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(removal) = removal.map_err(|error| problem(StatusCode::BAD_REQUEST, &error.body_text()))?;
    if removal.erase {
        let receipt = node.erase(&aor).await.map_err(NodeError::into_response)?;
        return Ok(Json(receipt).into_response());
    }
    node.accounts().remove(&aor).await.map_err(NodeError::into_response)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn devices(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.devices(&aor).await.map(Json)
}

pub(crate) async fn sign_out(
    State(node): Shared,
    Path((aor, id)): Path<(String, String)>,
) -> Result<impl IntoResponse, NodeError> {
    node.sign_out(&aor, &id).await.map(Json)
}

pub(crate) async fn export(State(node): Shared, Path(aor): Path<String>) -> Result<impl IntoResponse, NodeError> {
    node.accounts().export(&aor).await.map(Json)
}

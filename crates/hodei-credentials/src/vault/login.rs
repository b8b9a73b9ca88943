//! Log-ins by each method, and their renewal.

use std::time::Duration;

use hodei_worker_core::{Error, ErrorKind, Result};
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    VaultAuth,
    client::{Request, encode},
    cluster::Route,
    error::Fault,
    session::Session,
    token::{Auth, Granted, Token, text_of},
};

pub(super) fn look_up() -> Request {
    Request::get("auth/token/lookup-self").quiet()
}

/// Gets a token that is not the one that is accepted no more.
pub(super) async fn log_in(session: &Session, old: Option<&Token>, generation: u64) -> Result<Token> {
    match &session.auth {
        VaultAuth::Token(source) => {
            let secret = text_of(&source.read(&*session.credentials).await?);
            if let Some(old) = old
                && old.secret.expose_secret() == secret.expose_secret()
            {
                let help = match source.may_change() {
                    true => "put a new token in its place, where this one was read",
                    false => {
                        "a token that is given once cannot be replaced: log in by a role, or have the token read from a file"
                    }
                };
                let error =
                    Error::new(ErrorKind::Unauthenticated, "the server accepts the log-in's token no more");
                return Err(error.with_help(help));
            }
            by_token(session, secret, generation).await
        }
        VaultAuth::AppRole { role_id, secret_id, mount } => {
            let secret = match secret_id {
                Some(source) => Some(text_of(&source.read(&*session.credentials).await?)),
                None => None,
            };
            let secret_id = secret.as_ref().map(|secret| secret.expose_secret());
            let body = AppRole { role_id, secret_id };
            let help = "is the secret of the role still good, and the role there?";
            by_method(session, mount, &body, generation, help).await
        }
        VaultAuth::Kubernetes { role, jwt, mount } => {
            let jwt = text_of(&jwt.read(&*session.credentials).await?);
            let body = Kubernetes { role, jwt: jwt.expose_secret() };
            let help = "is the service account bound to the role, its token still good, and the method's \
                        `kubernetes_host` right?";
            by_method(session, mount, &body, generation, help).await
        }
    }
}

#[derive(Serialize)]
struct AppRole<'a> {
    role_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Kubernetes<'a> {
    role: &'a str,
    jwt: &'a str,
}

async fn by_token(session: &Session, secret: SecretString, generation: u64) -> Result<Token> {
    let now = Instant::now();
    let told = session.look_up(&secret).await?;
    let mut token = Token {
        secret,
        generation,
        renewals: 0,
        since: now,
        lease: None,
        initial: Duration::ZERO,
        renewable: false,
        // Its policies may forbid that: its calls will tell whether it is accepted.
        is_blind: told.is_none(),
    };
    if let Some(told) = told.map(|told| told.data) {
        token.renewable = told.renewable;
        token.initial = Duration::from_secs(told.creation_ttl);
        token.lease = (told.ttl > 0).then(|| (now, Duration::from_secs(told.ttl)));
    }
    Ok(token)
}

async fn by_method(
    session: &Session,
    mount: &str,
    body: &impl Serialize,
    generation: u64,
    help: &'static str,
) -> Result<Token> {
    let request = Request::post(format!("auth/{}/login", encode(mount)), body)?.quiet();
    let now = Instant::now();
    // A log-in that nobody heard of ends by itself.
    let answer = session.cluster.send(&request, None, Route::Repeatable).await.map_err(Fault::into_error)?;
    if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(Error::new(ErrorKind::Unauthenticated, "the server refuses the log-in")
            .with_context("status", answer.status.as_u16())
            .with_context("path", &request.path)
            .with_help(help));
    }
    let Granted { auth } = answer.read(&request)?;
    let Auth { client_token, lease_duration, renewable } = auth;
    let initial = Duration::from_secs(lease_duration);
    let secret = client_token.0;
    // By the usual policies it may.
    let is_blind = session.look_up(&secret).await?.is_none();
    let lease = (lease_duration > 0).then_some((now, initial));
    Ok(Token { secret, generation, renewals: 0, since: now, lease, initial, renewable, is_blind })
}

/// Prolongs a token: what it is then, or `None` where the server does not do that any more.
pub(super) async fn renew(session: &Session, token: &Token) -> Result<Option<Token>> {
    #[derive(Serialize)]
    struct Nothing {}
    let request = Request::post("auth/token/renew-self", &Nothing {})?.quiet();
    let now = Instant::now();
    let sent = session.cluster.send(&request, Some(&token.secret), Route::Repeatable).await;
    let answer = sent.map_err(Fault::into_error)?;
    if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
        return Ok(None);
    }
    let Granted { auth } = answer.read(&request)?;
    let lease = Duration::from_secs(auth.lease_duration);
    Ok(Some(Token {
        secret: token.secret.clone(),
        renewals: token.renewals + 1,
        lease: (auth.lease_duration > 0).then_some((now, lease)),
        renewable: auth.renewable,
        // A token that was half over when we got it was given for longer at first.
        initial: token.initial.max(lease),
        ..*token
    }))
}

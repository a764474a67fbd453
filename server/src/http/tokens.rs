//! Tokens over HTTP: who signs in, and with what.

use std::sync::Arc;

use async_trait::async_trait;
use chappe_api::Peer;
use chappe_api::tokens::{TokenAnswer, TokenRefusal, TokenRequest, TokenService};

use crate::bearer::{Bearers, Granted, NotGranted};
use crate::core::{Core, epoch_seconds};
use crate::provisioning::{AutoConfig, Typed};
use crate::signout;

/// Signs in by password and one-time password.
pub struct SignInDoor {
    core: Arc<Core>,
    bearers: Arc<Bearers>,
    /// Sends passwords; unless no handsets are configured.
    handsets: Option<Arc<AutoConfig>>,
}

impl SignInDoor {
    pub fn new(core: Arc<Core>, bearers: Arc<Bearers>, handsets: Option<Arc<AutoConfig>>) -> SignInDoor {
        SignInDoor { core, bearers, handsets }
    }
}

#[async_trait]
impl TokenService for SignInDoor {
    fn send_password(&self, peer: Peer, number: &str) -> Result<String, TokenRefusal> {
        if self.core.admission.bans.is_banned(peer.remote.ip(), self.core.uptime_ms()) {
            return Err(TokenRefusal::Forbidden);
        }
        let handsets = self.handsets.as_ref().ok_or(TokenRefusal::Forbidden)?;
        handsets.send_password(number).map_err(refused)
    }

    async fn by_password(&self, session: &str, code: &str, asked: TokenRequest) -> Result<TokenAnswer, TokenRefusal> {
        let handsets = self.handsets.as_ref().ok_or(TokenRefusal::Forbidden)?;
        let aor = handsets.typed(session, code).map_err(refused)?;
        self.of_user(&aor, asked).await
    }

    async fn of_user(&self, aor: &str, asked: TokenRequest) -> Result<TokenAnswer, TokenRefusal> {
        let granted = self.bearers.grant(aor, &asked.name, &asked.scope, epoch_seconds()).await;
        granted.map(answer).map_err(not_granted)
    }

    async fn renew(&self, refresh_token: &str) -> Result<TokenAnswer, TokenRefusal> {
        self.bearers.renew(refresh_token, epoch_seconds()).await.map(answer).map_err(not_granted)
    }

    async fn revoke(&self, token: &str) -> Result<(), TokenRefusal> {
        match self.bearers.revoke(token, epoch_seconds()).await {
            Ok(gone) => {
                if let Some(gone) = gone {
                    signout::forget_flows(&self.core, &gone.aor);
                }
                Ok(())
            }
            Err(error) => Err(not_granted(error.into())),
        }
    }
}

fn answer(granted: Granted) -> TokenAnswer {
    TokenAnswer {
        access_token: granted.access,
        token_type: "Bearer",
        expires_in: granted.expires_in,
        refresh_token: granted.refresh,
        scope: granted.scope.into(),
    }
}

fn refused(typed: Typed) -> TokenRefusal {
    match typed {
        Typed::Wrong => TokenRefusal::Grant,
        Typed::Never => TokenRefusal::Forbidden,
        Typed::Later(seconds) => TokenRefusal::Later(seconds),
    }
}

fn not_granted(error: NotGranted) -> TokenRefusal {
    match error {
        NotGranted::Scope => TokenRefusal::Scope,
        NotGranted::Token => TokenRefusal::Grant,
        NotGranted::Store(error) => {
            tracing::error!(%error, "a sign-in could not be stored");
            TokenRefusal::Unavailable
        }
    }
}

//! Keeps an access token fresh, on top of the generated functions.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::watch;

use crate::{
    apis::{
        self,
        configuration::Configuration,
        tokens_api::{issue_token, revoke_token, IssueTokenParams, RevokeTokenParams},
    },
    models::TokenResponse,
};

/// Why there is no access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Signed out, or the refresh token is spent, expired or revoked: only a person signing in helps.
    SignInAgain(String),
    /// The server refused the request for a reason that trying again doesn't change, such as a wrong client.
    Refused {
        /// The error code.
        code: String,
        /// What went wrong, for the developer.
        description: String,
    },
    /// The server could not be reached in time. The session is still good: ask again later.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignInAgain(why) => write!(f, "sign in again: {why}"),
            Self::Refused { code, description } => write!(f, "{code}: {description}"),
            Self::Unavailable(why) => write!(f, "the authorization server is not available: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// How a session behaves; all but `client_id` may stay as [`Options::new`] sets it.
pub struct Options {
    /// The client's identifier.
    pub client_id: String,
    /// The secret of a confidential client.
    pub client_secret: Option<String>,
    /// How long a refresh may try: shorter than the server's grace of 60 s.
    pub patience: Duration,
    /// Called with every new answer before anybody sees its access token: store the refresh token there.
    pub keep: Box<dyn Fn(&TokenResponse) + Send + Sync>,
    /// The clock that lifetimes are measured with.
    pub now: Box<dyn Fn() -> Instant + Send + Sync>,
}

impl Options {
    /// Those of a public client.
    pub fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: None,
            patience: Duration::from_secs(20),
            keep: Box::new(|_| ()),
            now: Box::new(Instant::now),
        }
    }
}

/// One signed-in session. Its clones are the same session; any number of tasks may call it at once.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    server: Configuration,
    options: Options,
    state: Mutex<State>,
}

struct State {
    current: Current,
    /// What is under way: its result, once there is one.
    flight: Option<watch::Receiver<Option<Outcome>>>,
    ended: Option<Error>,
}

type Outcome = Result<String, Error>;

#[derive(Clone)]
struct Current {
    access_token: String,
    refresh_token: String,
    refresh_at: Instant,
    expires_at: Instant,
}

impl Current {
    fn understand(tokens: &TokenResponse, sent: Instant, previous: Option<String>) -> Result<Self, Error> {
        let Some(refresh_token) = tokens.refresh_token.clone().or(previous) else {
            return Err(Error::SignInAgain("there is no refresh token: this grant can't be kept fresh".into()));
        };
        let lifetime = Duration::from_secs(u64::try_from(tokens.expires_in).unwrap_or(0));
        // Early, and not at the same moment as every other process that started with this one.
        let late = lifetime.mul_f64(0.7 + 0.2 * fastrand::f64());
        let access_token = tokens.access_token.clone();
        Ok(Self { access_token, refresh_token, refresh_at: sent + late, expires_at: sent + lifetime })
    }
}

impl State {
    /// The request that is under way. One whose runtime ended before it did is none: nobody will announce its outcome.
    fn flight(&mut self) -> Option<&watch::Receiver<Option<Outcome>>> {
        self.flight.take_if(|flight| flight.has_changed().is_err());
        self.flight.as_ref()
    }
}

impl Session {
    /// Starts from what the server sent, for whichever grant, with a refresh token.
    pub fn new(server: Configuration, tokens: &TokenResponse, options: Options) -> Result<Self, Error> {
        let current = Current::understand(tokens, (options.now)(), None)?;
        let state = Mutex::new(State { current, flight: None, ended: None });
        Ok(Self(Arc::new(Inner { server, options, state })))
    }

    /// A fresh access token. The refresh goes on when the caller is dropped, because others may wait for it.
    pub async fn access_token(&self) -> Outcome {
        let flight = {
            let mut state = self.state();
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            let now = (self.0.options.now)();
            if now < state.current.refresh_at {
                return Ok(state.current.access_token.clone());
            }
            let flight = match state.flight() {
                Some(flight) => flight.clone(),
                None => self.start(&mut state, Act::Refresh),
            };
            // The token at hand is good until it expires, so nobody waits and no trouble is anybody's yet.
            if now < state.current.expires_at {
                return Ok(state.current.access_token.clone());
            }
            flight
        };
        landed(flight).await
    }

    /// Revokes the grant. From then on [`Session::access_token`] is [`Error::SignInAgain`].
    ///
    /// On an error the server has not done it: the session is as it was, so call again.
    pub async fn sign_out(&self) -> Result<(), Error> {
        loop {
            let (flight, ours) = {
                let mut state = self.state();
                if state.ended.is_some() {
                    return Ok(());
                }
                match state.flight() {
                    Some(flight) => (flight.clone(), false),
                    None => (self.start(&mut state, Act::Revoke), true),
                }
            };
            match landed(flight).await {
                Err(Error::SignInAgain(_)) => return Ok(()),
                Err(failed) if ours => return Err(failed),
                _ => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, state: &mut State, act: Act) -> watch::Receiver<Option<Outcome>> {
        let (announce, flight) = watch::channel(None);
        state.flight = Some(flight.clone());
        let (session, current) = (self.clone(), state.current.clone());
        tokio::spawn(async move {
            let outcome = match act {
                Act::Refresh => session.refresh(current).await,
                Act::Revoke => session.revoke(current).await,
            };
            let mut state = session.state();
            state.flight = None;
            let outcome = match outcome {
                Ok(next) => {
                    state.current = next;
                    Ok(state.current.access_token.clone())
                }
                Err(error) => {
                    // A client that may not revoke may still have a session.
                    let refused = matches!((&error, act), (Error::Refused { .. }, Act::Refresh));
                    if refused || matches!(error, Error::SignInAgain(_)) {
                        state.ended = Some(error.clone());
                    }
                    Err(error)
                }
            };
            drop(state);
            let _ = announce.send(Some(outcome));
        });
        flight
    }

    async fn refresh(&self, current: Current) -> Result<Current, Error> {
        let options = &self.0.options;
        let form = IssueTokenParams {
            grant_type: "refresh_token".into(),
            refresh_token: Some(current.refresh_token.clone()),
            client_id: Some(options.client_id.clone()),
            client_secret: options.client_secret.clone(),
            ..IssueTokenParams::default()
        };
        let answer = self.answer(|| issue_token(&self.0.server, form.clone())).await;
        let (tokens, sent) = answer.map_err(|error| match error {
            Error::Refused { code, description } if code == "invalid_grant" => Error::SignInAgain(description),
            other => other,
        })?;
        let next = Current::understand(&tokens, sent, Some(current.refresh_token))?;
        (options.keep)(&tokens);
        Ok(next)
    }

    async fn revoke(&self, current: Current) -> Result<Current, Error> {
        let options = &self.0.options;
        let form = RevokeTokenParams {
            token: current.refresh_token,
            client_id: Some(options.client_id.clone()),
            client_secret: options.client_secret.clone(),
            ..RevokeTokenParams::default()
        };
        self.answer(|| revoke_token(&self.0.server, form.clone())).await?;
        Err(Error::SignInAgain("signed out".into()))
    }

    /// Sends the same request until there is an answer: the server gives the same successor again.
    async fn answer<T, E, F>(&self, send: impl Fn() -> F) -> Result<(T, Instant), Error>
    where
        F: std::future::Future<Output = Result<T, apis::Error<E>>>,
    {
        let give_up = Instant::now() + self.0.options.patience;
        // The generated functions don't show Retry-After.
        let mut pause = Duration::from_millis(50);
        loop {
            let sent = (self.0.options.now)();
            let trouble = match send().await {
                Ok(answer) => return Ok((answer, sent)),
                Err(apis::Error::ResponseError(response)) => {
                    if response.status.is_client_error() {
                        if let Ok(Refusal { error, error_description }) = serde_json::from_str(&response.content) {
                            return Err(Error::Refused { code: error, description: error_description });
                        }
                    }
                    format!("status {}", response.status)
                }
                Err(apis::Error::Reqwest(lost)) => lost.to_string(),
                Err(apis::Error::Serde(unreadable)) => unreadable.to_string(),
                Err(apis::Error::Io(lost)) => lost.to_string(),
            };
            if Instant::now() + pause > give_up {
                return Err(Error::Unavailable(trouble));
            }
            tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            pause = (2 * pause).min(Duration::from_secs(5));
        }
    }
}

#[derive(Clone, Copy)]
enum Act {
    Refresh,
    Revoke,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: String,
}

async fn landed(mut flight: watch::Receiver<Option<Outcome>>) -> Outcome {
    let lost = || Err(Error::Unavailable("the runtime that refreshed has ended".into()));
    match flight.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or_else(lost),
        Err(_) => lost(),
    }
}

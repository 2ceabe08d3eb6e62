//! Uses the Rust SDK against a live server; one line for each call that went as it should.

use regrant_client::{
    apis::{
        Error,
        configuration::Configuration,
        tokens_api::{
            self, IntrospectTokenParams, IssueTokenError, IssueTokenParams, RevokeTokenParams, introspect_token,
            issue_token, revoke_token,
        },
    },
    models::{TokenResponse, issue_token_error::Error as Code},
};

type Issued = Result<TokenResponse, Error<tokens_api::IssueTokenError>>;

struct Server(Configuration);

impl Server {
    async fn password(&self, password: &str) -> Issued {
        let form = IssueTokenParams {
            username: Some("demo".into()),
            password: Some(password.into()),
            ..form("password")
        };
        issue_token(&self.0, form).await
    }

    async fn refresh(&self, tokens: &TokenResponse) -> Issued {
        let form = IssueTokenParams { refresh_token: tokens.refresh_token.clone(), ..form("refresh_token") };
        issue_token(&self.0, form).await
    }

    async fn active(&self, token: &str) -> bool {
        let form = IntrospectTokenParams {
            token: token.into(),
            token_type_hint: None,
            client_id: Some("demo".into()),
            client_secret: Some("demo-secret".into()),
        };
        introspect_token(&self.0, form).await.unwrap().active
    }
}

fn form(grant_type: &str) -> IssueTokenParams {
    IssueTokenParams {
        grant_type: grant_type.into(),
        client_id: Some("demo".into()),
        client_secret: Some("demo-secret".into()),
        ..Default::default()
    }
}

/// The code of a refusal, typed.
fn code(answer: Issued) -> Code {
    match answer {
        Err(Error::ResponseError(response)) => match response.entity {
            Some(IssueTokenError::Status400(error)) => error.error,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::main]
async fn main() {
    let base_path = std::env::var("REGRANT_URL").unwrap();
    let server = Server(Configuration { base_path, ..Configuration::default() });

    let first = server.password("demo-password").await.unwrap();
    assert_eq!(first.token_type, "Bearer");
    println!("ok password");
    let second = server.refresh(&first).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    println!("ok refresh");
    let third = server.refresh(&second).await.unwrap();
    println!("ok rotated");
    assert!(server.active(&third.access_token).await);
    println!("ok introspect");
    assert_eq!(code(server.refresh(&first).await), Code::InvalidGrant);
    println!("ok replay");
    let again = server.password("demo-password").await.unwrap();
    let form = RevokeTokenParams {
        token: again.refresh_token.unwrap(),
        token_type_hint: None,
        client_id: Some("demo".into()),
        client_secret: Some("demo-secret".into()),
    };
    revoke_token(&server.0, form).await.unwrap();
    assert!(!server.active(&again.access_token).await);
    println!("ok revoke");
    assert_eq!(code(server.password("wrong").await), Code::InvalidGrant);
    println!("ok typed-error");
}

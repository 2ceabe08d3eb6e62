//! `regrant dev`: the whole server with no configuration, for trying out.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;

use super::{Outcome, Refused, asked_to_stop, assemble, start_log};
use crate::{
    App,
    client::{Client, ClientName, ClientType, GrantType, RedirectUri, RegisteredSecret},
    clock::{Clock, random_bytes},
    config::{Config, ScopeDescription},
    ids::{ClientId, Username},
    pkce::CodeChallenge,
    scope::Scope,
    secret::{ClientSecretHash, SecretText, ServerSecret},
    server::{self, Listeners},
    store::{self, RotationPolicy},
    token::keys::FirstKey,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Where to listen; loopback only
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The store's URL [default: an embedded one in the data folder]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The folder for the embedded store and the secret
    #[arg(long, value_name = "DIR", default_value = "regrant-data")]
    data: PathBuf,
}

/// The embedded store of a data folder.
pub(super) fn store_url(data: &Path) -> String {
    format!("sqlite:{}", data.join("regrant.db").display())
}

/// The secret of a data folder.
pub(super) fn secret_file(data: &Path) -> PathBuf {
    data.join("secret")
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let mut config = Config::read(None)?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    if let Some(url) = arguments.store {
        config.store = url;
    } else if config.store == Config::default().store {
        config.store = store_url(&arguments.data);
    }
    if !config.listen.ip().is_loopback() {
        return Err(Refused(format!(
            "dev has demo records with known passwords, so it listens on loopback only, not on {}. Use regrant serve",
            config.listen
        )));
    }
    let public = server::listen(config.listen).map_err(|error| {
        Refused(format!("cannot listen on {}: {error}. Choose another with --listen", config.listen))
    })?;
    config.listen = public.local_addr()?;
    config.validate()?;
    describe_demo_scopes(&mut config);
    if config.administrators.is_empty() {
        config.administrators.push("demo".into());
    }
    let _log = start_log(&config)?;

    let secret = match config.secret_file.is_some() || config.secret.is_some() {
        true => config.server_secret()?,
        false => own_secret(&arguments.data)?,
    };
    let store = store::open(&config.store, Clock::system()).await?;
    let app = assemble(&config, &secret, store, FirstKey::Make, true).await?;
    create_demo_records(&app).await?;

    let management = match server::listen(config.management_listen) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(address = %config.management_listen, %error, "no health page: the address is taken");
            None
        }
    };
    let stop = asked_to_stop()?;
    print_welcome(&app, &config);
    server::run(app, &config, Listeners { public, management }, stop).await?;
    Ok(())
}

/// The secret of the data folder; made on first start, readable by its owner only.
fn own_secret(data: &Path) -> Result<ServerSecret, Refused> {
    let file = secret_file(data);
    if !file.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
        let secret = ServerSecret::generate();
        let mut created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        created.write_all(secret.to_text().expose().as_bytes())?;
        created.sync_all()?;
    }
    Ok(ServerSecret::parse(&fs::read_to_string(&file)?)?)
}

/// What the demo scopes mean, where the settings don't say it.
fn describe_demo_scopes(config: &mut Config) {
    for (token, en, de) in [
        ("profile", "See who you are", "Erfahren, wer Sie sind"),
        ("read", "Read your data", "Ihre Daten lesen"),
        ("write", "Change your data", "Ihre Daten ändern"),
    ] {
        let description = ScopeDescription { en: Some(en.into()), de: Some(de.into()) };
        config.scopes.entry(token.into()).or_insert(description);
    }
}

/// The demo client and user of the design; those that are there stay as they are.
async fn create_demo_records(app: &Arc<App>) -> Outcome {
    use GrantType::{AuthorizationCode, ClientCredentials, DeviceCode, Password, RefreshToken};
    let now = app.store.now();
    let client = |id: &str, name: &str, client_type, secrets: Vec<RegisteredSecret>, grant_types: Vec<GrantType>| {
        Ok::<_, Refused>(Client {
            id: ClientId::parse(id)?,
            name: Some(ClientName::parse(name)?),
            client_type,
            secrets,
            grant_types,
            scope: Scope::parse("profile read write")?,
            redirect_uris: vec![
                RedirectUri::parse("http://127.0.0.1/callback")?,
                RedirectUri::parse("http://127.0.0.1/docs/oauth2-redirect.html")?,
            ],
            audience: vec![],
            cookie_mode: client_type == ClientType::Public,
            origins: vec![],
            rotation: RotationPolicy::Rotate,
            grace_seconds: None,
            refresh_idle_seconds: None,
            refresh_absolute_seconds: None,
            disabled: false,
            epoch: 1,
            version: 1,
            created_at: now,
            demo: true,
        })
    };
    let hash = ClientSecretHash::of(&SecretText::new("demo-secret".into()));
    let secret = RegisteredSecret { hash, expires_at: None };
    let confidential = vec![Password, RefreshToken, ClientCredentials, AuthorizationCode, DeviceCode];
    let public = vec![AuthorizationCode, RefreshToken, Password, DeviceCode];
    app.store.create_client(&client("demo", "Demo App", ClientType::Confidential, vec![secret], confidential)?).await?;
    app.store.create_client(&client("demo-public", "Demo Browser App", ClientType::Public, vec![], public)?).await?;

    let username = Username::parse("demo")?;
    if app.store.owner(crate::ids::OwnerId::of(&username)).await?.is_none() {
        let mut owner = app.passwords.new_owner(username, &SecretText::new("demo-password".into()), now).await?;
        owner.demo = true;
        app.store.create_owner(&owner).await?;
    }
    Ok(())
}

fn print_welcome(app: &App, config: &Config) {
    let issuer = app.issuer.url();
    let verifier = SecretText::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()));
    let challenge = CodeChallenge::of_verifier(&verifier).map(CodeChallenge::to_text).unwrap_or_default();
    println!(
        "Regrant {version} is running for development, with demo records, on {store}.

  Swagger UI   {issuer}/docs
  Browser app  {issuer}/demo  (cookie mode)
  Device       {issuer}/demo/device  (plays a television)
  Account      {issuer}/account  (sign in as demo / demo-password)
  Operators    {issuer}/admin  (the same)
  Metadata     {issuer}/.well-known/oauth-authorization-server
  OpenAPI      {issuer}/openapi.yaml

Get a token pair:

  curl -s -u demo:demo-secret {issuer}/oauth2/token \\
    -d grant_type=password -d username=demo -d password=demo-password

Refresh it (paste the refresh_token of the last answer):

  curl -s -u demo:demo-secret {issuer}/oauth2/token \\
    -d grant_type=refresh_token -d refresh_token=PASTE_IT_HERE

Get a token for the client itself:

  curl -s -u demo:demo-secret {issuer}/oauth2/token -d grant_type=client_credentials

Log in as apps do in a browser, by authorization code and PKCE: open this, sign in and allow, then paste the code that is in
the address you arrive at. Nothing listens there, so the browser shows an error; the address bar has the code all the same.

  {issuer}/oauth2/authorize?response_type=code&client_id=demo-public&redirect_uri=http://127.0.0.1/callback&code_challenge={challenge}&code_challenge_method=S256
  curl -s {issuer}/oauth2/token -d grant_type=authorization_code -d client_id=demo-public \\
    -d redirect_uri=http://127.0.0.1/callback -d code_verifier={verifier} \\
    -d code=PASTE_IT_HERE

Log in on a device: open the verification_uri_complete of the first answer, then poll with its device_code.

  curl -s {issuer}/oauth2/device_authorization -d client_id=demo-public
  curl -s {issuer}/oauth2/token -d client_id=demo-public -d device_code=PASTE_IT_HERE \\
    -d grant_type=urn:ietf:params:oauth:grant-type:device_code

Stop with Ctrl-C.",
        version = env!("CARGO_PKG_VERSION"),
        store = config.store,
        verifier = verifier.expose(),
    );
}

//! Store URLs: one Redis server, Sentinels that know the master, or a cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// How servers are reached: the same for all of a deployment but for the address.
#[derive(Clone, Debug)]
pub(super) struct Access(ConnectionInfo);

impl Access {
    /// The server at an address, `HOST:PORT`.
    pub(super) fn to(&self, address: &str) -> Option<ConnectionInfo> {
        let (host, port) = address.rsplit_once(':')?;
        let (host, port) = (host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?);
        let address = match self.0.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Some(self.0.clone().set_addr(address))
    }

    /// The same without credentials and database: Sentinels have their own.
    fn without_credentials(&self) -> Self {
        let settings = redis::RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        Self(self.0.clone().set_redis_settings(settings))
    }
}

/// What a store URL names.
#[derive(Clone, Debug)]
pub(super) enum Deployment {
    /// One server, which may have replicas that somebody else promotes.
    Single { server: ConnectionInfo },
    /// Sentinels that name the current master.
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String, access: Access },
    /// Some nodes of a cluster; they name the others.
    Cluster { seeds: Vec<String>, access: Access },
}

/// The forms of a store URL, for whoever got it wrong.
pub(super) const FORMS: &str = "redis://[USER:PASSWORD@]HOST:PORT[/DB], \
    redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT,…/MASTER[/DB][?sentinel_password=PASSWORD] or \
    redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT,…; with rediss in place of redis for TLS";

impl Deployment {
    /// Whether a store URL is one of Redis.
    pub(super) fn is_meant(url: &str) -> bool {
        url.split_once("://")
            .is_some_and(|(scheme, _)| ["redis", "rediss"].contains(&scheme.split('+').next().unwrap_or_default()))
    }

    /// Reads a store URL. The refusal does not repeat it, because it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let refused = || format!("the store URL must be {FORMS}");
        let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
        let (transport, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !["redis", "rediss"].contains(&transport) {
            return Err(refused());
        }
        if kind.is_empty() {
            return Ok(Self::Single { server: server(url)? });
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let default_port = if kind == "sentinel" { 26379 } else { 6379 };
        let addresses = hosts
            .split(',')
            .map(|host| with_port(host, default_port).ok_or_else(refused))
            .collect::<Result<Vec<String>, String>>()?;
        let access = |database: &str| -> Result<Access, String> {
            Ok(Access(server(&format!("{transport}://{credentials}{}/{database}", addresses[0]))?))
        };
        match kind {
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(refused());
                }
                let access = access(database)?;
                let mut own = access.without_credentials();
                for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
                    let settings = own.0.redis_settings().clone();
                    own.0 = own.0.set_redis_settings(match &*name {
                        "sentinel_username" => settings.set_username(value),
                        "sentinel_password" => settings.set_password(value),
                        _ => return Err(refused()),
                    });
                }
                let sentinels = addresses.iter().filter_map(|address| own.to(address)).collect();
                Ok(Self::Sentinel { sentinels, master: master.to_owned(), access })
            }
            "cluster" if path.is_empty() && query.is_empty() => {
                let access = access("")?;
                Ok(Self::Cluster { seeds: addresses, access })
            }
            _ => Err(refused()),
        }
    }
}

/// One server of a plain URL, spoken to with RESP3: changes of clients arrive as pushes.
fn server(url: &str) -> Result<ConnectionInfo, String> {
    let info = url.into_connection_info().map_err(|error| format!("the store URL is not valid: {error}"))?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

/// `HOST:PORT`, with brackets around an IPv6 address kept.
fn with_port(host: &str, default: u16) -> Option<String> {
    let after_address = host.rsplit(']').next().unwrap_or(host);
    let (name, port) = match after_address.rsplit_once(':') {
        Some((_, port)) => (&host[..host.len() - port.len() - 1], port.parse().ok()?),
        None => (host, default),
    };
    (!name.is_empty()).then(|| format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Deployment {
        Deployment::parse(url).unwrap()
    }

    #[test]
    fn sentinels_share_the_credentials_of_nobody() {
        let url = "redis+sentinel://user:p%40ss@one:1,two,[::1]:3/main/2?sentinel_password=s%26s";
        let Deployment::Sentinel { sentinels, master, access } = parse(url) else { panic!("not Sentinel") };
        assert_eq!(master, "main");
        let addresses: Vec<String> = sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        assert_eq!(addresses, ["one:1", "two:26379", "::1:3"]);
        assert_eq!(sentinels[1].redis_settings().username(), None);
        assert_eq!(sentinels[1].redis_settings().password(), Some("s&s"));
        assert_eq!(sentinels[1].redis_settings().db(), 0);
        let node = access.to("10.0.0.1:7000").unwrap();
        assert_eq!(node.addr().to_string(), "10.0.0.1:7000");
        assert_eq!(node.redis_settings().username(), Some("user"));
        assert_eq!(node.redis_settings().password(), Some("p@ss"));
        assert_eq!(node.redis_settings().db(), 2);
    }

    #[test]
    fn a_cluster_over_tls_reaches_every_node_over_tls() {
        let Deployment::Cluster { seeds, access } = parse("rediss+cluster://:secret@one,two:7001") else {
            panic!("not a cluster")
        };
        assert_eq!(seeds, ["one:6379", "two:7001"]);
        let node = access.to("three:7002").unwrap();
        assert!(
            matches!(node.addr(), ConnectionAddr::TcpTls { host, port: 7002, insecure: false, .. } if host == "three")
        );
        assert_eq!(node.redis_settings().password(), Some("secret"));
    }

    #[test]
    fn one_server_is_one_server() {
        let Deployment::Single { server } = parse("redis://127.0.0.1:7000/3") else { panic!("not one server") };
        assert_eq!(server.addr().to_string(), "127.0.0.1:7000");
        assert_eq!(server.redis_settings().db(), 3);
    }

    #[test]
    fn a_refusal_names_the_forms_and_no_password() {
        for url in [
            "redis+sentinel://:hidden@one:1",
            "redis+sentinel://:hidden@one:1/",
            "redis+sentinel://:hidden@one:port/main",
            "redis+sentinel://:hidden@one:1,/main",
            "redis+sentinel://:hidden@one:1/main?other=1",
            "redis+cluster://:hidden@one:1/2",
            "redis+cluster://:hidden@",
            "redis+other://:hidden@one:1",
            "redis://:hidden@[",
            "http://:hidden@one:1",
        ] {
            let refusal = Deployment::parse(url).unwrap_err();
            assert!(!refusal.contains("hidden") && refusal.contains("store URL"), "{url}: {refusal}");
        }
    }
}

//! What every request brings along: an id for the log, the client's address, the headers.

use std::{fmt, net::IpAddr, sync::OnceLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::{
    Addr, FromRequest, Request, RequestBody, Response,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method,
        header::{ACCEPT, USER_AGENT},
    },
};

use crate::{clock::unique_bytes, ids::ClientId, resource_owner::LoginSource, store::Origin};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The context of one request.
#[derive(Debug)]
pub struct RequestContext {
    /// Under this id the log tells more.
    pub request_id: RequestId,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The headers.
    pub headers: HeaderMap,
    /// The client, once it is authenticated.
    pub client: ClientSlot,
    /// What kind of grant is asked for, once that is known.
    pub grant_type: OnceLock<&'static str>,
    origin: OnceLock<Origin>,
}

/// Names a request in the log and in its response: 12 bytes as base64url.
#[derive(Clone, Copy, Debug)]
pub struct RequestId([u8; 16]);

impl RequestId {
    fn new() -> Self {
        let mut text = [b'-'; 16];
        // 12 bytes are 16 characters.
        drop(URL_SAFE_NO_PAD.encode_slice(&unique_bytes()[..12], &mut text));
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    fn header(&self) -> HeaderValue {
        // base64url is fit for a header.
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Filled once the client is known, so that the log names it also when the request fails later.
#[derive(Debug, Default)]
pub struct ClientSlot(OnceLock<ClientId>);

impl ClientSlot {
    /// Notes who the client is.
    pub fn set(&self, client: ClientId) {
        // Set once for each request; a second value would be the same.
        drop(self.0.set(client));
    }

    /// Who the client is, if that is known.
    pub fn get(&self) -> Option<&ClientId> {
        self.0.get()
    }
}

impl RequestContext {
    /// The context of a request, with its headers.
    pub fn new(identity: Identity, headers: HeaderMap) -> Self {
        Self {
            request_id: identity.request_id,
            address: identity.address,
            headers,
            client: ClientSlot::default(),
            grant_type: OnceLock::new(),
            origin: OnceLock::new(),
        }
    }

    /// The context of a request that others go on with.
    pub fn of(request: &Request) -> Self {
        // `front.rs` gave it one.
        let identity = request.extensions().get::<Identity>().copied().unwrap_or_else(|| Identity::of(request, &[]));
        Self::new(identity, request.headers().clone())
    }

    /// The context of a browser that opens an address for a person to read: it asks for HTML by name, which no client of
    /// the API does.
    pub fn of_page_reader(request: &Request) -> Option<Self> {
        let mut accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let reads = request.method() == Method::GET && accepted.any(|value| value.contains("text/html"));
        reads.then(|| Self::of(request))
    }

    /// Where the request came from, as a grant remembers it.
    pub fn origin(&self) -> &Origin {
        let agent = || self.headers.get(USER_AGENT).map_or(b"".as_slice(), HeaderValue::as_bytes);
        self.origin.get_or_init(|| Origin::new(self.address, agent()))
    }
}

impl RequestContext {
    /// Where the request came from, for the counting of guesses.
    pub fn source(&self) -> LoginSource {
        LoginSource { address: self.address, ..Default::default() }
    }
}

impl<'a> FromRequest<'a> for RequestContext {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self::of(request))
    }
}

/// Which request it is, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    request_id: RequestId,
    address: Option<IpAddr>,
}

impl Identity {
    /// Gives a request an id.
    pub fn of(request: &Request, trusted: &[IpAddr]) -> Self {
        Self { request_id: RequestId::new(), address: client_address(request, trusted) }
    }

    /// The header that names the request in its response.
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        (REQUEST_ID, self.request_id.header())
    }
}

/// Where a request came from, if the connection says so.
fn client_address(request: &Request, trusted: &[IpAddr]) -> Option<IpAddr> {
    let Addr::SocketAddr(peer) = request.remote_addr().0 else { return None };
    Some(forwarded_client(peer.ip().to_canonical(), request.headers(), trusted))
}

/// The peer's address; the last forwarded one that no trusted proxy has, when the peer is a trusted proxy.
/// Anybody else's `X-Forwarded-For` says nothing, and so does what stands before it, which a client may have made up.
pub fn forwarded_client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    if !trusted.contains(&peer) {
        return peer;
    }
    let mut hops = Vec::new();
    for line in headers.get_all(FORWARDED_FOR) {
        // A line that can't be read hides who came before it.
        let list = line.to_str().unwrap_or("unreadable");
        hops.extend(list.split(',').map(|hop| hop.trim().parse().ok().map(|hop: IpAddr| hop.to_canonical())));
    }
    let client = hops.into_iter().rev().find(|hop| hop.is_none_or(|hop| !trusted.contains(&hop)));
    client.flatten().unwrap_or(peer)
}

/// The id that a response names.
pub fn request_id(response: &Response) -> String {
    response.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

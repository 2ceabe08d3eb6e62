//! What the administration page says, as a struct; the values are in the files of the languages.

use crate::store::RevocationReason;

/// The administration page.
#[derive(Debug)]
pub struct AdminTexts {
    /// The heading.
    pub title: &'static str,
    /// Names the links between its parts.
    pub parts: &'static str,
    /// A part.
    pub overview: &'static str,
    /// A part.
    pub users: &'static str,
    /// A part.
    pub clients: &'static str,
    /// Who acts.
    pub signed_in_as: fn(&str) -> String,
    /// Above the plots.
    pub last_hours: &'static str,
    /// Whose figures they are.
    pub own_figures: &'static str,
    /// When there are none yet.
    pub no_figures: &'static str,
    /// A plot.
    pub requests: &'static str,
    /// What it shows: granted, refused, unavailable, and the most in a minute.
    pub requests_summary: fn(&Tally) -> String,
    /// An area.
    pub granted: &'static str,
    /// An area.
    pub refused: &'static str,
    /// An area.
    pub unavailable: &'static str,
    /// A plot.
    pub replays: &'static str,
    /// What it shows.
    pub replays_summary: fn(&Tally) -> String,
    /// A plot.
    pub queue: &'static str,
    /// What it shows: the longest queue, and how long it may be.
    pub queue_summary: fn(u64, usize) -> String,
    /// Opens the table.
    pub as_table: &'static str,
    /// A column: from when on.
    pub from: &'static str,
    /// A column: what was used twice.
    pub replays_column: &'static str,
    /// A column: the longest queue.
    pub queue_column: &'static str,
    /// Above the signing keys.
    pub keys: &'static str,
    /// How they are replaced.
    pub keys_advice: &'static str,
    /// What a key does, by its state, and the seconds since or until it signs.
    pub key_state: fn(&str, i64) -> String,
    /// The label of the search for users.
    pub search_users: &'static str,
    /// The label of the search for clients.
    pub search_clients: &'static str,
    /// The button.
    pub search: &'static str,
    /// Nobody has such a name.
    pub no_users: &'static str,
    /// No client has such a name.
    pub no_clients: &'static str,
    /// The next page.
    pub more: &'static str,
    /// Back to the first page.
    pub first_page: &'static str,
    /// A mark.
    pub active: &'static str,
    /// A mark.
    pub disabled: &'static str,
    /// Before the time of creation.
    pub created: &'static str,
    /// A button.
    pub disable: &'static str,
    /// A button.
    pub enable: &'static str,
    /// A button.
    pub log_out: &'static str,
    /// What the buttons of a user do.
    pub user_advice: &'static str,
    /// Instead of the buttons, on one's own entry.
    pub yourself: &'static str,
    /// Above the grants of a user.
    pub grants: &'static str,
    /// There are none.
    pub no_grants: &'static str,
    /// There are more than these.
    pub more_grants: fn(usize) -> String,
    /// A button.
    pub revoke: &'static str,
    /// A mark, by the state of a grant.
    pub grant_state: fn(&str) -> &'static str,
    /// Before the reason for the end of a grant.
    pub because: &'static str,
    /// The reason itself.
    pub reason: fn(RevocationReason) -> &'static str,
    /// The reason when the owner has changed since.
    pub owner_changed: &'static str,
    /// What a client of this kind is.
    pub kind: fn(crate::client::ClientType) -> &'static str,
    /// What the buttons of a client do.
    pub client_advice: &'static str,
    /// What each form has done, by the word in the page's address.
    pub done: &'static [(&'static str, &'static str)],
}

/// The sums of the last hours.
#[derive(Debug, Default)]
pub struct Tally {
    /// Token requests that were granted.
    pub granted: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that the server could not answer.
    pub unavailable: u64,
    /// The most token requests in one minute.
    pub most: u64,
    /// What was used twice.
    pub replays: u64,
}

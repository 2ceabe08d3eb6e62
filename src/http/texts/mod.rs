//! What the pages say, in each language: one struct, one value of it per language, so that a missing text doesn't compile.
//!
//! To add a language: a file like `en.rs`, a variant of [`Language`], and its line in [`Language::ALL`].
//!
//! Not here: where the texts stand, see `pages/*.html`; the error texts of the wire, see `error.rs`.

mod account;
mod admin;
mod de;
mod en;

pub use self::{
    account::AccountTexts,
    admin::{AdminTexts, Tally},
};
use poem::http::{HeaderMap, header};

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English, when the browser asks for nothing that we speak.
    English,
    /// German.
    German,
}

impl Language {
    const ALL: [(Self, &'static Texts); 2] = [(Self::English, &en::TEXTS), (Self::German, &de::TEXTS)];

    /// The language that a browser likes best (RFC 9110 §12.5.4).
    pub fn of(headers: &HeaderMap) -> Self {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut best = (0.0, Self::English);
        for range in wanted.split(',').take(32) {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default();
            let primary = tag.split('-').next().unwrap_or_default();
            let quality =
                parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0_f32), |text| text.parse().ok());
            let known = Self::ALL.iter().find(|(_, texts)| texts.lang.eq_ignore_ascii_case(primary));
            if let (Some(quality), Some((language, _))) = (quality, known)
                && quality > best.0
            {
                best = (quality, *language);
            }
        }
        best.1
    }

    /// What the pages say in it.
    pub fn texts(self) -> &'static Texts {
        Self::ALL.iter().find(|(language, _)| *language == self).map_or(&en::TEXTS, |(_, texts)| texts)
    }
}

/// Everything that the pages say, page by page.
#[derive(Debug)]
pub struct Texts {
    /// The language's tag, for the `lang` attribute.
    pub lang: &'static str,
    /// The page of a request that went wrong.
    pub error: ErrorTexts,
    /// The sign-in page.
    pub login: LoginTexts,
    /// The sign-out page.
    pub logout: LogoutTexts,
    /// The consent page.
    pub consent: ConsentTexts,
    /// The pages of a login on a device.
    pub device: DeviceTexts,
    /// The account page.
    pub account: AccountTexts,
    /// The administration page.
    pub admin: AdminTexts,
}

/// The sign-in page.
#[derive(Debug)]
pub struct LoginTexts {
    /// The heading.
    pub title: &'static str,
    /// For which app.
    pub for_app: fn(&str) -> String,
    /// The label of the username.
    pub username: &'static str,
    /// The label of the password.
    pub password: &'static str,
    /// The button.
    pub submit: &'static str,
    /// Wrong username or password; it doesn't say which.
    pub refused: &'static str,
    /// Too many wrong passwords.
    pub too_many: &'static str,
}

/// The consent page.
#[derive(Debug)]
pub struct ConsentTexts {
    /// The heading, a question about an app.
    pub title: fn(&str) -> String,
    /// Before the list of what it may do.
    pub it_may: &'static str,
    /// When there is no such list.
    pub nothing_more: &'static str,
    /// Not to be asked again.
    pub remember: &'static str,
    /// Yes.
    pub allow: &'static str,
    /// No.
    pub deny: &'static str,
    /// Where the browser goes then.
    pub leads_to: fn(&str) -> String,
}

/// The sign-out page.
#[derive(Debug)]
pub struct LogoutTexts {
    /// The heading, a question.
    pub title: &'static str,
    /// Who is signed in.
    pub signed_in_as: fn(&str) -> String,
    /// What signing out does and doesn't do.
    pub effect: &'static str,
    /// The button.
    pub submit: &'static str,
    /// The heading afterwards.
    pub done: &'static str,
    /// What that means.
    pub done_advice: &'static str,
    /// The way to sign in again.
    pub again: &'static str,
}

/// The pages of a login on a device.
#[derive(Debug)]
pub struct DeviceTexts {
    /// The heading of the page where the code is typed.
    pub title: &'static str,
    /// What to do there.
    pub lead: &'static str,
    /// The label of the field.
    pub label: &'static str,
    /// What the code looks like.
    pub hint: &'static str,
    /// The button.
    pub submit: &'static str,
    /// What was typed is no code.
    pub malformed: &'static str,
    /// There is no such code, or it is over.
    pub unknown: &'static str,
    /// Too many codes were tried.
    pub too_many: &'static str,
    /// The heading of the page where a person decides, a question.
    pub confirm_title: &'static str,
    /// What the client asks: its name, and who is signed in.
    pub asks: fn(&str, &str) -> String,
    /// Before the code.
    pub compare: &'static str,
    /// Before the scope.
    pub scope: &'static str,
    /// Before the time when the device asked.
    pub started: &'static str,
    /// How many minutes ago that was.
    pub minutes_ago: fn(i64) -> String,
    /// Before the device's address.
    pub from: &'static str,
    /// Before what the device calls itself.
    pub agent: &'static str,
    /// What to beware of (RFC 8628 §5.4).
    pub warning: &'static str,
    /// The button that allows.
    pub allow: &'static str,
    /// The button that denies.
    pub deny: &'static str,
    /// The heading afterwards.
    pub allowed: &'static str,
    /// What that means.
    pub allowed_advice: &'static str,
    /// The heading after a no.
    pub denied: &'static str,
    /// What that means.
    pub denied_advice: &'static str,
}

/// An error page: a heading and what to do, for each kind of trouble.
#[derive(Debug)]
pub struct ErrorTexts {
    /// There is no such client, or it is shut out.
    pub unknown_client: Trouble,
    /// The redirection URI is not a registered one.
    pub redirect_uri: Trouble,
    /// The request can't be read.
    pub malformed: Trouble,
    /// There is nothing at this address.
    pub not_found: Trouble,
    /// Not one of those who run this server.
    pub not_administrator: Trouble,
    /// The form is too old, came from elsewhere, or cookies are off.
    pub stale_form: Trouble,
    /// Too many wrong passwords.
    pub too_many: Trouble,
    /// The server can't answer right now.
    pub unavailable: Trouble,
    /// The server failed.
    pub failed: Trouble,
    /// Before the request's id, which the log knows.
    pub reference: &'static str,
}

/// What went wrong, for the person in front of the browser.
#[derive(Debug)]
pub struct Trouble {
    /// What happened.
    pub title: &'static str,
    /// What to do.
    pub advice: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, accept.parse().unwrap());
        Language::of(&headers)
    }

    #[test]
    fn the_browser_chooses_the_language() {
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
        for (accept, language) in [
            ("de", Language::German),
            ("DE-at, en;q=0.9", Language::German),
            ("en-GB,en;q=0.8,de;q=0.5", Language::English),
            ("fr, de;q=0.4, en;q=0.3", Language::German),
            ("de;q=0, en;q=0.1", Language::English),
            ("fr", Language::English),
            ("*", Language::English),
            ("de;q=x, ;;,", Language::English),
            ("den", Language::English),
        ] {
            assert_eq!(chosen(accept), language, "{accept}");
        }
    }
}

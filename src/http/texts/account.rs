//! What the account page says, as a struct; the values are in the files of the languages.

/// The account page.
#[derive(Debug)]
pub struct AccountTexts {
    /// The heading.
    pub title: &'static str,
    /// Whose account it is.
    pub signed_in_as: fn(&str) -> String,
    /// Above the apps and devices with access.
    pub apps: &'static str,
    /// What to do with them.
    pub apps_advice: &'static str,
    /// When there are none.
    pub no_apps: &'static str,
    /// Before the time of the last use.
    pub used: &'static str,
    /// Before the time when access was given, within a line.
    pub allowed: &'static str,
    /// Before what an app may.
    pub may: &'static str,
    /// The button beside one app.
    pub remove: &'static str,
    /// The button below all apps.
    pub remove_all: &'static str,
    /// Above the browsers that are signed in.
    pub browsers: &'static str,
    /// Marks the browser that shows the page.
    pub this_browser: &'static str,
    /// Before the time of the sign-in, within a line.
    pub signed_in: &'static str,
    /// The button beside this browser.
    pub sign_out: &'static str,
    /// The button beside another browser.
    pub end_browser: &'static str,
    /// The button below several browsers.
    pub end_other_browsers: &'static str,
    /// Above the form for a new password.
    pub password: &'static str,
    /// What a new password does.
    pub password_advice: &'static str,
    /// A label.
    pub current_password: &'static str,
    /// A label.
    pub new_password: &'static str,
    /// A label.
    pub new_password_again: &'static str,
    /// The button.
    pub change_password: &'static str,
    /// The current password is wrong.
    pub wrong_password: &'static str,
    /// The new password and its repetition differ.
    pub repetition_differs: &'static str,
    /// Shorter than this many characters.
    pub too_short: fn(usize) -> String,
    /// Over the limit.
    pub too_long: &'static str,
    /// Empty, or with control characters.
    pub forbidden: &'static str,
    /// Above the button that ends everything.
    pub everywhere: &'static str,
    /// What that does.
    pub everywhere_advice: &'static str,
    /// The button.
    pub log_out_everywhere: &'static str,
    /// What each form has done, by the word in the page's address.
    pub done: &'static [(&'static str, &'static str)],
    /// A device, by the app and the system on it, as far as they are known.
    pub device: fn(Option<&str>, Option<&str>) -> String,
    /// A time this many seconds ago.
    pub ago: fn(i64) -> String,
}

//! The parameters of an authorization request
//! ([RFC 6749 §4.1.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1)), as they came and as they travel on through
//! our own pages.

/// The parameters, decoded. Those that nobody knows are gone (§3.1).
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    values: Vec<(&'static str, String)>,
    /// The `resource` parameters (RFC 8707 §2).
    pub resources: Vec<String>,
    /// The names of parameters that came more than once.
    pub repeated: Vec<String>,
}

/// All that this server knows.
const KNOWN: [&str; 14] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "response_mode",
    "audience",
    "request",
    "request_uri",
];

impl Parameters {
    /// Takes the parameters out of a form or a query, by name.
    pub fn read(mut take: impl FnMut(&str) -> Option<String>, resources: Vec<String>, repeated: Vec<String>) -> Self {
        let values = KNOWN.into_iter().filter_map(|name| Some((name, take(name)?))).collect();
        Self { values, resources, repeated }
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The address of the authorization endpoint with these parameters: what a page of ours comes back to.
    pub fn path(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.values);
        query.extend_pairs(self.resources.iter().map(|resource| ("resource", resource)));
        format!("/oauth2/authorize?{}", query.finish())
    }

    /// The same, once somebody has signed in for it: it doesn't ask for that again.
    pub fn path_after_sign_in(&self) -> String {
        let mut after = self.clone();
        after.values.retain(|(name, _)| *name != "max_age");
        for (name, value) in &mut after.values {
            if *name == "prompt" {
                let left: Vec<&str> = value.split(' ').filter(|word| !super::asks_for_sign_in(word)).collect();
                *value = left.join(" ");
            }
        }
        after.values.retain(|(name, value)| *name != "prompt" || !value.is_empty());
        after.path()
    }
}

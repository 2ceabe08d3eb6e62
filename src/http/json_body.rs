//! Reads a JSON body strictly: one object, every field known and of its type. What is wrong is told by the field's name;
//! what was sent in it is not repeated, because it may be a password.
//!
//! Not here: what a field means, see the endpoint.

use std::marker::PhantomData;

use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::Type,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::body;
use crate::{administration::Refusal, error::AdminError, secret::SecretText};

/// A body that is documented as `T`: read, but not yet understood.
pub struct JsonBody<T> {
    /// Its fields, or why they can't be read.
    pub fields: Result<Fields, AdminError>,
    kind: PhantomData<fn() -> T>,
}

/// The fields of a body. Each is taken out once; what is left in the end is not known.
pub struct Fields(Map<String, Value>);

impl Fields {
    fn parse(bytes: &[u8]) -> Result<Self, AdminError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(Refusal::invalid("body", "must be one JSON object").into()),
        }
    }

    /// A field; `null` is the same as none.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Text that may be left out.
    ///
    /// # Errors
    /// Another type.
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, AdminError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::invalid(name, "must be a string").into()),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// Another type, or nothing.
    pub fn text(&mut self, name: &str) -> Result<String, AdminError> {
        self.optional_text(name)?.ok_or_else(|| Refusal::invalid(name, "is required").into())
    }

    /// A password.
    ///
    /// # Errors
    /// Another type, or nothing.
    pub fn secret(&mut self, name: &str) -> Result<SecretText, AdminError> {
        self.text(name).map(SecretText::new)
    }

    /// Texts; none when left out.
    ///
    /// # Errors
    /// Another type.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, AdminError> {
        let wrong = || AdminError::from(Refusal::invalid(name, "must be an array of strings"));
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let Value::Array(values) = value else { return Err(wrong()) };
        let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(wrong()) };
        values.into_iter().map(text).collect()
    }

    /// Yes or no; no when left out.
    ///
    /// # Errors
    /// Another type.
    pub fn flag(&mut self, name: &str) -> Result<bool, AdminError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Refusal::invalid(name, "must be true or false").into()),
        }
    }

    /// A number of seconds that may be left out.
    ///
    /// # Errors
    /// Another type.
    pub fn seconds(&mut self, name: &str) -> Result<Option<u32>, AdminError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let seconds = value.as_u64().and_then(|number| u32::try_from(number).ok());
        seconds.map(Some).ok_or_else(|| Refusal::invalid(name, "must be a number of seconds").into())
    }

    /// One of some words; `None` when left out.
    ///
    /// # Errors
    /// Anything else.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, AdminError> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        known.map(Some).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Refusal::invalid(name, format!("must be one of {}", words.join(", "))).into()
        })
    }

    /// Nothing more may be there: a field with a typing mistake must not be passed over in silence.
    ///
    /// # Errors
    /// A field that nobody asked for.
    pub fn end(self) -> Result<(), AdminError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let plain = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                Err(Refusal::invalid(if plain { name } else { "body" }, "there is no such field").into())
            }
        }
    }
}

async fn read(request: &Request, body: &mut RequestBody) -> Result<Fields, AdminError> {
    if !body::is(request.headers(), "application/json") {
        return Err(Refusal::invalid("Content-Type", "must be application/json").into());
    }
    let bytes = body::read(body, body::time(request)).await.map_err(AdminError::Body)?;
    Fields::parse(&Zeroizing::new(bytes.into()))
}

impl<'a, T: Type> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }];
        Some(MetaRequest { description: None, required: true, content })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self { fields: read(request, body).await, kind: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(outcome: Result<impl Sized, AdminError>) -> String {
        match outcome.err() {
            Some(AdminError::Invalid { field, problem }) => format!("{field} {problem}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_field_is_read_as_its_type_and_what_was_sent_is_not_repeated() {
        let mut fields = Fields::parse(br#"{"a":"x","b":["y"],"c":true,"d":7,"e":null,"f":"two","g":9}"#).unwrap();
        assert_eq!(fields.text("a").unwrap(), "x");
        assert_eq!(fields.texts("b").unwrap(), ["y"]);
        assert!(fields.flag("c").unwrap() && !fields.flag("missing").unwrap());
        assert_eq!((fields.seconds("d").unwrap(), fields.optional_text("e").unwrap()), (Some(7), None));
        assert_eq!(fields.word("f", &[("one", 1), ("two", 2)]).unwrap(), Some(2));
        assert_eq!(problem(fields.end()), "g there is no such field");

        let mut wrong = Fields::parse(br#"{"a":1,"b":[1],"c":"x","d":-1,"f":"three"}"#).unwrap();
        assert_eq!(problem(wrong.secret("a")), "a must be a string");
        assert_eq!(problem(wrong.texts("b")), "b must be an array of strings");
        assert_eq!(problem(wrong.flag("c")), "c must be true or false");
        assert_eq!(problem(wrong.seconds("d")), "d must be a number of seconds");
        assert_eq!(problem(wrong.word("f", &[("one", 1), ("two", 2)])), "f must be one of one, two");
        assert_eq!(problem(wrong.text("g")), "g is required");
        let strange = Fields::parse(br#"{"Strange \" name":1}"#).unwrap();
        assert_eq!(problem(strange.end()), "body there is no such field");
        for text in ["", "[]", "1", "{\"a\":1", "null"] {
            assert_eq!(problem(Fields::parse(text.as_bytes())), "body must be one JSON object");
        }
    }
}

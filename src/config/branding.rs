//! How the pages look: the deployer's name, logo and colours.
//!
//! Not here: the pages, see `http/pages.rs`.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// Whose pages these are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Branding {
    /// The name that people know this server by.
    pub name: String,
    /// An SVG or PNG file, shown above every page.
    pub logo: Option<PathBuf>,
    /// The colour of buttons and links on a light page.
    pub colour: Colour,
    /// The same on a dark page.
    pub colour_dark: Colour,
}

impl Default for Branding {
    fn default() -> Self {
        Self {
            name: "Regrant".into(),
            logo: None,
            colour: Colour { red: 0x0b, green: 0x57, blue: 0xa4 },
            colour_dark: Colour { red: 0x7c, green: 0xb8, blue: 0xff },
        }
    }
}

/// What a scope token means, in the words of the consent page: "It may ...".
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeDescription {
    /// In English.
    pub en: Option<String>,
    /// In German.
    pub de: Option<String>,
}

/// The light and the dark paper that `style.css` prints on.
const LIGHT_PAPER: Colour = Colour { red: 0xff, green: 0xff, blue: 0xff };
const DARK_PAPER: Colour = Colour { red: 0x16, green: 0x1f, blue: 0x27 };

/// The contrast that text needs (WCAG 2.2, 1.4.3).
const LEGIBLE: f64 = 4.5;

/// The largest logo, bytes: it is loaded with every page.
const MAX_LOGO_BYTES: usize = 256 * 1024;

impl Branding {
    /// Checks what can be checked without the logo's file.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a colour that can't be read on the page.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (setting, colour, paper) in
            [("branding.colour", self.colour, LIGHT_PAPER), ("branding.colour_dark", self.colour_dark, DARK_PAPER)]
        {
            let contrast = colour.contrast(paper);
            if contrast < LEGIBLE {
                let problem = format!(
                    "{colour} on {paper} has a contrast of {contrast:.1}:1, and WCAG 2.2 asks for {LEGIBLE}:1; choose a {} one",
                    if paper == LIGHT_PAPER { "darker" } else { "lighter" },
                );
                return Err(ConfigError::Invalid { setting, problem });
            }
        }
        if self.name.trim().is_empty() {
            return Err(ConfigError::Invalid { setting: "branding.name", problem: "must not be empty".into() });
        }
        Ok(())
    }

    /// Reads the logo, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when the file can't be read, is too large, or is neither SVG nor PNG.
    pub fn load_logo(&self) -> Result<Option<Logo>, ConfigError> {
        let Some(path) = &self.logo else { return Ok(None) };
        let invalid = |problem: String| ConfigError::Invalid { setting: "branding.logo", problem };
        let bytes = std::fs::read(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
        if bytes.len() > MAX_LOGO_BYTES {
            return Err(invalid(format!("{} is larger than {} KiB", path.display(), MAX_LOGO_BYTES / 1024)));
        }
        let is_svg = || std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("<svg"));
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Ok(Some(Logo { kind: LogoKind::Png, bytes }))
        } else if is_svg() {
            Ok(Some(Logo { kind: LogoKind::Svg, bytes }))
        } else {
            Err(invalid(format!("{} is neither an SVG nor a PNG file", path.display())))
        }
    }
}

/// A logo that was read.
#[derive(Clone, Debug)]
pub struct Logo {
    /// What it is.
    pub kind: LogoKind,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The formats of a logo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoKind {
    /// Scalable Vector Graphics.
    Svg,
    /// Portable Network Graphics.
    Png,
}

/// A colour, written `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

/// Says what a colour must look like.
#[derive(Debug, thiserror::Error)]
#[error("a colour is written #rrggbb, such as #0b57a4")]
pub struct InvalidColour;

impl TryFrom<String> for Colour {
    type Error = InvalidColour;

    fn try_from(text: String) -> Result<Self, InvalidColour> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or(InvalidColour)?;
        let part = |at: usize| {
            let pair = digits.get(at..at + 2).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(pair, 16).ok()
        };
        match (part(0), part(2), part(4)) {
            (Some(red), Some(green), Some(blue)) => Ok(Self { red, green, blue }),
            _ => Err(InvalidColour),
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

impl Colour {
    const BLACK: Self = Self { red: 0x0e, green: 0x15, blue: 0x1b };
    const WHITE: Self = Self { red: 0xff, green: 0xff, blue: 0xff };

    /// Relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    /// Contrast ratio, from 1 to 21 (WCAG 2.2).
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The text colour that reads best on this one.
    #[must_use]
    pub fn text_on(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::BLACK) { Self::WHITE } else { Self::BLACK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn colours_are_six_hexadecimal_digits() {
        assert_eq!(colour("#0B57a4").to_string(), "#0b57a4");
        for bad in ["", "red", "#fff", "#+1+2+3", "#0b57a", "#0b57a44", "0b57a4", "#0b57aé"] {
            assert!(Colour::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_colour_that_cannot_be_read_is_refused_with_what_to_do() {
        Branding::default().validate().unwrap();
        let pale = Branding { colour: colour("#ffcc00"), ..Branding::default() };
        let error = pale.validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "branding.colour: #ffcc00 on #ffffff has a contrast of 1.5:1, and WCAG 2.2 asks for 4.5:1; choose a darker one"
        );
        let dim = Branding { colour_dark: colour("#0b57a4"), ..Branding::default() };
        assert!(dim.validate().unwrap_err().to_string().ends_with("choose a lighter one"));
    }

    #[test]
    fn text_on_a_colour_can_be_read() {
        assert_eq!(colour("#0b57a4").text_on(), Colour::WHITE);
        assert_eq!(colour("#7cb8ff").text_on(), Colour::BLACK);
        // The worst case for both is a middle grey; one of them always reaches 4.3:1.
        for step in 0..=255 {
            let grey = Colour { red: step, green: step, blue: step };
            assert!(grey.contrast(grey.text_on()) > 4.2, "{grey}");
        }
    }

    #[test]
    fn only_svg_and_png_are_logos() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logo");
        let branding = Branding { logo: Some(path.clone()), ..Branding::default() };
        assert!(branding.load_logo().unwrap_err().to_string().starts_with("branding.logo: "));
        for (content, kind) in [
            (b"<?xml version=\"1.0\"?><svg/>".as_slice(), Some(LogoKind::Svg)),
            (b"\x89PNG\r\n\x1a\n....", Some(LogoKind::Png)),
            (b"GIF89a", None),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(branding.load_logo().ok().flatten().map(|logo| logo.kind), kind);
        }
    }
}

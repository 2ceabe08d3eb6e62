//! The pages in English.

use super::{ErrorTexts, LoginTexts, LogoutTexts, Texts, Trouble};

pub(super) const TEXTS: Texts = Texts {
    lang: "en",
    error: ErrorTexts {
        unknown_client: Trouble {
            title: "This app is not known here",
            advice: "The link that brought you here names an app that is not registered. Go back to the app and try again; if it keeps happening, tell the people who make it.",
        },
        redirect_uri: Trouble {
            title: "This link can’t be trusted",
            advice: "The app asked to send you on to an address that it has not registered, so we stopped here. Go back to the app and try again; if it keeps happening, tell the people who make it.",
        },
        malformed: Trouble {
            title: "This link doesn’t work",
            advice: "The request is incomplete or damaged. Go back to where you came from and try again.",
        },
        stale_form: Trouble {
            title: "This page has expired",
            advice: "Go back, reload the page and try again. Signing in needs cookies, so check that your browser allows them for this site.",
        },
        unavailable: Trouble {
            title: "Please try again in a moment",
            advice: "The server can’t answer right now. Nothing is lost: reload this page in a few seconds.",
        },
        failed: Trouble {
            title: "Something went wrong",
            advice: "This is our fault, not yours. Try again; if it keeps happening, tell support the reference below.",
        },
        reference: "Reference",
    },
    login: LoginTexts {
        title: "Sign in",
        username: "Username",
        password: "Password",
        submit: "Sign in",
        refused: "The username or password is wrong.",
    },
    logout: LogoutTexts {
        title: "Sign out?",
        signed_in_as: |name| format!("You are signed in as {name}."),
        effect: "This ends your session in this browser. Apps that you have allowed keep their access.",
        submit: "Sign out",
        done: "You are signed out",
        done_advice: "You can close this page.",
        again: "Sign in again",
    },
};

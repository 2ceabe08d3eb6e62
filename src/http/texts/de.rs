//! The pages in German.

use super::{ErrorTexts, LoginTexts, LogoutTexts, Texts, Trouble};

pub(super) const TEXTS: Texts = Texts {
    lang: "de",
    error: ErrorTexts {
        unknown_client: Trouble {
            title: "Diese App ist hier nicht bekannt",
            advice: "Der Link, der Sie hierher geführt hat, nennt eine App, die nicht registriert ist. Gehen Sie zurück zur App und versuchen Sie es noch einmal; bleibt es dabei, wenden Sie sich an den Hersteller der App.",
        },
        redirect_uri: Trouble {
            title: "Diesem Link ist nicht zu trauen",
            advice: "Die App wollte Sie an eine Adresse weiterleiten, die sie nicht registriert hat. Deshalb endet der Weg hier. Gehen Sie zurück zur App und versuchen Sie es noch einmal; bleibt es dabei, wenden Sie sich an den Hersteller der App.",
        },
        malformed: Trouble {
            title: "Dieser Link funktioniert nicht",
            advice: "Die Anfrage ist unvollständig oder beschädigt. Gehen Sie dorthin zurück, woher Sie kamen, und versuchen Sie es noch einmal.",
        },
        stale_form: Trouble {
            title: "Diese Seite ist abgelaufen",
            advice: "Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal. Für die Anmeldung sind Cookies nötig; prüfen Sie, ob Ihr Browser sie für diese Seite zulässt.",
        },
        unavailable: Trouble {
            title: "Bitte gleich noch einmal versuchen",
            advice: "Der Server kann gerade nicht antworten. Es ist nichts verloren: Laden Sie diese Seite in einigen Sekunden neu.",
        },
        failed: Trouble {
            title: "Etwas ist schiefgegangen",
            advice: "Das liegt an uns, nicht an Ihnen. Versuchen Sie es noch einmal; bleibt es dabei, nennen Sie dem Support die folgende Kennung.",
        },
        reference: "Kennung",
    },
    login: LoginTexts {
        title: "Anmelden",
        username: "Benutzername",
        password: "Passwort",
        submit: "Anmelden",
        refused: "Der Benutzername oder das Passwort ist falsch.",
    },
    logout: LogoutTexts {
        title: "Abmelden?",
        signed_in_as: |name| format!("Sie sind als {name} angemeldet."),
        effect: "Damit endet Ihre Sitzung in diesem Browser. Apps, denen Sie Zugriff erlaubt haben, behalten ihn.",
        submit: "Abmelden",
        done: "Sie sind abgemeldet",
        done_advice: "Sie können diese Seite schließen.",
        again: "Wieder anmelden",
    },
};

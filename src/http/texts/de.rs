//! The pages in German.

use super::{AccountTexts, AdminTexts, ConsentTexts, DeviceTexts, ErrorTexts, LoginTexts, LogoutTexts, Texts, Trouble};
use crate::{client::ClientType, store::RevocationReason};

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
        not_found: Trouble {
            title: "Diese Seite gibt es nicht",
            advice: "Vielleicht ist die Adresse vertippt, oder es gibt die Seite nicht mehr. Gehen Sie dorthin zurück, woher Sie kamen, und versuchen Sie es noch einmal.",
        },
        not_administrator: Trouble {
            title: "Diese Seite ist für die Verwaltung",
            advice: "Ihr Konto gehört nicht dazu. Wer diesen Server betreibt, nennt die Benutzernamen in den Einstellungen unter administrators.",
        },
        stale_form: Trouble {
            title: "Diese Seite ist abgelaufen",
            advice: "Gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal. Für die Anmeldung sind Cookies nötig; prüfen Sie, ob Ihr Browser sie für diese Seite zulässt.",
        },
        too_many: Trouble {
            title: "Zu viele Versuche",
            advice: "Es wurden zu viele falsche Passwörter versucht. Es hat sich nichts geändert: Warten Sie einige Minuten und versuchen Sie es dann erneut.",
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
        for_app: |app| format!("um mit {app} fortzufahren"),
        username: "Benutzername",
        password: "Passwort",
        submit: "Anmelden",
        refused: "Der Benutzername oder das Passwort ist falsch.",
        too_many: "Es wurden zu viele falsche Passwörter versucht. Bitte warten Sie einige Minuten und versuchen Sie es dann erneut.",
    },
    consent: ConsentTexts {
        title: |app| format!("{app} Zugriff auf Ihr Konto erlauben?"),
        it_may: "Die App darf dann:",
        nothing_more: "Die App erfährt, wer Sie sind, und sonst nichts.",
        remember: "Nicht noch einmal fragen",
        allow: "Erlauben",
        deny: "Ablehnen",
        leads_to: |place| format!("Danach geht es zurück zu {place}."),
    },
    device: DeviceTexts {
        title: "Gerät verbinden",
        lead: "Geben Sie den Code ein, den Ihr Gerät anzeigt.",
        label: "Code",
        hint: "8 Buchstaben, groß oder klein, mit oder ohne Bindestrich.",
        submit: "Weiter",
        malformed: "Das ist kein Code: Codes haben 8 Buchstaben und keine Vokale.",
        unknown: "Dieser Code gilt nicht. Vielleicht ist er abgelaufen oder schon benutzt; sehen Sie auf Ihrem Gerät nach einem neuen.",
        too_many: "Es wurden zu viele Codes versucht. Bitte warten Sie 10 Minuten.",
        confirm_title: "Dieses Gerät verbinden?",
        asks: |client, name| format!("„{client}“ möchte Ihr Konto „{name}“ benutzen."),
        compare: "Prüfen Sie, ob Ihr Gerät genau diesen Code anzeigt:",
        scope: "Es möchte dürfen:",
        started: "Angefragt",
        minutes_ago: |minutes| match minutes {
            0 => "gerade eben".to_owned(),
            1 => "vor einer Minute".to_owned(),
            _ => format!("vor {minutes} Minuten"),
        },
        from: "Von der Adresse",
        agent: "Nennt sich",
        warning: "Hat Ihnen jemand diesen Code oder einen Link geschickt? Dann lehnen Sie ab: Er käme sonst in Ihr Konto.",
        allow: "Erlauben",
        deny: "Ablehnen",
        allowed: "Ihr Gerät ist verbunden",
        allowed_advice: "Gehen Sie zu Ihrem Gerät zurück; dort geht es in wenigen Sekunden weiter. Sie können diese Seite schließen.",
        denied: "Das Gerät wurde nicht verbunden",
        denied_advice: "Es hat nichts erfahren. Sie können diese Seite schließen.",
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
    account: AccountTexts {
        title: "Ihr Konto",
        signed_in_as: |name| format!("Sie sind als {name} angemeldet."),
        apps: "Apps und Geräte mit Zugriff",
        apps_advice: "Entfernen Sie, was Sie nicht kennen oder nicht mehr brauchen. Die App muss Sie dann neu um Erlaubnis bitten.",
        no_apps: "Keine App und kein Gerät hat Zugriff auf Ihr Konto.",
        used: "Zuletzt benutzt",
        allowed: "erlaubt",
        may: "Darf:",
        remove: "Zugriff entziehen",
        remove_all: "Allen den Zugriff entziehen",
        browsers: "Wo Sie angemeldet sind",
        this_browser: "dieser Browser",
        signed_in: "angemeldet",
        sign_out: "Abmelden",
        end_browser: "Dort abmelden",
        end_other_browsers: "In allen anderen Browsern abmelden",
        password: "Passwort",
        password_advice: "Ein neues Passwort entzieht allen Apps und Geräten den Zugriff und meldet Sie in allen anderen Browsern ab.",
        current_password: "Bisheriges Passwort",
        new_password: "Neues Passwort",
        new_password_again: "Neues Passwort noch einmal",
        change_password: "Passwort ändern",
        wrong_password: "Das bisherige Passwort ist falsch.",
        repetition_differs: "Die beiden neuen Passwörter sind verschieden.",
        too_short: |least| format!("Das neue Passwort braucht mindestens {least} Zeichen."),
        too_long: "Das neue Passwort ist zu lang: höchstens 256 Zeichen.",
        forbidden: "Das neue Passwort darf nicht leer sein und keine Steuerzeichen enthalten.",
        everywhere: "Überall abmelden",
        everywhere_advice: "Entzieht allen Apps und Geräten den Zugriff und meldet Sie in allen Browsern ab, auch in diesem. Tun Sie das, wenn Sie glauben, dass jemand anderes in Ihrem Konto ist, und ändern Sie danach Ihr Passwort.",
        log_out_everywhere: "Überall abmelden",
        done: &[
            ("removed", "Der Zugriff ist entzogen. Was die App noch in Händen hat, läuft in wenigen Minuten ab."),
            ("all_removed", "Keine App hat mehr Zugriff. Was sie noch in Händen haben, läuft in wenigen Minuten ab."),
            ("browser_ended", "Jener Browser ist abgemeldet."),
            ("others_ended", "Alle anderen Browser sind abgemeldet."),
            ("password", "Ihr Passwort ist geändert. Alles außer diesem Browser ist abgemeldet."),
        ],
        device: |app, system| match (app, system) {
            (Some(app), Some(system)) => format!("{app}, {system}"),
            (Some(known), None) | (None, Some(known)) => known.to_owned(),
            (None, None) => "Unbekanntes Gerät".to_owned(),
        },
        ago: |seconds| match (seconds / 60, seconds / 3600, seconds / 86_400) {
            (..=0, ..) => "gerade eben".to_owned(),
            (1, ..) => "vor einer Minute".to_owned(),
            (minutes, 0, _) => format!("vor {minutes} Minuten"),
            (_, 1, _) => "vor einer Stunde".to_owned(),
            (_, hours, 0) => format!("vor {hours} Stunden"),
            (_, _, 1) => "vor einem Tag".to_owned(),
            (_, _, days) => format!("vor {days} Tagen"),
        },
    },
    admin: AdminTexts {
        title: "Verwaltung",
        parts: "Teile der Verwaltung",
        overview: "Überblick",
        users: "Benutzer",
        clients: "Clients",
        signed_in_as: |name| format!("Sie sind als {name} angemeldet und verwalten diesen Server."),
        last_hours: "Die letzten sechs Stunden",
        own_figures: "Was dieser Knoten seit seinem Start gemessen hat, Minute für Minute bis jetzt; Zeiten in UTC. Andere Knoten haben ihre eigenen Zahlen, Ihre Überwachung hat alle.",
        no_figures: "Noch ist nichts gemessen: Die ersten Zahlen kommen in einer Minute.",
        requests: "Token-Anfragen je Minute",
        requests_summary: |tally| {
            format!(
                "{} erfüllt, {} abgelehnt, {} nicht beantwortet; höchstens {} in einer Minute.",
                tally.granted, tally.refused, tally.unavailable, tally.most
            )
        },
        granted: "erfüllt",
        refused: "abgelehnt",
        unavailable: "nicht beantwortet",
        replays: "Wiederverwendungen je Minute",
        replays_summary: |tally| match tally.replays {
            0 => "Nichts wurde zweimal benutzt.".to_owned(),
            1 => "Ein Token oder Code wurde zweimal benutzt, und sein Grant endete.".to_owned(),
            many => format!("{many} Tokens oder Codes wurden zweimal benutzt, und ihre Grants endeten."),
        },
        queue: "Passwörter, die auf ihre Prüfung warten",
        queue_summary: |longest, limit| format!("Höchstens {longest} zugleich; über {limit} lautet die Antwort 503."),
        as_table: "Die Zahlen als Tabelle",
        from: "Ab",
        replays_column: "wiederverwendet",
        queue_column: "längste Schlange",
        keys: "Signaturschlüssel",
        keys_advice: "Der nächste Schlüssel wird 65 Minuten vorher veröffentlicht. Von Hand ersetzt ihn: regrant key rotate.",
        key_state: |state, seconds| match state {
            "next" => format!("signiert in {}", period(-seconds)),
            "active" => format!("signiert seit {}", period(seconds)),
            "retired" => "abgelöst: prüft, was er signiert hat".to_owned(),
            _ => "verbraucht: nichts von ihm gilt noch".to_owned(),
        },
        search_users: "Benutzername beginnt mit",
        search_clients: "Name oder Kennung enthält",
        search: "Suchen",
        no_users: "Niemand hat einen solchen Namen.",
        no_clients: "Kein Client hat einen solchen Namen.",
        more: "Weitere",
        first_page: "Erste Seite",
        active: "aktiv",
        disabled: "gesperrt",
        created: "angelegt",
        disable: "Sperren",
        enable: "Freigeben",
        log_out: "Überall abmelden",
        user_advice: "Abmelden beendet alle Grants und Browser-Sitzungen. Sperren tut dasselbe, und bis zur Freigabe gelingt keine Anmeldung.",
        yourself: "Das sind Sie. Ihr eigenes Konto verwalten Sie auf seiner Seite.",
        grants: "Grants",
        no_grants: "Es gibt keinen Grant dieses Benutzers.",
        more_grants: |more| format!("… und {more} weitere; siehe: regrant grant list"),
        revoke: "Widerrufen",
        grant_state: |state| match state {
            "active" => "aktiv",
            "expired" => "abgelaufen",
            "revoked" => "widerrufen",
            _ => "beendet",
        },
        because: "Grund für das Ende:",
        reason: |reason| match reason {
            RevocationReason::Replay => {
                "ein Refresh-Token wurde noch einmal vorgelegt, nachdem sein Nachfolger benutzt oder die Frist vorbei war; vielleicht hat jemand anderes eine Kopie"
            }
            RevocationReason::FromTheFuture => {
                "ein Token war viel neuer als der Speicher: eine alte Sicherung wurde eingespielt"
            }
            RevocationReason::OwnerEpoch => {
                "der Benutzer wurde gesperrt, gelöscht oder überall abgemeldet, oder das Passwort wurde geändert"
            }
            RevocationReason::ClientEpoch => "der Client wurde gesperrt oder gelöscht",
            RevocationReason::Overflow => "der Benutzer hatte zu viele Grants, und dies war der älteste",
            RevocationReason::Operator => "die Verwaltung hat ihn widerrufen",
            RevocationReason::Client => "der Client hat ihn widerrufen",
            RevocationReason::ResourceOwner => "der Benutzer hat den Zugriff auf der Kontoseite entzogen",
            RevocationReason::CodeReplay => {
                "der Authorization-Code, aus dem er entstand, wurde noch einmal vorgelegt: zwei hatten ihn"
            }
        },
        owner_changed: "der Benutzer wurde gesperrt oder überall abgemeldet, oder das Passwort wurde geändert",
        kind: |kind| match kind {
            ClientType::Confidential => "vertraulich",
            ClientType::Public => "öffentlich",
        },
        client_advice: "Ein gesperrter Client kann sich nicht anmelden, und seine Grants enden. Registriert und gelöscht werden Clients auf der Kommandozeile (regrant client) oder über /admin/clients; dort bekommen sie auch neue Secrets.",
        done: &[
            ("user_disabled", "Der Benutzer ist gesperrt. Alle seine Grants und Browser-Sitzungen sind beendet."),
            ("user_enabled", "Der Benutzer darf sich wieder anmelden."),
            ("user_logged_out", "Alle Grants und Browser-Sitzungen des Benutzers sind beendet."),
            ("grant_revoked", "Der Grant ist widerrufen. Was die App noch in Händen hat, läuft in wenigen Minuten ab."),
            ("client_disabled", "Der Client ist gesperrt. Alle seine Grants sind beendet."),
            ("client_enabled", "Der Client darf sich wieder anmelden."),
        ],
    },
};

/// Im Dativ: „in 3 Tagen“, „seit 3 Tagen“.
fn period(seconds: i64) -> String {
    match (seconds / 60, seconds / 3600, seconds / 86_400) {
        (..=0, ..) => "weniger als einer Minute".to_owned(),
        (1, ..) => "1 Minute".to_owned(),
        (minutes, 0, _) => format!("{minutes} Minuten"),
        (_, 1, _) => "1 Stunde".to_owned(),
        (_, hours, 0) => format!("{hours} Stunden"),
        (_, _, 1) => "1 Tag".to_owned(),
        (_, _, days) => format!("{days} Tagen"),
    }
}

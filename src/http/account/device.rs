//! Says in words what a User-Agent is, as far as it tells: "Firefox on Windows".
//!
//! It is a help to remember by and proves nothing: anybody can send any User-Agent.

/// The app and the system that a User-Agent names, each if it is known.
pub(super) fn describe(agent: &str) -> (Option<&str>, Option<&'static str>) {
    (app(agent), system(agent))
}

fn system(agent: &str) -> Option<&'static str> {
    // An Android device also says Linux, an iPhone also Mac OS X.
    let known = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("CrOS", "ChromeOS"),
        ("Windows", "Windows"),
        ("Macintosh", "Mac"),
        ("Linux", "Linux"),
    ];
    known.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name)
}

fn app(agent: &str) -> Option<&str> {
    // Every browser also names those that it wants to be taken for.
    let known = [
        ("Edg/", "Edge"),
        ("EdgA/", "Edge"),
        ("EdgiOS/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Version/", "Safari"),
    ];
    let browser = known.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name);
    // Anything else names itself first: `curl/8.5.0`.
    browser.or_else(|| {
        let (name, _) = agent.split_once('/')?;
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (!name.is_empty() && name != "Mozilla" && name.bytes().all(word)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Origin;

    #[test]
    fn what_is_kept_of_a_user_agent_still_tells_the_device() {
        for (agent, app, system) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
                Some("Chrome"),
                Some("Linux"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
                Some("Edge"),
                Some("Windows"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                Some("Safari"),
                Some("Mac"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                Some("Safari"),
                Some("iPhone"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
                Some("Chrome"),
                Some("Android"),
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Some("Firefox"), Some("Linux")),
            ("curl/8.14.1", Some("curl"), None),
            ("python-requests/2.32.3", Some("python-requests"), None),
            ("<script>/1", None, None),
            ("Mozilla/5.0", None, None),
            ("", None, None),
        ] {
            let kept = Origin::new(None, agent.as_bytes()).agent;
            assert!(kept.len() <= 64, "{kept}");
            assert_eq!(describe(&kept), (app, system), "{kept}");
        }
    }
}

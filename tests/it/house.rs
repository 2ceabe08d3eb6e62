//! Keeps the rules of the house: short files, borders between libraries, a true map, a reason for each dependency.
//!
//! Not here: the drift of `openapi/regrant.yaml`, which has a test of its own.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// A file longer than this has more than one subject.
const MAX_LINES: usize = 400;

/// Which part of `src/` may name a library: a file, or a folder with all below it. A library that changes or has to
/// go then costs one part of the crate, not all of it.
const BORDERS: &[(&str, &[&str])] = &[
    ("poem", &["http", "server"]),
    ("poem_openapi", &["http"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("tokio_rustls", &["server/tls.rs"]),
    ("simple_asn1", &["server/tls.rs"]),
    ("redis", &["store/redis"]),
    ("rusqlite", &["store/embedded"]),
    ("oxide_auth", &["authorization"]),
    ("jsonwebtoken", &["token"]),
    ("prometheus_client", &["telemetry/metrics.rs"]),
    ("fast_qr", &["http/qr_code.rs"]),
    ("argon2", &["resource_owner/password.rs", "resource_owner/hash_pool.rs"]),
];

#[test]
fn no_source_file_is_longer_than_its_subject() -> io::Result<()> {
    let mut too_long = Vec::new();
    for file in files_below(&root().join("src"))? {
        // Bytes, because an asset need not be text.
        let lines = fs::read(&file)?.split(|byte| *byte == b'\n').count() - 1;
        if lines > MAX_LINES {
            too_long.push(format!("{}: {lines} lines", from_src(&file)));
        }
    }
    assert!(too_long.is_empty(), "split by subject, at most {MAX_LINES} lines each: {too_long:#?}");
    Ok(())
}

#[test]
fn libraries_stay_behind_their_borders() -> io::Result<()> {
    let mut trespasses = Vec::new();
    for file in files_below(&root().join("src"))? {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let place = from_src(&file);
        let named = crates_named(&fs::read_to_string(&file)?);
        for (library, homes) in BORDERS {
            if named.contains(*library) && !homes.iter().any(|home| is_at_home(&place, home)) {
                trespasses.push(format!("src/{place} names {library}; only {homes:?} may"));
            }
        }
    }
    assert!(trespasses.is_empty(), "{trespasses:#?}");
    Ok(())
}

#[test]
fn the_map_in_the_crate_documentation_is_true() -> io::Result<()> {
    let source = fs::read_to_string(root().join("src/lib.rs"))?;
    let drawn = map_entries(&source);
    let mut there = BTreeSet::new();
    for entry in fs::read_dir(root().join("src"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            there.insert(format!("{name}/"));
        } else if name != "lib.rs" {
            there.insert(name);
        }
    }
    let missing: Vec<_> = there.difference(&drawn).collect();
    let invented: Vec<_> = drawn.difference(&there).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "the map in src/lib.rs lacks {missing:?}, and shows {invented:?}, which src/ does not have"
    );
    Ok(())
}

#[test]
fn every_dependency_says_why_it_is_there() -> io::Result<()> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let unexplained = unexplained_dependencies(&manifest);
    assert!(unexplained.is_empty(), "no comment above or behind these lines of Cargo.toml: {unexplained:#?}");
    Ok(())
}

#[test]
fn a_crate_is_found_however_it_is_named() {
    for code in [
        "use redis::Client;",
        "pub use ::redis as r;",
        "use {std::io, redis::{Client, Cmd}};",
        "use redis;",
        "fn f() -> Vec<redis::Value> { todo() }",
        "let c = ::redis::Client::open(url);",
        "#[derive(redis::ToRedisArgs)] struct S;",
    ] {
        assert!(crates_named(code).contains("redis"), "{code}");
    }
    for code in [
        "// use redis::Client;",
        "let url = \"redis://localhost\"; // redis::Client opens it",
        "use crate::store::{Store, redis::RedisStore};",
        "let s = crate::store::redis::RedisStore::new();",
        "pub mod redis; pub use redis::RedisStore; fn f() { redis::open() }",
        "let redis = 1;",
    ] {
        assert!(!crates_named(code).contains("redis"), "{code}");
    }
}

#[test]
fn a_dependency_without_a_comment_is_found() {
    let manifest = "[dependencies]\n# why\na = \"1\"\nb = \"1\" # why\nc = { version = \"1\" }\n\n[lints]\nd = 1\n\
                    [dev-dependencies]\ne.workspace = true\n";
    assert_eq!(unexplained_dependencies(manifest), ["c = { version = \"1\" }", "e.workspace = true"]);
}

#[test]
fn a_map_is_the_block_that_shows_the_binary() {
    let source = "//! ```text\n//! a -> b\n//! ```\n//!\n//! ```text\n//! main.rs   starts\n//! http/     serves\n\
                  //!           and more of it\n//! ```\n";
    assert_eq!(map_entries(source), BTreeSet::from(["http/".to_owned(), "main.rs".to_owned()]));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn from_src(file: &Path) -> String {
    let src = root().join("src");
    file.strip_prefix(&src).unwrap_or(file).to_string_lossy().into_owned()
}

fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// A home is a file, or a module in either of its forms: `token.rs`, `token/…`.
fn is_at_home(place: &str, home: &str) -> bool {
    place == home || place == format!("{home}.rs") || place.starts_with(&format!("{home}/"))
}

/// The first segments of all paths in a file that can mean another crate.
fn crates_named(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source);
    let token = |index: usize| tokens.get(index).map_or("", String::as_str);
    // A module of that name hides the crate, unless the path begins with `::`.
    let own_modules: BTreeSet<&str> =
        (0..tokens.len()).filter(|&index| token(index) == "mod").map(|index| token(index + 1)).collect();

    let mut named = BTreeSet::new();
    let mut index = 0;
    while index < tokens.len() {
        if token(index) == "use" && (is_word(token(index + 1)) || ["::", "{"].contains(&token(index + 1))) {
            // A use declaration: `use a::b;`, `use ::a;`, `use {a, b::{c, d}};`.
            let mut depth = 0;
            let mut at_root = true;
            let outermost = i32::from(token(index + 1) == "{");
            index += 1;
            while index < tokens.len() && token(index) != ";" {
                match token(index) {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," => at_root = depth == outermost,
                    "::" => {}
                    word => {
                        let absolute = at_root && token(index - 1) == "::";
                        if at_root && depth == outermost && (absolute || !own_modules.contains(word)) {
                            named.insert(word.to_owned());
                        }
                        at_root = false;
                    }
                }
                index += 1;
            }
        } else if is_word(token(index)) && token(index + 1) == "::" {
            let after_separator = index > 0 && token(index - 1) == "::";
            let within_path = after_separator && index > 1 && (is_word(token(index - 2)) || token(index - 2) == ">");
            if !within_path && (after_separator || !own_modules.contains(token(index))) {
                named.insert(token(index).to_owned());
            }
        }
        index += 1;
    }
    named
}

/// Words, `::` and single signs, without line comments. Text in quotes is not told apart: it holds no paths.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for line in source.lines() {
        let mut within_word = false;
        let mut rest = line.chars().peekable();
        let mut previous = ' ';
        while let Some(sign) = rest.next() {
            // The `//` of a URL follows a colon.
            if sign == '/' && rest.peek() == Some(&'/') && previous != ':' {
                break;
            }
            previous = sign;
            let is_part_of_word = sign.is_alphanumeric() || sign == '_';
            match tokens.last_mut() {
                Some(word) if is_part_of_word && within_word => word.push(sign),
                _ if sign == ':' && rest.peek() == Some(&':') => {
                    rest.next();
                    tokens.push("::".to_owned());
                }
                _ if sign.is_whitespace() => {}
                _ => tokens.push(sign.to_string()),
            }
            within_word = is_part_of_word;
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|sign: char| sign.is_alphabetic() || sign == '_')
}

/// The first word of each line of the map: the `text` block of the crate documentation that names `main.rs`. An
/// indented line goes on with the one above it.
fn map_entries(source: &str) -> BTreeSet<String> {
    let mut entries = BTreeSet::new();
    let mut within = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.starts_with("```") {
            if within && entries.contains("main.rs") {
                break;
            }
            within = !within && line == "```text";
            entries.clear();
        } else if within && !line.starts_with(' ') {
            entries.extend(line.split_whitespace().next().map(str::to_owned));
        }
    }
    entries
}

/// The lines of the dependency tables that have a comment neither right above nor behind.
fn unexplained_dependencies(manifest: &str) -> Vec<&str> {
    let mut unexplained = Vec::new();
    let mut within = false;
    let mut above = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            within = ["[dependencies]", "[dev-dependencies]"].contains(&line.trim());
        } else if within
            && line.starts_with(|sign: char| sign.is_ascii_alphanumeric())
            && !above.starts_with('#')
            && !line.contains(" #")
        {
            unexplained.push(line);
        }
        above = line;
    }
    unexplained
}

#[test]
fn the_example_configuration_names_every_setting_with_its_default() {
    use regrant::config::Config;

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(root.join("deploy/config.example.toml")).unwrap();
    // A line `#name = value` is a setting that is commented out.
    let shown: String = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| rest.contains(" = ")).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, shown).unwrap();
    let read = Config::read(Some(&file)).unwrap();
    read.validate().unwrap();
    let mut default = Config::default();
    default.branding.logo = Some("/etc/regrant/logo.svg".into());
    let expected = Config {
        issuer: "https://login.example.com".into(),
        store: "redis://127.0.0.1:6379".into(),
        secret_file: Some("/etc/regrant/secret".into()),
        audit_log: Some("/var/log/regrant/audit.jsonl".into()),
        tls: regrant::config::Tls {
            certificate_file: Some("/etc/regrant/tls.crt".into()),
            key_file: Some("/etc/regrant/tls.key".into()),
        },
        ..default
    };
    assert_eq!(format!("{read:?}"), format!("{expected:?}"));
}

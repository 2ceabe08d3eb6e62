//! What is in `deploy/` fits the server: read by parsers, compared with the code.

use std::{collections::BTreeSet, path::PathBuf, process::Stdio};

use regrant::config::Config;
use serde_json::Value;

use crate::{
    command_line::{fit, regrant, run},
    deployments::Port,
    support::{Answer, On, Server, wait_for},
};

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file.
fn yaml(name: &str) -> Vec<Value> {
    file(name).split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect()
}

/// The words of a text that begin with a prefix.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_alerts_name_metrics_that_exist() {
    let server = Server::start(On::Embedded).await;
    server.client("app").await;
    server.user("anna").await;
    server.login("app", "anna").await.assert_tokens();
    let page = Answer::of(server.http.get(format!("{}/metrics", server.management_url))).await.text;
    let series: BTreeSet<String> =
        page.lines().filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect();
    let labels: BTreeSet<&str> =
        page.split(['{', ',']).filter_map(|part| part.split_once("=\"")).map(|(l, _)| l).collect();

    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).unwrap();
    let mut queries: Vec<String> = vec![];
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["title"].is_string() && panel["gridPos"]["w"].is_number(), "{panel}");
        queries.extend(panel["targets"].as_array().unwrap().iter().map(|t| t["expr"].as_str().unwrap().to_owned()));
    }
    for group in yaml("alerts.yaml")[0]["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert!(rule["alert"].is_string() && rule["annotations"]["summary"].is_string(), "{rule}");
            queries.push(rule["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(queries.len() > 15);
    let mut named = BTreeSet::new();
    for query in &queries {
        for opening in ["(", "{", "["] {
            let closing = [")", "}", "]"][["(", "{", "["].iter().position(|o| *o == opening).unwrap()];
            assert_eq!(query.matches(opening).count(), query.matches(closing).count(), "{query}");
        }
        named.extend(words(query, "regrant_"));
        for by in query.split("by (").skip(1) {
            for label in by.split(')').next().unwrap().split(", ").filter(|label| *label != "instance") {
                assert!(labels.contains(label), "{label} in {query}");
            }
        }
    }
    let missing: Vec<_> = named.difference(&series).collect();
    assert!(missing.is_empty(), "no such metrics: {missing:?} in {series:?}");
}

#[test]
fn every_variable_in_deploy_is_a_setting() {
    let example = file("config.example.toml");
    let names: BTreeSet<String> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once(" = "))
        .map(|(name, _)| format!("REGRANT_{}", name.to_uppercase()))
        .collect();
    for name in ["Dockerfile", "compose.yaml", "regrant.service", "kubernetes/regrant.yaml"] {
        for variable in words(&file(name), "REGRANT_").iter().filter(|variable| *variable != "REGRANT_HOST") {
            assert!(names.contains(variable), "{variable} in {name}");
        }
    }
}

#[test]
fn the_compose_file_runs_a_hardened_server_behind_a_proxy() {
    let compose = &yaml("compose.yaml")[0];
    let server = &compose["services"]["regrant"];
    assert_eq!(server["read_only"], true);
    assert_eq!(server["cap_drop"][0], "ALL");
    assert!(server.get("ports").is_none(), "only the proxy is reachable from outside");
    assert_eq!(
        server["environment"]["REGRANT_TRUSTED_PROXIES"],
        compose["services"]["proxy"]["networks"]["inside"]["ipv4_address"]
    );
    for (name, service) in compose["services"].as_object().unwrap() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let known =
                source.starts_with("./") && !file(&source[2..]).is_empty() || compose["volumes"].get(source).is_some();
            assert!(known, "{source} of {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kubernetes_manifests_fit_each_other_and_the_server() {
    let all = yaml("kubernetes/regrant.yaml");
    let kind = |kind: &str| all.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    for object in &all {
        assert!(object["apiVersion"].is_string() && object["metadata"]["name"] == "regrant", "{object}");
    }
    let pod = &kind("Deployment")["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    for selector in [
        &kind("Deployment")["spec"]["selector"]["matchLabels"],
        &kind("Service")["spec"]["selector"],
        &kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    let server = Server::start(On::Embedded).await;
    for probe in ["livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        let answer = Answer::of(server.http.get(format!("{}{path}", server.management_url))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("config.toml");
    std::fs::write(&settings, kind("ConfigMap")["data"]["config.toml"].as_str().unwrap()).unwrap();
    Config::read(Some(&settings)).unwrap().validate().unwrap();
}

#[test]
fn the_unit_and_the_image_start_the_server_without_rights() {
    let unit = file("regrant.service");
    let directives: Vec<(&str, &str)> =
        unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    for (name, value) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", ""),
        ("LimitCORE", "0"),
    ] {
        assert!(directives.contains(&(name, value)), "{name}={value}");
    }
    let (_, start) = directives.iter().find(|(name, _)| *name == "ExecStart").unwrap();
    assert_eq!(*start, "/usr/local/bin/regrant serve --config /etc/regrant/config.toml");

    let image = file("Dockerfile");
    let steps: Vec<&str> = image.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())).collect();
    let known =
        ["FROM", "RUN", "WORKDIR", "COPY", "ENV", "EXPOSE", "USER", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    assert!(steps.iter().all(|step| known.contains(&step.split(' ').next().unwrap())), "{steps:?}");
    assert!(steps.contains(&"USER 65532:65532") && steps.contains(&"STOPSIGNAL SIGTERM"));
    assert!(steps.iter().rfind(|step| step.starts_with("FROM")).unwrap().contains("distroless"), "{steps:?}");
    assert_eq!(steps.last(), Some(&"CMD [\"serve\"]"));
}

/// F19: SIGTERM while many refresh. No answer is cut, and every token that was received is good afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_server_that_is_asked_to_stop_finishes_what_it_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let url = format!("http://127.0.0.1:{}", port.number());
    let command = |arguments: &[&str]| {
        let mut command = regrant(folder.path(), arguments);
        command.envs(fit(folder.path())).env("REGRANT_ISSUER", &url);
        command.env("REGRANT_LISTEN", format!("127.0.0.1:{}", port.number())).stderr(Stdio::null());
        command
    };
    let create = ["client", "create", "--id", "app", "--type", "public", "--scope", "read", "--grant-types"];
    run(command(&[create.as_slice(), &["password,refresh_token"]].concat()), "").assert(0);
    run(command(&["user", "create", "--username", "anna", "--password-stdin"]), "a good password\n").assert(0);
    run(command(&["key", "rotate"]), "").assert(0);
    let start = || {
        let child = command(&["serve"]).spawn().unwrap();
        wait_for("serve", || std::net::TcpStream::connect(("127.0.0.1", port.number())).is_ok());
        child
    };
    let mut child = start();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |form: &[(&str, &str)]| {
        let request = http.post(format!("{url}/oauth2/token")).form(&[&[("client_id", "app")], form].concat());
        request.send().await
    };
    let mut chains = vec![];
    for _ in 0..16 {
        let login = [("grant_type", "password"), ("username", "anna"), ("password", "a good password")];
        let answer: Value = serde_json::from_str(&post(&login).await.unwrap().text().await.unwrap()).unwrap();
        chains.push(answer["refresh_token"].as_str().unwrap().to_owned());
    }
    let mut load = tokio::task::JoinSet::new();
    let (first, begun) = (std::sync::Arc::new(tokio::sync::Semaphore::new(0)), 200);
    for mut token in chains {
        let (http, url, first) = (http.clone(), format!("{url}/oauth2/token"), std::sync::Arc::clone(&first));
        load.spawn(async move {
            loop {
                let form = [("client_id", "app"), ("grant_type", "refresh_token"), ("refresh_token", &token)];
                let Ok(response) = http.post(&url).form(&form).send().await else { return (token, true) };
                let status = response.status().as_u16();
                // Headers that came are followed by the whole body.
                let Ok(text) = response.text().await else { return (token, false) };
                if status != 200 {
                    return (token, false);
                }
                let answer: Value = serde_json::from_str(&text).unwrap();
                token = answer["refresh_token"].as_str().unwrap().to_owned();
                first.add_permits(1);
            }
        });
    }
    drop(first.acquire_many(begun).await.unwrap());
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let ended = load.join_all().await;
    wait_for("the end of serve", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut child = start();
    for (token, in_order) in &ended {
        assert!(in_order, "an answer was cut or refused");
        let again = post(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await.unwrap();
        assert_eq!(again.status().as_u16(), 200);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

//! The configuration file: every wrong key says where it is.

use std::path::{Path, PathBuf};

use mistle_server::config::{Config, ConfigError, Location, ProviderKind, Whereabouts};
use secrecy::ExposeSecret as _;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let location = Location {
        file: None,
        data_dir: Some("/data".into()),
    };
    Config::parse(text, Some(Path::new("/etc/mistle.toml")), &location)
}

fn error(text: &str) -> String {
    let Err(error) = parse(text) else {
        panic!("it was accepted: {text}")
    };
    std::iter::successors(std::error::Error::source(&error), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[test]
fn a_server_that_was_told_nothing_offers_the_demo() {
    let config = parse("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:4747");
    assert_eq!(config.database_url.expose_secret(), "sqlite:///data/mistle.db");
    assert_eq!(config.providers.keys().collect::<Vec<_>>(), ["demo"]);
    assert_eq!(config.providers["demo"].kind, ProviderKind::Scripted);
    assert_eq!(config.providers["demo"].label, "Demo model (scripted)");
    let [profile] = &config.profiles[..] else {
        panic!("{:?}", config.profiles)
    };
    assert_eq!(profile.name, "default");
    assert_eq!(profile.repositories[0].source, "/data/demo");
    assert_eq!(
        config.runtimes["codex"].folder,
        PathBuf::from("/data/runtimes/codex/0.169.0")
    );
    assert_eq!(config.runtimes["codex"].program, PathBuf::from("bin/codex"));
}

#[test]
fn the_default_file_says_nothing_but_is_valid_when_uncommented() {
    let text = include_str!("../src/config/default.toml");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
    parse(text).unwrap();
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
        .filter(|line| !line.starts_with("api_key_env"))
        .collect();
    let uncommented = uncommented.join("\n");
    let config = parse(&uncommented).unwrap_or_else(|error| panic!("{error:?}\n{uncommented}"));
    assert_eq!(config.profiles[0].provider, "openai");
    assert_eq!(config.profiles[0].egress.allow, ["github.com", "*.example.com"]);
}

#[test]
fn what_is_wrong_names_the_file_and_the_key() {
    let demo = "[providers.demo]\nkind = \"scripted\"\n";
    let profile = |rest: &str| format!("{demo}[[profiles]]\nname = \"a\"\nprovider = \"demo\"\n{rest}");
    let cases = [
        (
            "lisen = \"x\"".to_owned(),
            "/etc/mistle.toml:1: `lisen`: unknown field `lisen`",
        ),
        (
            "\n\n[log]\nlevle = 1".to_owned(),
            "/etc/mistle.toml:4: `log.levle`: unknown field `levle`",
        ),
        (
            "listen = \"4747\"".to_owned(),
            "/etc/mistle.toml:1: `listen`: invalid socket address",
        ),
        ("listen = ".to_owned(), "/etc/mistle.toml is not valid TOML"),
        (
            profile("memory = 5"),
            "/etc/mistle.toml:6: `profiles[0].memory`: unknown field `memory`",
        ),
        (
            profile("resources = { memory_mb = 5 }"),
            "`profiles[0].resources.memory_mb`: unknown field",
        ),
        (
            profile("resources = { memory_mib = 5 }"),
            "`profiles[0].resources.memory_mib`: must be at least 64",
        ),
        (
            profile("resources = { cpus = nan }"),
            "`profiles[0].resources.cpus`: must be at least",
        ),
        (profile("version = 3"), "`profiles[0].version`: is computed"),
        (
            profile("runtime = \"vim\""),
            "`profiles[0].runtime`: unknown runtime; known are: codex",
        ),
        (profile("image = \"vm\""), "`profiles[0].image`: \"vm\" is not an image"),
        (
            profile("egress.allow = [\"a b\"]"),
            "`profiles[0].egress.allow`: `a b` is not of the form",
        ),
        (
            profile("[[profiles]]\nname = \"a\"\nprovider = \"demo\""),
            "`profiles[1].name`: another profile has this name",
        ),
        (
            "[[profiles]]\nname = \"A b\"\nprovider = \"demo\"".to_owned(),
            "`profiles[0].name`: a name has lower-case",
        ),
        (
            "[[profiles]]\nname = \"a\"\nprovider = \"other\"".to_owned(),
            "`profiles[0].provider`: no provider is called `other`",
        ),
        (
            "[providers.Bad]\nkind = \"openai\"".to_owned(),
            "`providers.Bad`: a name has",
        ),
        (
            "[providers.a]\nkind = \"gpt\"".to_owned(),
            "`providers.a.kind`: unknown variant `gpt`",
        ),
        (
            "[providers.a]\nkind = \"scripted\"\napi_key = \"x\"".to_owned(),
            "`providers.a.kind`: a scripted provider takes no",
        ),
        (
            "[providers.a]\nkind = \"openai\"\napi_key = \"x\"\napi_key_env = \"Y\"".to_owned(),
            "`providers.a.api_key`: give one of",
        ),
        (
            "[providers.a]\nkind = \"openai\"\napi_key_env = \"MISTLE_TEST_UNSET\"".to_owned(),
            "`providers.a.api_key_env`: the environment variable `MISTLE_TEST_UNSET` is not set",
        ),
        (
            "[providers.a]\nkind = \"openai\"\napi_key_file = \"/nonexistent/key\"".to_owned(),
            "`providers.a.api_key_file`: cannot read /nonexistent/key",
        ),
        (
            "[providers.a]\nkind = \"openai\"\nbase_url = \"ftp://x/\"".to_owned(),
            "`providers.a.base_url`: must begin with",
        ),
        (
            "[providers.a]\nkind = \"openai\"\nbase_url = \"https://me:pass@x/\"".to_owned(),
            "`providers.a`: base_url of provider `a`",
        ),
        ("public_url = \"https://x/path\"".to_owned(), "`public_url`: must be"),
        (
            "[database]\nurl = \"mysql://x\"".to_owned(),
            "`database.url`: must begin with",
        ),
        (
            "[egress]\nallow_private = [\"10.0.0.0/99\"]".to_owned(),
            "`egress.allow_private`: ",
        ),
        (
            "[runtimes.vim]\npath = \"/x\"".to_owned(),
            "`runtimes.vim`: unknown runtime",
        ),
        (
            "[runtimes.codex]\nversion = \"9\"".to_owned(),
            "`runtimes.codex.version`: only 0.169.0 can be installed",
        ),
        (
            "[images.host]\ninclude = [\"x\"]".to_owned(),
            "`images.host.include[0]`: must be an absolute path",
        ),
        ("[limits]\nconnections = 0".to_owned(), "`limits`: a limit of 0"),
        // Root of the first sandbox would be root of the machine.
        (
            "[sandbox]\nuid_base = 0".to_owned(),
            "`sandbox.uid_base`: must be from 65536",
        ),
        (
            "[sandbox]\nuid_base = 65535".to_owned(),
            "`sandbox.uid_base`: must be from 65536",
        ),
        (
            "[sandbox]\nuid_base = 4294967295".to_owned(),
            "`sandbox.uid_base`: must be from 65536 to 4026531839",
        ),
        (
            profile("image = \"oci:debian\""),
            "`profiles[0].image`: images from registries are not supported yet",
        ),
        (
            profile("resources = { memory_mib = 99999999999 }"),
            "`profiles[0].resources.memory_mib`: must be at most",
        ),
        (
            profile("resources = { cpus = 10000.0 }"),
            "`profiles[0].resources.cpus`: must be at most",
        ),
        (
            profile("resources = { pids = 1000000000 }"),
            "`profiles[0].resources.pids`: must be at most",
        ),
        (
            profile("environment = { \"A=B\" = \"x\" }"),
            "`profiles[0].environment.\"A=B\"`: a variable has a name without `=`",
        ),
        (
            profile("repositories = [{ source = \"https://example.org/a.git\" }, { source = \"rel/x\" }]"),
            "`profiles[0].repositories[1]`: Give an `https://` clone URL",
        ),
        ("[log]\nlevel = \"a=b=c\"".to_owned(), "`log.level`: "),
    ];
    for (text, expected) in cases {
        let error = error(&text);
        assert!(
            error.starts_with("/etc/mistle.toml") && error.contains(expected),
            "{text}\n{error}\n{expected}"
        );
    }
}

#[test]
fn secrets_are_never_shown() {
    let text = "[database]\nurl = \"postgres://mistle:db-secret@db.example.com/mistle?sslpassword=db-secret\"\n\
        [registry]\nnpm = \"https://me:npm-secret@npm.example.com/\"\n\
        [providers.real]\nkind = \"anthropic\"\napi_key = \"sk-secret\"\n";
    let config = parse(text).unwrap();
    let shown = config.shown().to_string();
    assert!(
        shown.contains("db.example.com") && shown.contains("npm.example.com") && shown.contains("(set, hidden)"),
        "{shown}"
    );
    for place in [shown, format!("{config:?}")] {
        assert!(!place.contains("db-secret") && !place.contains("sk-secret"), "{place}");
    }
    assert!(!config.shown().to_string().contains("npm-secret"));
    let wrong = error("[providers.a]\nkind = \"openai\"\napi_key = \"sk-sec ret\"");
    assert!(!wrong.contains("sk-sec"), "{wrong}");
}

#[test]
fn a_changed_profile_has_another_version_that_javascript_can_hold() {
    let version = |rest: &str| {
        parse(&format!("[[profiles]]\nname = \"a\"\nprovider = \"demo\"\n{rest}"))
            .unwrap()
            .profiles[0]
            .version
    };
    assert_eq!(version(""), version(""));
    assert_ne!(version(""), version("description = \"x\""));
    assert!(version("") < 1 << 53);
}

#[test]
fn who_talks_to_a_server_needs_none_of_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("mistle.toml"),
        "listen = \"127.0.0.1:4799\"\n[providers.a]\nkind = \"openai\"\napi_key_env = \"MISTLE_TEST_UNSET\"\n",
    )
    .unwrap();
    let location = Location {
        file: None,
        data_dir: Some(folder.path().to_owned()),
    };
    assert!(Config::load(&location).is_err());
    assert_eq!(
        Whereabouts::load(&location).unwrap(),
        Whereabouts {
            data_dir: folder.path().to_owned(),
            listen: "127.0.0.1:4799".parse().unwrap(),
        }
    );
    let elsewhere = Location {
        file: Some(folder.path().join("mistle.toml")),
        data_dir: None,
    };
    std::fs::write(folder.path().join("mistle.toml"), "data_dir = \"kept\"\n").unwrap();
    let found = Whereabouts::load(&elsewhere).unwrap();
    assert_eq!(found.data_dir, folder.path().join("kept"));
    assert_eq!(found.data_dir, Config::load(&elsewhere).unwrap().data_dir);
    assert_eq!(found.listen, Config::load(&elsewhere).unwrap().listen);
}

#[test]
fn keys_come_from_a_file_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "sk-from-file\n").unwrap();
    std::fs::write(
        folder.path().join("mistle.toml"),
        "[providers.a]\nkind = \"openai\"\napi_key_file = \"key\"\n",
    )
    .unwrap();
    let location = Location {
        file: None,
        data_dir: Some(folder.path().to_owned()),
    };
    let config = Config::load(&location).unwrap();
    assert_eq!(
        config.providers["a"].api_key.as_ref().unwrap().expose_secret(),
        "sk-from-file"
    );
    assert_eq!(
        config.providers["a"].base_url.as_ref().unwrap().as_str(),
        "https://api.openai.com/v1"
    );
    assert_eq!(config.data_dir, folder.path());
    let missing = Location {
        file: Some("/nonexistent/mistle.toml".into()),
        ..location
    };
    assert!(
        Config::load(&missing)
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/mistle.toml")
    );
}
